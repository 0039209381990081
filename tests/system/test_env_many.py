"""Thirty environments on one host: made in one go, left alone by the next pass, repaired one by one, and gone without what their people keep in them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.conda_site import ROOT, Site, booted
from tests.system.wheelhouse import stock, wheel

TOYS = (["toy-app 1.*"], ["toy-app 2.*", "toy-big"], ["toy-lib 1.0", "toy-many"], ["toy-prefix"], ["toy-old"])
ENVIRONMENTS: dict[str, dict[str, object]] = {
    **{f"toys{number:02}": {"packages": TOYS[number % len(TOYS)]} for number in range(26)},
    "module": {"packages": ["python 3.11.*", "toy-module"]},
    "six": {"packages": ["python 3.11.*", "pip", "six"]},
    "spam": {"packages": ["python 3.11.*", "pip"], "pip": ["spam>=2"]},
    "eggs": {"packages": ["python 3.11.*", "pip"], "pip": ["eggs"]},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with booted(tmp_path_factory.mktemp("site")) as site:
        stock(
            site.machine,
            *(wheel(*each) for each in (("spam", "1.0"), ("spam", "2.0"), ("eggs", "1.0"), ("six", "99.0"))),
        )
        declare(site, *ENVIRONMENTS)
        site.apply()
        yield site


def declare(site: Site, *names: str) -> None:
    chosen = {name: {**ENVIRONMENTS[name], "kernel": False} for name in names}
    mirrors = {"conda-forge": [site.channel]}
    site.write(json.dumps({"user": {"name": "nb"}, "conda": {"mirrors": mirrors, "environments": chosen}}))


def states(site: Site) -> dict[str, str]:
    return {each["name"]: each["state"] for each in site.agent("env list")["environments"]}


def in_force(site: Site) -> dict[str, str]:
    links = site.machine.run(f"find {ROOT}/envs -mindepth 1 -maxdepth 1 -type l -printf '%f %l\\n'").stdout
    return dict(line.split() for line in links.splitlines())


def by_owner(site: Site, script: str) -> None:
    site.machine.run(["runuser", "-u", "nb", "--", "sh", "-ec", script])


def python(site: Site, name: str, code: str) -> str:
    return site.machine.run(["runuser", "-u", "nb", "--", f"{ROOT}/envs/{name}/bin/python", "-c", code]).stdout.strip()


def test_all_are_made_in_one_go_and_the_next_pass_changes_nothing(site: Site) -> None:
    site.assert_as_wanted()
    assert states(site) == dict.fromkeys(ENVIRONMENTS, "ok")
    look = f"find {ROOT} -printf '%p %l %i %T@ %C@\\n' | sort | sha256sum"
    before, asked = site.machine.run(look).stdout, len(site.mirror.requests)

    site.apply()

    assert site.machine.run(look).stdout == before
    assert len(site.mirror.requests) == asked


def test_what_drifted_is_repaired_and_nothing_else(site: Site) -> None:
    before = in_force(site)
    by_owner(site, f"rm {ROOT}/envs/toys00/conda-meta/toy-lib-*.json {ROOT}/envs/toys03")
    by_owner(site, f"cd {ROOT}/envs; eggs/bin/python -m pip uninstall --yes eggs")
    by_owner(site, f"cd {ROOT}/envs; spam/bin/python -m pip install spam==1.0; six/bin/python -m pip install six==99.0")
    drifted = {"toys00", "toys03", "eggs", "spam", "six"}
    listed = states(site)
    assert {name for name, state in listed.items() if state != "ok"} == drifted
    assert {listed[name] for name in drifted - {"toys03"}} == {"drifted"}
    pending = site.pending()
    assert {name for name in ENVIRONMENTS if f"environment:{name}" in pending} == drifted

    site.apply()

    site.assert_as_wanted()
    after = in_force(site)
    assert {name for name in ENVIRONMENTS if after[name] != before[name]} == drifted - {"toys03"}
    assert site.versions("toys00") == {"toy-app": "1.0", "toy-lib": "1.1"}
    assert python(site, "eggs", "import eggs; print(eggs.version)") == "1.0"
    assert python(site, "spam", "import spam; print(spam.version)") == "2.0"
    assert python(site, "six", "import six; print(six.__version__ != '99.0', six.__file__)").startswith("True /opt/")
    assert states(site) == dict.fromkeys(ENVIRONMENTS, "ok")


def test_one_that_leaves_the_spec_takes_its_own_files_and_no_others(site: Site) -> None:
    run = site.machine.run
    before = in_force(site)
    prefix = f"{ROOT}/envs/module"
    by_owner(site, f"mkdir {prefix}/notes; echo mine >{prefix}/notes/today; rm {prefix}/bin/pydoc3* || true")
    declare(site, *(name for name in ENVIRONMENTS if name not in ("module", "toys07")))

    said = site.apply()

    assert "environment:module left the spec and stays" in said
    assert "environment:toys07 left" not in said
    assert run(f"find {prefix} ! -type d").stdout == f"{prefix}/notes/today\n"
    assert run(f"ls -d {ROOT}/envs/toys07 {ROOT}/builds/toys07", check=False).stdout == ""
    assert in_force(site) == {name: link for name, link in before.items() if name not in ("module", "toys07")}
    assert "environment:module left the spec and stays" in run("agent status").stdout
    assert states(site).keys() == ENVIRONMENTS.keys() - {"module", "toys07"}
    site.assert_as_wanted()

    declare(site, *ENVIRONMENTS)
    site.apply()

    assert states(site) == dict.fromkeys(ENVIRONMENTS, "ok")
    assert python(site, "module", "import toy_module; print(toy_module.version)") == "1.0"
    declare(site, *(name for name in ENVIRONMENTS if name != "module"))
    site.apply()
    assert run(f"cat {prefix}/notes/today").stdout == "mine\n", "what was there before comes back"
