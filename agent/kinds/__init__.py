"""The kinds of resource, by name: one line each."""

from __future__ import annotations

from agent.resource import Resource

KINDS: dict[str, type[Resource]] = {}
