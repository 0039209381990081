"""Conda environments: the packages that are asked for, and what those need."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.errors import HostError
from agent.host.builds import Asked, Place, moment, plain
from agent.resource import Action, Change, NotYetReadable, Ref, Resource, State, differences
from agent.steps import Listing, Login, Step, Work

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class EnvironmentState(State):
    """What the build in force was made for, and what it has not now.

    Whether a package is as asked for is not a question of equal versions: it meets its spec or it does not.
    """

    channels: tuple[str, ...]
    packages: frozenset[str]
    pip: frozenset[str]
    variables: tuple[tuple[str, str], ...] = ()
    activation: str = ""
    installer: str = ""
    lock: str = ""
    unmet: frozenset[str] = frozenset()
    """Match specs, ``pip:`` requirements, and whatever the packages themselves lack."""
    due: bool = False
    """Whether its schedule asks for newer versions now."""
    build: str | None = None
    """The build in force; which one is not the spec's to choose."""


@dataclass(frozen=True)
class Environment(Resource):
    """A conda environment ``root/envs/NAME``, which ``owner`` makes: a link to the newest of its builds (agent.host.builds).

    ``packages`` are match specs, ``pip`` requirements, ``channels`` names or addresses, first one first; ``mirrors`` maps
    a channel to the addresses to use instead of its own. With ``listing`` it is made of exactly the packages that a file lists. Every change makes
    a build beside the others: what runs keeps the one it was started from. What the owner added by hand is taken along.
    """

    kind: ClassVar[str] = "environment"

    root: str
    owner: str
    channels: tuple[str, ...]
    packages: tuple[str, ...]
    pip: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    activation: str = ""
    kernels: tuple[tuple[str, ...], ...] = ()
    """Commands that must start a kernel before a build is used; ``{prefix}`` and ``{connection_file}`` stand for what they say."""
    listing: Listing | None = None
    installer: tuple[str, str] | None = None
    """The address of a program that makes the environment instead of packages, and its digest: ``sha256:...`` or ``md5:...``."""
    update: float = 0.0
    """Seconds after which newer versions are looked for; 0 for never."""
    keep: int = 2
    """Builds that are kept beside the one in force."""
    mirrors: tuple[tuple[str, tuple[str, ...]], ...] = ()
    alias: str = "https://conda.anaconda.org"
    """What a channel given by name stands below."""
    logins: tuple[Login, ...] = ()
    offline: bool = False
    timeout: float = 60.0
    """Seconds for one answer about what a channel has."""
    retries: int = 2
    link_scripts: tuple[str, ...] = ()
    """Packages whose post-link scripts may run, as the owner."""
    after: tuple[Ref, ...] = ()

    @property
    def place(self) -> Place:
        return Place(self.root, self.name)

    @property
    def asked(self) -> Asked:
        lock = self.listing.digest if self.listing else ""
        installer = self.installer[1] if self.installer else ""
        return Asked(self.channels, self.packages, self.pip, self.variables, self.activation, installer, lock)

    def needs(self) -> Iterable[Ref]:
        return (Ref("user", self.owner), *self.after)

    def desired(self) -> EnvironmentState:
        return _state(self.asked)

    def read(self, host: Host) -> EnvironmentState | None:
        environments = host.environments
        if (build := environments.build(self.place)) is None:
            return _state(Asked()) if environments.half_removed(self.place) else None
        if host.accounts.user(self.owner) is None:
            raise NotYetReadable(f"{self.place.link} can only be examined as {self.owner}, who does not exist")
        found, asked = environments.manifest(self.place), self.asked
        held = environments.hold(self.place, asked) is not None
        if not held and not (found and found.serves(asked)):
            asked = found.asked if found else Asked()
        unmet = environments.unmet(self)
        due = bool(self.update) and not held and environments.due(self.place, self.update)
        return dataclasses.replace(_state(asked), unmet=unmet, due=due, build=build)

    def steps(self, change: Change) -> Iterator[Step]:
        verb = "remove" if change.action is Action.DELETE else "apply"
        due = change.action is Action.UPDATE and change.touches("due")
        yield Work("conda", self.owner, self.request(verb, due=due), label=str(self.ref))

    def request(self, verb: str, **more: object) -> tuple[tuple[str, object], ...]:
        """What the worker is told; see agent.workers.conda."""
        mine = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "after"}
        if verb in ("check", "remove"):  # neither fetches anything, and what these name may be gone
            mine |= {"listing": None, "logins": ()}
        return tuple({**mine, "verb": verb, "asked": dataclasses.asdict(self.asked), **more}.items())

    def notes(self, host: Host) -> Iterator[str]:
        if hold := host.environments.hold(self.place, self.asked):
            yield f"{self.ref} is held at build {hold}, which was gone back to; agent env update {self.name} lifts that"
        manifest = host.environments.manifest(self.place)
        if manifest is not None and manifest.failed:
            tried = moment(manifest.tried) or "some time"
            yield f"{self.ref} could not be updated at {tried} (UTC) and stays as it is: {plain(manifest.failed)}"

    def remains(self, host: Host) -> bool:
        return host.environments.build(self.place) is None and host.files.facts(self.place.link) is not None

    def fingerprint(self, host: Host) -> str | None:
        """What a program that runs from the environment has loaded: its build, which is another one after every change."""
        return f"{self.ref} {host.environments.build(self.place) if self._right(host) else 'another'}"

    def aim(self, host: Host) -> str | None:  # noqa: ARG002  # of the spec alone: the build is not the spec's to choose
        return self.asked.digest()

    def _right(self, host: Host) -> bool:
        try:
            current = self.read(host)
        except (NotYetReadable, HostError):
            return False
        return current is not None and not differences(self.desired(), current)


def _state(asked: Asked) -> EnvironmentState:
    return EnvironmentState(
        asked.channels,
        frozenset(asked.packages),
        frozenset(asked.pip),
        asked.variables,
        asked.activation,
        asked.installer,
        asked.lock,
    )
