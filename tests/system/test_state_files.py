"""Refused a call, out of disk, or with a damaged file of its own state, the agent says so in a line, leaves no half-made thing, and heals."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system import crashing
from tests.system.crashing import EDITED, FILES, LITTER, disturbed, starts
from tests.system.governed import Host

governed_host, host = crashing.governed_host, crashing.host
HARMLESS = (
    "unlinkat /var/lib/agent",  # of a temporary file that is not there
    "mkdir /var/lib/agent ",  # which is there
    "/var/lib/agent/memory",  # the second note of a restart, that it came about: the first says enough
)
"""Calls that nobody is worse off without: an apply that is refused them may well succeed."""


@pytest.mark.parametrize(("error", "share"), [("ENOSPC", 1), ("EIO", 5), ("EACCES", 9)])
def test_what_a_call_is_refused_is_an_error_in_a_line_and_made_up_for(host: Host, error: str, share: int) -> None:
    points = disturbed(host, f"error={error}", share, 12)

    assert sum(each.met for each in points) > 0.8 * len(points), "calls of the trace did not come again"
    assert [each for each in points if not each.made_up_for] == []
    silent = [each.point for each in points if each.met and each.status == 0]
    assert [point for point in silent if not any(words in point for words in HARMLESS)] == []
    words = os.strerror(getattr(errno, error)).lower()
    assert [each for each in points if each.status and words not in each.said.lower()] == []
    assert {each.status for each in points} <= {0, 1, 3}


def test_a_full_disk_breaks_nothing_and_is_made_up_for_once_there_is_room(host: Host) -> None:
    host.run(
        "cp -a /var/lib/agent /run/kept; mount -t tmpfs -o size=1m,mode=755 state /var/lib/agent; cp -a /run/kept/. /var/lib/agent"
    )
    try:
        digest = f"sha256sum {' '.join(FILES)} | cut -d' ' -f1"
        old = host.run(digest).split()
        statuses = []
        for room in (0, 4, 8, 24, 48):
            host.run(f"rm -f /var/lib/agent/ballast; cat /dev/zero >/var/lib/agent/ballast || true; "
                     f"truncate -s -{room}K /var/lib/agent/ballast")  # fmt: skip
            host.write_spec(EDITED)
            done = host.machine.run(["agent", "apply", "--yes"], check=False)
            statuses.append(done.status)
            assert "Traceback" not in done.stdout + done.stderr
            assert done.status == 0 or "No space left on device" in done.stdout + done.stderr
        host.run("rm /var/lib/agent/ballast")
        before = starts(host)
        host.apply()
        host.assert_as_wanted()
        assert 0 not in statuses[:2]
        assert all(a != b for a, b in zip(old, host.run(digest).split(), strict=True))
        assert starts(host) <= before + 1
        assert host.run(LITTER) == ""
    finally:
        host.run("cp -a /var/lib/agent/. /run/kept; umount /var/lib/agent; cp -a /run/kept/. /var/lib/agent")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "random": lambda content: bytes(value ^ 0x5A for value in content) or b"\xff\xfe\x00",
    "foreign": lambda _: b'{"format": 99, "digest": "x", "conditions": 7, "resources": [{"kind": "no such"}]}\n',
    "no object": lambda _: b"[[[]]]\n",
}
STATE = (
    "ledger.jsonl",
    "evidence",
    "status.json",
    "memory/started.ticker.service",
    "GENERATION/resources.json",
    "bad.json",
    "lock",
)


@pytest.mark.parametrize("name", STATE)
def test_a_damaged_state_file_is_healed(host: Host, name: str) -> None:
    state = host.machine.root / "var/lib/agent"
    newest = max(int(each.name) for each in (state / "generations").iterdir())
    path = Path(str(state / name).replace("GENERATION", f"generations/{newest}"))
    content = path.read_bytes() if path.exists() else b"{}"
    for damage in DAMAGE.values():
        before = starts(host)
        path.write_bytes(damage(content))

        for verb in (["plan"], ["status"], ["apply", "--yes"]):
            done = host.machine.run(["agent", *verb], check=False)
            assert "Traceback" not in done.stdout + done.stderr
            assert verb == ["status"] or done.status == 0, done

        host.assert_as_wanted()
        # a service of which it is not known what it was started with is started anew; nothing else is touched
        assert starts(host) == before + name.startswith("memory")
    host.run("rm -f /var/lib/agent/ledger.jsonl.damaged")


def test_whole_directories_of_state_that_are_gone_are_made_anew(host: Host) -> None:
    host.run(
        "rm -r /var/lib/agent/memory /var/lib/agent/generations /var/lib/agent/*.json* /var/lib/agent/evidence /var/lib/agent/lock"
    )

    host.apply()

    host.assert_as_wanted()
