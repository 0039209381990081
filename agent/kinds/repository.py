"""Repositories of packages beside the distribution's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.errors import HostError
from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import AddRepository, Remove

if TYPE_CHECKING:
    from agent.host.machine import Host

FOLDER = "/etc/apt/sources.list.d"
_LARGEST = 1 << 16


@dataclass(frozen=True)
class RepositoryState(State):
    source: str
    """What the file says, as in sources.list(5); what else stands there, in words."""
    access: str


@dataclass(frozen=True)
class Repository(Resource):
    """A repository that apt knows. It is put there once apt has read it and believes its signature.

    ``key`` says whose key is wrong when it does not: the field of the spec and the file.
    """

    kind: ClassVar[str] = "repository"

    source: str
    key: str
    after: tuple[Ref, ...] = ()

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.name}.sources"

    def needs(self) -> tuple[Ref, ...]:
        return self.after

    def original(self) -> str:
        return self.path

    def desired(self) -> RepositoryState:
        return RepositoryState(self.source, "root:root 0644")

    def read(self, host: Host) -> RepositoryState | None:
        if host.packages.family() != "apt":
            raise HostError(
                "mysql.repository is for hosts with apt, and this one has dnf",
                hint="add the repository by hand, below /etc/yum.repos.d, and leave mysql.repository out",
            )
        facts = host.files.facts(self.path)
        if facts is None:
            return None
        content = host.files.content(self.path, _LARGEST) if facts.kind == "file" else None
        text = f"({facts.kind})" if content is None else content.decode(errors="replace")
        return RepositoryState(text, f"{facts.owner}:{facts.group} {facts.mode:04o}")

    def steps(self, change: Change) -> Iterator[AddRepository | Remove]:
        if change.action is Action.DELETE:
            yield Remove(self.path)
        else:
            yield AddRepository(self.path, self.source, self.key)
