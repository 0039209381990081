"""Two applies never work at the same time: the second waits, or gives up with status 5 and says who is at work, and nobody minds a holder's death."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from agent.sandbox import Machine
from tests.system import roots
from tests.system.governed import SPEC, Host

SLOW = '  slow.service: {content: "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sleep SECONDS\\n", active: true}\n'
HOLDER = r"agent apply \(pid (\d+), since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\) holds the lock"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    root = roots.applied_root("bookworm", SPEC)
    with Machine(root, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        yield machine


@pytest.fixture
def host(machine: Machine) -> Host:
    host = Host(machine)
    host.write_spec(SPEC)
    host.apply()
    host.assert_as_wanted()
    return host


def with_slow(seconds: float) -> str:
    """The spec with a unit that takes so long to start."""
    return SPEC.replace("units:\n", "units:\n" + SLOW.replace("SECONDS", f"{seconds:g}"))


def begin(host: Host, *words: str) -> subprocess.Popen[str]:
    """An apply in the background."""
    argv = host.machine.argv(["agent", "apply", "--yes", *words])
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(host: Host, script: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while host.machine.run(script, check=False).status:
        assert time.monotonic() < deadline, f"not within {seconds} s: {script}"
        time.sleep(0.1)


def at_work(host: Host) -> str:
    """The pid of the apply that is starting the slow unit."""
    wait_for(host, "systemctl show -P ActiveState slow.service | grep -x activating")
    return host.run("pgrep -f '^/opt/agent/bin/python3.* apply'").split()[0]


def test_the_second_waits_says_for_whom_and_finds_nothing_left_to_do(host: Host) -> None:
    host.write_spec(with_slow(4))
    first = begin(host)
    pid = at_work(host)

    second = begin(host)

    told, said = second.communicate(timeout=60)
    assert (first.wait(60), second.returncode) == (0, 0), said
    waited = re.search(f"waiting: {HOLDER}", said)
    assert waited is not None, said
    assert waited[1] == pid
    assert told.startswith("No changes.")


def test_one_that_will_not_wait_exits_5_and_names_the_holder(host: Host) -> None:
    host.write_spec(with_slow(5))
    first = begin(host)
    pid = at_work(host)

    begun = time.monotonic()
    second = host.machine.run(["agent", "apply", "--yes", "--lock-timeout=0.5"], check=False)
    seconds = time.monotonic() - begun

    assert second.status == 5
    assert re.findall(f"agent: {HOLDER}", second.stderr) == [pid]
    assert "--lock-timeout" in second.stderr
    assert 0.5 <= seconds < 4
    # who only looks waits for nobody
    assert "slow.service" in host.agent("plan")
    host.agent("status")
    assert first.poll() is None, "the first was to be at work all the time"
    assert first.wait(60) == 0


def test_when_the_holder_is_killed_the_next_one_goes_on_at_once(host: Host) -> None:
    host.write_spec(with_slow(6))
    first = begin(host)
    pid = at_work(host)
    second = begin(host)
    wait_for(host, "test $(pgrep -cf '^/opt/agent/bin/python3.* apply') = 2")

    host.run(f"kill -9 {pid}")

    assert second.wait(60) == 0, second.stderr.read() if second.stderr else ""
    assert first.wait(10) != 0
    host.assert_as_wanted()
    # the start that the first one had asked systemd for was not asked for again
    assert host.run("journalctl -b -o cat -u slow.service | grep -c '^Starting'") == "3\n"


def test_twenty_at_once_all_end_well(host: Host) -> None:
    before = host.invocations()
    host.write_spec(SPEC.replace("rate = 1", "rate = 2"))

    patient = [begin(host) for _ in range(10)]
    impatient = [begin(host, "--lock-timeout=0.2") for _ in range(10)]

    said = [each.communicate(timeout=120) for each in (*patient, *impatient)]
    assert [each.returncode for each in patient] == [0] * 10
    assert {each.returncode for each in impatient} <= {0, 5}
    assert not [text for both in said for text in both if "Traceback" in text]
    # one of them did it, once
    assert sum("~ file:/etc/ticker.conf" in told for told, _ in said) == 1
    host.assert_as_wanted()
    after = host.invocations()
    assert {name for name in before if before[name] != after[name]} == {"ticker.service"}


def test_a_daemon_a_timer_and_a_person_who_see_the_same_edit_make_it_once(host: Host) -> None:
    host.run("systemctl start agent.service")
    wait_for(host, "systemctl show -P StatusText agent.service | grep 'as wanted'")
    before = host.invocations()
    starts = "journalctl -b -o cat -u ticker.service | grep -c '^Started'"
    counted = int(host.run(starts))

    host.write_spec(SPEC.replace("rate = 1", "rate = 3"))
    service = subprocess.Popen(host.machine.argv(["systemctl", "start", "agent-reconcile.service"]))
    person = begin(host)

    assert (service.wait(120), person.wait(120)) == (0, 0)
    wait_for(host, "systemctl show -P StatusText agent.service | grep 'as wanted'")
    host.run("systemctl stop agent.service")
    host.assert_as_wanted()
    after = host.invocations()
    assert {name for name in before if before[name] != after[name]} == {"ticker.service"}
    assert int(host.run(starts)) == counted + 1
