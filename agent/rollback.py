"""The way back: whether the previous generation is better than what was just applied, and what is in force once it was gone back to.

Only what the unhealthy thing stands on, and what stands on that, goes back; for the rest the spec counts. Pure but for what `Generations` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent import plan
from agent.generations import Generation, Generations, Rejection
from agent.kinds.environment import Environment
from agent.resource import Outcome, Ref, Resource


@dataclass(frozen=True)
class Held:
    """What is in force instead of a spec that was found unhealthy. ``why`` says so in words."""

    resources: Mapping[Ref, Resource]
    generation: int
    rejection: Rejection

    @property
    def why(self) -> str:
        return (
            f"this spec was rolled back at {self.rejection.since}: {self.rejection.reason}; "
            f"generation {self.generation} is in force"
        )


def held(spec: Mapping[Ref, Resource], generations: Generations) -> Held | None:
    """What is in force if exactly this spec was rolled back; None if it was not, or there is nothing to go back to."""
    if (rejection := generations.bad(spec)) is None or (previous := generations.current()) is None:
        return None
    return Held(in_force(spec, previous, rejection.refs), previous.number, rejection)


def in_force(spec: Mapping[Ref, Resource], previous: Generation, refs: Iterable[Ref]) -> dict[Ref, Resource]:
    """The previous generation for these refs and all that they stand on there, the spec for the rest."""
    back = {*refs, *plan.closure(refs, previous.resources)}
    mine = {ref: resource for ref, resource in spec.items() if ref not in back}
    return {**mine, **{ref: resource for ref, resource in previous.resources.items() if ref in back}}


def to_go_back(
    desired: Mapping[Ref, Resource], outcomes: Iterable[Outcome], previous: Generation
) -> tuple[str, frozenset[Ref]] | None:
    """Why to go back, and which refs; None when nothing is unhealthy, or going back would not help.

    It helps against what worked in the previous generation and stands on something else now. What is new and does not work has nothing to go back to,
    and what fails on the same ground has another cause.
    """
    sick = [outcome for outcome in outcomes if outcome.unhealthy and outcome.ref in previous.resources]
    ground = plan.closure((outcome.ref for outcome in sick), desired)
    if all(previous.resources.get(ref) == desired[ref] for ref in ground):
        return None
    standing = [ref for ref in desired if plan.closure([ref], desired) & {outcome.ref for outcome in sick}]
    return "; ".join(f"{o.ref}: {o.message.rstrip('.')}" for o in sick), frozenset(plan.closure(standing, desired))


def updated(desired: Mapping[Ref, Resource], outcomes: Iterable[Outcome]) -> list[tuple[Environment, str]]:
    """Environments that newer versions were due for and that something unhealthy stands on, each with the build that was in force before."""
    results = {outcome.ref: outcome for outcome in outcomes}
    ground = plan.closure((ref for ref, outcome in results.items() if outcome.unhealthy), desired)
    found = []
    for ref in sorted(ground):
        resource, change = desired[ref], results[ref].change if ref in results else None
        if not isinstance(resource, Environment) or change is None or change.current is None:
            continue
        if {each.field for each in change.differences} == {"due"} and change.current.build:
            found.append((resource, change.current.build))
    return found
