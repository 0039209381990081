"""Problems of a spec as people read them: place, field, message; then the line with a caret, then the way out."""

from __future__ import annotations

from agent.errors import Problem

WIDTH = 160
HIDDEN = "********"


def one_line(problem: Problem) -> str:
    """``spec.yaml:41:9: jupyter.port: must be ...``; without a place or a field, without them."""
    parts = [str(problem.place) if problem.place else "", problem.field, problem.message]
    return ": ".join(part for part in parts if part)


def format_problem(problem: Problem) -> str:
    """The same, with the source line and a caret below it where there is one, and the hint."""
    lines = [one_line(problem)]
    if problem.source and problem.place:
        lines += _excerpt(problem.source, problem.place.column)
    if problem.hint:
        lines.append(f"    hint: {problem.hint}")
    return "\n".join(lines)


def _excerpt(source: str, column: int) -> list[str]:
    """A long line is cut around the column; tabs count as one column, as they do in the place."""
    before = source[: column - 1]
    start = max(0, len(before) - WIDTH // 2) if len(source) > WIDTH else 0
    shown = source[start : start + WIDTH].replace("\t", " ").rstrip()
    caret = column - 1 - start
    if caret > len(shown.removesuffix(HIDDEN)):
        return [f"    {shown}"]
    return [f"    {shown}", f"    {' ' * caret}^"]
