"""Directories have their owner and mode; what is in them is not touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.kinds.directory import Directory, DirectoryState
from agent.resource import Ref
from agent.steps import MakeDirectory, Remove
from tests.host.parts import Parts
from tests.kinds.seen import removal_of, steps_for

SSH = Directory("/home/alice/.ssh", 0o700, "alice", "alice", below="alice")
MAKE = MakeDirectory("/home/alice/.ssh", 0o700, "alice", "alice", below="alice")


def test_it_is_made_or_its_access_set() -> None:
    assert steps_for(SSH, None) == [MAKE]
    assert steps_for(SSH, DirectoryState(0o755, "alice", "alice")) == [MAKE]
    assert steps_for(SSH, DirectoryState(0o700, "alice", "alice")) == []


def test_a_link_in_its_place_is_a_difference(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    host: Any = Parts(tmp_path)
    directory = Directory(f"{tmp_path}/link", 0o777)

    current = directory.read(host)

    assert current is not None
    assert current.stands == "link"
    assert steps_for(directory, current) != []


def test_it_waits_for_its_owners_and_for_what_it_lies_in() -> None:
    assert set(SSH.needs()) == {
        Ref("user", "alice"),
        Ref("group", "alice"),
        Ref("directory", "/home"),
        Ref("directory", "/home/alice"),
    }


def test_it_is_removed_only_when_empty() -> None:
    assert removal_of(SSH, DirectoryState(0o700, "alice", "alice")) == [Remove("/home/alice/.ssh", "alice", tree=False)]
