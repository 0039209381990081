"""Without a daemon: agent-reconcile.path makes the host follow the spec, agent-reconcile.timer puts drift right; and `systemd-run agent apply`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.sandbox import Machine
from tests.system import roots
from tests.system.agent_units import MOTD, Units, wait_for

pytestmark = pytest.mark.xdist_group("timer")
OFTEN = "[Timer]\nOnBootSec=\nOnCalendar=\nOnCalendar=*:*:0/4\nRandomizedDelaySec=0\nAccuracySec=100ms\n"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    root = roots.applied_root("bookworm")
    with Machine(root, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        place = "/etc/systemd/system/agent-reconcile.timer.d"
        machine.run(f"mkdir {place}; cat >{place}/often.conf; systemctl daemon-reload", stdin=OFTEN)
        machine.run("systemctl enable --now agent-reconcile.path")
        yield machine


@pytest.fixture
def units(machine: Machine) -> Units:
    return Units(machine, "agent-reconcile.service")


def idle(units: Units) -> None:
    wait_for(lambda: units.show("ActiveState") in ("inactive", "failed"), "no run under way")


def test_a_drop_in_that_is_added_and_changed_is_followed(units: Units) -> None:
    units.greet("Welcome")
    first = units.greets("Welcome", 30)
    idle(units)
    units.greet("Hello")
    second = units.greets("Hello", 30)

    idle(units)
    assert units.show("Result") == "success"
    assert [entry["AGENT_ACTION"] for entry in units.journal(f"AGENT_REF=file:{MOTD}")] == ["update", "update"]
    print(f"followed after {first:.2f} s and {second:.2f} s")


def test_the_spec_itself_saved_in_place_is_followed(units: Units) -> None:
    before = units.show("ExecMainStartTimestampMonotonic")

    units.machine.run("printf '# a remark\\n' >>/etc/agent/spec.yaml")

    wait_for(lambda: units.show("ExecMainStartTimestampMonotonic") != before, "a run", 30)
    idle(units)
    assert units.show("Result") == "success"


def test_what_is_saved_during_a_run_is_not_lost(units: Units) -> None:
    units.save("jupyter: {settings: {ServerApp.shutdown_no_activity_timeout: 86400}}\n")  # a run of seconds
    wait_for(lambda: units.show("ActiveState") == "activating", "a run", 30)

    units.greet("Meanwhile")

    units.greets("Meanwhile", 60)
    idle(units)


def test_however_often_the_spec_is_saved_the_path_unit_stays(units: Units) -> None:
    for number in range(12):
        units.greet(f"Hello {number}")

    units.greets("Hello 11", 60)
    idle(units)
    assert units.show("ActiveState", "agent-reconcile.path") == "active"


def test_a_bad_save_fails_the_service_says_where_and_the_next_good_save_clears_it(units: Units) -> None:
    units.save("jupyter: {prot: 8889}\n")
    place = "/etc/agent/spec.d/50-motd.yaml:1:11"

    wait_for(lambda: units.show("ActiveState") == "failed", "the service has failed", 30)

    assert units.show("ExecMainStatus") == "65"
    assert units.journal("AGENT_RESULT=invalid")[-1]["AGENT_PLACE"] == place
    shown = units.machine.run("agent status", check=False)
    assert (shown.status, place in shown.stdout) == (2, True)
    assert units.show("ActiveState", "jupyter.service") == "active"

    units.greet("Good")

    units.greets("Good", 30)
    idle(units)
    assert units.machine.run("agent status").status == 0


def test_drift_is_put_right_by_the_timer(units: Units) -> None:
    units.greet("Welcome")
    units.greets("Welcome", 30)
    idle(units)
    units.machine.run("systemctl start agent-reconcile.timer")
    units.machine.run(f"echo vandal >{MOTD}; systemctl disable jupyter.service")
    units.machine.run('mariadb -e "REVOKE ALL PRIVILEGES ON analysis.* FROM notebook@localhost"')

    units.greets("Welcome", 40)
    wait_for(lambda: units.enabled("jupyter.service"), "the unit is enabled")
    idle(units)

    units.machine.run("agent verify")
    units.machine.run("systemctl stop agent-reconcile.timer")


def test_a_plain_systemd_run_says_how_it_ended_and_fills_the_journal(units: Units) -> None:
    idle(units)
    units.machine.run(f"systemctl stop agent-reconcile.path; echo vandal >{MOTD}")
    command = ["systemd-run", "--quiet", "--wait", "--unit=by-hand", "agent", "apply", "--yes"]

    units.machine.run(command)

    (entry,) = units.journal("_SYSTEMD_UNIT=by-hand.service", "AGENT_RESULT=changed")
    assert (entry["AGENT_REF"], entry["AGENT_CAUSE"]) == (f"file:{MOTD}", "drift")
    units.save("jupyter: {prot: 8889}\n")
    assert units.machine.run(command, check=False).status == 65


def test_the_daemon_takes_the_place_of_timer_and_path(units: Units) -> None:
    units.greet("Welcome")
    units.machine.run("systemctl start agent-reconcile.path agent-reconcile.timer; systemctl start agent.service")

    assert units.show("ActiveState", "agent-reconcile.timer") == "inactive"
    assert units.show("ActiveState", "agent-reconcile.path") == "inactive"
    wait_for(lambda: units.show("StatusText", "agent.service") == "as wanted", "the daemon is content", 120)
