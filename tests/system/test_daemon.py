"""`agent daemon` as agent.service: the host follows the spec, and what is changed by hand is put right, through bad saves, kills and reboots."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.sandbox import SUITES, Machine
from tests.system import roots
from tests.system.agent_units import MOTD, Units, wait_for
from tests.system.conftest import Boot

pytestmark = pytest.mark.xdist_group("daemon")
QUICK = "[Service]\nWatchdogSec=6\nRestartSec=1\n"
"""Looks every two seconds, as the watchdog wants a sign of life in time."""
CONFIG = "/etc/agent/jupyter/jupyter_server_config.py"
GRANTS = "SELECT COUNT(*) FROM mysql.db WHERE User = 'notebook'"


class Daemon(Units):
    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    @property
    def passes(self) -> list[str]:
        """Why each was made."""
        said = [entry["MESSAGE"] for entry in self.journal("--unit=agent.service")]
        return [message.removeprefix("making a pass: ") for message in said if message.startswith("making a pass: ")]

    def rests(self) -> None:
        """Waits until the daemon finds everything as wanted and is at nothing."""
        wait_for(lambda: self.show("StatusText") == "as wanted", "the daemon finds everything as wanted", 120)

    def is_at_work(self) -> None:
        """Waits until a pass is changing the host."""
        gone = "test ! -e /var/lib/agent/evidence"
        wait_for(lambda: self.machine.run(gone, check=False).status == 0, "a pass that changes the host", 30)

    def makes_no_pass(self) -> None:
        """For several looks."""
        before = self.passes
        self.machine.run("sleep 5")
        assert self.passes == before


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    root = roots.applied_root("bookworm")
    with Machine(root, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        place = "/etc/systemd/system/agent.service.d"
        machine.run(f"mkdir {place}; cat >{place}/quick.conf; systemctl daemon-reload", stdin=QUICK)
        daemon = Daemon(machine, "agent.service")
        daemon.greet("Welcome")
        machine.run("systemctl enable --now agent.service")
        yield machine


@pytest.fixture
def daemon(machine: Machine) -> Daemon:
    """At rest, with the greeting that every test begins with."""
    daemon = Daemon(machine, "agent.service")
    machine.run("systemctl start agent.service")
    if "Welcome" not in daemon.read("/etc/agent/spec.d/50-motd.yaml"):
        daemon.greet("Welcome")
    daemon.greets("Welcome")
    daemon.rests()
    return daemon


def test_it_makes_a_pass_at_its_start_and_none_because_of_its_own_writes(daemon: Daemon) -> None:
    assert daemon.passes == ["the first since the start"]
    daemon.makes_no_pass()


def test_a_file_that_was_edited_by_hand_is_put_right_by_one_pass(daemon: Daemon) -> None:
    before = daemon.passes
    daemon.machine.run(f"echo vandal >>{MOTD}")

    seconds = daemon.greets("Welcome", 30)

    daemon.rests()
    daemon.makes_no_pass()
    assert daemon.passes[len(before) :] == [f"file {MOTD} is not as it was"]
    (entry,) = daemon.journal(f"AGENT_REF=file:{MOTD}", "AGENT_CAUSE=drift")
    assert (entry["AGENT_RESULT"], entry["AGENT_ACTION"], entry["_SYSTEMD_UNIT"]) == (
        "changed",
        "update",
        "agent.service",
    )
    said = [each["MESSAGE"] for each in daemon.journal("--unit=agent.service") if MOTD in each["MESSAGE"]]
    assert said[-2:] == [f"making a pass: file {MOTD} is not as it was", f"file:{MOTD}: changed (update)"], "twice"
    print(f"repaired after {seconds:.2f} s")


def test_a_grant_that_was_revoked_and_a_unit_that_was_disabled_come_back(daemon: Daemon) -> None:
    invocation = daemon.show("InvocationID", "jupyter.service")
    daemon.machine.run('mariadb -e "REVOKE ALL PRIVILEGES ON analysis.* FROM notebook@localhost"')
    daemon.machine.run("systemctl disable jupyter.service")

    wait_for(lambda: daemon.enabled("jupyter.service"), "the unit is enabled")
    wait_for(lambda: daemon.machine.run(["mariadb", "-Ne", GRANTS]).stdout == "1\n", "the grant is back")

    daemon.rests()
    assert daemon.show("InvocationID", "jupyter.service") == invocation


def test_a_service_that_was_stopped_runs_again(daemon: Daemon) -> None:
    daemon.machine.run("systemctl stop jupyter.service")

    wait_for(lambda: daemon.show("ActiveState", "jupyter.service") == "active", "Jupyter runs")
    daemon.rests()


@pytest.mark.parametrize("way", ["renamed", "in-place", "with-backup"])
def test_a_person_saves_the_spec_and_the_host_follows(daemon: Daemon, way: str) -> None:
    path, text = "/etc/agent/spec.d/50-motd.yaml", 'files: {/etc/motd: {content: "Hello\\n"}}\n'
    match way:
        case "renamed":
            daemon.save(text)
        case "in-place":
            daemon.machine.run(f"cat >{path}", stdin=text)
        case "with-backup":  # as vi does it, its swap file included
            daemon.machine.run(f": >/etc/agent/spec.d/.50-motd.yaml.swp; mv {path} {path}~; cat >{path}", stdin=text)
            daemon.machine.run(f"rm {path}~ /etc/agent/spec.d/.50-motd.yaml.swp")

    seconds = daemon.greets("Hello", 30)

    daemon.rests()
    print(f"followed after {seconds:.2f} s")


def test_a_bad_save_changes_nothing_says_where_and_the_next_good_save_clears_it(daemon: Daemon) -> None:
    daemon.save('files: {/etc/motd: {content: "Hello\\n"}}\njupyter: {prot: 8889}\n')
    place = "/etc/agent/spec.d/50-motd.yaml:2:11"

    wait_for(lambda: place in daemon.show("StatusText"), "systemctl status says where it is wrong", 30)

    assert (
        f'Status: "SpecValid: Invalid: {place}: jupyter.prot'
        in daemon.machine.run("systemctl status agent", check=False).stdout
    )
    shown = daemon.machine.run("agent status", check=False)
    assert shown.status == 2
    assert f"{place}: jupyter.prot" in shown.stdout
    entry = daemon.journal("AGENT_RESULT=invalid")[-1]
    assert (entry["AGENT_PLACE"], entry["AGENT_FIELD"], entry["PRIORITY"]) == (place, "jupyter.prot", "3")
    assert "\n    jupyter: {prot: ********\n" in entry["MESSAGE"], "what is no field here may be a secret"
    assert "port" in entry["MESSAGE"].splitlines()[-1], "did you mean"
    daemon.makes_no_pass()
    assert daemon.read(MOTD) == "Welcome\n"

    daemon.greet("Good")

    daemon.greets("Good", 30)
    daemon.rests()
    assert daemon.machine.run("agent status").status == 0


def test_what_fails_is_tried_again_and_a_new_spec_at_once(daemon: Daemon) -> None:
    before = len(daemon.passes)
    daemon.save("units: {nothing-of-the-kind.service: {active: true}}\n")

    wait_for(lambda: daemon.passes[before:].count("trying again") >= 2, "two more tries", 60)

    failed = "AsWanted: Failed: unit:nothing-of-the-kind.service"
    wait_for(lambda: daemon.show("StatusText").startswith(failed), "systemctl status says what fails")
    moments = [
        int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        for entry in daemon.journal("AGENT_REF=unit:nothing-of-the-kind.service", "AGENT_RESULT=failed")
    ]
    assert 4 < moments[-2] - moments[-3] < moments[-1] - moments[-2]
    daemon.greet("Welcome")
    daemon.greets("Welcome", 10)
    daemon.rests()


def test_a_reload_asks_for_a_pass(daemon: Daemon) -> None:
    before = daemon.passes

    daemon.machine.run("systemctl reload agent.service")

    wait_for(lambda: len(daemon.passes) == len(before) + 1, "one more pass", 30)
    daemon.rests()


def test_an_apply_by_hand_does_not_disturb_it(daemon: Daemon) -> None:
    assert daemon.machine.unit_run(["agent", "apply", "--yes"]).stdout.startswith("No changes.")
    daemon.makes_no_pass()


def test_killed_in_the_middle_of_a_pass_it_comes_back_and_finishes_the_work(daemon: Daemon) -> None:
    restarts = int(daemon.show("NRestarts"))
    invocation = daemon.show("InvocationID", "jupyter.service")
    daemon.save("jupyter: {settings: {ServerApp.shutdown_no_activity_timeout: 86400}}\n")
    daemon.is_at_work()

    daemon.machine.run("systemctl kill --signal=KILL agent.service")

    wait_for(lambda: int(daemon.show("NRestarts")) == restarts + 1, "systemd starts it again", 30)
    wait_for(lambda: "86400" in daemon.read(CONFIG), "the work goes on", 60)
    daemon.rests()
    assert daemon.show("InvocationID", "jupyter.service") != invocation
    daemon.machine.run("agent verify")


def test_a_daemon_that_hangs_is_killed_by_the_watchdog_and_comes_back(daemon: Daemon) -> None:
    pid, restarts = daemon.pid, int(daemon.show("NRestarts"))

    daemon.machine.run(f"kill -STOP {pid}")

    wait_for(lambda: int(daemon.show("NRestarts")) == restarts + 1, "systemd starts it again", 60)
    assert daemon.pid != pid
    assert any("Watchdog timeout" in entry["MESSAGE"] for entry in daemon.journal("--unit=agent.service"))


def test_a_stop_during_a_pass_is_quick_and_clean_and_loses_nothing(daemon: Daemon) -> None:
    daemon.save("jupyter: {settings: {ServerApp.shutdown_no_activity_timeout: 43200}}\n")
    daemon.is_at_work()

    stopped = daemon.machine.run("systemctl stop agent.service")

    assert stopped.seconds < 60
    assert (daemon.show("Result"), daemon.show("ActiveState")) == ("success", "inactive")
    assert daemon.machine.run(["pgrep", "-f", "agent apply"], check=False).stdout == ""
    daemon.machine.run("systemctl start agent.service")
    wait_for(lambda: "43200" in daemon.read(CONFIG), "the work goes on", 60)
    daemon.rests()
    print(f"stopped after {stopped.seconds:.2f} s")


def test_an_idle_daemon_is_small_and_hardly_ever_awake(daemon: Daemon) -> None:
    pid = daemon.pid
    ticks = f"awk '{{print $14 + $15}}' /proc/{pid}/stat"
    before = int(daemon.machine.run(ticks).stdout)
    daemon.machine.run("sleep 8")

    ticking = int(daemon.machine.run(ticks).stdout) - before
    memory = int(daemon.machine.run(f"awk '/^Pss:/ {{print $2}}' /proc/{pid}/smaps_rollup").stdout)

    print(f"{memory} KiB, {ticking * 10} ms in 4 looks")
    assert memory < 12 * 1024
    assert ticking <= 8


def test_it_comes_back_with_the_host_and_takes_a_boot_for_no_drift(daemon: Daemon) -> None:
    daemon.machine.reboot()
    daemon.machine.wait_booted()

    daemon.rests()
    first, *later = daemon.passes
    assert first == "the first since the start"
    # a boot may still be at it when the daemon looks
    assert set(later) <= {"unit jupyter.service is not as it was", "unit mariadb.service is not as it was"}
    assert [entry["MESSAGE"] for entry in daemon.journal("AGENT_RESULT=changed")] == []
    daemon.machine.run(f"echo vandal >>{MOTD}")
    daemon.greets("Welcome", 30)


def test_from_nothing_under_the_unit_s_own_restrictions(bare: Boot) -> None:
    """Accounts, packages, environments as the account, certificates, units: all that it does, it can do as agent.service."""
    machine = bare("trixie")
    daemon = Daemon(machine, "agent.service")
    machine.run("systemctl start agent.service")
    wait_for(lambda: daemon.show("StatusText") == "waiting for a spec at /etc/agent/spec.yaml", "it waits")

    roots.write_spec(machine, roots.QUICKSTART)

    wait_for(lambda: daemon.show("StatusText") == "as wanted", "everything is as wanted", 300)
    assert machine.run("systemctl is-active jupyter.service mariadb.service").stdout == "active\n" * 2
    assert daemon.journal("AGENT_RESULT=failed") == []
    assert machine.run("agent verify").status == 0


@pytest.mark.parametrize("suite", SUITES)
def test_systemd_finds_nothing_to_complain_about_in_the_units(boot: Boot, suite: str) -> None:
    machine = boot(roots.bare_root(suite))
    units = "cd /etc/systemd/system; ls -d agent*"
    names = machine.run(units).stdout.split()

    verified = machine.run(
        ["systemd-analyze", "verify", "--man=no", *(f"/etc/systemd/system/{name}" for name in names)]
    )

    assert names == ["agent-reconcile.path", "agent-reconcile.service", "agent-reconcile.timer", "agent.service"]
    assert verified.stdout + verified.stderr == ""
    print(machine.run("systemd-analyze security --no-pager agent.service | tail -1").stdout)
