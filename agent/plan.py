"""Order and comparison: which resource comes when, and what differs. Pure but for `examine`, which reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from agent.errors import HostError, PlanError, UsageError, refusal
from agent.resource import Action, Change, Disruption, Loss, NotYetReadable, Ref, Resource, differences

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.ledger import Ledger


def by_ref(resources: Iterable[Resource]) -> dict[Ref, Resource]:
    """The resources by ref. Raises PlanError when two have the same one."""
    found: dict[Ref, Resource] = {}
    for resource in resources:
        if resource.ref in found and found[resource.ref] != resource:
            raise PlanError(f"{resource.ref} is asked for twice, in different ways")
        found[resource.ref] = resource
    return found


def behind(resource: Resource, desired: Mapping[Ref, Resource]) -> set[Ref]:
    """The refs among ``desired`` that must be right before this one."""
    return {ref for ref in (*resource.needs(), *resource.follows()) if ref in desired and ref != resource.ref}


def graph(desired: Mapping[Ref, Resource], *, backwards: bool = False) -> TopologicalSorter[Ref]:
    """A prepared sorter over the needs, for use ready set by ready set; ``backwards`` for removals. Raises PlanError for a cycle."""
    sorter: TopologicalSorter[Ref] = TopologicalSorter()
    for ref in sorted(desired):
        sorter.add(ref)
        for needed in sorted(behind(desired[ref], desired)):
            if backwards:
                sorter.add(needed, ref)
            else:
                sorter.add(ref, needed)
    try:
        sorter.prepare()
    except CycleError as error:
        members = " -> ".join(str(ref) for ref in error.args[1])
        raise PlanError(f"these need each other: {members}") from None
    return sorter


def order(resources: Iterable[Resource], *, backwards: bool = False) -> list[Resource]:
    """The resources so that what is needed comes first; among equals by ref. Raises PlanError for a cycle."""
    desired = by_ref(resources)
    sorter = graph(desired, backwards=backwards)
    ordered: list[Resource] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered += [desired[ref] for ref in ready]
        sorter.done(*ready)
    return ordered


def closure(start: Iterable[Ref], desired: Mapping[Ref, Resource]) -> set[Ref]:
    """These refs and everything they need or follow, at any distance."""
    found: set[Ref] = set()
    waiting = [ref for ref in start if ref in desired]
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found.add(ref)
            waiting += behind(desired[ref], desired)
    return found


def compare(resource: Resource, current: Any) -> Change | None:
    """What must change; None when nothing. ``stale`` is a restart, with or without a look at the unit's files first."""
    wanted = resource.desired()
    if wanted is None:
        return None if current is None else Change(resource, Action.DELETE, current=current)
    if current is None:
        return Change(resource, Action.CREATE, desired=wanted)
    found = differences(wanted, current)
    if not found:
        return None
    costs = {each.name: each.metadata.get("disruption", Disruption.NONE) for each in fields(wanted)}
    names = {each.field for each in found}
    action = Action.RESTART if "stale" in names <= {"stale", "loaded"} else Action.UPDATE
    return Change(
        resource,
        action,
        current=current,
        desired=wanted,
        differences=found,
        disruption=max(costs[each.field] for each in found),
    )


@dataclass(frozen=True)
class Plan:
    """The changes in order, the refs that left the spec and stay as orphans, and what could not be looked at."""

    changes: tuple[Change, ...]
    removals: tuple[Change, ...] = ()
    orphans: tuple[Ref, ...] = ()
    failures: tuple[tuple[Ref, str], ...] = ()
    """Resources that could not be read, with the reason."""
    resources: int = 0
    notes: tuple[str, ...] = ()
    """What people should know although nothing differs."""
    held: str = ""
    """Set when the spec was rolled back: why, and what is in force. The changes are then those towards that."""

    @property
    def empty(self) -> bool:
        return not (self.changes or self.removals or self.failures)

    @property
    def as_wanted(self) -> bool:
        """Whether the host is as the spec wants it: nothing to do, and nothing else in force."""
        return self.empty and not self.held

    @property
    def drift(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.drift)

    def count(self, action: Action) -> int:
        return sum(change.action is action for change in (*self.changes, *self.removals))


def examine(resource: Resource, host: Host, ledger: Ledger, pending: Mapping[Ref, Change]) -> Change | None:
    """Reads one resource and says what must change: the only judgement there is, for plan, apply and verify alike.

    ``pending`` holds the changes planned for what comes before it (none in an apply: there they have been made).
    """
    waiting = sorted(ref for ref in (*resource.needs(), *resource.follows()) if ref in pending)
    try:
        change = compare(resource, resource.read(host))
    except (NotYetReadable, HostError):
        if not waiting:
            raise
        if resource.desired() is None:
            return None  # what must not be there is not there before what it would be in
        settled = ledger.settled(resource.ref)
        return Change(
            resource,
            Action.UPDATE if settled else Action.CREATE,
            desired=resource.desired(),
            known_after=waiting[0],
            drift=settled and all(pending[ref].drift for ref in waiting),
            disruption=_worst(resource.desired()) if settled else Disruption.NONE,
        )
    predicted = _restart_foreseen(resource, host, pending) if change is None else ()
    if predicted:
        return Change(
            resource,
            Action.RESTART,
            desired=resource.desired(),
            because=predicted,
            disruption=Disruption.RESTART,
            drift=all(pending[ref].drift for ref in predicted),
        )
    if change is None:
        return None
    because = tuple(ref for ref in resource.follows() if ref in pending) if change.action is Action.RESTART else ()
    drift = ledger.was_right(resource, host) or bool(because and all(pending[ref].drift for ref in because))
    return replace(change, because=because, drift=drift)


def _worst(wanted: Any) -> Disruption:
    """What it may cost to make any field as it is wanted."""
    managed = (each for each in fields(wanted) if getattr(wanted, each.name) is not None)
    return max((each.metadata.get("disruption", Disruption.NONE) for each in managed), default=Disruption.NONE)


def _restart_foreseen(resource: Resource, host: Host, pending: Mapping[Ref, Change]) -> tuple[Ref, ...]:
    """Inputs whose pending repair will make a running service stale, because it may have loaded what is there now."""
    drifted = tuple(ref for ref in resource.follows() if ref in pending and pending[ref].drift)
    if drifted and any(True for _ in resource.disturbed(host)):
        return drifted
    return ()


def plan(desired: Mapping[Ref, Resource], host: Host, ledger: Ledger, loss: Loss | None = None) -> Plan:
    """Looks at everything and changes nothing. ``loss``: what a person allows to happen to databases that left the spec."""
    host.begin(desired)
    pending: dict[Ref, Change] = {}
    failures: list[tuple[Ref, str]] = []
    for resource in order(desired.values()):
        try:
            change = examine(resource, host, ledger, pending)
        except NotYetReadable as reason:
            failures.append((resource.ref, str(reason)))
        except HostError as reason:
            failures.append((resource.ref, f"{reason} ({reason.hint})" if reason.hint else str(reason)))
        except OSError as error:
            failures.append((resource.ref, str(refusal(error))))
        else:
            if change is not None and change.disruption is Disruption.RESTART:
                change = replace(change, interrupts=resource.interrupts(host))
            if change is not None:
                pending[resource.ref] = change
    gone = departures(desired, host, ledger, loss)
    told = notes(desired, host)
    return Plan(tuple(pending.values()), gone.removals, gone.orphans, tuple(failures), len(desired), told)


def notes(desired: Mapping[Ref, Resource], host: Host) -> tuple[str, ...]:
    """What the resources have to say beside their differences; what cannot be read says so elsewhere."""
    found: list[str] = []
    for ref in sorted(desired):
        try:
            found += desired[ref].notes(host)
        except (HostError, OSError):
            continue
    return tuple(found)


@dataclass(frozen=True)
class Departures:
    """What left the spec. ``removals`` go, or what stood there before comes back; ``orphans`` stay and are reported; ``released`` stay as they are:
    they were there before the agent and there is nothing to put back, or people have removed them themselves."""

    removals: tuple[Change, ...]
    orphans: tuple[Ref, ...]
    released: tuple[Ref, ...]
    resources: Mapping[Ref, Resource]
    """All of them."""


def departures(desired: Mapping[Ref, Resource], host: Host, ledger: Ledger, loss: Loss | None = None) -> Departures:
    """What left the spec; the removals in an order in which each goes before what it needs."""
    gone = {entry.ref: entry for entry in ledger.entries() if entry.ref not in desired}
    orphans: list[Ref] = []
    removals: list[Change] = []
    released: list[Ref] = []
    # all are ordered: what is removed may need it by way of something that stays
    for resource in order((entry.resource for entry in gone.values()), backwards=True):
        made = gone[resource.ref].made
        back = made == "replaced" and resource.original() is not None
        works = made == "created" and _holds_work(resource, host)
        if works and resource.expendable and loss is not None:
            removals.append(_loss(resource, host, loss))
        elif works or (made == "left" and resource.remains(host)):
            orphans.append(resource.ref)
        elif back or (made in ("created", "left") and not resource.holds_work):
            removals.append(_removal(resource, desired, host, back=back))
        else:
            released.append(resource.ref)
    resources = {ref: entry.resource for ref, entry in gone.items()}
    return Departures(tuple(removals), tuple(sorted(orphans)), tuple(released), resources)


def _holds_work(resource: Resource, host: Host) -> bool:
    """Whether people's work is in it, as far as can be seen."""
    try:
        return resource.holds_work and resource.read(host) is not None
    except (NotYetReadable, HostError, OSError):
        return True


def _removal(resource: Resource, desired: Mapping[Ref, Resource], host: Host, *, back: bool) -> Change:
    current = None
    try:
        current = resource.read(host)
    except NotYetReadable:
        if behind(resource, desired):
            current = resource.desired()  # what it is in is there to stay; with that gone it is gone, too
    except (HostError, OSError):
        current = resource.desired()  # its removal will say what is in the way
    disruption = _worst(current) if current is not None and not back else Disruption.NONE
    interrupts = resource.interrupts(host) if disruption is Disruption.RESTART else ""
    return Change(
        resource, Action.DELETE, current=current, disruption=disruption, interrupts=interrupts, puts_back=back
    )


def _loss(resource: Resource, host: Host, loss: Loss) -> Change:
    """The removal of what holds work. One that cannot be looked at is tried all the same, and says what is in the way."""
    try:
        words = resource.loses(host, loss)
    except (NotYetReadable, HostError, OSError) as error:
        words = f"cannot be looked at now: {error}"
    return Change(resource, Action.DELETE, current=resource.desired(), loss=loss, loses=words)


def restricted(desired: Mapping[Ref, Resource], targets: Sequence[str]) -> dict[Ref, Resource]:
    """Only the targets and what they need. Raises UsageError for a target that is not there."""
    refs = []
    for target in targets:
        matching = [ref for ref in desired if str(ref) == target or ref.kind == target]
        if not matching:
            raise UsageError(f"no resource is called {target}", hint="agent plan --json lists the refs")
        refs += matching
    wanted = closure(refs, desired)
    return {ref: resource for ref, resource in desired.items() if ref in wanted}
