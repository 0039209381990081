"""One pass that changes the host: read, compare, change, read again, over everything, in the order of needs and as parallel as they allow."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent import plan
from agent.errors import Deferred, HostError, Undurable, Unhealthy, refusal
from agent.resource import Action, Change, NotYetReadable, Outcome, Ref, Resource, Result
from agent.steps import Keep, PutBack

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.ledger import Ledger

log = logging.getLogger(__name__)

WORKERS = 6
"""Resources that are looked after at the same time: they mostly wait for other programs."""


@dataclass
class Pass:
    """One pass over ``desired``. ``watch`` is told the ref and what happens to it as it happens."""

    desired: Mapping[Ref, Resource]
    host: Host
    ledger: Ledger
    outcomes: dict[Ref, Outcome] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set from outside to begin no further resource; those begun are finished."""
    locate: Callable[[Ref, tuple[str, ...]], str] = field(default=lambda _ref, _about: "")
    """Says where in the spec stands what an error is about; nothing where that is not known."""
    whole: Mapping[Ref, Resource] | None = None
    """All that is wanted, where ``desired`` is a part of it: for what a resource asks of others that are taken as given."""

    def run(self) -> tuple[Outcome, ...]:
        """Makes everything right that can be made right. Raises PlanError for a cycle; whatever else goes wrong is an outcome."""
        self._begun = time.monotonic()
        self.host.begin(self.desired if self.whole is None else self.whole)
        sorter = plan.graph(self.desired)
        finished: queue.SimpleQueue[tuple[Ref, ...]] = queue.SimpleQueue()
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="pass") as pool:
            while sorter.is_active():
                for group in self._groups(sorter.get_ready()):
                    pool.submit(self._settle, group, finished)
                sorter.done(*finished.get())
        return tuple(self.outcomes[ref] for ref in sorted(self.outcomes, key=lambda ref: self.outcomes[ref].started))

    def _groups(self, ready: Iterable[Ref]) -> list[tuple[Resource, ...]]:
        """Resources one by one, but those of a kind that is changed together as one group."""
        batches: dict[str, list[Resource]] = {}
        singles: list[tuple[Resource, ...]] = []
        for ref in sorted(ready):
            resource = self.desired[ref]
            if resource.batch:
                batches.setdefault(ref.kind, []).append(resource)
            else:
                singles.append((resource,))
        # the batches first: a package transaction is the longest thing there is to wait for
        return [*map(tuple, batches.values()), *singles]

    def _settle(self, group: tuple[Resource, ...], finished: queue.SimpleQueue[tuple[Ref, ...]]) -> None:
        try:
            self._make_right(group)
        except OSError as error:
            failure = refusal(error)
            for resource in group:
                self._end(resource, Result.FAILED, message=str(failure), hint=failure.hint)
        except (
            Exception
        ):  # a defect in a kind must not stop the pass or hang it; it is an outcome with a traceback in the log
            log.exception("%s: unexpected", group[0].ref)
            for resource in group:
                self._end(resource, Result.FAILED, message="unexpected error; the log has the traceback")
        finally:
            finished.put(tuple(resource.ref for resource in group))

    def _make_right(self, group: tuple[Resource, ...]) -> None:
        started = time.monotonic() - self._begun
        changes: list[Change] = []
        for resource in group:
            if obstacle := self._obstacle(resource):
                self._end(resource, Result.SKIPPED, message=obstacle, started=started)
                continue
            try:
                change = plan.examine(resource, self.host, self.ledger, {})
            except (HostError, NotYetReadable) as error:
                hint, sick = getattr(error, "hint", ""), resource.judges()
                self._end(resource, Result.FAILED, message=str(error), hint=hint, unhealthy=sick, started=started)
                continue
            if change is None:
                self.ledger.seen_right(resource, self.host)
                self._end(resource, Result.UNCHANGED, started=started)
            else:
                changes.append(replace(change, drift=change.drift and not self._caused(resource)))
        if not changes:
            return
        failure = self._perform(tuple(changes))
        for change in changes:
            self._verify(change, failure, started)

    def _caused(self, resource: Resource) -> bool:
        """Whether this is a look at a service that this pass has just changed, which needs its time to start."""
        outcomes = (self.outcomes[ref] for ref in plan.behind(resource, self.desired))
        return resource.judges() and any(outcome.result is Result.CHANGED for outcome in outcomes)

    def _obstacle(self, resource: Resource) -> str:
        if self.stopping.is_set():
            return "the pass was stopped"
        for ref in sorted(plan.behind(resource, self.desired)):
            outcome = self.outcomes[ref]
            if outcome.result in (Result.FAILED, Result.SKIPPED):
                return f"needs {ref}, which {'failed' if outcome.result is Result.FAILED else 'was skipped'}"
        return ""

    def _perform(self, changes: tuple[Change, ...]) -> HostError | None:
        try:
            for change in changes:
                self._prepare(change)
            for step in type(changes[0].resource).steps_together(changes):
                log.info("%s: %r", changes[0].resource.ref, step)
                self.host.perform(step)
        except HostError as error:
            return error
        except OSError as error:
            return refusal(error)
        return None

    def _prepare(self, change: Change) -> None:
        """What must be on the disk before the change is: that it is the agent's doing, what stood there, and which services may have loaded drift."""
        resource = change.resource
        self.host.progress.say(str(resource.ref), change.action.value)
        known = self.ledger.entry(resource.ref)
        adopted = known is not None and known.made == "adopted"
        if not (adopted and change.drift):  # else it becomes again what it was before the agent came
            if change.current is not None and (path := resource.original()) and (known is None or adopted):
                self.host.perform(Keep(str(resource.ref), path))
            self.ledger.making(resource, existed=change.current is not None)
        if change.drift:
            for follower in self.desired.values():
                if resource.ref in follower.follows():
                    for step in follower.disturbed(self.host):
                        self.host.perform(step)

    def _verify(self, change: Change, failure: HostError | None, started: float) -> None:
        """Reads again: changed means seen to be right."""
        resource = change.resource
        try:
            left = plan.compare(resource, resource.read(self.host))
        except (HostError, NotYetReadable) as error:
            left, failure = change, failure or HostError(str(error))
        sick = resource.judges() or isinstance(failure, Unhealthy)
        if left is None and not isinstance(failure, Undurable):
            self.ledger.seen_right(resource, self.host)
            # a service that answers after all, with nothing done to it, was only starting: after a boot, say
            waited = resource.judges() and change.drift
            self._end(resource, Result.UNCHANGED if waited else Result.CHANGED, change=change, started=started)
        elif isinstance(failure, Deferred):
            self._end(resource, Result.SKIPPED, change=change, message=str(failure), hint=failure.hint, started=started)
        elif failure is not None:
            where = self.locate(resource.ref, failure.about) if failure.about else ""
            message, hint = "\n".join(filter(None, (str(failure), where))), failure.hint
            self._end(
                resource, Result.FAILED, change=change, message=message, hint=hint, unhealthy=sick, started=started
            )
        else:
            left = left or change
            fields = ", ".join(each.field for each in left.differences) or left.action.value
            message = f"still differs: {fields}"
            self._end(resource, Result.FAILED, change=change, message=message, unhealthy=sick, started=started)

    def _end(
        self,
        resource: Resource,
        result: Result,
        *,
        change: Change | None = None,
        message: str = "",
        hint: str = "",
        unhealthy: bool = False,
        started: float = 0.0,
    ) -> None:
        seconds = time.monotonic() - self._begun - started
        outcome = Outcome(resource.ref, result, change, message, hint, unhealthy, started, seconds)
        self.outcomes[resource.ref] = outcome
        if result is Result.UNCHANGED:
            log.debug("%s: %s", resource.ref, result.value)
        else:
            self.host.progress.ended(outcome)


def remove(gone: plan.Departures, host: Host, ledger: Ledger) -> tuple[list[Outcome], tuple[Ref, ...]]:
    """Removes what left the spec, or puts back what stood there before. The outcomes, and the refs that stay after all for what is in them."""
    outcomes: list[Outcome] = []
    failed: dict[Ref, set[Ref]] = {}
    stay: list[Ref] = []
    for change in gone.removals:
        ref, begun = change.resource.ref, time.monotonic()
        blocking = [other for other, needed in failed.items() if ref in needed]
        if blocking:
            message, hint = f"{blocking[0]}, which needs it, could not be removed", ""
        else:
            message, hint = _remove_one(change, host)
        if change.current is not None and not blocking and change.resource.remains(host):
            stay.append(ref)
            ledger.left(ref)
            if message:
                continue
        elif message:
            failed[ref] = plan.closure([ref], gone.resources)
        else:
            ledger.gone(ref)
        result = Result.FAILED if message else Result.CHANGED
        if not message and change.loss is not None:
            message = change.resource.way_back(host)
        outcomes.append(Outcome(ref, result, change, message, hint, seconds=time.monotonic() - begun))
        host.progress.ended(outcomes[-1])
    if not failed:
        for ref in gone.released:
            ledger.gone(ref)
    return outcomes, tuple(sorted({*gone.orphans, *stay}))


def _remove_one(change: Change, host: Host) -> tuple[str, str]:
    """Why it could not be removed, and a hint; nothing when it is gone."""
    resource = change.resource
    try:
        if change.puts_back:
            host.perform(PutBack(str(resource.ref), resource.original() or ""))
        elif change.current is not None:
            host.progress.say(str(resource.ref), Action.DELETE.value)
            for step in resource.steps(change):
                host.perform(step)
            if resource.read(host) is not None:
                return "is still there", ""
    except (HostError, NotYetReadable) as error:
        return str(error), getattr(error, "hint", "")
    except OSError as error:
        return str(refusal(error)), refusal(error).hint
    return "", ""
