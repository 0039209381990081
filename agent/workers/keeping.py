"""Which builds stay: old ones and unused packages are taken away, those that a program runs from never are. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from agent.host import builds, look
from agent.host.builds import BUILD, Place
from agent.workers.request import Request, locked, say

_MOST_OTHERS = 8


def sweep(place: Place) -> None:
    """Takes away what a worker that was killed left: builds without a manifest, and temporary files."""
    for name in names_in(place.builds):
        if (re.fullmatch(BUILD, name) and not os.path.exists(place.manifest(name))) or name.endswith(".new"):
            erase(f"{place.builds}/{name}")
    for name in names_in(place.builds):
        build = re.match(BUILD, name)
        if build and name != build[0] and not os.path.isdir(place.build(build[0])):
            erase(f"{place.builds}/{name}")


def discard(place: Place, build: str) -> None:
    """Takes away a build that is not in force. Its manifest first: what is left by a kill is swept."""
    if build == place.in_force() or not re.fullmatch(BUILD, build):
        return
    for path in (place.manifest(build), place.solution(build), place.files(build), place.build(build)):
        erase(path)


def prune(place: Place, keep: int, held: Collection[str] = ()) -> list[str]:
    """Takes away all but the newest ``keep`` builds beside the one in force. Those that are gone."""
    others = old(place, keep, held)
    for build in others:
        discard(place, build)
    return others


def old(place: Place, keep: int, held: Collection[str] = ()) -> list[str]:
    """Builds that ``prune`` would take away."""
    current = place.in_force()
    others = [build for build in place.finished() if build != current and build not in held]
    candidates = others[max(0, keep) :]
    busy = in_use(map(place.build, candidates)) if candidates else set()
    return [build for build in candidates if place.build(build) not in busy]


def in_use(prefixes: Iterable[str]) -> set[str]:
    """Those of the directories that a program of this account runs from, or works in."""
    wanted, found = list(prefixes), set()
    for process in names_in("/proc"):
        if process.isdigit():
            for link in ("exe", "cwd"):
                with contextlib.suppress(OSError):
                    path = os.readlink(f"/proc/{process}/{link}")
                    found |= {prefix for prefix in wanted if path == prefix or path.startswith(f"{prefix}/")}
    return found


def seen(prefix: str) -> str:
    """How a build's lists of packages look now."""
    stamps = look.stamps(f"{prefix}/conda-meta") or ()
    python = builds.installed(name for name, *_ in stamps).get("python")
    names = look.names(builds.site_packages(prefix, python)) if python else ()
    return builds.seen(stamps, names or ())


def solution(place: Place, build: str) -> dict[str, Any] | None:
    """Every package of a build with its hash; None where there is no such build."""
    try:
        with open(place.solution(build), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def note_solution(place: Place, build: str, entry: Mapping[str, Any]) -> None:
    """Keeps what ``solution`` says."""
    builds.save(place.solution(build), json.dumps(entry, indent=1, sort_keys=True) + "\n")


def files(place: Place, build: str) -> list[str]:
    """The files that a build was finished with."""
    try:
        with gzip.open(place.files(build), "rt", encoding="utf-8", errors="surrogateescape") as file:
            return file.read().split("\n")
    except (OSError, EOFError):
        return []


def note_files(place: Place, build: str, names: Iterable[str]) -> None:
    """Keeps what ``files`` says. A name with a line end in it is not kept."""
    # no time in it: equal lists are equal files
    with gzip.GzipFile(place.files(build), "wb", mtime=0) as file:
        text = "\n".join(name for name in sorted(names) if "\n" not in name)
        file.write(text.encode(errors="surrogateescape"))


def others(place: Place) -> list[str]:
    """Builds in force of other environments, the newest of them first."""
    found = []
    for name in names_in(f"{place.root}/builds"):
        each = Place(place.root, name)
        build = each.in_force()
        if name != place.name and build and (manifest := builds.read(each.manifest(build))):
            found.append((-manifest.created, each.build(build)))
    return [build for _, build in sorted(found)[:_MOST_OTHERS]]


def clean(request: Request) -> dict[str, Any]:
    """Old builds of one environment, and packages in the cache that no build of any environment is made of."""
    from agent.workers.archives import Archives

    place = request.place
    doomed = old(place, request.keep, {request.hold})
    freed = sum(_bytes(place.build(build), shared=False) for build in doomed)
    if not request.dry_run:
        sweep(place)
        for build in doomed:
            discard(place, build)
    with locked(f"{place.cache}/.in-use"):
        stay = list(_solutions(place, set(doomed)))
        pins = [str(pin) for each in stay for pin in each.get("pypi", ())]
        archives, spared = Archives(f"{place.cache}/pip/archives").forget(pins, dry_run=request.dry_run)
        packages = _unused(place, stay)
        cached = spared + sum(_bytes(f"{place.cache}/pkgs/{name}", shared=True) for name in packages)
        for name in packages if not request.dry_run else ():
            say(f"removing {name}")
            erase(f"{place.cache}/pkgs/{name}")
            erase(f"{place.cache}/pkgs/{name}.lock")
    packages += archives
    return {"builds": doomed, "packages": packages, "bytes": freed + cached, "cache_bytes": cached}


def _solutions(place: Place, doomed: Collection[str]) -> Iterator[dict[str, Any]]:
    """What the builds of all environments are made of, without those of this one that are to go."""
    for name in names_in(f"{place.root}/builds"):
        each = Place(place.root, name)
        for build in each.finished():
            if not (name == place.name and build in doomed):
                yield solution(each, build) or {}


def _unused(place: Place, stay: Iterable[Mapping[str, Any]]) -> list[str]:
    """Unpacked packages in the cache that none of these builds is made of."""
    files = {str(package.get("fn", "")) for each in stay for package in each.get("conda", ())}
    used = {name.removesuffix(".conda").removesuffix(".tar.bz2") for name in files}
    cached = f"{place.cache}/pkgs"
    return sorted(name for name in names_in(cached) if name not in used and os.path.isdir(f"{cached}/{name}"))


def _bytes(path: str, *, shared: bool) -> int:
    """Bytes on the disk of the files below a directory; without those that are linked from elsewhere unless ``shared``."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(f"{directory}/{name}")
                total += status.st_blocks * 512 if shared or status.st_nlink == 1 else 0
    return total


def erase(path: str) -> None:
    """A file, a link or a tree; gone already is fine."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def names_in(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
