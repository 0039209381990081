"""From a resource and what a host has to the steps that would be taken."""

from __future__ import annotations

from typing import Any

from agent.plan import compare
from agent.resource import Action, Change, Resource
from agent.steps import Step


def steps_for(resource: Resource, current: Any) -> list[Step]:
    """The steps that make ``current`` right; none when it is."""
    change = compare(resource, current)
    return [] if change is None else list(resource.steps(change))


def removal_of(resource: Resource, current: Any) -> list[Step]:
    """The steps once the resource has left the spec."""
    return list(resource.steps(Change(resource, Action.DELETE, current=current)))
