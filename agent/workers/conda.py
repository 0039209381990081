"""Makes a conda environment what a request asks for. Runs as the environment's owner, in a process of its own.

One request comes in as JSON on standard input (agent.workers.request); out come lines of JSON: ``{"progress": text}`` as often as there is
something to say, and at last ``{"result": ...}`` or ``{"error": {"type", "message", "hint", "temporary", "about"}}``.

``apply`` makes the build in force one that is as asked for, ``check`` says what that lacks (changes nothing, needs no network), ``propose`` makes a
build beside it, ``flip`` puts one in force, ``discard`` takes one away, ``clean`` takes away what is old and unused, ``remove`` everything.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from agent.host import builds
from agent.host.builds import Manifest
from agent.workers import keeping, removal
from agent.workers.problems import WorkError, explained
from agent.workers.request import Request, hide, locked, make_directory, require_listener, say, speak

_PR_SET_DUMPABLE = 4


def main() -> None:
    """Ends the process: the library's threads make a normal exit of the interpreter crash now and then."""
    os.umask(0o022)
    # the owner runs other programs, which must not look into this one: it knows passwords of channels (prctl(2))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    status = 1
    try:
        request = Request.of(json.load(sys.stdin))
        hide(login["secret"] for login in request.logins)
        speak({"result": asyncio.run(work(request))})
        status = 0
    except BaseException as error:  # a panic in the library is no Exception
        speak({"error": _described(error)})
    os._exit(status)


async def work(request: Request) -> dict[str, Any]:
    """Does one request. Raises WorkError and whatever the library raises."""
    if os.geteuid() == 0:
        raise WorkError("environments are never made by root", hint="run this as the environment's owner")
    place = request.place
    if request.verb == "check":
        return {"unmet": _lacks(request)}
    if request.verb == "remove" and not any(map(os.path.lexists, (place.link, place.builds, place.removing))):
        return {}
    with locked(place.lock):
        require_listener()
        if request.verb == "clean":
            return keeping.clean(request)
        if request.verb == "remove":
            return removal.remove(place)
        with locked(f"{place.cache}/.in-use", shared=True):
            make_directory(os.path.dirname(place.link))
            removal.give_up(place)
            keeping.sweep(place)
            if request.verb == "flip":
                return _flip(request)
            if request.verb == "discard":
                keeping.discard(place, request.build)
                return {}
            return await (_propose(request) if request.verb == "propose" else _apply(request))


async def _apply(request: Request) -> dict[str, Any]:
    place = request.place
    finished, current = place.finished(), place.in_force()
    mine = finished.get(current or "")
    if request.hold:
        return await _keep_held(request, finished)
    if mine is not None and current is not None and mine.serves(request.asked):
        if request.due:
            return await _updated(request, current, mine)
        if not _lacks(request):
            builds.write(place.manifest(current), dataclasses.replace(mine, seen=keeping.seen(place.build(current))))
            return {"build": current}
        return _repaired(request, current, await _make(request, again=current))
    for build, manifest in finished.items():
        if manifest.serves(request.asked) and not request.due and _whole(request, build, manifest):
            say(f"going back to build {build}")
            return _into_force(request, {"build": build})
    made = await _make(request)
    if (
        mine is not None
        and current is not None
        and not request.installer
        and _same(place, current, made["build"])
        and _whole(request, current, mine)
    ):
        return _renamed(request, current, mine, made["build"])
    return _into_force(request, made)


def _renamed(request: Request, current: str, mine: Manifest, made: str) -> dict[str, Any]:
    """The same packages were asked for in other words: what is in force stays, and says so."""
    place, entry = request.place, keeping.solution(request.place, made) or {}
    theirs = builds.read(place.manifest(made)) or mine
    keeping.discard(place, made)
    entry["build"] = current
    keeping.note_solution(place, current, entry)
    told = dataclasses.replace(mine, asked=request.asked, held=theirs.held, kernels=theirs.kernels)
    builds.write(place.manifest(current), dataclasses.replace(told, entry=builds.digest(entry)))
    return {"build": current}


async def _keep_held(request: Request, finished: dict[str, Manifest]) -> dict[str, Any]:
    """The build that a person went back to is put, or made, in force again."""
    manifest = finished.get(request.hold)
    current = request.place.in_force()
    if manifest is None and current in finished and current.partition(".")[0] == request.hold.partition(".")[0]:
        return {"build": current}  # made anew by a run that was killed before the agent heard of it
    if manifest is None:
        raise WorkError(
            f"build {request.hold}, which was gone back to, is not there any more",
            hint=f"agent env update {request.place.name}, or agent env rollback {request.place.name}",
        )
    if _whole(request, request.hold, manifest):
        return _into_force(request, {"build": request.hold})
    theirs = dataclasses.replace(request, asked=manifest.asked, listing=None)
    return _repaired(request, request.hold, await _make(theirs, again=request.hold))


async def _updated(request: Request, current: str, mine: Manifest) -> dict[str, Any]:
    """Newer versions where they work; where they do not, the build in force stays, and its manifest says why."""
    place, now = request.place, int(time.time())
    try:
        made = await _make(request, newest=True, finished=[current])
    except Exception as error:
        why = explained(error)
        say(f"the update failed, build {current} stays in force: {why}")
        builds.write(place.manifest(current), dataclasses.replace(mine, tried=now, failed=str(why)))
        return {"build": current, "failed": str(why)}
    if _same(place, current, made["build"]):
        keeping.discard(place, made["build"])
        builds.write(place.manifest(current), dataclasses.replace(mine, solved=now, tried=0, failed=""))
        return {"build": current}
    return _into_force(request, made)


async def _propose(request: Request) -> dict[str, Any]:
    place, current = request.place, request.place.in_force()
    there = [
        build for build, each in place.finished().items() if each.serves(request.asked) and _whole(request, build, each)
    ]
    made = await _make(request, newest=request.due, finished=there)
    for build in there if "reused" not in made else ():
        if _same(place, build, made["build"]):
            keeping.discard(place, made["build"])
            made = {**made, "build": build, "reused": True}
            break
    entry, before = keeping.solution(place, made["build"]), keeping.solution(place, current or "")
    same = made["build"] == current or (current is not None and _same(place, current, made["build"]))
    return {**made, "entry": entry, "before": before, "same": same}


def _flip(request: Request) -> dict[str, Any]:
    manifest = request.place.finished().get(request.build)
    if manifest is None:
        raise WorkError(f"there is no finished build {request.build} of {request.place.name}")
    if manifest.seen != keeping.seen(request.place.build(request.build)) and (
        lacks := _missing(request, request.build, manifest)
    ):
        raise WorkError(f"build {request.build} is not whole any more: it lacks {', '.join(lacks)}")
    return _into_force(request, {"build": request.build})


def _repaired(request: Request, broken: str, made: dict[str, Any]) -> dict[str, Any]:
    """Nobody shall go back to the broken one, which stays for those who run from it alone."""
    answer = _into_force(request, made)
    if not keeping.in_use([request.place.build(broken)]):
        keeping.discard(request.place, broken)
    return answer


def _into_force(request: Request, made: dict[str, Any]) -> dict[str, Any]:
    """What nobody waits for any more is kept beside: the next request for the same finds it made."""
    require_listener()
    builds.point(request.place, made["build"])
    keeping.prune(request.place, request.keep, {request.hold})
    return made


async def _make(
    request: Request, *, again: str | None = None, newest: bool = False, finished: Sequence[str] = ()
) -> dict[str, Any]:
    from agent.workers.making import Making

    return await Making(request, again=again, newest=newest).run(finished)


def _lacks(request: Request) -> list[str]:
    """What the build in force was made for and does not have."""
    place = request.place
    current = place.in_force()
    manifest = builds.read(place.manifest(current)) if current else None
    if current is None or manifest is None:
        return [*request.asked.packages, *(f"pip:{each}" for each in request.asked.pip)]
    return _missing(request, current, manifest)


def _whole(request: Request, build: str, manifest: Manifest) -> bool:
    return manifest.seen == keeping.seen(request.place.build(build)) or not _missing(request, build, manifest)


def _missing(request: Request, build: str, manifest: Manifest) -> list[str]:
    from agent.workers.making import missing

    return missing(request, build, manifest)


def _same(place: builds.Place, one: str, other: str) -> bool:
    """Whether two builds hold the same, whatever was asked for. What an installer made is known to it alone."""
    first, second = keeping.solution(place, one), keeping.solution(place, other)
    parts = ("conda", "pypi", "variables", "activation")
    return first is not None and second is not None and all(first.get(part) == second.get(part) for part in parts)


def _described(error: BaseException) -> dict[str, Any]:
    told = explained(error)
    return {
        "type": told.kind, "message": str(told), "hint": told.hint, "temporary": told.temporary, "about": list(told.about)
    }  # fmt: skip


if __name__ == "__main__":
    main()
