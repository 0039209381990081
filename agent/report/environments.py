"""Environments as text and as JSON data. What an environment's owner may have written is shown without anything that a terminal obeys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from agent.host import builds
from agent.host.kernelspecs import Registered
from agent.inventory import Build, Detail, Foreign, View
from agent.report.text import Paint, no_paint
from agent.solution import PackageChange, Solution

FORMAT = 1
_STATES = {"ok": "32", "held": "33", "due": "33", "pending": "33", "not made": "33", "drifted": "31", "unknown": "31"}
_LANGUAGES = {"python": "Python", "r-base": "R"}


def moment(seconds: float) -> str:
    """In UTC, to the minute; ``-`` for none."""
    return builds.moment(seconds) or "-"


def _exact(seconds: float) -> str | None:
    """RFC 3339, for programs."""
    return builds.moment(seconds, "%Y-%m-%dT%H:%M:%SZ") or None


def size(count: int) -> str:
    """Bytes as people say them: ``1.2 GB``."""
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def count(number: int, word: str) -> str:
    """``1 package``, ``2 packages``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


# ---- list


def table(views: Sequence[View], paint: Paint = no_paint) -> Iterator[str]:
    """One line for each environment, in columns."""
    rows = [("NAME", "BUILD", "SINCE (UTC)", "LANGUAGE", "PACKAGES", "KERNEL", "STATE"), *map(_row, views)]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for index, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row[:6], widths, strict=True))
        state = row[6] if not index else paint(row[6], _STATES[views[index - 1].state])
        yield paint(f"{line}  {state}", "1") if not index else f"{line}  {state}"
        if index:
            yield from (f"    {note}" for note in _notes(views[index - 1]))


def _row(found: View) -> tuple[str, ...]:
    packages = f"{found.conda} + {found.pip} pip" if found.pip else str(found.conda)
    language = ", ".join(f"{_LANGUAGES[name]} {version}" for name, version in found.versions.items())
    kernels = ", ".join(found.kernels)
    state = f"{found.state}, locked" if found.locked else found.state
    shown = packages if found.build else "-"
    return found.name, found.build or "-", moment(found.since), language or "-", shown, kernels or "-", state


def _notes(found: View) -> Iterator[str]:
    if found.why:
        yield found.why
    if found.failed is not None:
        again = f"; tried again at {moment(found.failed.again)}" if found.failed.again else ""
        yield f"update failed at {moment(found.failed.tried)}: {found.failed.why}{again}"


def strangers(found: Iterable[Foreign]) -> Iterator[str]:
    """What is not in the spec."""
    for each in found:
        if each.made:
            yield f"{each.path} left the spec; agent apply removes it if nothing of people's own is in it"
        else:
            yield f"{each.path} is not of agent's making and stays as it is"


def kernels(found: Iterable[Registered], paint: Paint = no_paint) -> Iterator[str]:
    """Kernels that are not the spec's, and those that cannot start."""
    for each in found:
        if each.state != "declared":
            state = paint(each.state, "31") if each.state == "dead" else each.state
            yield f"kernel {each.display_name or each.name} at {each.path}: {state}: {each.why}"


def view(found: View) -> dict[str, Any]:
    """One environment, for programs."""
    failed = found.failed
    return {
        **{name: getattr(found, name) for name in ("name", "path", "owner", "build")},
        "since": _exact(found.since),
        "versions": dict(found.versions),
        "packages": {"conda": found.conda, "pip": found.pip},
        "kernels": list(found.kernels),
        "state": found.state,
        "why": found.why,
        "locked": found.locked,
        "update": found.update or None,
        "solved": _exact(found.solved),
        "failed": {"why": failed.why, "tried": _exact(failed.tried), "again": _exact(failed.again)} if failed else None,
    }


# ---- show


def detail(found: Detail, paint: Paint = no_paint) -> Iterator[str]:
    """Everything about one environment."""
    yield from table([found.view], paint)
    yield ""
    yield f"path      {found.view.path}, of {found.view.owner}"
    yield f"channels  {', '.join(found.channels)}"
    yield f"on disk   {size(found.bytes)} beside what it shares with the package cache and other builds"
    if found.view.update:
        yield f"updates   every {_span(found.view.update)}, the last one at {moment(found.view.solved)}"
    yield from (f"variable  {name}={value}" for name, value in found.variables)
    yield from (f"kernel    {words}" for words in found.tried)
    for title, lines in (
        ("Packages", _packages(found.solution) if found.solution else iter(())),
        ("Builds", (line for each in found.builds for line in _build(each))),
        ("Added by hand since it was made", iter(found.added)),
        ("Added by hand before and taken along", iter(summarised(found.carried))),
        ("Added by hand before and not taken along; the build before still has it", iter(found.lost)),
    ):
        shown = list(lines)
        if shown:
            yield from ("", paint(title, "1"), *(f"  {line}" for line in shown))


def _span(seconds: float) -> str:
    for length, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return count(round(seconds / length), word)
    return count(round(seconds), "second")


def _packages(found: Solution) -> Iterator[str]:
    rows = [(each.name, each.version, each.build, _short(each.channel)) for each in (*found.conda, *found.pip)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
    for row in rows:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]).rstrip()


def _short(channel: str) -> str:
    """``conda-forge`` for https://conda.anaconda.org/conda-forge/."""
    return channel.rstrip("/").rpartition("/")[2]


def _build(found: Build) -> Iterator[str]:
    mark = "*" if found.in_force else " "
    used = f"  in use by {count(len(found.running), 'program')}" if found.running else ""
    made = _differing(found.changes) if not found.in_force else "in force"
    yield f"{mark} {found.name}  {moment(found.created)}  {made}{used}"


def _differing(found: Sequence[PackageChange]) -> str:
    if not found:
        return "the same packages"
    first = ", ".join(f"{each.name} {each.after.version}" if each.after else f"no {each.name}" for each in found[:3])
    return f"{first}{f' and {len(found) - 3} more' if len(found) > 3 else ''}"


def summarised(files: Sequence[str]) -> list[str]:
    """Files that were taken along: distributions by name, the rest as a number."""
    names = {part for path in files for part in path.split("/") if part.endswith((".dist-info", ".egg-info"))}
    distributions = sorted(name.rpartition(".")[0].replace("-", " ", 1) for name in names)
    return [*distributions, *([f"{count(len(files), 'file')} in all"] if files else [])]


def detail_record(found: Detail) -> dict[str, Any]:
    """Everything about one environment, for programs."""
    made_of = found.solution
    return {
        "format": FORMAT,
        **view(found.view),
        "channels": list(found.channels),
        "variables": dict(found.variables),
        "bytes": found.bytes,
        "kernels_tried": list(found.tried),
        "conda": [dataclasses.asdict(each) for each in made_of.conda] if made_of else [],
        "pypi": list(made_of.entry["pypi"]) if made_of else [],
        "builds": [
            {
                "build": each.name,
                "created": _exact(each.created),
                "in_force": each.in_force,
                "running": list(each.running),
                "changes": changes(each.changes),
            }
            for each in found.builds
        ],
        **{name: list(getattr(found, name)) for name in ("added", "carried", "lost")},
    }


# ---- differences


def difference(found: Sequence[PackageChange], paint: Paint = no_paint) -> Iterator[str]:
    """``~ numpy 2.1.0 -> 2.2.1``, one line for each package; the build is told where the version is the same."""
    for each in found:
        by = "  (pip)" if each.by == "pip" else ""
        if each.before is None and each.after is not None:
            yield f"{paint('+', '32')} {each.name} {each.after.version}{by}"
        elif each.after is None and each.before is not None:
            yield f"{paint('-', '31')} {each.name} {each.before.version}{by}"
        elif each.before is not None and each.after is not None:
            old, new = each.before, each.after
            if old.version != new.version:
                yield f"{paint('~', '33')} {each.name} {old.version} -> {new.version}{by}"
            elif old.build != new.build:
                yield f"{paint('~', '33')} {each.name} {old.version}: build {old.build} -> {new.build}"
            else:
                yield f"{paint('~', '33')} {each.name} {old.version}: from {_short(old.channel)} -> {_short(new.channel)}"


def changes(found: Iterable[PackageChange]) -> list[dict[str, Any]]:
    """The same for programs; null on the side where a package is not."""
    return [dataclasses.asdict(each) for each in found]


def tally(found: Sequence[PackageChange]) -> str:
    """``2 to add, 3 to change, 0 to remove``."""
    added = sum(each.before is None for each in found)
    removed = sum(each.after is None for each in found)
    return f"{added} to add, {len(found) - added - removed} to change, {removed} to remove"
