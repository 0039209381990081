"""Updates of environments: newer packages are proposed before anything changes.

The worker makes a build beside the one in force; what differs is shown, and only what the person agrees to is put in force. Where a service does not work with
it, the build before comes back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent import inventory, solution
from agent.apply import Report
from agent.environments import Order, alone, chosen_by_agent, flip, look_after, remembered, work, write_lock
from agent.errors import Exit, HostError, Problem, SpecError
from agent.host.builds import BUILD, plain
from agent.host.environments import hold_key
from agent.solution import PackageChange, Solution
from agent.spec import listing
from agent.spec.tree import dotted
from agent.specfiles import lock_path
from agent.wanted import Wanted, want

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.kinds.environment import Environment


@dataclass(frozen=True)
class Proposal:
    """What an update of one environment would bring. ``build`` is made and waits; ``failure`` says why there is none."""

    environment: Environment
    build: str = ""
    before: Solution | None = None
    after: Solution | None = None
    same: bool = True
    relocks: bool = False
    """Whether its entry in the lock file would be another one."""
    held: bool = False
    """Whether an older build is held, which an update lifts."""
    reused: bool = False
    """Whether the build was there before: then it stays, whatever the person says."""
    interrupts: tuple[str, ...] = ()
    """Services that would be restarted, and what that would interrupt."""
    failure: HostError | None = None

    @property
    def name(self) -> str:
        return self.environment.name

    @property
    def changes(self) -> tuple[PackageChange, ...]:
        return () if self.same else solution.changes(self.before, self.after)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do, or nothing that can be done."""
        return self.failure is not None or (self.same and not self.relocks and not self.held)


@dataclass(frozen=True)
class Updated:
    """How an update ended. ``went_back`` says why the builds before are in force again."""

    proposals: tuple[Proposal, ...]
    taken: bool = False
    report: Report | None = None
    went_back: str = ""

    @property
    def exit_status(self) -> int:
        if self.went_back:
            return Exit.ROLLED_BACK
        if self.report is not None and self.report.exit_status:
            return self.report.exit_status
        failures = [each.failure for each in self.proposals if each.failure is not None]
        if failures and len(failures) == len(self.proposals):
            return max(each.exit_status for each in failures)
        return Exit.FAILED if failures else Exit.OK


class Update:
    """One update of environments to the newest versions that the spec allows. ``run`` may be called once."""

    def __init__(self, order: Order, host: Host) -> None:
        self.order, self.host = order, host
        self._lock_path = lock_path(order.spec)
        self._entries: Mapping[str, Any] = {}
        self._fits = True
        """Whether the spec and the lock file agreed before."""

    def run(self, approve: Callable[[Sequence[Proposal]], bool]) -> Updated:
        """Makes the builds, puts those in force that ``approve`` agrees to (all or none), and takes the others away.

        Where a service does not work with them, the builds before come back. Raises BusyError, SpecError.
        """
        with alone(self.order, self.host, "env update"):
            wanted = want(self.order.spec, self.host, lock=False)
            self.host.begin(wanted.resources)
            chosen = chosen_by_agent(
                inventory.named(inventory.environments(wanted.resources), self.order.names), self.order
            )
            self._refuse_others(wanted, chosen)
            self._entries = listing.read_lock(self._lock_path)
            proposals: list[Proposal] = []
            taken: list[Proposal] = []
            try:
                proposals += (self._propose(each, wanted) for each in chosen.values())
                if any(not each.empty for each in proposals) and approve(proposals):
                    taken = [each for each in proposals if not each.empty]
                    self._take(taken)
            finally:
                for made in proposals:
                    if made.build and not made.reused and (made.same or made not in taken):
                        self._discard(made)
        if not taken:
            return Updated(tuple(proposals))
        return self._settle(wanted, tuple(proposals), taken)

    def _refuse_others(self, wanted: Wanted, chosen: Mapping[str, Environment]) -> None:
        """Whatever else is wrong with the spec would keep the pass from being made that must follow."""
        try:
            want(self.order.spec, self.host)
        except SpecError as error:
            self._fits = False
            left = tuple(each for each in error.problems if not _is_about(each, wanted, chosen))
            if left:
                raise SpecError(left) from None

    def _propose(self, environment: Environment, wanted: Wanted) -> Proposal:
        place, name = environment.place, environment.name
        try:
            answer = work(self.host, environment, "propose", due=True, listing=None)
        except HostError as error:
            return Proposal(environment, failure=error)
        build, same, entry = str(answer.get("build")), answer.get("same") is True, answer.get("entry")
        wrong = solution.fault(entry) if re.fullmatch(BUILD, build) else f"no build is called {build[:80]!r}"
        if wrong or not isinstance(entry, dict):
            failure = HostError(f"the conda worker gave no list of packages: {plain(wrong)}")
            return Proposal(environment, failure=failure)
        after = solution.of(entry)
        before = inventory.solution_of(place, self.host.environments.build(place))
        old = self._entries.get(name)
        following = [each for each in wanted.resources.values() if environment.ref in each.follows()]
        busy = tuple(
            f"{each.name} ({text})" if (text := each.interrupts(self.host)) else each.name for each in following
        )
        return Proposal(
            environment,
            build,
            before,
            after,
            same,
            relocks=old is not None and (not same or before is None or old != before.entry),
            held=self.host.memory.get(hold_key(place)) is not None,
            reused=answer.get("reused") is True,
            interrupts=() if same else busy,
        )

    def _take(self, taken: Sequence[Proposal]) -> None:
        """The lock file first: a run that is cut short after it is made up for by the next pass."""
        entries = dict(self._entries)
        for each in taken:
            made_of = each.before if each.same else each.after
            if each.relocks and made_of is not None:
                entries[each.name] = made_of.entry
        if entries != self._entries:
            write_lock(self._lock_path, entries)
        for each in taken:
            with remembered(self.host, each.environment, None):
                if not each.same:
                    flip(self.host, each.environment, each.build)

    def _discard(self, each: Proposal) -> None:
        try:
            work(self.host, each.environment, "discard", build=each.build, listing=None, logins=())
        except HostError as error:  # it is taken away by the next worker there, or by `env clean`
            self.host.progress.say(str(each.environment.ref), f"build {each.build} stays: {error}")

    def _settle(self, wanted: Wanted, proposals: tuple[Proposal, ...], taken: Sequence[Proposal]) -> Updated:
        report = look_after(self.order, self.host, wanted, [each.environment for each in taken], "env update")
        sick = [each for each in report.outcomes if each.unhealthy]
        back = [each for each in taken if not each.same and each.before is not None]
        if not sick or not back:
            return Updated(proposals, taken=True, report=report)
        why = "; ".join(f"{each.ref}: {each.message}" for each in sick)
        with alone(self.order, self.host, "env update"):
            self._go_back(back)
        report = look_after(self.order, self.host, wanted, [each.environment for each in back], "env update")
        return Updated(proposals, taken=True, report=report, went_back=why)

    def _go_back(self, taken: Sequence[Proposal]) -> None:
        """To the lock file of before, too; where that was not one for the spec, the builds are held instead."""
        if self._fits and listing.read_lock(self._lock_path) != self._entries:
            write_lock(self._lock_path, self._entries)
        wanted = want(self.order.spec, self.host)
        self.host.begin(wanted.resources)
        now = inventory.environments(wanted.resources)
        for each in taken:
            environment, build = now[each.name], str(each.before.entry["build"]) if each.before else ""
            with remembered(self.host, environment, None if self._fits else build):
                flip(self.host, environment, build)


def _is_about(problem: Problem, wanted: Wanted, chosen: Mapping[str, Environment]) -> bool:
    return any(
        problem.field == field or problem.field.startswith(f"{field}.")
        for field in (dotted(wanted.spec.keys_of(name)) for name in chosen)
    )
