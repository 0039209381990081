"""Plans, outcomes and problems as JSON data. No content and no secret is in it: values of fields are shown as text, or hidden."""

from __future__ import annotations

from typing import Any

from agent.errors import Problem
from agent.plan import Plan
from agent.report.text import value
from agent.resource import Change, Difference, Outcome
from agent.steps import Content

FORMAT = 1


def plan(found: Plan) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "changes": [change(each) for each in found.changes],
        "removals": [str(each.resource.ref) for each in found.removals],
        "orphans": [str(ref) for ref in found.orphans],
        "unreadable": [{"ref": str(ref), "reason": reason} for ref, reason in found.failures],
        "resources": found.resources,
        "notes": list(found.notes),
        **({"losses": losses} if (losses := _losses(found)) else {}),
        **({"held": found.held} if found.held else {}),
    }


def _losses(found: Plan) -> dict[str, str]:
    """By ref: what the removal of databases takes away, in words."""
    return {str(each.resource.ref): each.loses for each in found.removals if each.loss}


def change(each: Change) -> dict[str, Any]:
    line: dict[str, Any] = {
        "ref": str(each.resource.ref),
        "action": each.action.value,
        "cause": "drift" if each.drift else "intended",
        "disruption": each.disruption.name.lower(),
        "differences": [
            {"field": d.field, "current": _value(d, d.current), "desired": _value(d, d.desired)}
            for d in each.differences
        ],
    }
    if each.interrupts:
        line["interrupts"] = each.interrupts
    if each.known_after:
        line["known_after"] = str(each.known_after)
    if each.because:
        line["because"] = [str(ref) for ref in each.because]
    return line


def _value(difference: Difference, held: Any) -> str:
    # texts of files are compared and may be long or private: only that they differ is said here
    long = isinstance(held, Content) or (isinstance(held, str) and "\n" in held)
    return "(content)" if long else value(difference, held)


def outcome(each: Outcome) -> dict[str, Any]:
    line: dict[str, Any] = {
        "ref": str(each.ref),
        "result": each.result.value,
        "started": round(each.started, 3),
        "seconds": round(each.seconds, 3),
    }
    if each.change is not None:
        line["change"] = change(each.change)
    if each.message:
        line["message"] = each.message
    if each.hint:
        line["hint"] = each.hint
    return line


def problem(each: Problem) -> dict[str, Any]:
    place = each.place
    where = {"file": place.file, "line": place.line, "column": place.column} if place else {}
    return {**where, "field": each.field, "message": each.message, "hint": each.hint}
