"""What people do in a terminal of the server works, and it keeps them away from the rest of the host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.sandbox import Machine
from tests.system import roots
from tests.system.notebooks import Notebooks

PYTHON = "/opt/conda/envs/analysis/bin/python"
NUMERIC = """
import multiprocessing, numpy, os, pty, tempfile
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(sum(pool.map(abs, [-20, -22])))
print(int(numpy.linalg.inv(numpy.eye(300) * 2).sum()))
with tempfile.TemporaryFile() as file:
    file.write(b"x")
os.close(pty.openpty()[0])
"""

REFUSED = [
    "cat /etc/shadow",
    "cat /etc/agent/tls/jupyter.d/*/key.pem >/etc/passwd",
    "cat /home/alice/letter",
    "cat /root/.profile",
    "ls /var/lib/agent/secrets",
    "cat /etc/agent/spec.yaml",
    "echo canary | su alice -c true",
    "echo canary | su -c true",
    "unshare --user true",
    "unshare --mount --map-root-user true",
    "mount -t tmpfs none /tmp",
    "touch /usr/local/bin/x",
    "touch /etc/agent/jupyter/x",
    "chmod u+s /home/notebook/work",
    "python3 -c 'import urllib.request as u; u.urlopen(\"http://169.254.169.254/\", timeout=3)'",
    "ls /proc/1/environ",
    "kill -0 1",
]


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    """The quickstart, and another person's home. ``bpf``: without it systemd's address filter is there but does nothing."""
    root = roots.applied_root()
    with Machine(
        root,
        network=True,
        binds=[roots.channel_bind()],
        prepare=roots.same_host(root),
        syscalls=("bpf", "@keyring"),
    ) as machine:
        machine.wait_booted()
        machine.run(
            "useradd -m alice; echo private >/home/alice/letter; chmod -R a+rX /home/alice; echo alice:canary | chpasswd\n"
            "ip address add 169.254.169.254/32 dev lo\n"
            "systemd-run --quiet --unit=metadata python3 -m http.server 80 --bind 169.254.169.254"
        )
        yield machine


def test_pip_installs_into_the_kernel_s_environment_and_a_pass_leaves_that_alone(host: Machine) -> None:
    notebooks = Notebooks(host)
    code = "import subprocess, sys; print(subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', 'numpy']).returncode)"
    assert notebooks.execute("analysis", code) == "0"
    assert notebooks.execute("analysis", NUMERIC).split() == ["42", "150"]
    assert host.run("agent plan --detailed-exitcode", check=False).status == 0
    assert notebooks.terminal(f"{PYTHON} -c 'import numpy; print(numpy.arange(3))'").strip() == "[0 1 2]"


def test_a_terminal_is_the_account_s_own_and_what_it_writes_stays(host: Machine) -> None:
    said = Notebooks(host).terminal(
        "id -un; tty; cd; mkdir -p work && echo kept >work/note; touch /tmp/t /dev/shm/t && echo yes"
    )
    assert said.split() == ["notebook", "/dev/pts/0", "yes"]
    assert host.run("cat /home/notebook/work/note; stat -c %U /home/notebook/work/note").stdout == "kept\nnotebook\n"
    assert host.run("test -e /tmp/t", check=False).status == 1, "its /tmp is its own"


def test_the_rest_of_the_host_is_refused_to_a_terminal(host: Machine) -> None:
    script = "\n".join(f"( {command} ) </dev/null >/dev/null 2>&1; echo $?" for command in REFUSED)
    statuses = Notebooks(host).terminal(script).split()
    assert len(statuses) == len(REFUSED)
    assert [command for command, status in zip(REFUSED, statuses, strict=True) if status == "0"] == []


def test_what_is_refused_to_a_terminal_is_there_for_root(host: Machine) -> None:
    host.run(
        "cat /etc/shadow /home/alice/letter /root/.profile /etc/agent/spec.yaml /proc/1/environ; ls /var/lib/agent/secrets"
    )
    fetched = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://169.254.169.254/\", timeout=3).status)'"
    assert host.run(fetched).stdout == "200\n"
    assert host.unit_run(["su", "alice", "-c", "echo in"]).stdout == "in\n"
    assert host.unit_run(["unshare", "--mount", "true"]).status == 0


def test_systemd_rates_the_unit_well(host: Machine) -> None:
    unit = "/etc/systemd/system/jupyter.service"
    rated = host.run(["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit])
    assert float(rated.stdout.rpartition("for jupyter.service: ")[2].split()[0]) <= 1.7
    host.run(["systemd-analyze", "verify", unit])
