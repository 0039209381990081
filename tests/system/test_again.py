"""A second apply changes nothing: no write but the status, no child process, no restart."""

from __future__ import annotations

import pytest

from agent.sandbox import SUITES
from tests.system.conftest import Boot

WRITES = "openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat," \
    "chown,fchown,fchownat,lchown,truncate,ftruncate,setxattr,fsetxattr,utimensat,mknodat"  # fmt: skip


@pytest.mark.parametrize("suite", SUITES)
def test_a_second_apply_writes_the_status_only_and_starts_no_process(applied: Boot, suite: str) -> None:
    machine = applied(suite)
    invocations = "systemctl show -p InvocationID --value jupyter.service mariadb.service"
    machine.unit_run(["agent", "apply", "--yes"])
    before = machine.run(invocations).stdout

    traced = machine.run(
        ["strace", "-f", "-y", "-o", "/tmp/trace", f"-etrace={WRITES},execve,clone,clone3,fork,vfork", "agent", "apply"]
    )

    assert traced.stdout.startswith("No changes."), traced.stdout
    lines = [line.split(None, 1)[1] for line in machine.run("cat /tmp/trace").stdout.splitlines()]
    calls = [line for line in lines if not line.startswith(("+++", "---"))]
    opened_to_write = [
        line
        for line in calls
        if line.startswith("open") and ("O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line)
    ]
    others = [line for line in calls if not line.startswith(("open", "execve"))]
    assert len([line for line in calls if line.startswith("execve")]) == 1
    # the lock is opened for locking; nothing is written into it
    assert all(
        "/var/lib/agent/lock" in line or "/var/lib/agent/.status.json.agent-new" in line for line in opened_to_write
    ), opened_to_write
    assert [line for line in others if "/var/lib/agent/status.json" not in line] == []
    assert machine.run(invocations).stdout == before
