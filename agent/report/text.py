"""Plans and outcomes as text. Drift first, then intended changes, then removals and what stays, then one line that counts."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from agent.kinds import KINDS
from agent.plan import Plan
from agent.resource import Action, Change, Difference, Disruption, Hidden, Outcome, Ref, Result
from agent.steps import Content

Paint = Callable[[str, str], str]
_COLOURS = {Action.CREATE: "32", Action.UPDATE: "33", Action.DELETE: "31", Action.RESTART: "34"}


def no_paint(text: str, _code: str) -> str:
    return text


def plan(found: Plan, paint: Paint = no_paint, *, diff: bool = False) -> Iterator[str]:
    """The lines of a plan."""
    if found.held:
        yield f"{paint('!', '31')} {found.held}. Change the spec, or try it once more: agent apply --retry"
    drift = [change for change in found.changes if change.drift]
    intended = [change for change in found.changes if not change.drift]
    for title, changes in (
        ("Drift: changed on the host since the last pass", drift),
        ("Changes that the spec asks for", intended),
    ):
        if changes:
            yield paint(title, "1")
            for each in changes:
                yield from _change(each, paint, diff=diff)
            yield ""
    if found.removals:
        yield paint("Removals: these left the spec", "1")
        for each in found.removals:
            back = "  (what stood there before comes back)" if each.puts_back else ""
            yield f"  {paint(Action.DELETE.symbol, '31')} {each.resource.ref}{back}{_lost(each, paint)}"
        yield ""
    for note in found.notes:
        yield f"{paint('note', '33')}: {note}"
    for ref in found.orphans:
        yield stays(str(ref))
    for ref, reason in found.failures:
        yield f"{paint('?', '31')} {ref}: cannot be read: {reason}"
    interrupted = [change for change in (*found.changes, *found.removals) if change.disruption is Disruption.RESTART]
    for word, changes in (
        ("Interrupts", [change for change in interrupted if not change.known_after]),
        ("May interrupt", [change for change in interrupted if change.known_after]),
    ):
        if changes:
            yield f"{word}: {', '.join(map(_interrupted, changes))}"
    yield summary(found)


def stays(ref: str) -> str:
    """What is said of an orphan, and how it is removed where the agent does that."""
    kind = KINDS.get(Ref.parse(ref).kind)
    hint = " Remove it, after a dump: agent apply --allow-data-loss" if kind is not None and kind.expendable else ""
    return f"{ref} left the spec and stays: it may hold someone's work.{hint}"


def _lost(change: Change, paint: Paint) -> str:
    return f"  {paint('with all that is in it', '31')}: {change.loses}" if change.loss else ""


def _interrupted(change: Change) -> str:
    return f"{change.resource.name} ({change.interrupts})" if change.interrupts else change.resource.name


def summary(found: Plan) -> str:
    """``Plan: 2 to add, 1 to change, 0 to remove, 1 restart.``"""
    if found.empty and found.held:
        return "No changes."
    if found.empty:
        return f"No changes. {found.resources} resources are as the spec wants them."
    restarts = found.count(Action.RESTART)
    return (
        f"Plan: {found.count(Action.CREATE)} to add, {found.count(Action.UPDATE)} to change, "
        f"{found.count(Action.DELETE)} to remove, {restarts} restart{'s' if restarts != 1 else ''}."
    )


def _change(change: Change, paint: Paint, *, diff: bool) -> Iterator[str]:
    mark = paint("!", "31") if change.drift else " "
    line = f"{mark} {paint(change.action.symbol, _COLOURS[change.action])} {change.resource.ref}"
    if change.known_after:
        line += paint(f"  (known after {change.known_after})", "2")
    if change.because:
        line += f"  because of {', '.join(map(str, change.because))}"
    yield line
    if change.action is Action.UPDATE:
        for each in change.differences:
            if each.field == "content":
                yield from _content(each.current, each.desired, diff=diff)
            else:
                yield f"        {each.field}: {value(each, each.current)} -> {value(each, each.desired)}"


def _content(current: Any, desired: Any, *, diff: bool) -> Iterator[str]:
    if not isinstance(desired, Content) or desired.hidden or not isinstance(current, str):
        yield "        content: changed (hidden)"
        return
    lines = list(
        difflib.unified_diff(
            current.splitlines(), text_of(desired).splitlines(), "on the host", "wanted", lineterm="", n=2
        )
    )
    added = sum(line.startswith("+") for line in lines[2:])
    removed = sum(line.startswith("-") for line in lines[2:])
    yield f"        content: {added} lines added, {removed} removed"
    if diff:
        yield from (f"        {line}" for line in lines)


def text_of(content: Content) -> str:
    """The text with every secret as ``********``."""
    return "".join(piece if isinstance(piece, str) else "********" for piece in content.pieces)


def value(difference: Difference, held: Any) -> str:
    """A field's value as the tools of the field write it: permissions in octal."""
    return f"{held:04o}" if difference.field == "mode" and isinstance(held, int) else shown(held)


def shown(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "" or (isinstance(value, tuple | frozenset) and not value):
        return "none"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value)))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Hidden):
        return repr(value)
    return str(value)


def outcomes(found: tuple[Outcome, ...], paint: Paint = no_paint) -> Iterator[str]:
    """What a pass did, without what it left alone; the failures last, where they are seen."""
    for result in (Result.CHANGED, Result.SKIPPED, Result.FAILED):
        for outcome in found:
            if outcome.result is not result:
                continue
            if result is Result.CHANGED and outcome.change:
                mark = paint("!", "31") if outcome.change.drift else " "
                yield f"{mark} {paint(outcome.change.action.symbol, _COLOURS[outcome.change.action])} {outcome.ref}"
                if outcome.message:
                    yield f"      {outcome.message}"
            else:
                yield f"  {paint('x', '31') if result is Result.FAILED else '.'} {outcome.ref}: {result.value}: {outcome.message}"
                if outcome.hint:
                    yield f"      hint: {outcome.hint}"


def counts(found: tuple[Outcome, ...], seconds: float) -> str:
    """``Applied in 41.3 s: 40 changed, 2 unchanged, 0 failed, 0 skipped.``"""
    number = {result: sum(outcome.result is result for outcome in found) for result in Result}
    if number[Result.UNCHANGED] == len(found):
        return f"No changes. {len(found)} resources are as the spec wants them."
    words = (Result.CHANGED, Result.UNCHANGED, Result.FAILED, Result.SKIPPED)
    return f"Applied in {seconds:.1f} s: {', '.join(f'{number[word]} {word.value}' for word in words)}."
