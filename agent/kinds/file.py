"""Files with a content of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.kinds.directory import access_needs
from agent.resource import Action, Change, Hidden, NotYetReadable, Ref, Resource, State
from agent.steps import Check, Content, Remove, Step, Write

if TYPE_CHECKING:
    from agent.host.machine import Host

_LARGEST = 16 << 20


@dataclass(frozen=True)
class FileState(State):
    content: Content | Hidden | str | None
    """The wanted content where the bytes are the same; else the text that is there, hidden when the wanted one is."""
    mode: int
    owner: str
    group: str
    stands: str = "file"
    """What stands at the path: ``file``, ``directory``, ``other``, or ``link to`` somewhere."""


@dataclass(frozen=True)
class File(Resource):
    """A file with exactly this content, owner and mode. ``name`` is its path.

    A link that stands there is replaced, never followed; a directory that stands there stays and is reported.
    ``below`` names the account in whose home it lies; ``check`` must accept a new content before the old one goes.
    """

    kind: ClassVar[str] = "file"

    content: Content
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    below: str | None = None
    check: Check | None = None
    after: tuple[Ref, ...] = ()

    def needs(self) -> Iterable[Ref]:
        checked = () if self.check is None else (Ref("user", self.check.user),)
        return (*self.after, *checked, *access_needs(self.name, self.owner, self.group, self.below))

    def original(self) -> str:
        return self.name

    def stub(self) -> File:
        return File(self.name, Content(()), self.mode, self.owner, self.group, self.below)

    def desired(self) -> FileState:
        return FileState(self.content, self.mode, self.owner, self.group)

    def read(self, host: Host) -> FileState | None:
        facts = host.files.facts(self.name)
        if facts is None:
            return None
        stands = f"link to {facts.target}" if facts.kind == "link" else facts.kind
        content = self._content(host) if facts.kind == "file" else None
        return FileState(content, facts.mode, facts.owner, facts.group, stands)

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield Remove(self.name, self.below)
        else:
            yield Write(self.name, self.content, self.mode, self.owner, self.group, self.below, self.check)

    def fingerprint(self, host: Host) -> str | None:
        filled = host.files.filled(self.content)
        if filled is None:
            return None
        access = f"{self.name}\n{self.mode:o} {self.owner} {self.group}\n".encode()
        return hashlib.blake2b(access + filled, digest_size=16).hexdigest()

    def _content(self, host: Host) -> Content | Hidden | str | None:
        wanted = host.files.filled(self.content)
        if wanted is None:
            raise NotYetReadable(f"a secret in {self.name} is still to be made")
        there = host.files.content(self.name, _LARGEST)
        if there == wanted:
            return self.content
        if there is None:
            return None
        return Hidden(there) if self.content.hidden else there.decode(errors="replace")
