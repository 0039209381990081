"""Saved plans: exactly these changes, or none."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace

from agent import plan, records
from agent.errors import AgentError
from agent.report import machine

FORMAT = "agent-plan-1"


@dataclass(frozen=True)
class Saved:
    """What a plan file says."""

    spec: str
    targets: tuple[str, ...]
    digest: str


def digest(found: plan.Plan) -> str:
    """What two plans have in common when they would do the same: the changes, with the states that are there and the resources wanted."""
    plain = replace(found, notes=(), changes=tuple(replace(each, interrupts="") for each in found.changes))
    states = [(records.digest(change.resource), repr(change.current)) for change in (*found.changes, *found.removals)]
    return hashlib.blake2b(json.dumps([machine.plan(plain), states]).encode(), digest_size=16).hexdigest()


def save(path: str, spec: str, targets: tuple[str, ...], found: plan.Plan) -> None:
    """Writes a plan file. Holds no content and no secret, only digests."""
    from agent.host import durable

    document = {
        "format": FORMAT, "spec": spec, "targets": targets, "digest": digest(found), "plan": machine.plan(found),
    }  # fmt: skip
    durable.replace(path, json.dumps(document, indent=1).encode() + b"\n", mode=0o600)


def load(path: str) -> Saved | None:
    """The plan in a file; None when the file is not a saved plan (but a spec). Raises AgentError for a damaged one."""
    if not os.path.isfile(
        path
    ):  # whatever else it is, the spec's own checks have words for it; a pipe would be waited for
        return None
    try:
        with open(path, "rb") as file:
            start = file.read(64)
            if b"agent-plan" not in start:
                return None
            found = json.loads(start + file.read())
    except ValueError:
        raise AgentError(f"{path}: this saved plan is damaged", hint="make a new one: agent plan --out FILE") from None
    if found.get("format") != FORMAT:
        raise AgentError(f"{path}: saved by another version of agent", hint="make a new one: agent plan --out FILE")
    return Saved(found["spec"], tuple(found["targets"]), found["digest"])
