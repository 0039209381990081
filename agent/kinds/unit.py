"""Systemd units: running, enabled, and started with what their inputs say now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.host.units import memory_key
from agent.resource import Action, Change, Disruption, NotYetReadable, Ref, Resource, State, disruptive
from agent.steps import Await, Idle, Remember, Step
from agent.steps import Unit as Systemctl

if TYPE_CHECKING:
    from agent.host.machine import Host

_RUNNING = ("active", "reloading", "refreshing")
_ENABLED = ("enabled", "alias")
_MASKED = ("masked", "masked-runtime")


@dataclass(frozen=True)
class UnitState(State):
    active: bool | None = None
    enabled: bool | None = None
    masked: bool | None = None
    loaded: bool | None = None
    """Whether systemd has read the unit's files as they are now."""
    stale: bool | None = disruptive(Disruption.RESTART, default=None)
    """Whether what it follows is not what it was last started with."""


@dataclass(frozen=True)
class ReloadedState(UnitState):
    """That of a unit for which a reload does what a restart does."""

    stale: bool | None = disruptive(Disruption.RELOAD, default=None)


@dataclass(frozen=True)
class Unit(Resource):
    """A unit that is there already, or whose file is another resource. What is left None is not managed.

    One that is neither active nor enabled nor masked counts as not there, so wanting it neither active nor enabled is
    to remove it. ``inputs`` are what it must be restarted for (``reload``: reloaded) when they change, by the agent or
    behind its back; ``when`` says whether that is done ``now``, ``when_idle`` or ``never``.
    """

    kind: ClassVar[str] = "unit"

    active: bool | None = None
    enabled: bool | None = None
    masked: bool | None = None
    inputs: tuple[Ref, ...] = ()
    after: tuple[Ref, ...] = ()
    reload: bool = False
    when: str = "now"
    timeout: float = 120.0
    """Seconds that a start may take."""
    idle: Idle | None = None
    """With ``when_idle``: what is asked whether people would lose work by a restart."""
    told_by: tuple[Ref, ...] = ()
    """Resources that can tell whether it runs with something else than its inputs, which a restart would put right."""

    def needs(self) -> Iterable[Ref]:
        return self.after

    def follows(self) -> Iterable[Ref]:
        return self.inputs

    def desired(self) -> UnitState | None:
        if not (self.active or self.enabled or self.masked) and self.active is False and self.enabled is False:
            return None
        stale = False if self.inputs and self.when != "never" and self.active is not False else None
        loaded = None if self.masked else True
        return self._state()(self.active, self.enabled, self.masked, loaded, stale)

    def read(self, host: Host) -> UnitState | None:
        host.units.expect(ref.name for ref in host.desired if ref.kind == self.kind)
        facts = host.units.show(self.name)
        active, enabled = facts.active in _RUNNING, facts.enabled in _ENABLED
        masked = facts.enabled in _MASKED
        if not (active or enabled or masked) and (self.active or self.enabled or self.masked or self.desired() is None):
            self._inputs(host)
            return None
        inputs = self._inputs(host)
        stale = inputs is not None and active and (host.units.is_stale(self.name, inputs) or self._outdated(host))
        return self._state()(active, enabled, masked, not facts.needs_reload, stale)

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield from self._removal(change.current)
            return
        if self.masked and change.touches("masked"):
            yield self._do("mask")
        if self._stands_masked(change):
            yield self._do("unmask")
        if change.action is not Action.CREATE and change.touches("loaded"):
            yield Systemctl("daemon-reload")
        if self.enabled is not None and change.touches("enabled"):
            yield self._do("enable" if self.enabled else "disable")
        if change.action is not Action.CREATE and change.touches("stale"):
            if self.when == "when_idle" and self.idle is not None:
                yield Await(self.idle, timeout=0)
            yield self._do("reload" if self.reload else "restart")
        elif self.active is not None and change.touches("active"):
            yield self._do("start" if self.active else "stop")

    def fingerprint(self, host: Host) -> str | None:
        """Depends on what its inputs are: one that is restarted because the spec changed them has not drifted."""
        if not self.inputs:
            return super().fingerprint(host)
        try:
            return f"{super().fingerprint(host)} {self._inputs(host)}"
        except NotYetReadable:
            return None

    def interrupts(self, host: Host) -> str:
        kernels = host.probes.kernels(self.idle.probe) if self.idle else None
        if kernels is None or not kernels.running:
            return ""
        plural = "s" if kernels.running != 1 else ""
        return f"{kernels.running} kernel{plural}, {kernels.busy} of them computing"

    def disturbed(self, host: Host) -> Iterator[Step]:
        """A process that the agent did not start itself may have loaded what is about to be repaired: it owes a restart.

        One that was started by the agent, and not since, never read it.
        """
        start = host.units.started(self.name) if self.inputs else None
        if start is None:
            return
        facts = host.units.show(self.name)
        if facts.active in _RUNNING and facts.invocation != start.after:
            yield Remember(memory_key(self.name), None)

    def _outdated(self, host: Host) -> bool:
        return any(host.desired[ref].outdated(host) for ref in self.told_by if ref in host.desired)

    def _stands_masked(self, change: Change) -> bool:
        """Whether a mask is in the way: one that is not wanted, or with which the unit can be neither enabled nor started."""
        wanted = (
            self.masked is False
            or (self.enabled and change.touches("enabled"))
            or (self.active and change.touches("active"))
        )
        return bool(wanted and change.current is not None and change.current.masked)

    def _inputs(self, host: Host) -> str | None:
        """A digest of what it would be started with now; None when it follows nothing."""
        if not self.inputs:
            return None
        digest = hashlib.blake2b(digest_size=16)
        for ref in self.inputs:
            fingerprint = host.fingerprint(ref)
            if fingerprint is None:
                raise NotYetReadable(f"{ref} is not known yet")
            digest.update(f"{ref} {fingerprint}\n".encode())
        host.units.intend(self.name, digest.hexdigest())
        return digest.hexdigest()

    def _removal(self, current: UnitState | None) -> Iterator[Step]:
        if current is None or current.masked:
            yield self._do("unmask")
        if current is None or current.enabled:
            yield self._do("disable")
        if current is None or current.active:
            yield self._do("stop")
        if self.inputs:
            yield Remember(memory_key(self.name), None)

    def _do(self, verb: str) -> Step:
        return Systemctl(verb, (self.name,), self.timeout)

    def _state(self) -> type[UnitState]:
        return ReloadedState if self.reload else UnitState
