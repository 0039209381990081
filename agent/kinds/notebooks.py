"""The directory that people's notebooks are in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.kinds.directory import access_needs
from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import MakeDirectory

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class NotebooksState(State):
    exists: bool
    """Whether there is a directory, or a link that its owner put in its place."""


@dataclass(frozen=True)
class Notebooks(Resource):
    """A directory that is made if it is missing. From then on it is its owner's affair, mode and all, and it is never removed.

    ``name`` is its path; ``below`` names the account in whose home it lies.
    """

    kind: ClassVar[str] = "notebooks"
    holds_work: ClassVar[bool] = True

    owner: str
    below: str | None = None
    after: tuple[Ref, ...] = ()

    def needs(self) -> Iterable[Ref]:
        return (*self.after, *access_needs(self.name, self.owner, self.owner, self.below))

    def desired(self) -> NotebooksState:
        return NotebooksState(exists=True)

    def read(self, host: Host) -> NotebooksState | None:
        facts = host.files.facts(self.name)
        return None if facts is None else NotebooksState(facts.kind in ("directory", "link"))

    def steps(self, change: Change) -> Iterator[MakeDirectory]:
        if change.action is not Action.DELETE:
            yield MakeDirectory(self.name, 0o750, self.owner, self.owner, self.below)
