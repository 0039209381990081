"""One whole apply: lock, spec, pass, health, the way back, removals, generation, status, evidence. Plans and verification begin the same way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent import evidence, plan, status
from agent.errors import Exit, SpecError
from agent.generations import Generation, Generations
from agent.host import durable
from agent.host.machine import Host
from agent.ledger import Ledger
from agent.lock import locked
from agent.reconcile import Pass, remove
from agent.resource import Action, Change, Outcome, Ref, Resource, Result
from agent.wanted import Wanted, want

if TYPE_CHECKING:
    from agent.host.look import Answer, Question


@dataclass(frozen=True)
class Request:
    """What is asked for. ``approve`` is shown the plan first and may refuse it; ``expect`` is the digest that the plan must have."""

    spec: str
    verb: str = "apply"
    targets: tuple[str, ...] = ()
    lock_timeout: float = 60.0
    retry: bool = False
    """Apply a spec again although it was rolled back."""
    approve: Callable[[plan.Plan], bool] | None = None
    waiting: Callable[[str], None] = lambda _holder: None


@dataclass(frozen=True)
class Report:
    """How an apply ended."""

    exit_status: int
    outcomes: tuple[Outcome, ...] = ()
    orphans: tuple[Ref, ...] = ()
    generation: int | None = None
    rolled_back: str = ""
    """Why, when the previous generation was restored or the spec is known to be bad."""
    seconds: float = 0.0
    refused: bool = False
    """The person said no to the plan."""

    def count(self, result: Result) -> int:
        return sum(outcome.result is result for outcome in self.outcomes)


class Apply:
    """One apply on one host. ``run`` may be called once; ``stop`` from another thread or a signal ends it after the steps in progress."""

    def __init__(self, request: Request, host: Host) -> None:
        self.request = request
        self.host = host
        self.generations = Generations(host.paths.state)
        self._begun = time.monotonic()
        self._pass: Pass | None = None
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True
        if self._pass is not None:
            self._pass.stopping.set()

    def run(self) -> Report:
        """Raises BusyError when the lock is held for too long, SpecError for a bad spec (noted in the status), AgentError for no spec."""
        os.makedirs(self.host.paths.state, mode=0o755, exist_ok=True)
        request = self.request
        with locked(self.host.paths.lock, request.verb, timeout=request.lock_timeout, waiting=request.waiting):
            self.host.begin({})
            self.ledger = Ledger(f"{self.host.paths.state}/ledger.jsonl")
            try:
                wanted = want(request.spec, self.host)
            except SpecError as error:
                self._write_bad_spec(error)
                raise
            if request.targets:
                wanted = replace(wanted, resources=plan.restricted(wanted.resources, request.targets))
            return self._apply(wanted, dict(self.host.looks.answers))

    def _apply(self, wanted: Wanted, asked: dict[Question, Answer]) -> Report:
        desired = wanted.resources
        if (note := self.generations.bad(desired)) is not None and not self.request.retry:
            reason = f"this spec was rolled back at {note['since']}: {note['reason']}"
            return self._finish(wanted, Report(Exit.ROLLED_BACK, rolled_back=reason))
        if self.request.approve is not None and not self.request.approve(plan.plan(desired, self.host, self.ledger)):
            return Report(Exit.OK, refused=True)
        durable.unlink(evidence_path(self.host))  # from here on the host is not what the last pass saw
        self._pass = Pass(desired, self.host, self.ledger)
        if self._stopped:
            self._pass.stopping.set()
        outcomes = self._pass.run()
        if reason := self._roll_back(desired, outcomes):
            return self._finish(wanted, Report(Exit.ROLLED_BACK, outcomes, rolled_back=reason))
        changed = any(outcome.result is not Result.UNCHANGED for outcome in outcomes)
        removed: list[Outcome] = []
        orphans: tuple[Ref, ...] = ()
        if not self.request.targets:
            removals, orphans = plan.departures(desired, self.host, self.ledger)
            removed = remove(removals, self.host, self.ledger)
        good = not any(outcome.result in (Result.FAILED, Result.SKIPPED) for outcome in (*outcomes, *removed))
        if good and (changed or removed):
            outcomes = self._confirm(desired, outcomes)
            good = not any(outcome.result is Result.FAILED for outcome in outcomes)
        number = None
        if good and not self.request.targets:
            number = self.generations.keep(desired, wanted.documents)
            self.generations.forgive()
        report = Report(_exit_status((*outcomes, *removed)), (*outcomes, *removed), orphans, number)
        report = self._finish(wanted, report)
        if good and not self.request.targets:
            self._keep_evidence(wanted, report, asked)
        return report

    def _confirm(self, desired: Mapping[Ref, Resource], outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        """Looks at everything once more: what differs now was changed by another resource, or by someone else meanwhile."""
        unsettled = {change.resource.ref: change for change in plan.plan(desired, self.host, self.ledger).changes}
        return tuple(
            replace(
                outcome,
                result=Result.FAILED,
                message="was right, and differs again now: something else changes it, or another resource of the spec",
            )
            if outcome.ref in unsettled
            else outcome
            for outcome in outcomes
        )

    def _roll_back(self, desired: Mapping[Ref, Resource], outcomes: tuple[Outcome, ...]) -> str:
        """Goes back to the previous generation if this one made a service unhealthy; says why, or nothing when there was no cause or no way."""
        failed = [o for o in outcomes if o.result is Result.FAILED and desired[o.ref].judges()]
        previous = self.generations.current()
        if not failed or previous is None or self.generations.bad(previous.resources) or self._stopped:
            return ""
        concerned = plan.closure([o.ref for o in failed], desired)
        touched = [o for o in outcomes if o.ref in concerned and o.change and not o.change.drift]
        same = all(previous.resources.get(ref) == desired[ref] for ref in concerned)
        if not touched or same:
            return ""
        reason = "; ".join(f"{outcome.ref}: {outcome.message}" for outcome in failed)
        self.generations.mark_bad(desired, reason)
        return self._restore(outcomes, concerned, previous, reason)

    def _restore(
        self,
        outcomes: tuple[Outcome, ...],
        concerned: set[Ref],
        previous: Generation,
        reason: str,
    ) -> str:
        self.host.progress.say(f"generation {previous.number}", "restoring: " + reason)
        before = concerned | plan.closure(concerned, previous.resources)
        wanted = {ref: resource for ref, resource in previous.resources.items() if ref in before}
        fresh = [
            outcome.change.resource
            for outcome in outcomes
            if outcome.change and outcome.change.action is Action.CREATE and outcome.ref in concerned - wanted.keys()
        ]
        removable = plan.order((resource for resource in fresh if not resource.holds_work), backwards=True)
        remove([Change(each, Action.DELETE, current=each.desired()) for each in removable], self.host, self.ledger)
        self._pass = Pass(wanted, self.host, self.ledger)
        left = [outcome for outcome in self._pass.run() if outcome.result is not Result.UNCHANGED]
        bad = [f"{o.ref} {o.message}" for o in left if o.result in (Result.FAILED, Result.SKIPPED)]
        back = f"generation {previous.number} restored" + (f", but: {'; '.join(bad)}" if bad else "")
        return f"{reason}; {back}"

    # ---- what is written down

    def _finish(self, wanted: Wanted, report: Report) -> Report:
        report = replace(report, seconds=time.monotonic() - self._begun)
        self.ledger.compact()
        write_status(self.host, self._document(wanted, report))
        return report

    def _document(self, wanted: Wanted, report: Report) -> dict[str, Any]:
        previous = status.load(self.host.paths.status)
        bad = [o for o in report.outcomes if o.result in (Result.FAILED, Result.SKIPPED)]
        sick = [o for o in bad if o.ref in wanted.resources and wanted.resources[o.ref].judges()]
        as_wanted = not bad and not report.rolled_back
        what = report.rolled_back or "; ".join(f"{o.ref}: {o.message}" for o in bad) or "every resource is as wanted"
        conditions = (
            status.condition("SpecValid", True, "Valid", "the spec is valid", previous),
            status.condition(
                "AsWanted",
                as_wanted,
                "AsWanted" if as_wanted else "RolledBack" if report.rolled_back else "Failed",
                what,
                previous,
            ),
            status.condition(
                "Healthy",
                not sick,
                "Healthy" if not sick else "Unhealthy",
                "; ".join(str(o.ref) for o in sick),
                previous,
            ),
        )
        current = self.generations.current()
        return status.document(
            verb=self.request.verb,
            spec=self.request.spec,
            spec_digest=wanted.digest,
            generation=report.generation or (current.number if current else None),
            outcomes=report.outcomes,
            orphans=report.orphans,
            conditions=conditions,
            seconds=report.seconds,
            detail={
                "interval": wanted.spec.agent.interval.total_seconds(),
                "splay": wanted.spec.agent.splay.total_seconds(),
            },
        )

    def _write_bad_spec(self, error: SpecError) -> None:
        """The last good state stays; the status says what is wrong and where."""
        from agent.report.problems import one_line

        previous = status.load(self.host.paths.status) or {}
        problems = [one_line(problem) for problem in error.problems]
        old = [c for c in previous.get("conditions", ()) if c.get("type") != "SpecValid"]
        bad = status.condition("SpecValid", False, "Invalid", "; ".join(problems), previous)
        empty = status.document(
            verb=self.request.verb, spec=self.request.spec, spec_digest="", generation=None,
            outcomes=(), orphans=(), conditions=(), seconds=0.0,
        )  # fmt: skip
        write_status(self.host, {**empty, **previous, "conditions": [vars(bad), *old], "problems": problems})

    def _keep_evidence(self, wanted: Wanted, report: Report, asked: dict[Question, Answer]) -> None:
        """For the next start: what this pass asked, if nothing moved under it, and the status that an undisturbed host would give."""
        path, looks = evidence_path(self.host), self.host.looks
        if not looks.steady:
            return
        answers = {**asked, **looks.answers}
        outcomes = tuple(Outcome(ref, Result.UNCHANGED) for ref in sorted(wanted.resources))
        document = self._document(wanted, replace(report, outcomes=outcomes, exit_status=Exit.OK, seconds=0.0))
        found = evidence.Evidence(list(answers), list(answers.values()), status.halves(document), len(wanted.resources))
        durable.replace(path, evidence.dump(found, self.request.spec), mode=0o600)


def evidence_path(host: Host) -> str:
    return f"{host.paths.state}/evidence"


def write_status(host: Host, document: dict[str, Any]) -> None:
    """Replaces the status document; everybody may read it."""
    durable.replace(host.paths.status, status.text(status.halves(document)), mode=0o644)


def look(spec: str, host: Host, *, targets: tuple[str, ...] = ()) -> plan.Plan:
    """The plan for a spec: reads everything, changes nothing."""
    host.begin({})
    ledger = Ledger(f"{host.paths.state}/ledger.jsonl")
    resources = want(spec, host).resources
    if targets:
        return replace(plan.plan(plan.restricted(resources, targets), host, ledger), removals=(), orphans=())
    return plan.plan(resources, host, ledger)


def _exit_status(outcomes: tuple[Outcome, ...]) -> int:
    if any(outcome.result is Result.FAILED for outcome in outcomes):
        return Exit.FAILED
    if any(outcome.result is Result.SKIPPED for outcome in outcomes):
        return Exit.TEMPORARY
    return Exit.OK
