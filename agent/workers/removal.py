"""Takes an environment away. A worker that is killed while it does leaves a mark, by which the next pass knows that somebody has to finish it."""

from __future__ import annotations

import contextlib
import os

from agent.host import builds
from agent.host.builds import BEFORE, Place
from agent.workers import keeping
from agent.workers.request import say

LIBRARIES = ("bin", "lib", "conda-meta", "__pycache__")
"""Below these, what its owner added to an environment are packages, which go with it."""


def remove(place: Place) -> dict[str, int]:
    """Takes the whole environment away but for files that its owner put there beside packages; those stay, and are counted.

    What stood in its place before comes back. May be killed at any point and called again.
    """
    _mark(place)
    keeping.sweep(place)
    current = place.in_force()
    for build in place.finished():
        if build != current:
            keeping.discard(place, build)
    stays = 0
    if os.path.isdir(_aside(place)):
        stays = max(1, sum(len(names) for _, _, names in os.walk(_aside(place))))
    elif current not in (None, BEFORE):
        say("removing it")
        stays = _strip(place, current or "")
    if stays:
        say(f"{stays} files that no package owns stay in {place.link}")
    if stays and os.path.isdir(place.build(BEFORE)):
        os.unlink(place.removing)  # two directories for one place: the older one waits for the other to go
        return {"stays": stays}
    if stays:
        _leave(place, current)
    else:
        with contextlib.suppress(OSError):  # not there, or a directory of somebody else
            os.unlink(place.link)
        if os.path.isdir(place.build(BEFORE)) and not os.path.lexists(place.link):
            os.rename(place.build(BEFORE), place.link)
    _finish(place)
    return {"stays": stays}


def give_up(place: Place) -> None:
    """The environment shall be there after all: what a removal that was killed had put aside comes back to its place."""
    if os.path.lexists(place.removing):
        if os.path.isdir(_aside(place)):
            _leave(place, None)
        os.unlink(place.removing)


def _mark(place: Place) -> None:
    with open(place.removing, "w", encoding="ascii"):
        pass
    builds.sync(os.path.dirname(place.removing))


def _aside(place: Place) -> str:
    return f"{os.path.dirname(place.link)}/.{place.name}.left"


def _leave(place: Place, build: str | None) -> None:
    """What stays of a build becomes a plain directory in the environment's place."""
    if build is not None and not os.path.isdir(_aside(place)):
        os.rename(place.build(build), _aside(place))
    if os.path.islink(place.link):
        os.unlink(place.link)
    os.rename(_aside(place), place.link)


def _finish(place: Place) -> None:
    """Everything else, the mark last."""
    keeping.erase(place.builds)
    if keeping.names_in(os.path.dirname(place.builds)) == [os.path.basename(place.removing)]:
        for name in keeping.names_in(place.cache):
            keeping.erase(f"{place.cache}/{name}")
    os.unlink(place.removing)


def _strip(place: Place, build: str) -> int:
    """Takes away what a build was finished with, and libraries that were added to it. How many files stay."""
    prefix, finished = place.build(build), frozenset(keeping.files(place, build))
    stays = 0
    for directory, below, names in os.walk(prefix, topdown=False):
        within = os.path.relpath(directory, prefix)
        for name in (*names, *(each for each in below if os.path.islink(f"{directory}/{each}"))):
            path = os.path.normpath(f"{within}/{name}")
            if path in finished or LIBRARIES[-1] in path.split("/") or path.split("/")[0] in LIBRARIES:
                os.unlink(f"{directory}/{name}")
            else:
                stays += 1
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(directory)
    return stays
