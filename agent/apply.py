"""One whole apply: lock, spec, pass, health, the way back, removals, generation, status, evidence. Plans and verification begin the same way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent import evidence, plan, rollback, status
from agent.errors import Exit, PlanError, SpecError
from agent.generations import Generations
from agent.host import durable
from agent.host.machine import Host
from agent.ledger import Ledger
from agent.lock import locked
from agent.reconcile import Pass, remove
from agent.resource import Loss, Outcome, Ref, Resource, Result
from agent.wanted import Wanted, want

if TYPE_CHECKING:
    from agent.host.look import Answer, Question
    from agent.kinds.environment import Environment


@dataclass(frozen=True)
class Request:
    """What is asked for. ``approve`` is shown the plan first and may refuse it; ``expect`` is the digest that the plan must have."""

    spec: str
    verb: str = "apply"
    targets: tuple[str, ...] = ()
    lock_timeout: float = 60.0
    retry: bool = False
    """Apply a spec again although it was rolled back."""
    loss: Loss | None = None
    """What is to happen to databases that left the spec; None: they stay."""
    approve: Callable[[plan.Plan], bool] | None = None
    waiting: Callable[[str], None] = lambda _holder: None


@dataclass(frozen=True)
class Report:
    """How an apply ended."""

    exit_status: int
    outcomes: tuple[Outcome, ...] = ()
    orphans: tuple[Ref, ...] = ()
    generation: int | None = None
    restored: tuple[Outcome, ...] = ()
    """What was done to go back to the previous generation, or to stay there."""
    rolled_back: str = ""
    """Why, when the previous generation is in force instead of the spec."""
    seconds: float = 0.0
    refused: bool = False
    """The person said no to the plan."""

    @property
    def last(self) -> tuple[Outcome, ...]:
        """The outcomes of the last pass there was: what the host is like now."""
        return self.restored if self.rolled_back else self.outcomes


class Apply:
    """One apply on one host. ``run`` may be called once; ``stop`` from another thread or a signal ends it after the steps in progress."""

    def __init__(self, request: Request, host: Host) -> None:
        self.request = request
        self.host = host
        self.generations = Generations(host.paths.state)
        self._begun, self._started = time.monotonic(), time.time()
        self._pass: Pass | None = None
        self._stopped = False
        self._locate: Callable[[Ref, tuple[str, ...]], str] = lambda _ref, _about: ""

    def stop(self) -> None:
        self._stopped = True
        if self._pass is not None:
            self._pass.stopping.set()

    def run(self) -> Report:
        """Raises BusyError when the lock is held for too long, SpecError for a bad spec (noted in the status), AgentError for no spec."""
        os.makedirs(self.host.paths.state, mode=0o755, exist_ok=True)
        request = self.request
        with locked(
            self.host.paths.lock,
            request.verb,
            timeout=request.lock_timeout,
            waiting=request.waiting,
            stopped=lambda: self._stopped,
        ):
            self.host.begin({})
            self.ledger = Ledger(f"{self.host.paths.state}/ledger.jsonl")
            try:
                wanted = want(request.spec, self.host)
            except (SpecError, PlanError) as error:
                self._write_bad_spec(error)
                raise
            self._locate = wanted.locate
            return self._apply(wanted, dict(self.host.looks.answers))

    def _apply(self, wanted: Wanted, asked: dict[Question, Answer]) -> Report:
        spec = wanted.resources
        request = self.request
        if request.approve is not None and not request.approve(
            foresee(spec, self.host, self.ledger, targets=request.targets, retry=request.retry, loss=request.loss)
        ):
            return Report(Exit.OK, refused=True)
        durable.unlink(evidence_path(self.host))  # from here on the host is not what the last pass saw
        held = None if request.retry else rollback.held(spec, self.generations)
        if held is not None:
            return self._hold(wanted, held, (), held.why)
        desired = self._aimed_at(spec)
        outcomes = self._pass_over(desired)
        if updates := self._updates_to_undo(desired, outcomes):
            return self._undo(wanted, desired, outcomes, updates)
        removed: tuple[Outcome, ...] = ()
        orphans: tuple[Ref, ...] = ()
        if (held := self._judge(spec, desired, outcomes)) is None:
            removed, orphans = self._remove(desired, request.loss)
            outcomes = self._confirm(desired, outcomes, removed)
            held = self._judge(spec, desired, outcomes)
        if held is not None:
            back = f"{held.rejection.reason}; generation {held.generation} is restored"
            return self._hold(wanted, held, (*outcomes, *removed), back)
        report = Report(_exit_status((*outcomes, *removed)), (*outcomes, *removed), orphans)
        good = report.exit_status == Exit.OK and not self.request.targets
        if good:
            self.generations.forgive()
            report = replace(report, generation=self.generations.keep(spec, wanted.documents))
        report = self._finish(wanted, report)
        if good:
            self._keep_evidence(wanted, report, asked)
        return report

    def _aimed_at(self, resources: Mapping[Ref, Resource]) -> Mapping[Ref, Resource]:
        return plan.restricted(resources, self.request.targets) if self.request.targets else resources

    def _pass_over(self, desired: Mapping[Ref, Resource]) -> tuple[Outcome, ...]:
        self._pass = Pass(desired, self.host, self.ledger, locate=self._locate)
        if self._stopped:
            self._pass.stopping.set()
        return self._pass.run()

    def _remove(
        self, desired: Mapping[Ref, Resource], loss: Loss | None = None
    ) -> tuple[tuple[Outcome, ...], tuple[Ref, ...]]:
        if self.request.targets or self._stopped:
            return (), ()
        gone = plan.departures(desired, self.host, self.ledger, loss)
        outcomes, orphans = remove(gone, self.host, self.ledger)
        return tuple(outcomes), orphans

    def _judge(
        self, spec: Mapping[Ref, Resource], desired: Mapping[Ref, Resource], outcomes: tuple[Outcome, ...]
    ) -> rollback.Held | None:
        """What to go back to, if what was changed does not work and there is something to go back to. That the spec is bad is then on the disk."""
        if self._stopped or not any(outcome.unhealthy for outcome in outcomes):
            return None
        if (previous := self.generations.current()) is None:
            return None
        found = rollback.to_go_back(desired, outcomes, previous)
        if found is None:
            return None
        self.generations.mark_bad(spec, *found)
        return rollback.held(spec, self.generations)

    def _updates_to_undo(
        self, desired: Mapping[Ref, Resource], outcomes: tuple[Outcome, ...]
    ) -> list[tuple[Environment, str]]:
        return [] if self._stopped else rollback.updated(desired, outcomes)

    def _undo(
        self,
        wanted: Wanted,
        desired: Mapping[Ref, Resource],
        outcomes: tuple[Outcome, ...],
        updates: list[tuple[Environment, str]],
    ) -> Report:
        """Newer versions came by schedule and something does not work with them: the builds before come back, and are held as if by hand."""
        for environment, build in updates:
            self.host.progress.say(str(environment.ref), f"going back to build {build}")
            self.host.environments.go_back(environment, build)
        restored = self._pass_over(desired)
        sick = "; ".join(f"{o.ref}: {o.message.rstrip('.')}" for o in outcomes if o.unhealthy)
        names = ", ".join(environment.name for environment, _ in updates)
        current = self.generations.current()
        why = f"{sick}; the update of {names} was undone (agent env update tries again)"
        number = current.number if current else None
        return self._finish(wanted, Report(Exit.ROLLED_BACK, outcomes, (), number, restored, why))

    def _hold(self, wanted: Wanted, held: rollback.Held, outcomes: tuple[Outcome, ...], why: str) -> Report:
        """Makes right what is in force instead of the spec. A run that was killed while it went back is made up for in the same way."""
        if outcomes:
            self.host.progress.say(f"generation {held.generation}", "restoring")
        desired = self._aimed_at(held.resources)
        restored = self._pass_over(desired)
        removed, orphans = self._remove(desired)
        left = [f"{o.ref}: {o.message}" for o in (*restored, *removed) if o.result in (Result.FAILED, Result.SKIPPED)]
        if left:
            why += f", but: {'; '.join(left)}"
        report = Report(Exit.ROLLED_BACK, outcomes, orphans, held.generation, (*restored, *removed), why)
        return self._finish(wanted, report)

    def _confirm(
        self, desired: Mapping[Ref, Resource], outcomes: tuple[Outcome, ...], removed: tuple[Outcome, ...]
    ) -> tuple[Outcome, ...]:
        """After changes, if all went well: looks at everything once more. What differs now was changed by another resource, or by someone else meanwhile."""
        results = {outcome.result for outcome in (*outcomes, *removed)}
        if results <= {Result.UNCHANGED} or not results <= {Result.UNCHANGED, Result.CHANGED}:
            return outcomes
        found = plan.plan(desired, self.host, self.ledger)
        because = "something else changes it, or another resource of the spec"
        unsettled = {change.resource.ref: f"was right, and differs again now: {because}" for change in found.changes}
        unsettled |= {ref: f"was right, and cannot be read now: {reason}" for ref, reason in found.failures}
        settled: list[Outcome] = []
        for outcome in outcomes:
            if (ref := outcome.ref) in unsettled:
                sick = desired[ref].judges()
                settled.append(replace(outcome, result=Result.FAILED, message=unsettled[ref], unhealthy=sick))
                self.host.progress.ended(settled[-1])
            else:
                settled.append(outcome)
        return tuple(settled)

    # ---- what is written down

    def _finish(self, wanted: Wanted, report: Report) -> Report:
        report = replace(report, seconds=time.monotonic() - self._begun)
        if self.host.files.clear_leftovers(self._started):
            self.host.looks.steady = False  # their directories have changed under the pass
        self.ledger.flush()
        self.ledger.compact()
        write_status(self.host, self._document(wanted, report))
        return report

    def _document(self, wanted: Wanted, report: Report) -> dict[str, Any]:
        previous = status.load(self.host.paths.status)
        bad = [o for o in report.last if o.result in (Result.FAILED, Result.SKIPPED)]
        sick = [o for o in bad if o.unhealthy]
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
            outcomes=report.last,
            orphans=report.orphans,
            notes=plan.notes(wanted.resources, self.host),
            conditions=conditions,
            seconds=report.seconds,
            detail={
                "interval": wanted.spec.agent.interval.total_seconds(),
                "splay": wanted.spec.agent.splay.total_seconds(),
            },
        )

    def _write_bad_spec(self, error: SpecError | PlanError) -> None:
        """The last good state stays; the status says what is wrong and where."""
        from agent.report.problems import one_line

        previous = status.load(self.host.paths.status) or {}
        problems = [one_line(problem) for problem in error.problems] if isinstance(error, SpecError) else [str(error)]
        old = [c for c in previous.get("conditions", ()) if c.get("type") != "SpecValid"]
        bad = status.condition("SpecValid", False, "Invalid", "; ".join(problems), previous)
        empty = status.document(
            verb=self.request.verb, spec=self.request.spec, spec_digest="", generation=None,
            outcomes=(), orphans=(), conditions=(), seconds=0.0,
        )  # fmt: skip
        write_status(self.host, {**empty, **previous, "conditions": [vars(bad), *old], "problems": problems})

    def _keep_evidence(self, wanted: Wanted, report: Report, asked: dict[Question, Answer]) -> None:
        """For the next start: what this pass asked, if nothing moved under it, and the status that an undisturbed host would give."""
        from agent.report import text

        path, looks = evidence_path(self.host), self.host.looks
        if not looks.steady:
            return
        answers = {**asked, **looks.answers}
        outcomes = tuple(Outcome(ref, Result.UNCHANGED) for ref in sorted(wanted.resources))
        document = self._document(wanted, replace(report, outcomes=outcomes, exit_status=Exit.OK, seconds=0.0))
        told = plan.notes(wanted.resources, self.host)
        nothing = plan.Plan((), orphans=report.orphans, resources=len(wanted.resources), notes=told)
        words = "".join(f"{line}\n" for line in text.plan(nothing))
        found = evidence.Evidence(list(answers), list(answers.values()), status.halves(document), words)
        durable.replace(path, evidence.dump(found, self.request.spec), mode=0o600)


def evidence_path(host: Host) -> str:
    return f"{host.paths.state}/evidence"


def write_status(host: Host, document: dict[str, Any]) -> None:
    """Replaces the status document; everybody may read it."""
    durable.replace(host.paths.status, status.text(status.halves(document)), mode=0o644)


def look(spec: str, host: Host, *, targets: tuple[str, ...] = (), loss: Loss | None = None) -> plan.Plan:
    """The plan for a spec: reads everything, changes nothing."""
    host.begin({})
    resources = want(spec, host).resources
    return foresee(resources, host, Ledger(f"{host.paths.state}/ledger.jsonl"), targets=targets, loss=loss)


def foresee(
    spec: Mapping[Ref, Resource],
    host: Host,
    ledger: Ledger,
    *,
    targets: tuple[str, ...] = (),
    retry: bool = False,
    loss: Loss | None = None,
) -> plan.Plan:
    """What an apply of these resources would do: towards what is in force instead, if they were rolled back."""
    held = None if retry else rollback.held(spec, Generations(host.paths.state))
    resources = held.resources if held else spec
    if targets:
        found = plan.plan(plan.restricted(resources, targets), host, ledger)
        found = replace(found, removals=(), orphans=())
    else:
        found = plan.plan(resources, host, ledger, None if held else loss)
    return replace(found, held=held.why if held else "")


def _exit_status(outcomes: tuple[Outcome, ...]) -> int:
    if any(outcome.result is Result.FAILED for outcome in outcomes):
        return Exit.FAILED
    if any(outcome.result is Result.SKIPPED for outcome in outcomes):
        return Exit.TEMPORARY
    return Exit.OK
