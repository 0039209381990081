"""Conda environments: the packages that are asked for, and what those need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from agent.resource import Action, Change, NotYetReadable, Ref, Resource, State
from agent.steps import Step, Work

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class EnvironmentState(State):
    """What was last asked of the environment and seen to be there, and what is not there now.

    Whether a package is as asked for is not a question of equal versions: it meets its spec or it does not.
    """

    channels: tuple[str, ...]
    packages: frozenset[str]
    pip: frozenset[str]
    unmet: frozenset[str] = frozenset()
    """Match specs, ``pip:`` requirements, and whatever the packages themselves lack."""


@dataclass(frozen=True)
class Environment(Resource):
    """A conda environment at ``prefix``, in a directory where ``owner`` may make it.

    ``packages`` are match specs, ``pip`` requirements, ``channels`` names or addresses, first one first; ``mirrors`` maps
    a channel to the addresses to use instead of its own. A package that leaves the lists is removed; one that the owner
    added stays unless it contradicts the lists. Removing the environment leaves files that no package owns, and says so.
    """

    kind: ClassVar[str] = "environment"

    prefix: str
    owner: str
    channels: tuple[str, ...]
    packages: tuple[str, ...]
    pip: tuple[str, ...] = ()
    mirrors: tuple[tuple[str, tuple[str, ...]], ...] = ()
    alias: str = "https://conda.anaconda.org"
    """What a channel given by name stands below."""
    cache: str = "/opt/conda/pkgs"
    """Where packages are kept once for all environments; the owner's."""
    after: tuple[Ref, ...] = ()

    def needs(self) -> Iterable[Ref]:
        return (Ref("user", self.owner), *self.after)

    def desired(self) -> EnvironmentState:
        return EnvironmentState(self.channels, frozenset(self.packages), frozenset(self.pip))

    def read(self, host: Host) -> EnvironmentState | None:
        if host.environments.installed(self.prefix) is None:
            return None
        if host.accounts.user(self.owner) is None:
            raise NotYetReadable(f"{self.prefix} can only be examined as {self.owner}, who does not exist")
        noted = host.environments.receipt(self.prefix)
        unmet = host.environments.unmet(self.owner, self._request())
        return EnvironmentState(noted.channels, frozenset(noted.packages), frozenset(noted.pip), unmet)

    def steps(self, change: Change) -> Iterator[Step]:
        verb = "remove" if change.action is Action.DELETE else "apply"
        yield Work("conda", self.owner, tuple({**self._request(), "verb": verb}.items()), label=str(self.ref))

    def remains(self, host: Host) -> bool:
        return host.environments.installed(self.prefix) is None and host.files.facts(self.prefix) is not None

    def fingerprint(self, host: Host) -> str | None:  # noqa: ARG002
        """What a program that runs from the environment has loaded: not which mirror it came from."""
        text = json.dumps([self.prefix, self.channels, self.packages, self.pip])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _request(self) -> dict[str, Any]:
        return {
            "prefix": self.prefix,
            "cache": self.cache,
            "channels": self.channels,
            "mirrors": self.mirrors,
            "alias": self.alias,
            "packages": self.packages,
            "pip": self.pip,
        }
