"""The status document: the last pass, written down, with conditions. Its schema is published as docs/status.schema.json."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from agent import VERSION
from agent.resource import Outcome, Ref, Result

FORMAT = 1
_MARK = "@last-pass@"
_ALWAYS = {"spec": str, "last_pass": str, "counts": dict, "conditions": list, "resources": list, "orphans": list}


@dataclass(frozen=True)
class Condition:
    """One thing that is so or not: ``SpecValid``, ``AsWanted``, ``Healthy``. ``since`` is in UTC."""

    type: str
    status: bool
    reason: str
    message: str
    since: str


def now(moment: float | None = None) -> str:
    """A moment (seconds since the epoch) as RFC 3339 in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def condition(name: str, ok: bool, reason: str, message: str, previous: dict[str, Any] | None) -> Condition:
    """A condition that keeps the moment of its last transition."""
    for old in (previous or {}).get("conditions", ()):
        if old.get("type") == name and old.get("status") is ok:
            return Condition(name, ok, reason, message, str(old.get("since")))
    return Condition(name, ok, reason, message, now())


def document(
    *,
    verb: str,
    spec: str,
    spec_digest: str,
    generation: int | None,
    outcomes: tuple[Outcome, ...],
    orphans: tuple[Ref, ...],
    notes: tuple[str, ...] = (),
    conditions: tuple[Condition, ...],
    seconds: float,
    detail: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The document as JSON data. Holds names, results and reasons only: no content, no secret."""
    counts = {result.value: sum(o.result is result for o in outcomes) for result in Result}
    return {
        "format": FORMAT,
        "agent": VERSION,
        "verb": verb,
        "spec": spec,
        "spec_digest": spec_digest,
        "generation": generation,
        "last_pass": _MARK,
        "seconds": round(seconds, 3),
        "counts": counts,
        "conditions": [vars(each) for each in conditions],
        "resources": [_resource(outcome) for outcome in outcomes],
        "orphans": [str(ref) for ref in orphans],
        "notes": list(notes),
        **(detail or {}),
    }


def _resource(outcome: Outcome) -> dict[str, Any]:
    line: dict[str, Any] = {"ref": str(outcome.ref), "result": outcome.result.value}
    if outcome.change is not None:
        line["action"] = outcome.change.action.value
        line["cause"] = "drift" if outcome.change.drift else "intended"
        line["fields"] = [each.field for each in outcome.change.differences]
    if outcome.message:
        line["message"] = outcome.message
    if outcome.hint:
        line["hint"] = outcome.hint
    if outcome.change is not None or outcome.message:
        line["seconds"] = round(outcome.seconds, 3)
    return line


def halves(data: dict[str, Any]) -> tuple[bytes, bytes]:
    """The document as text, cut where the moment of the last pass goes."""
    before, mark, after = json.dumps({**data, "last_pass": _MARK}, indent=1).partition(_MARK)
    if not mark:
        raise ValueError("a status document needs its last_pass")
    return before.encode(), after.encode() + b"\n"


def text(cut: tuple[bytes, bytes], moment: float | None = None) -> bytes:
    """The whole document for a pass that ended at this moment, now by default."""
    return now(moment).encode().join(cut)


def load(path: str) -> dict[str, Any] | None:
    """The document at this path; None when there is none that can be read."""
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.get("format") == FORMAT and found.keys() >= _ALWAYS.keys()
    return found if whole and all(isinstance(found[name], kind) for name, kind in _ALWAYS.items()) else None
