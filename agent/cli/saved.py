"""Saved plans: exactly these changes, or none."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from dataclasses import dataclass, replace

from agent import plan, records
from agent.errors import AgentError, UsageError
from agent.report import machine
from agent.resource import Loss

FORMAT = "agent-plan-1"


@dataclass(frozen=True)
class Saved:
    """What a plan file says."""

    spec: str
    targets: tuple[str, ...]
    loss: Loss | None
    digest: str


def allowed(options: argparse.Namespace) -> Loss | None:
    """What the command line allows to happen to databases that left the spec. Raises UsageError for options that contradict each other."""
    if options.no_dump and not options.allow_data_loss:
        raise UsageError("--no-dump goes with --allow-data-loss", hint="without that, no database is removed")
    if options.allow_data_loss and options.target:
        raise UsageError("--allow-data-loss does not go with --target", hint="with a target, nothing is removed")
    if not options.allow_data_loss:
        return None
    return Loss.UNDUMPED if options.no_dump else Loss.DUMPED


def digest(found: plan.Plan) -> str:
    """What two plans have in common when they would do the same: the changes, with the states that are there and the resources wanted."""
    plain = replace(
        found,
        notes=(),
        changes=tuple(replace(each, interrupts="") for each in found.changes),
        removals=tuple(replace(each, loses=each.loss.value if each.loss else "") for each in found.removals),
    )
    states = [(records.digest(change.resource), repr(change.current)) for change in (*found.changes, *found.removals)]
    return hashlib.blake2b(json.dumps([machine.plan(plain), states]).encode(), digest_size=16).hexdigest()


def save(path: str, spec: str, targets: tuple[str, ...], loss: Loss | None, found: plan.Plan) -> None:
    """Writes a plan file. Holds no content and no secret, only digests."""
    from agent.host import durable

    document = {
        "format": FORMAT, "spec": spec, "targets": targets, "loss": loss.name if loss else None, "digest": digest(found),
        "plan": machine.plan(found),
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
    loss = Loss[found["loss"]] if found.get("loss") else None
    return Saved(found["spec"], tuple(found["targets"]), loss, found["digest"])
