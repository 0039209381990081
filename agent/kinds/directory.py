"""Directories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import MakeDirectory, Remove, Step

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class DirectoryState(State):
    mode: int
    owner: str
    group: str
    stands: str = "directory"
    """What stands at the path."""


@dataclass(frozen=True)
class Directory(Resource):
    """A directory with its owner and mode; what is in it is not managed. ``name`` is its path.

    ``below`` names the account in whose home it lies. Removed only when it is empty; until then it stays.
    """

    kind: ClassVar[str] = "directory"

    mode: int = 0o755
    owner: str = "root"
    group: str = "root"
    below: str | None = None
    after: tuple[Ref, ...] = ()

    def needs(self) -> Iterable[Ref]:
        return (*self.after, *access_needs(self.name, self.owner, self.group, self.below))

    def desired(self) -> DirectoryState:
        return DirectoryState(self.mode, self.owner, self.group)

    def read(self, host: Host) -> DirectoryState | None:
        facts = host.files.facts(self.name)
        return None if facts is None else DirectoryState(facts.mode, facts.owner, facts.group, facts.kind)

    def remains(self, host: Host) -> bool:
        return bool(host.files.names(self.name))

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield Remove(self.name, self.below)
        else:
            yield MakeDirectory(self.name, self.mode, self.owner, self.group, self.below)


def access_needs(path: str, owner: str, group: str, below: str | None) -> Iterator[Ref]:
    """The account and group that own a path, and the directories that it lies in, if they are in the spec."""
    for user in sorted({owner, below or owner}):
        yield Ref("user", user)
    yield Ref("group", group)
    parts = path.rstrip("/").split("/")[1:-1]
    for count in range(1, len(parts) + 1):
        yield Ref("directory", "/" + "/".join(parts[:count]))
