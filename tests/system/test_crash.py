"""Killed at any moment, by kill -9 or a power cut: every file is the old or the new one, the next apply converges, each owed restart is made exactly
once, and nothing is left lying. (AGENT_TEST_EVERY_POINT=1 tries every system call.)"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.sandbox import Machine
from tests.system import crashing, roots
from tests.system.conftest import Boot
from tests.system.crashing import EDITED, LITTER, SPEC, disturbed, starts
from tests.system.governed import Host
from tests.system.notebooks import Notebooks

governed_host, host = crashing.governed_host, crashing.host
AGENT = "^/opt/agent/bin/python3.* apply"
JUPYTER, MARIADB = "jupyter.service", "mariadb.service"


def begin(host: Host) -> subprocess.Popen[bytes]:
    """An apply in the background."""
    argv = host.machine.argv(["agent", "apply", "--yes"])
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(machine: Machine, script: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while machine.run(script, check=False).status:
        assert time.monotonic() < deadline, f"not within {seconds} s: {script}"
        time.sleep(0.05)


def assert_made_up_for(host: Host) -> None:
    host.apply()
    host.assert_as_wanted()
    assert host.run(LITTER) == ""


def test_killed_at_each_call_that_changes_something(host: Host) -> None:
    points = disturbed(host, "signal=KILL", 0, 4)

    assert sum(each.met for each in points) > 0.9 * len(points), "calls of the trace did not come again"
    assert [each.point for each in points if each.met and each.status != -9] == []
    assert [each for each in points if not each.made_up_for] == []


def test_killed_at_any_moment(host: Host) -> None:
    killed = 0
    for number in range(8):
        host.write_spec((EDITED, SPEC)[number % 2])
        before = starts(host)
        run = begin(host)
        time.sleep(0.15 + 0.12 * number)
        killed += run.poll() is None
        host.machine.run(["pkill", "-9", "-f", AGENT], check=False)
        run.wait(30)
        assert_made_up_for(host)
        assert starts(host) == before + 1
    assert killed >= 4, "most applies had ended before they were to be killed"


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("fsync:signal=KILL:when=1 -P /etc/agent/jupyter", id="files-written-nothing-restarted"),
        pytest.param("renameat:signal=KILL:when=2 -P /var/lib/agent/memory", id="just-after-a-restart"),
    ],
)
def test_jupyter_and_the_database_server_are_restarted_once(host: Host, point: str) -> None:
    before, since = host.invocations(), host.run("date +@%s.%N").strip()
    edited = SPEC.replace("mysql:\n", "mysql:\n  settings: {back_log: 60}\n")
    host.write_spec(edited.replace("  interface: lab\n", "  interface: lab\n  terminals: false\n"))

    call = point.partition(":")[0]
    killed = host.machine.run(
        f"strace -f -qq -o /dev/null -e trace={call} -e inject={point} agent apply --yes", check=False
    )
    assert killed.status in (-9, 137)
    assert_made_up_for(host)

    after = host.invocations()
    assert {name for name in before if before[name] != after[name]} == {JUPYTER, MARIADB}
    for name in (JUPYTER, MARIADB):
        assert host.run(f"journalctl -b -o cat -u {name} --since={since} | grep -c ^Started") == "1\n"
    host.run("curl -sS --fail --cacert /etc/agent/tls/jupyter/trust.pem https://localhost:8888/api")


def test_a_restart_that_is_owed_while_a_kernel_computes_is_made_once_it_is_idle(host: Host) -> None:
    notebooks = Notebooks(host.machine)
    before = host.invocations()
    with ThreadPoolExecutor() as pool:
        computing = pool.submit(notebooks.execute, "analysis", "import time; time.sleep(12); print('done')")
        token = "Authorization: token $(cat /var/lib/agent/secrets/jupyter.token)"
        kernels = f'curl -sS --cacert {notebooks.trust} -H "{token}" {notebooks.url.replace("127.0.0.1", "localhost")}api/kernels'
        wait_for(host.machine, f"{kernels} | grep busy")
        host.write_spec(SPEC.replace("  interface: lab\n", "  interface: lab\n  terminals: false\n"))

        report = host.apply(status=75)

        waits = [each for each in report["outcomes"] if each["result"] == "skipped"]
        assert [each["ref"] for each in waits][:1] == ["unit:jupyter.service"]
        assert "compute; the restart waits until they are idle" in waits[0]["message"]
        assert not computing.done()
        assert host.invocations() == before
        assert computing.result(120) == "done"
    assert_made_up_for(host)
    after = host.invocations()
    assert {name for name in before if before[name] != after[name]} == {JUPYTER}


def test_a_worker_that_is_killed_fails_its_environment_and_the_next_apply_makes_it(host: Host) -> None:
    host.write_spec(SPEC.replace("[python 3.11.*, pip, six]", "[python 3.11.*, pip, six, toy-many]"))
    run = begin(host)
    wait_for(host.machine, "pgrep -u notebook -f agent.workers.conda")

    host.run("pkill -9 -u notebook -f agent.workers.conda")

    assert run.wait(60) == 3
    failed = [each for each in host.status(status=2)["resources"] if each["result"] == "failed"]
    assert [each["ref"] for each in failed] == ["environment:tools"]
    assert "worker" in failed[0]["message"]
    assert_made_up_for(host)


def test_a_power_cut_in_the_middle(host: Host) -> None:
    for number, seconds in enumerate((0.5, 0.9)):
        host.write_spec((EDITED, SPEC)[number % 2])
        run = begin(host)
        time.sleep(seconds)
        host.machine.crash()
        run.wait(30)
        host.machine.wait_booted()
        booted = starts(host)

        assert_made_up_for(host)

        # once by the boot, and once more if that was not known to be with the new files
        assert starts(host) <= booted + 1


def test_a_first_apply_is_killed_again_and_again(bare: Boot) -> None:
    host = Host(bare())
    host.write_spec(roots.QUICKSTART)
    machine = host.machine

    def kill_all() -> None:
        machine.run(
            "systemctl kill --signal=KILL first.service; while systemctl -q is-active first.service; do sleep 0.1; done"
        )

    def kill_the_agent() -> None:
        machine.run(["pkill", "-9", "-f", AGENT])

    def cut_the_power() -> None:
        machine.crash()
        machine.wait_booted()

    ends: list[tuple[float, Callable[[], None]]] = [
        (4, kill_all),
        (7, kill_the_agent),
        (8, cut_the_power),
        (8, kill_all),
    ]
    for seconds, end in ends:
        machine.run(
            "systemctl reset-failed; systemd-run --quiet --collect --unit=first -p KillMode=process agent apply --yes",
            check=False,
        )
        time.sleep(seconds)
        if machine.run("systemctl is-active first.service", check=False).status == 0:
            end()
    # what the killed ones started may still be at it
    wait_for(machine, "! pgrep -x apt-get && ! pgrep -f [a]gent.workers", 120)

    host.apply()

    host.agent("verify", "--quiet")
    assert host.agent("apply").startswith("No changes.")
    assert host.run(LITTER) == ""
    assert not re.search(r"^Status: .*(half|unpacked)", host.run("cat /var/lib/dpkg/status"), re.M)
    host.run("curl -sS --fail --cacert /etc/agent/tls/jupyter/trust.pem https://localhost:8888/api")
    assert machine.run("runuser -u notebook -- mariadb -e 'SELECT DATABASE()'").stdout.split()[-1] == "analysis"
