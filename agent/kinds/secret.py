"""A secret that must exist: made up by the agent and kept in its store, or a file or credential that a person provides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Resource, State
from agent.steps import ForgetSecret, SecretRef, StoreSecret

if TYPE_CHECKING:
    from agent.host import Host


@dataclass(frozen=True)
class SecretState(State):
    """Of secrets that the agent keeps; those that a person provides are checked when they are read, and any length will do.

    ``long_enough``: at least as many characters as are asked for. ``private``: readable by root alone.
    """

    long_enough: bool
    private: bool


@dataclass(frozen=True)
class Secret(Resource):
    """``at`` says where it is; ``length`` is that of a new one, for those that are ``stored``."""

    kind: ClassVar[str] = "secret"

    at: SecretRef
    length: int = 24

    def desired(self) -> SecretState:
        return SecretState(long_enough=True, private=True)

    def read(self, host: Host) -> SecretState | None:
        if not host.secrets.exists(self.at):
            return None
        if self.at.source != "stored":
            return SecretState(long_enough=True, private=True)
        value = host.secrets.value(self.at) or ""
        return SecretState(long_enough=len(value) >= self.length, private=host.secrets.private(self.at.at))

    def steps(self, change: Change) -> Iterator[StoreSecret | ForgetSecret]:
        if self.at.source != "stored":
            return
        if change.action is Action.DELETE:
            yield ForgetSecret(self.at.at)
        else:
            yield StoreSecret(self.at.at, self.length)
