"""An agent and its worker may be killed at any point of what they do to an environment: what is in force works, and the next pass makes up for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.channel.publish import publish
from tests.channel.toys import later_toys
from tests.system.conda_site import BUILDS, PREFIX, ROOT, Site, booted
from tests.system.wheelhouse import stock, wheel

LOCK = "/etc/agent/spec.lock"
NOTES = f"{PREFIX}/notes/today"
KILLED = ("apply.service", "run-*.service", "apply.service run-*.service")
"""The agent, its worker, both."""

Environment = dict[str, list[str]]
OLD: Environment = {"packages": ["toy-app 1.*"]}
NEW: Environment = {"packages": ["toy-app 2.*", "toy-big", "toy-many"]}
PYTHON = ["python 3.11.*", "pip"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with booted(tmp_path_factory.mktemp("site")) as site:
        stock(site.machine, wheel("spam", "1.0"), wheel("spam", "2.0"))
        yield site


def declare(site: Site, **environments: Environment) -> None:
    sections = {name: {**each, "kernel": False} for name, each in environments.items()}
    conda = {"mirrors": {"conda-forge": [site.channel]}, "environments": sections}
    site.write(json.dumps({"user": {"name": "nb"}, "conda": conda}))


def seconds(site: Site, *words: str) -> float:
    """How long it takes when nobody disturbs it."""
    begun = time.monotonic()
    site.machine.run(["agent", *words, "--yes"])
    return time.monotonic() - begun


def kill(site: Site, point: int, after: float, *words: str) -> None:
    """Begins something, ends after a while, with no warning, one or both of those who are at it, and waits for the one that is left."""
    site.machine.run(["systemd-run", "--quiet", "--collect", "--unit=apply", "agent", *words, "--yes"])
    time.sleep(after)
    site.machine.run(f"systemctl kill --signal=KILL {KILLED[point % len(KILLED)]}", check=False)
    site.machine.run("timeout 120 sh -c 'while systemctl is-active --quiet apply.service; do sleep 0.05; done'")


def only(site: Site, build: str) -> None:
    """Takes all builds but this one, which is in force, and what they alone are made of."""
    site.agent("env clean", "--keep", "0")
    assert site.builds() == {build}


@pytest.mark.parametrize(
    ("old", "new", "points"),
    [
        (OLD, NEW, 12),
        (
            {"packages": [*PYTHON, *OLD["packages"]], "pip": ["spam<2"]},
            {"packages": [*PYTHON, *NEW["packages"]], "pip": ["spam>=2"]},
            3,
        ),
    ],
    ids=["packages", "packages of pip, too"],
)
def test_a_change_of_the_spec(site: Site, old: Environment, new: Environment, points: int) -> None:
    declare(site, analysis=old)
    site.apply()
    before = site.build()
    declare(site, analysis=new)
    whole, after, done = seconds(site, "apply"), site.build(), 0
    for point in range(points):
        declare(site, analysis=old)
        site.apply()
        only(site, before)
        declare(site, analysis=new)

        kill(site, point, whole * (point + 0.5) / points, "apply")

        assert site.build() in (before, after)
        done += site.build() == after
        for command in ["toy-app", *(["spam"] if "pip" in new else [])]:
            assert site.machine.run(f"runuser -u nb -- {PREFIX}/bin/{command}").stdout.startswith(command)
        site.apply()
        site.assert_as_wanted()
        assert (site.build(), site.builds()) == (after, {before, after}), f"point {point}"
        assert site.machine.run(f"ls {PREFIX}/share/toy-many | wc -l").stdout == "1000\n"
        names = site.machine.run(f"ls -A {BUILDS}").stdout.split()
        assert not [name for name in names if name.endswith(".new") or name.startswith(".")]
    assert done < points, "none was killed while it worked"


def test_a_removal(site: Site) -> None:
    points, whole, other = 9, 0.0, {"packages": ["toy-lib"]}
    for point in range(-1, points):
        notes = point % 2 == 0
        declare(site, analysis=NEW, other=other)
        site.apply()
        if notes:
            site.machine.run(f"runuser -u nb -- sh -c 'mkdir {PREFIX}/notes; echo mine >{NOTES}'")
        declare(site, other=other)
        if point < 0:
            whole = seconds(site, "apply")
            continue

        kill(site, point, whole * (point + 0.5) / points, "apply")

        site.apply()
        site.assert_as_wanted()
        left = site.machine.run(f"find {PREFIX} {BUILDS} ! -type d", check=False).stdout
        assert left == (f"{NOTES}\n" if notes else ""), f"point {point}"
        assert site.machine.run(f"ls -A {ROOT}/builds").stdout == "other\n", f"point {point}"
        site.machine.run(f"rm -rf {PREFIX}")


def test_a_power_cut_in_the_middle(site: Site) -> None:
    declare(site, analysis=OLD)
    site.apply()
    before = site.build()
    declare(site, analysis=NEW)
    whole, after = seconds(site, "apply"), site.build()
    for share in (0.4, 0.7, 0.9):
        declare(site, analysis=OLD)
        site.apply()
        only(site, before)
        declare(site, analysis=NEW)
        site.machine.run(["systemd-run", "--quiet", "--collect", "agent", "apply"])
        time.sleep(whole * share)

        site.machine.crash()

        site.machine.wait_booted()
        assert site.build() in (before, after)
        assert site.machine.run(f"runuser -u nb -- {PREFIX}/bin/toy-app").stdout.startswith("toy-app")
        site.apply()
        site.assert_as_wanted()
        assert (site.build(), site.builds()) == (after, {before, after})


def test_an_update(site: Site) -> None:
    points, relocked = 8, 0
    declare(site, analysis=OLD)
    site.apply()
    declare(site, analysis={"packages": ["toy-app"]})
    site.apply()
    site.agent("env lock")
    locked, before = site.machine.run(f"cat {LOCK}").stdout, site.build()
    publish(site.mirror.directory, later_toys())
    whole, after = seconds(site, "env", "update"), site.build()
    for point in range(points):
        site.machine.run(f"cat >{LOCK}", stdin=locked)
        site.apply()
        only(site, before)

        kill(site, point, whole * (point + 0.5) / points, "env", "update")

        assert site.machine.run(f"runuser -u nb -- {PREFIX}/bin/toy-app").stdout.startswith("toy-app ")
        site.apply()
        site.assert_as_wanted()
        now = site.machine.run(f"cat {LOCK}").stdout
        relocked += now != locked
        build = json.loads(now)["environments"]["analysis"]["build"]
        assert site.build() == f"{BUILDS}/{build}", f"point {point}: what the lock file says is in force"
        site.agent("env update", "--yes")
        assert site.build().partition(".")[0] == after.partition(".")[0]
        site.assert_as_wanted()
    assert relocked < points, "none was killed while it worked"
