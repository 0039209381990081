"""That a running database server shows clients the certificate that is published, as it is now: a server reads it once, and again when it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Disruption, NotYetReadable, Ref, Resource, State, differences, disruptive
from agent.steps import Sql

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class ServedCertificateState(State):
    shown: bool = disruptive(Disruption.RELOAD, default=True)
    """Whether it is the published one that new sessions get. Those there are go on with the one that they began with."""


@dataclass(frozen=True)
class ServedCertificate(Resource):
    """``server`` as in kinds.server, ``directory`` as in kinds.certificate. It is only ever updated."""

    kind: ClassVar[str] = "served_certificate"

    server: str
    directory: str
    after: tuple[Ref, ...] = ()

    def needs(self) -> tuple[Ref, ...]:
        return self.after

    def desired(self) -> ServedCertificateState:
        return ServedCertificateState()

    def read(self, host: Host) -> ServedCertificateState:
        self._wait_for_certificate(host)
        published = host.certificates.facts(self.directory)
        if published is None:
            raise NotYetReadable(f"there is no certificate at {self.directory} yet")
        return ServedCertificateState(host.databases.shown(self.server) == (published.not_before, published.not_after))

    def steps(self, change: Change) -> Iterator[Sql]:
        if change.action is Action.UPDATE:
            yield Sql(self.server, "FLUSH SSL", on_mysql="ALTER INSTANCE RELOAD TLS")

    def _wait_for_certificate(self, host: Host) -> None:
        """So that a plan that makes a new one says what that entails."""
        for ref in self.after:
            resource = host.desired.get(ref)
            if resource is not None and ref.kind == "certificate":
                current = resource.read(host)
                if current is None or differences(resource.desired(), current):
                    raise NotYetReadable(f"{ref} is still to be made")
