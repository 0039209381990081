"""`agent env` on a real host: looked at, locked, updated, gone back, cleaned."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox.installed import agent_root
from tests.channel.package import File, Package
from tests.channel.publish import publish
from tests.channel.toys import later_toys
from tests.system.conda_site import BUILDS, PREFIX, Site, own_copy, served
from tests.system.conftest import Boot

LOCK = "/etc/agent/spec.lock"
SERVED = """
user: {{name: nb}}
tls: {{names: [localhost], addresses: [127.0.0.1]}}
jupyter: {{environment: lab}}
conda:
  mirrors: {{conda-forge: [{channel}]}}
  environments:
    lab:
      packages: [python 3.11.*, jupyterlab >=4, notebook >=7, jupyter_server, ipykernel, toy-module]
      server: true
"""
STOPS_THE_SERVER = """
import sys
if any("jupyter" in word and "lab" in word for word in sys.orig_argv):
    sys.exit("toy-module 3.0 wants no server")
"""


@pytest.fixture
def site(boot: Boot, tmp_path: Path) -> Iterator[Site]:
    with served(boot(agent_root()), own_copy((), tmp_path / "channel")) as site:
        yield site


def test_environments_by_name(site: Site) -> None:
    run = site.machine.run
    site.declare("toy-app")
    (listed,) = site.agent("env list")["environments"]
    assert (listed["state"], listed["build"]) == ("not made", None)
    assert "was never made" in run(["agent", "env", "lock"], check=False).stderr
    site.apply()
    first = site.build().rpartition("/")[2]
    (listed,) = site.agent("env list")["environments"]
    assert (listed["state"], listed["build"], listed["packages"]) == ("ok", first, {"conda": 2, "pip": 0})

    # locked, it is as wanted without another pass, and newer packages are not for it
    site.agent("env lock")
    assert run(f"stat -c '%U %a' {LOCK}").stdout == "root 644\n"
    site.assert_as_wanted()
    site.agent("env lock", "--check")
    publish(site.mirror.directory, later_toys())
    site.apply()
    assert site.build().rpartition("/")[2] == first

    # shown, refused by leaving the question out, taken
    shown = run(["agent", "env", "update", "--dry-run"]).stdout
    assert "~ toy-app 2.0 -> 2.1" in shown
    assert len(site.builds()) == 1, "the proposal is gone"
    updated = site.agent("env update", "analysis")
    assert updated["in_force"]
    assert {each["name"] for each in updated["environments"][0]["changes"]} == {"toy-app", "toy-lib"}
    second = site.build().rpartition("/")[2]
    assert json.loads(run(f"cat {LOCK}").stdout)["environments"]["analysis"]["build"] == second
    site.assert_as_wanted()
    assert site.agent("env update")["environments"][0]["changes"] == []

    # back at once, and it stays
    begun = time.monotonic()
    back = site.agent("env rollback", "analysis")
    whole = time.monotonic() - begun
    assert site.build().rpartition("/")[2] == first == back["build"]
    assert back["seconds"] < 1, f"{whole:.2f} s in all"
    site.apply()
    assert site.build().rpartition("/")[2] == first
    assert f"held at build {first}" in run("agent status").stdout
    assert f"held at build {first}" in run("agent plan").stdout
    assert site.agent("env list")["environments"][0]["state"] == "held"

    # forward, and nothing is held
    site.agent("env rollback", "analysis", "--to", second[:6])
    assert site.agent("env list")["environments"][0]["state"] == "ok"
    assert "held" not in run("agent status").stdout

    # the old build goes; one that a program works in does not
    run(f"systemd-run --quiet --unit=busy -p User=nb -p WorkingDirectory={BUILDS}/{first} sleep 600")
    assert site.agent("env clean", "--keep", "0")["builds"] == {"analysis": []}
    run("systemctl stop busy")
    foreseen = site.agent("env clean", "--keep", "0", "--dry-run")
    assert len(site.builds()) == 2
    cleaned = site.agent("env clean", "--keep", "0")
    assert cleaned["builds"] == {"analysis": [first]} == foreseen["builds"]
    assert cleaned["packages"] == foreseen["packages"]
    assert foreseen["bytes"] == cleaned["bytes"] > 0
    assert len(site.builds()) == 1
    assert run(f"{PREFIX}/bin/toy-app").stdout.startswith("toy-app 2.1")


def test_what_is_added_by_hand_and_what_is_foreign_is_told(site: Site) -> None:
    run = site.machine.run
    site.declare("toy-app")
    site.apply()
    run("runuser -u nb -- mkdir -p /opt/conda/envs/mine/conda-meta")
    record = f"{PREFIX}/conda-meta/toy-many-1.0-0.json"
    run(f"runuser -u nb -- sh -c \"echo '{{}}' >{record}\"")

    assert [each["name"] for each in site.agent("env list")["foreign"]] == ["mine"]
    assert site.agent("env show", "analysis")["added"] == ["toy-many 1.0"]


@pytest.mark.parametrize("locked", [False, True])
def test_an_update_with_which_the_server_does_not_work_is_taken_back(site: Site, locked: bool) -> None:
    run = site.machine.run
    site.write(SERVED.format(channel=site.channel))
    site.apply()
    if locked:
        site.agent("env lock")
    before, lock = site.build("lab"), run(f"cat {LOCK}", check=False).stdout
    pid = run("systemctl show -P MainPID jupyter").stdout
    publish_what_stops_the_server(site)

    updated = site.agent("env update", "lab", status=4)

    assert [each["name"] for each in updated["environments"][0]["changes"]] == ["toy-module"]
    assert updated["environments"][0]["interrupts"]
    assert "jupyter" in updated["rolled_back"]
    assert site.build("lab") == before
    assert run(f"cat {LOCK}", check=False).stdout == lock
    assert run("systemctl is-active jupyter").stdout == "active\n"
    assert run("systemctl show -P MainPID jupyter").stdout != pid, "it was tried"
    site.apply()
    site.assert_as_wanted()


def publish_what_stops_the_server(site: Site) -> None:
    files = {
        "site-packages/toy-server.pth": File(b"import toy_server\n"),
        "site-packages/toy_server.py": File(STOPS_THE_SERVER.encode()),
    }
    module = Package(name="toy-module", version="3.0", noarch="python", depends=("python",), files=files)
    publish(site.mirror.directory, [module])


def test_a_schedule_brings_newer_versions_and_takes_back_what_the_server_does_not_work_with(site: Site) -> None:
    run = site.machine.run
    site.write(f"{SERVED}      update: 7d\n".format(channel=site.channel))
    site.apply()
    first = site.build("lab")
    a_week_passes(site)
    assert "due" in site.pending()
    site.apply()
    assert site.build("lab") == first, "there is nothing newer"
    site.assert_as_wanted()

    publish_what_stops_the_server(site)
    a_week_passes(site)
    said = site.apply(status=4)

    assert "the update of lab was undone" in said
    assert site.build("lab") == first
    assert run("systemctl is-active jupyter").stdout == "active\n"
    site.assert_as_wanted()
    assert "held at build" in run("agent status", check=False).stdout


def a_week_passes(site: Site) -> None:
    """Since the versions of the server's environment were chosen."""
    site.machine.run(f'sed -i -E \'s/"solved": [0-9]+/"solved": 1700000000/\' {site.build("lab")}.json')
