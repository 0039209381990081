"""Groups are made, numbered and removed with the tools of shadow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.kinds.group import Group, GroupState
from agent.records import from_record, to_record
from agent.steps import Run
from tests.host.parts import Parts
from tests.kinds.seen import removal_of, steps_for

CASES = {
    "missing": (Group("research"), None, ("groupadd", "--", "research")),
    "missing-with-number": (Group("research", 900), None, ("groupadd", "--gid", "900", "--", "research")),
    "other-number": (Group("research", 900), GroupState(1001), ("groupmod", "--gid", "900", "--", "research")),
    "right": (Group("research", 900), GroupState(900), None),
    "number-not-managed": (Group("research"), GroupState(1001), None),
}


@pytest.mark.parametrize(("group", "current", "argv"), CASES.values(), ids=CASES)
def test_what_is_done(group: Group, current: GroupState | None, argv: tuple[str, ...] | None) -> None:
    assert steps_for(group, current) == ([] if argv is None else [Run(argv)])


def test_it_is_read_from_group_5(tmp_path: Path) -> None:
    host: Any = Parts(tmp_path)

    assert Group("research").read(host) == GroupState(1001)
    assert Group("nobody-there").read(host) is None


def test_it_is_removed_from_its_record_alone() -> None:
    group = from_record(to_record(Group("research", 900)))

    assert removal_of(group, GroupState(900)) == [Run(("groupdel", "--", "research"))]
