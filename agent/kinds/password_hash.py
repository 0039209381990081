"""The hash of a password, in the form that Jupyter reads, kept in the agent's store. Made anew only when it is not that of the password."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import ForgetSecret, SecretRef, StoreHash

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class PasswordHashState(State):
    """``matches``: it is the hash of the password as that is now."""

    matches: bool


@dataclass(frozen=True)
class PasswordHash(Resource):
    """``name`` is also its name in the store; ``of`` is the password, ``secret`` the resource that stands for it."""

    kind: ClassVar[str] = "password_hash"

    of: SecretRef
    secret: Ref | None = None

    def desired(self) -> PasswordHashState:
        return PasswordHashState(matches=True)

    def read(self, host: Host) -> PasswordHashState | None:
        if host.secrets.value(self.at) is None:
            return None
        return PasswordHashState(matches=host.secrets.matches(self.name, self.of))

    @property
    def at(self) -> SecretRef:
        """Where the hash is."""
        return SecretRef("stored", self.name)

    def steps(self, change: Change) -> Iterator[StoreHash | ForgetSecret]:
        yield ForgetSecret(self.name) if change.action is Action.DELETE else StoreHash(self.name, self.of)

    def needs(self) -> Iterator[Ref]:
        if self.secret is not None:
            yield self.secret
