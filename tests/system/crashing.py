"""A host whose applies are killed or refused something, and what must be so afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.sandbox import Machine
from tests.system import roots
from tests.system.governed import SPEC as GOVERNED
from tests.system.governed import Host

EVERY = bool(os.environ.get("AGENT_TEST_EVERY_POINT"))
"""Set it to try every point; else some of them are, always the same."""
STARTS = "/run/ticker.starts"
SPEC = GOVERNED.replace("ExecStart=/bin/sleep infinity", f"ExecStart=/bin/sh -c 'echo >>{STARTS}; exec sleep 1000000'")
"""The ticker counts its starts."""
EDITED = (
    SPEC.replace("rate = 1", "rate = 2")
    .replace("be kind", "be bold")
    .replace("sleep 1000000", "sleep 2000000")
    .replace("kernel: Python 3.11", "kernel: Python 3.11 edited")
)
"""Two files, a unit and a kernel changed; one restart is owed."""
FILES = (
    "/etc/ticker.conf",
    "/srv/shared/rules",
    "/etc/systemd/system/ticker.service",
    "/etc/agent/jupyter/share/kernels/analysis/kernel.json",
)
LITTER = (
    r"find /etc /srv /home /var/lib/agent /run/agent \( -name '*.agent-new' -o -name '*.damaged' "
    r"-o -path '*/generations/.*' -o -name 'check-*' \) -print 2>/dev/null || true"
)


@dataclass(frozen=True)
class Point:
    """What came of one apply that was disturbed at one system call, and of the next one."""

    point: str
    met: bool
    """Whether it came to that call."""
    status: int
    said: str
    whole: bool
    """Whether each file was the old or the new one in between."""
    after: int
    said_after: str
    verify: int
    starts: int
    """How often the service was started by both together."""
    litter: list[str]

    @property
    def made_up_for(self) -> bool:
        """Everything is as wanted, every file was whole all the time, the one restart was made once, and nothing is left lying."""
        right = (self.after, self.verify, self.starts, self.whole, self.litter) == (0, 0, 1, True, [])
        return right and "Traceback" not in self.said + self.said_after


@pytest.fixture(scope="module")
def governed_host() -> Iterator[Host]:
    """A booted host that is as SPEC wants it."""
    root = roots.applied_root("bookworm", GOVERNED)
    with Machine(root, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        host = Host(machine)
        host.write_spec(SPEC)
        host.apply()
        yield host


@pytest.fixture
def host(governed_host: Host) -> Host:
    """It is as SPEC wants it again when a test begins."""
    governed_host.write_spec(SPEC)
    governed_host.apply()
    governed_host.assert_as_wanted()
    return governed_host


def disturbed(host: Host, inject: str, share: int, of: int) -> list[Point]:
    """Each ``of``-th point, from ``share`` on, at which an apply changes something. ``inject`` is strace's (strace(1), Tampering)."""
    program = (Path(__file__).parent / "inside_crash.py").read_text()
    host.machine.run("cat >/run/inside_crash.py", stdin=program)
    share, of = (0, 1) if EVERY else (share, of)
    asked = {"specs": [SPEC, EDITED], "files": FILES, "inject": inject, "share": [share, of]}
    done = host.machine.run(["python3", "/run/inside_crash.py"], stdin=json.dumps(asked), timeout=900)
    points = [Point(**each) for each in json.loads(done.stdout)]
    assert len(points) >= 60 // of, (
        "too few calls were found in the trace: the pattern no longer matches what the agent does"
    )
    return points


def starts(host: Host) -> int:
    """How often the ticker was started since the boot."""
    return int(host.run(f"wc -l <{STARTS}"))
