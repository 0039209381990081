"""Packages of the distribution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Packages, Step

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class PackageState(State):
    version: str | None = None
    """What is installed; not managed."""


@dataclass(frozen=True)
class Package(Resource):
    """A package that is installed, in whatever version the distribution has."""

    kind: ClassVar[str] = "package"
    batch: ClassVar[bool] = True

    after: tuple[Ref, ...] = ()

    def needs(self) -> Iterable[Ref]:
        return self.after

    def desired(self) -> PackageState:
        return PackageState()

    def read(self, host: Host) -> PackageState | None:
        version = host.packages.version(self.name)
        return None if version is None else PackageState(version)

    def steps(self, change: Change) -> Iterator[Step]:
        return self.steps_together((change,))

    @classmethod
    def steps_together(cls, changes: tuple[Change, ...]) -> Iterator[Step]:
        """One transaction for all that are installed, one for all that are removed."""
        removed = tuple(change.resource.name for change in changes if change.action is Action.DELETE)
        installed = tuple(change.resource.name for change in changes if change.action is not Action.DELETE)
        yield Packages(install=installed, remove=removed)
