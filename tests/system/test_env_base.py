"""The `conda` command for people: the notebook account has it at its terminal, root runs nothing of it, an installer runs only if it is the right one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest
import yaml

from tests.channel.installer import write_installer
from tests.system.conda_site import ROOT, Site, booted

SPEC = """
user:
  name: nb
conda:
  mirrors:
    conda-forge: [{channel}]
  base: {base}
  environments:
    analysis: {{packages: [toy-app 1.*], variables: {{SEASON: winter}}}}
"""
PROFILE = "/etc/profile.d/agent-conda.sh"
SOURCED = f"{ROOT}/envs/base/etc/profile.d/conda.sh"
INSTALLER = "Toyforge-1.0-Linux-x86_64.sh"
RAN = f"{ROOT}/pkgs/installer-ran"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with booted(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def base(site: Site) -> Site:
    """The host with conda from packages."""
    declare(site, "true")
    site.apply()
    return site


def declare(site: Site, base: str) -> None:
    site.write(SPEC.format(channel=site.channel, base=base))


def by_person(site: Site, command: str, *, status: int = 0) -> str:
    """What a command says in the account's login shell."""
    done = site.machine.run(["su", "-", "nb", "-c", command], check=False)
    assert done.status == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_account_has_conda_in_its_login_shell_and_root_has_not(base: Site) -> None:
    told = json.loads(by_person(base, "conda info --json"))

    assert told["root_prefix"] == base.build("base")
    assert f"{ROOT}/envs/analysis" in told["envs"]
    assert told["channels"] == [base.channel]
    assert told["config_files"] == ["/etc/conda/.condarc"]
    activated = by_person(base, "conda activate analysis && toy-app && echo $CONDA_DEFAULT_ENV $SEASON")
    assert activated == f"toy-app 1.0 in {base.build()}\nanalysis winter\n"
    for words in (["su", "-", "-c", "command -v conda"], ["bash", "-lc", "command -v conda"]):
        assert base.machine.run(words, check=False).status != 0
    base.machine.run("useradd --create-home --shell /bin/bash stranger")
    assert base.machine.run(["su", "-", "stranger", "-c", "command -v conda"], check=False).status != 0


def test_a_root_login_runs_nothing_that_the_account_has_written(base: Site) -> None:
    run = base.machine.run
    run(f"runuser -u nb -- sh -c 'echo \"id -u >>/tmp/sourced-by\" >>$(realpath {SOURCED})'")
    by_person(base, "true")
    assert run("cat /tmp/sourced-by; rm /tmp/sourced-by").stdout == run("id -u nb").stdout, "the trap works"

    run(["su", "-", "-c", "true"])
    run(["bash", "-lc", "true"])
    traced = run(["bash", "-xlc", "true"]).stderr

    assert run("test -e /tmp/sourced-by", check=False).status == 1
    assert PROFILE in traced
    assert f". {SOURCED}" not in traced


def test_conda_is_told_where_things_are_and_that_they_are_not_its_to_change(base: Site) -> None:
    run = base.machine.run
    settings = yaml.safe_load(run("cat /etc/conda/.condarc").stdout)

    assert settings == {
        "channels": [base.channel],
        "channel_alias": "https://conda.anaconda.org",
        "channel_priority": "strict",
        "envs_dirs": ["~/.conda/envs", f"{ROOT}/envs"],
        "pkgs_dirs": ["~/.conda/pkgs"],
        "auto_update_conda": False,
        "notify_outdated_conda": False,
    }
    assert run("stat -c '%U %a' /etc/conda/.condarc").stdout == "root 644\n"
    for name in ("analysis", "base"):
        assert "agent apply" in json.loads(run(f"cat {base.build(name)}/conda-meta/frozen").stdout)["message"]
        refused = by_person(base, f"conda install --yes --name {name} toy-big", status=1)
        assert "frozen" in refused
        assert "change its packages in the spec" in refused


def test_without_shell_integration_and_without_a_base_nothing_of_it_is_left(base: Site) -> None:
    declare(base, "{shell: false}")
    base.apply()
    assert base.machine.run(f"test -e {PROFILE}", check=False).status == 1
    assert by_person(base, f"{ROOT}/envs/base/bin/conda --version").startswith("conda ")
    base.assert_as_wanted()

    declare(base, "false")
    base.apply()
    for path in (PROFILE, "/etc/conda", f"{ROOT}/envs/base", f"{ROOT}/builds/base"):
        assert base.machine.run(f"test -e {path}", check=False).status == 1, path
    base.assert_as_wanted()


def test_an_installer_with_the_right_digest_makes_the_base(site: Site) -> None:
    digest = offer(site)
    declare(site, f"{{installer: {{url: {site.channel}/{INSTALLER}, sha256: {digest}}}}}")

    said = site.apply()

    assert "MD5" not in said
    prefix = site.build("base")
    assert by_person(site, f"{ROOT}/envs/base/bin/conda") == f"toyforge 1.0 in {prefix}\n"
    assert site.machine.run(f"stat -c %U {RAN}; rm {RAN}").stdout == "nb\n", "root does not run it"
    asked = len(site.mirror.asked(INSTALLER))
    site.apply()
    site.assert_as_wanted()
    assert (site.build("base"), len(site.mirror.asked(INSTALLER))) == (prefix, asked)
    assert not ran(site)


def test_an_installer_with_another_digest_is_never_run(site: Site) -> None:
    right = offer(site, "2.0")
    declare(site, "true")
    site.apply()
    before = site.build("base")
    wrong = hashlib.sha256(b"another file").hexdigest()
    declare(site, f"{{installer: {{url: {site.channel}/{INSTALLER}, sha256: {wrong}}}}}")

    said = site.apply(status=3)

    assert f"has the sha256 {right}, not {wrong}: it was not run" in said
    assert not ran(site)
    assert site.build("base") == before
    assert by_person(site, "conda --version").startswith("conda ")


def test_an_old_digest_is_taken_with_a_warning(site: Site) -> None:
    offer(site, "3.0")
    digest = hashlib.md5((site.mirror.directory / INSTALLER).read_bytes(), usedforsecurity=False).hexdigest()
    declare(site, f"{{installer: {{url: {site.channel}/{INSTALLER}, md5: {digest}}}}}")

    warned = site.machine.run(["agent", "validate"])
    site.apply()

    assert "checks against damage, not against forgery" in warned.stdout + warned.stderr
    assert by_person(site, f"{ROOT}/envs/base/bin/conda").startswith("toyforge 3.0")


def offer(site: Site, version: str = "1.0") -> str:
    """Puts an installer on the server, which notes that it ran; its SHA-256."""
    return write_installer(site.mirror.directory / INSTALLER, version, step=f": >{RAN}")


def ran(site: Site) -> bool:
    return site.machine.run(f"test -e {RAN}", check=False).status == 0
