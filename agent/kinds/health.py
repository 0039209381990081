"""Whether a server answers as a client expects: not whether its unit runs, but whether somebody who comes by the network is served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, NotYetReadable, Ref, Resource, State
from agent.steps import Await, Probe

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class HealthState(State):
    """``healthy``: it answers as it should. ``reason`` says why not."""

    healthy: bool
    reason: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Health(Resource):
    """``timeout``: how many seconds it may take to answer after a start."""

    kind: ClassVar[str] = "health"

    probe: Probe
    timeout: float = 30.0
    after: tuple[Ref, ...] = ()

    def desired(self) -> HealthState:
        return HealthState(healthy=True)

    def read(self, host: Host) -> HealthState:
        # asked although the probe reads it too: the questions alone must tell when to look again
        host.looks.ask("file", self.probe.certificate)
        facts = host.units.show(self.probe.unit)
        if facts is None or facts.active != "active":
            raise NotYetReadable(f"{self.probe.unit} is not running")
        reason = host.probes.once(self.probe)
        return HealthState(healthy=reason is None, reason=reason)

    def steps(self, change: Change) -> Iterator[Await]:
        if change.action is not Action.DELETE:
            yield Await(self.probe, self.timeout)

    def needs(self) -> Iterator[Ref]:
        yield Ref("unit", self.probe.unit)
        yield from self.after

    def judges(self) -> bool:
        return True
