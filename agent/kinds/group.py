"""Local groups. Who is in them is said by the accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Resource, State
from agent.steps import Run, Step

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class GroupState(State):
    gid: int | None = None


@dataclass(frozen=True)
class Group(Resource):
    """A group of group(5); ``gid`` None takes what groupadd(8) gives.

    When it leaves the spec it stays: files may belong to it, which would be those of whoever gets its number next.
    """

    kind: ClassVar[str] = "group"
    holds_work: ClassVar[bool] = True

    gid: int | None = None

    def desired(self) -> GroupState:
        return GroupState(self.gid)

    def read(self, host: Host) -> GroupState | None:
        group = host.accounts.group(self.name)
        return None if group is None else GroupState(group.gid)

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield Run(("groupdel", "--", self.name))
            return
        program = "groupadd" if change.action is Action.CREATE else "groupmod"
        number = () if self.gid is None else ("--gid", str(self.gid))
        yield Run((program, *number, "--", self.name))
