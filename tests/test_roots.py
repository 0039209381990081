"""The cache of roots does not grow for ever, and what is in use stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agent.sandbox import Root, kept
from agent.sandbox import roots as cached

DAY = 86400


def make(upper: Path) -> None:
    (upper / "file").write_text("text")


@pytest.mark.skipif(os.geteuid() != 0, reason="roots are root's")
def test_a_new_root_makes_room_of_those_of_its_name_that_nobody_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_CACHE", str(tmp_path))
    lower = Root("bookworm", (), "key")
    old, recent, other = kept(lower, "one", "1", make), kept(lower, "one", "2", make), kept(lower, "two", "1", make)
    for root in (old, other):
        lock = root.layers[0].with_name(root.layers[0].name + ".lock")
        os.utime(lock, (time.time() - DAY, time.time() - DAY))

    new = kept(lower, "one", "3", make)

    there = sorted(path.name for path in (cached.cache() / "roots").iterdir() if path.is_dir())
    assert there == sorted(root.layers[0].name for root in (recent, other, new))


@pytest.mark.skipif(os.geteuid() != 0, reason="roots are root's")
def test_a_root_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_CACHE", str(tmp_path))
    made: list[Path] = []

    for _ in range(2):
        kept(Root("bookworm", (), "key"), "one", "1", made.append)

    assert len(made) == 1
