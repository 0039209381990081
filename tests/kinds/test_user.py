"""Accounts have what the spec says; what it leaves out is theirs, and nobody's home is removed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.kinds.user import User, UserState
from agent.resource import Ref
from agent.steps import MakeDirectory, Run, Step
from tests.host.parts import Parts
from tests.kinds.seen import removal_of, steps_for

BASH = "/bin/bash"
ALICE = User("alice", home="/home/alice", shell=BASH, group="alice", groups=frozenset({"research"}))
RIGHT = UserState(1000, "", "/home/alice", "/bin/bash", "alice", frozenset({"research"}), home_exists=True)
HOME = MakeDirectory("/home/alice", 0o750, "alice", "alice")


def usermod(*options: str) -> list[Step]:
    return [Run(("usermod", *options, "--", "alice"))]


CASES: dict[str, tuple[UserState, list[Step]]] = {
    "right": (RIGHT, []),
    "other-shell": (replace(RIGHT, shell="/bin/sh"), usermod("--shell", BASH)),  # noqa: S604
    "group-missing": (replace(RIGHT, groups=frozenset()), usermod("--groups", "research")),
    "group-unwanted": (replace(RIGHT, groups=frozenset({"research", "sudo"})), usermod("--groups", "research")),
    "home-elsewhere": (replace(RIGHT, home="/srv/alice"), usermod("--home", "/home/alice", "--move-home")),
    "home-gone": (replace(RIGHT, home_exists=False), [HOME]),
    "uid-not-managed": (replace(RIGHT, uid=4711), []),
}


@pytest.mark.parametrize(("current", "steps"), CASES.values(), ids=CASES)
def test_what_is_done(current: UserState, steps: list[Step]) -> None:
    assert steps_for(ALICE, current) == steps


def test_a_missing_account_is_made_with_its_home() -> None:
    options = ("--home", "/home/alice", "--shell", "/bin/bash", "--gid", "alice", "--groups", "research")

    assert steps_for(ALICE, None) == [Run(("useradd", "--no-create-home", *options, "--", "alice")), HOME]


def test_groups_left_out_are_not_managed() -> None:
    current = replace(RIGHT, groups=frozenset({"sudo", "video"}))

    assert steps_for(replace(ALICE, groups=None), current) == []


def test_with_more_groups_those_added_by_hand_stay(tmp_path: Path) -> None:
    user = replace(ALICE, more_groups=True, groups=frozenset({"research", "video"}))
    host: Any = Parts(tmp_path, group="alice:x:1000:\nresearch:x:1001:alice\nsudo:x:27:alice\nvideo:x:44:\n")

    current = user.read(host)

    assert current is not None
    assert current.groups == frozenset({"research"})
    assert Run(("usermod", "--append", "--groups", "research,video", "--", "alice")) in steps_for(user, current)


def test_it_is_read_from_passwd_and_group(tmp_path: Path) -> None:
    host: Any = Parts(tmp_path)

    current = ALICE.read(host)

    assert current is not None
    assert (current.uid, current.gecos, current.group) == (1000, "Alice,,,", "alice")
    assert current.groups == frozenset({"research"})
    assert User("bob").read(host) is None


@pytest.mark.parametrize("stands", ["link", "someone-elses", "nothing"])
def test_what_is_no_directory_of_theirs_is_no_home(tmp_path: Path, stands: str) -> None:
    home = tmp_path / "home"
    if stands == "link":
        home.symlink_to("/root")
    elif stands == "someone-elses":
        home.mkdir()
    host: Any = Parts(tmp_path, passwd=f"alice:x:{os.getuid() + 1}:1000::{home}:/bin/bash\n")

    current = User("alice").read(host)

    assert current is not None
    assert not current.home_exists


def test_it_waits_for_its_groups() -> None:
    assert set(ALICE.needs()) == {Ref("group", "alice"), Ref("group", "research")}


def test_its_removal_keeps_the_home() -> None:
    assert removal_of(ALICE, RIGHT) == [Run(("userdel", "--", "alice"))]
    assert User.holds_work
