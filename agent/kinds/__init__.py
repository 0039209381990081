"""The kinds of resource, by name: one line each."""

from __future__ import annotations

from agent.kinds.environment import Environment
from agent.kinds.kernelspec import Kernelspec
from agent.resource import Resource

KINDS: dict[str, type[Resource]] = {
    each.kind: each
    for each in (
        Environment,
        Kernelspec,
    )
}
