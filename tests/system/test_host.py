"""The throw-away hosts that all other system tests stand on."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.sandbox import SUITES, Bind, Machine, base_root, layer, sweep
from agent.sandbox.roots import cache, debs
from tests.system.conftest import Boot

CHECKOUT = Path(__file__).resolve().parents[2]

each_suite = pytest.mark.parametrize("suite", SUITES)


@each_suite
def test_a_host_boots_without_a_failed_unit(boot: Boot, suite: str) -> None:
    machine = boot(suite)
    assert machine.wait_booted() == "running"
    assert machine.run("systemctl --failed --no-legend").stdout == ""
    assert f"VERSION_CODENAME={suite}" in machine.run("cat /etc/os-release").stdout


@each_suite
def test_what_is_on_its_disk_survives_a_power_cut_and_a_reboot(boot: Boot, suite: str) -> None:
    machine = boot(suite)
    machine.run("useradd --create-home alice; touch /run/in-memory")
    identity, address = machine.run("cat /etc/machine-id").stdout, machine.address
    boots = {machine.run("cat /proc/sys/kernel/random/boot_id; journalctl --list-boots | wc -l").stdout}
    for begin_again in (machine.crash, machine.reboot):
        begin_again()
        assert machine.wait_booted() == "running"
        assert "alice" in machine.run("getent passwd alice").stdout
        assert machine.run("test -e /run/in-memory", check=False).status == 1
        assert machine.run("cat /etc/machine-id").stdout == identity
        assert machine.address == address
        serve(machine)
        assert get(machine.address, 8000).startswith("<!DOCTYPE")
        boots.add(machine.run("cat /proc/sys/kernel/random/boot_id; journalctl --list-boots | wc -l").stdout)
    assert len(boots) == 3


@each_suite
def test_limits_of_units_hold(boot: Boot, suite: str) -> None:
    machine = boot(suite)
    for _ in range(2):
        hungry = ["python3", "-c", "bytearray(200 * 2**20)"]
        assert machine.unit_run(hungry, "MemoryMax=50M", check=False).status == 255  # by a signal
        assert machine.unit_run(hungry, "MemoryMax=400M", check=False).status == 0
        assert machine.unit_run("true & true & true & wait", "TasksMax=2", check=False).status != 0
        machine.reboot()


def test_two_hosts_do_not_see_each_other(boot: Boot) -> None:
    first, second = boot(network=True), boot(network=True)
    assert first.address != second.address
    assert first.run("cat /etc/machine-id").stdout != second.run("cat /etc/machine-id").stdout
    start = ["systemd-run", "--quiet", "--unit=same", "sleep", "1000"]
    first.run(start)
    second.run(start)
    first.run("systemctl stop same")
    assert second.run("systemctl is-active same").stdout == "active\n"
    serve(second)
    assert get(second.address, 8000).startswith("<!DOCTYPE")
    curl = ["curl", "--silent", "--show-error", "--max-time", "5", f"http://{second.address}:8000/"]
    refused = first.run(curl, check=False)
    assert refused.status == 7, refused
    assert refused.seconds < 2


def test_a_port_is_forwarded_to_the_loopback_of_the_host(boot: Boot) -> None:
    machine = boot()
    local = machine.forward(8000)
    with pytest.raises(OSError):
        get("127.0.0.1", local)
    serve(machine, "127.0.0.1")
    assert get("127.0.0.1", local).startswith("<!DOCTYPE")


def test_no_command_in_a_host_can_set_the_clock(boot: Boot) -> None:
    """There is only one, this system's. Looked up rather than tried, for it would be set if it could."""
    machine = boot()
    for run in (machine.run, machine.unit_run):
        capabilities = run("sed -n 's/^CapBnd:\\s*//p' /proc/self/status").stdout
        assert not int(capabilities, 16) >> 25 & 1  # CAP_SYS_TIME, capability.h
        assert int(capabilities, 16) >> 21 & 1  # CAP_SYS_ADMIN


def test_a_look_up_without_network_is_refused_at_once(boot: Boot) -> None:
    machine = boot()
    result = machine.run(["getent", "hosts", "example.org"], check=False)
    assert result.status == 2
    assert result.seconds < 1


@each_suite
def test_apt_and_pip_work_inside_with_network(boot: Boot, suite: str) -> None:
    machine = boot(suite, network=True)
    machine.unit_run("apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq -y install hello; hello")
    machine.unit_run(
        "python3 -m venv /opt/v; /opt/v/bin/pip install --quiet jinja2; /opt/v/bin/python -c 'import jinja2'"
    )


def test_a_package_is_downloaded_once(boot: Boot) -> None:
    install = "apt-get -qq update; apt-get -y install tree 2>&1"
    for package in debs("bookworm").rglob("tree_*.deb"):
        package.unlink()
    first = boot(network=True)
    assert "Need to get 0 B/" not in first.run(install).stdout
    first.stop()
    assert "Need to get 0 B/" in boot(network=True).run(install).stdout


def test_a_layer_is_built_once_and_keeps_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("seen")
    binds = [Bind(tmp_path, Path("/srv/from-outside"))]
    lower = base_root()
    command = "cat /srv/from-outside/given > /made; date +%N >> /made"
    built = layer(lower, command, "test", binds=binds)
    try:
        made = (built.layers[0] / "made").read_text()
        assert made.startswith("seen")
        assert layer(lower, command, "test", binds=binds) == built
        assert (built.layers[0] / "made").read_text() == made
        assert not (built.layers[0] / "srv/from-outside").exists()
        assert not (built.layers[0] / "usr/sbin/policy-rc.d").exists()
        with Machine(built) as machine:
            assert machine.run("cat /made").stdout == made
    finally:
        forget(built.layers[0])


def test_a_layer_that_fails_says_why_and_leaves_nothing() -> None:
    with pytest.raises(HostError, match=r"(?s)exit status 3.*so it is"):
        layer(base_root(), "echo so it is; exit 3", "test-failing")
    cache = base_root().layers[0].parent
    assert not [path for path in cache.glob("*test-failing*") if path.is_dir()]
    assert "test-failing" not in Path("/proc/self/mountinfo").read_text()
    for path in cache.glob("*test-failing*"):
        path.unlink()


def test_two_who_want_the_same_layer_at_once_get_one() -> None:
    lower = base_root()
    with ThreadPoolExecutor() as pool:
        built = set(pool.map(lambda _: layer(lower, "date +%N > /made; sleep 0.5", "test-twice"), range(3)))
    assert len(built) == 1
    forget(built.pop().layers[0])


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_build_that_is_interrupted(ending: signal.Signals) -> None:
    process = program(BUILDS)
    wait_until(lambda: traces_of("test-interrupted") != [] and traces_of("sleep 987654") != [])
    process.send_signal(ending)
    process.wait(30)
    if ending == signal.SIGKILL:
        assert any("test-interrupted" in name for name in sweep())
    assert traces_of("test-interrupted") == []
    assert traces_of("sleep 987654") == []
    for path in base_root().layers[0].parent.glob("*test-interrupted*"):
        assert not path.is_dir()
        path.unlink()


def test_a_host_boots_where_systemd_runs_the_system_it_boots_on(boot: Boot) -> None:
    """As on most people's machines: control groups v2, written to by systemd alone. Such a machine is made first."""
    tools = (
        "apt-get -qq update; apt-get -qq -y install --no-install-recommends debootstrap slirp4netns systemd-container"
    )
    machine = boot(
        layer(base_root(), tools, "test-nesting"),
        network=True,
        unified=True,
        binds=[Bind(CHECKOUT), Bind(cache(), writable=True), Bind(Path("/dev/net/tun"), writable=True)],
    )
    settings = [f"Environment=PYTHONPATH={CHECKOUT} PYTHONDONTWRITEBYTECODE=1 AGENT_CACHE={cache()}"]
    said = machine.unit_run(["python3", "-c", NESTS], *settings).stdout.splitlines()
    assert said == ["running", "running", "running", "left: []"]
    assert machine.wait_booted() == "running"


NESTS = """
import subprocess
from agent.sandbox import Machine, base_root
with Machine(base_root(), network=True) as machine:
    print(machine.wait_booted())
    machine.reboot()
    print(machine.wait_booted())
    machine.crash()
    print(machine.wait_booted())
    name = machine.name
left = subprocess.run(["systemctl", "list-units", "--no-legend", "agent-sandbox*"], capture_output=True, text=True).stdout
print("left:", left.splitlines())
"""

BUILDS = """
from agent.sandbox import base_root, layer
layer(base_root(), f"sleep {987654}", "test-" + "interrupted")  # spelled so that only the build itself matches
"""

LIVES = """
import signal, sys, time
from agent.sandbox import Machine, base_root
with Machine(base_root(), network=True) as machine:
    machine.forward(8000)
    print(machine.name, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_its_program_is_told_to_end(ending: signal.Signals) -> None:
    process, name = program_with_a_host()
    assert traces_of(name) != []
    process.send_signal(ending)
    process.wait(30)
    assert traces_of(name) == []


def test_nothing_is_left_after_kill_9_and_a_sweep(boot: Boot) -> None:
    living = boot()
    process, name = program_with_a_host()
    process.kill()
    process.wait()
    assert traces_of(name) != []
    assert name in sweep()
    assert traces_of(name) == []
    assert living.run("echo alive").stdout == "alive\n"


def test_a_host_is_started_once(boot: Boot) -> None:
    with pytest.raises(HostError, match="was started before"):
        boot().start()


def test_nothing_is_left_after_an_end_and_a_boot_that_fails() -> None:
    with Machine(base_root()) as machine:
        name = machine.name
        assert traces_of(name) != []
    assert traces_of(name) == []

    names: list[str] = []

    def spoil(root: Path) -> None:
        names.append(root.parent.parent.name)
        (root / "usr/lib/systemd/systemd").unlink()

    with pytest.raises(HostError, match="ended before it had booted"):
        Machine(base_root(), prepare=spoil).start()
    assert traces_of(names[0]) == []


def program_with_a_host() -> tuple[subprocess.Popen[str], str]:
    process = program(LIVES)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def program(source: str) -> subprocess.Popen[str]:
    # what a shell starts in the background ignores SIGINT, and so would this
    words = ["env", "--default-signal=INT", sys.executable, "-c", source]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)


def wait_until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def traces_of(name: str) -> list[str]:
    """Processes, mounts, control groups, network namespaces and directories that carry the name of a host."""
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line]
    found += [str(path) for path in (Path("/run/netns", name), Path("/run/agent/sandbox", name)) if path.exists()]
    found += [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if name in folder]
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in command.read_bytes().replace(b"\0", b" "):
                found.append(str(command))
        except OSError:
            continue
    return found


def serve(machine: Machine, address: str = "") -> None:
    """Starts a web server on port 8000, which no reboot survives."""
    machine.run(
        ["systemd-run", "--quiet", "python3", "-m", "http.server", "8000", "--bind", address or machine.address]
    )
    machine.run("for n in $(seq 100); do ss -Hltn 'sport = :8000' | grep -q . && exit; sleep 0.05; done; exit 1")


def get(address: str, port: int) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().read().decode()


def forget(path: Path) -> None:
    subprocess.run(["rm", "-rf", "--", str(path), f"{path}.lock", f"{path}.log"], check=True)
