"""A secret that must exist: made up by the agent and kept in its store, or a file or credential that a person provides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Resource, State
from agent.steps import ForgetSecret, SecretRef, StoreSecret

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class SecretState(State):
    """``private``: readable by root alone. Those that a person provides are not read at all unless they are."""

    private: bool


@dataclass(frozen=True)
class Secret(Resource):
    """``at`` says where it is. ``length`` is that of a new one, for those that are ``stored``: one that is kept is never made anew by a pass,
    for somebody may know it; ``agent secret rotate`` does that."""

    kind: ClassVar[str] = "secret"

    at: SecretRef
    length: int = 24

    def desired(self) -> SecretState:
        return SecretState(private=True)

    def read(self, host: Host) -> SecretState | None:
        if not host.secrets.exists(self.at):
            return None
        return SecretState(private=self.at.source != "stored" or host.secrets.private(self.at.at))

    def steps(self, change: Change) -> Iterator[StoreSecret | ForgetSecret]:
        if self.at.source != "stored":
            return
        if change.action is Action.DELETE:
            yield ForgetSecret(self.at.at)
        else:
            yield StoreSecret(self.at.at, self.length)
