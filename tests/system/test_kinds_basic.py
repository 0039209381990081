"""Groups, accounts, directories, files, units and packages on a real host: made, left alone, repaired after drift by hand, removed.

What came of it is looked at with the tools a person would use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sh

from agent.errors import HostError
from agent.kinds.directory import Directory
from agent.kinds.file import File
from agent.kinds.group import Group
from agent.kinds.package import Package
from agent.kinds.unit import Unit
from agent.kinds.user import User
from agent.records import to_record
from agent.resource import Ref, Resource
from agent.sandbox import SUITES, Bind, Machine
from agent.steps import Check, Content
from tests.system.conftest import Boot

CHECKOUT = Path(__file__).parents[2]
LIBRARY = Path(sh.__file__).parent
UNIT_FILE = "/etc/systemd/system/toy.service"
TEXT = """\
[Service]
ExecStart=/bin/sh -c 'echo "started with $(cat /etc/toy.conf)"; exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""


class Basic:
    """A booted host and passes over it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def work(
        self, apply: Iterable[Resource] = (), *, remove: Iterable[Resource] = (), die: str = "", check: bool = True
    ) -> Any:
        asked = {
            "apply": [to_record(each) for each in apply],
            "remove": [to_record(each) for each in remove],
            "die": die,
        }
        command = ["env", "PYTHONPATH=/checkout:/library", "python3", "-B", "-m", "tests.system.inside_basic"]
        done = self.machine.run(command, stdin=json.dumps(asked), check=check)
        return json.loads(done.stdout) if check else None

    def changed(self, apply: Iterable[Resource]) -> dict[str, str]:
        """What a pass did, without what was right."""
        return {ref: what for ref, what in self.work(apply)["changed"].items() if what}

    def starts(self) -> list[str]:
        """With what the unit was started, in order."""
        self.machine.run("journalctl --sync")
        return re.findall(r"started with (\w*)", self.machine.run("journalctl -u toy.service -o cat").stdout)

    def out(self, script: str) -> str:
        return self.machine.run(script).stdout.strip()


@pytest.fixture(params=SUITES)
def host(boot: Boot, request: pytest.FixtureRequest) -> Basic:
    binds = [Bind(CHECKOUT, Path("/checkout")), Bind(LIBRARY, Path("/library/sh"))]
    return Basic(boot(request.param, binds=binds, network="packages" in request.node.name))


def resources(conf: str = "one", text: str = TEXT) -> tuple[Resource, ...]:
    ssh = Directory("/home/alice/.ssh", 0o700, "alice", "alice", below="alice")
    keys = Content.of("ssh-ed25519 AAAA alice\n")
    conf_file = File("/etc/toy.conf", Content.of(conf), 0o644)
    unit_file = File(UNIT_FILE, Content.of(text), 0o644)
    unit = Unit("toy.service", active=True, enabled=True, inputs=(conf_file.ref, unit_file.ref))
    return (
        Group("alice"),
        Group("research", 4000),
        User("alice", home="/home/alice", shell="/bin/bash", group="alice", groups=frozenset({"research"})),  # noqa: S604
        ssh,
        File(f"{ssh.name}/authorized_keys", keys, 0o600, "alice", "alice", below="alice"),
        conf_file,
        unit_file,
        unit,
    )


def test_what_the_spec_says_is_made_and_then_left_alone(host: Basic) -> None:
    first = host.work(resources())
    assert set(first["changed"].values()) == {"create"}
    assert host.out("id -Gn alice") == "alice research"
    assert host.out("getent passwd alice").endswith(":/home/alice:/bin/bash")
    assert host.out("stat -c '%U %a' /home/alice /home/alice/.ssh/authorized_keys") == "alice 750\nalice 600"
    assert host.out("systemctl is-enabled toy; systemctl is-active toy") == "enabled\nactive"
    everything = "find /etc /var/lib/agent /home -xdev -printf '%p %i %T@ %C@\\n' | sort"
    before = host.out(everything)

    second = host.work(resources())

    assert set(second["changed"].values()) == {""}
    assert second["alike"], "the short way sees the same"
    assert host.out(everything) == before
    assert host.starts() == ["one"]


DRIFT = {
    "shell": ("usermod -s /bin/sh alice", {"user:alice": "! update shell"}, 0),
    "groups": ("gpasswd -d alice research", {"user:alice": "! update groups"}, 0),
    "home-gone": (
        "rm -r /home/alice",
        {
            "user:alice": "! update home_exists",
            "directory:/home/alice/.ssh": "! create",
            "file:/home/alice/.ssh/authorized_keys": "! create",
        },
        0,
    ),
    "directory-open": ("chmod 777 /home/alice/.ssh", {"directory:/home/alice/.ssh": "! update mode"}, 0),
    "file-edited": ("echo evil > /etc/toy.conf", {"file:/etc/toy.conf": "! update content"}, 0),
    "file-edited-and-loaded": (
        "echo evil > /etc/toy.conf; systemctl restart toy",
        {"file:/etc/toy.conf": "! update content", "unit:toy.service": "! restart stale"},
        2,
    ),
    "link-planted": (
        "ln -sf /etc/shadow /home/alice/.ssh/authorized_keys",
        {"file:/home/alice/.ssh/authorized_keys": "! update content,mode,owner,group,stands"},
        0,
    ),
    "unit-disabled": ("systemctl disable toy", {"unit:toy.service": "! update enabled"}, 0),
    "unit-stopped": ("systemctl stop toy", {"unit:toy.service": "! update active"}, 1),
    "unit-killed": ("systemctl kill -s KILL toy; sleep 0.3", {"unit:toy.service": "! update active"}, 1),
    "unit-file-edited": (
        f"echo '#' >> {UNIT_FILE}",
        {f"file:{UNIT_FILE}": "! update content", "unit:toy.service": "! update loaded"},
        0,
    ),
    "unit-restarted": ("systemctl restart toy", {}, 1),
}


def test_drift_is_repaired_and_only_what_must_restart_does(host: Basic) -> None:
    host.work(resources())
    for name, (script, repaired, starts) in DRIFT.items():
        before = len(host.starts())
        host.machine.run(script)

        assert host.changed(resources()) == repaired, name
        assert host.changed(resources()) == {}, name
        assert len(host.starts()) - before == starts, name
        assert host.starts()[-1] == "one", name
    assert host.out("stat -c '%U %a' /etc/shadow") == "root 640"


def test_another_spec_is_no_drift_and_costs_one_restart(host: Basic) -> None:
    host.work(resources())

    assert host.changed(resources("two")) == {
        "file:/etc/toy.conf": "update content",
        "unit:toy.service": "restart stale",
    }

    assert host.changed(resources("two")) == {}
    assert host.starts() == ["one", "two"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_agent_killed_at_a_restart_owes_exactly_one(host: Basic, moment: str) -> None:
    host.work(resources())

    host.work(resources("two"), die=moment, check=False)
    for _ in range(2):
        host.work(resources("two"))

    assert host.starts() == ["one", "two"]


def test_a_service_that_cannot_start_says_why(host: Basic) -> None:
    host.work(resources())

    said = host.changed(resources(text=TEXT.replace("/bin/sh", "/bin/nonesuch")))["unit:toy.service"]

    assert said.startswith("failed: toy.service ended right after its start")
    assert "/bin/nonesuch" in said
    assert "update active" in host.changed(resources())["unit:toy.service"]
    assert host.out("systemctl is-active toy") == "active"


def test_what_is_removed_is_gone_and_the_home_stays(host: Basic) -> None:
    host.work(resources())
    host.machine.run("touch /home/alice/work")
    gone = [each for each in resources() if not each.holds_work and each.ref != Ref("group", "alice")]

    done = host.work(remove=gone)["changed"]

    assert not [what for what in done.values() if "failed" in what]
    assert host.out(f"ls -d {UNIT_FILE} /etc/toy.conf /home/alice/.ssh 2>/dev/null || true") == ""
    assert host.out("systemctl is-active toy || true") == "inactive"
    assert host.out("ls /home/alice; getent passwd alice | cut -d: -f1") == "work\nalice"
    assert host.out("getent group research | cut -d: -f4") == "alice", "it stays: files may belong to it"


def test_a_candidate_is_checked_as_an_unprivileged_user_and_seen_by_nobody_else(host: Basic) -> None:
    script = 'id -un; grep -q good "$1" || { echo "line 1 is bad" >&2; exit 2; }; test ! -w "$1"'
    check = Check(("/bin/sh", "-c", script, "sh", "{file}"), "candidate.conf", "alice")

    def file(text: str) -> tuple[Resource, ...]:
        return *resources()[:3], File("/etc/checked.conf", Content.of(text), 0o640, "root", "alice", check=check)

    assert host.changed(file("good 1"))["file:/etc/checked.conf"] == "create"
    refused = host.changed(file("bad"))["file:/etc/checked.conf"]

    assert "/etc/checked.conf stays as it is: /bin/sh exited 2 on the new one: line 1 is bad" in refused
    assert host.out("cat /etc/checked.conf; ls -A /run/agent") == "good 1"


def test_what_the_bus_says_is_what_systemctl_says(host: Basic) -> None:
    host.work(resources())
    script = """
import json, subprocess, sys
from agent.host import bus
names = sys.argv[1:]
wanted = ["UnitFileState", "InvocationID", "NeedDaemonReload", "FragmentPath"]
for private in (False, True):
    if private:
        bus.SYSTEM_BUS = "/nonexistent"
    states, found = bus.unit_states(names), bus.properties(names, wanted)
    for name in names:
        shown = dict(line.split("=", 1) for line in subprocess.run(
            ["systemctl", "show", "-p", "LoadState,ActiveState,SubState," + ",".join(wanted), "--", name],
            capture_output=True, text=True, check=True).stdout.splitlines())
        assert states[name] == tuple(shown[each] for each in ("LoadState", "ActiveState", "SubState")), name
        assert found[name]["UnitFileState"] == shown["UnitFileState"], name
        assert found[name]["InvocationID"].hex() == shown.get("InvocationID", ""), name
        assert found[name]["NeedDaemonReload"] == (shown["NeedDaemonReload"] == "yes"), name
        assert found[name]["FragmentPath"] == shown.get("FragmentPath", ""), name
print(len(names))
"""
    names = ["toy.service", "nonesuch.service", "dbus.socket", "-.mount", "multi-user.target", "getty@tty1.service"]
    host.machine.run(f"echo '#' >> {UNIT_FILE}")

    done = host.machine.run(["env", "PYTHONPATH=/checkout", "python3", "-B", "-c", script, *names])

    assert done.stdout.strip() == str(len(names))


LOCKED = """
python3 -c "
import fcntl, time
lock = open('/var/lib/dpkg/lock-frontend', 'w')
fcntl.lockf(lock, fcntl.LOCK_EX)
open('/run/locked', 'w')
time.sleep(4)" >/dev/null 2>&1 &
until [ -e /run/locked ]; do sleep 0.05; done
"""


def test_packages_come_in_one_transaction_wait_for_locks_and_go(host: Basic) -> None:
    wanted = (Package("hello"), Package("sl"))
    host.machine.run(LOCKED)

    first = host.work((*wanted, Package("nonesuch-of-this-name")))

    assert first["said"][0].startswith("waiting for dpkg, locked by python3 (")
    assert first["changed"]["package:hello"] == first["changed"]["package:sl"] == "create"
    assert "no package nonesuch-of-this-name" in first["changed"]["package:nonesuch-of-this-name"]
    assert host.out("hello") == "Hello, world!"
    assert host.work(wanted)["alike"]
    host.machine.run(
        "apt-get -qq remove -y hello >/dev/null; cd /tmp; apt-get -qq download hello; dpkg --unpack hello*"
    )
    assert host.changed(wanted) == {"package:hello": "! create"}, "an interrupted dpkg is finished"
    host.work(remove=wanted)
    with pytest.raises(HostError):
        host.out("hello")
