"""What a build is made of is on the disk before the build is called finished; what a loss of power may have spoilt in the cache is fetched again.

Packages that are unpacked in the cache are linked into builds, so a file there that never reached the disk would be empty in all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from dataclasses import dataclass

from agent.host import builds
from agent.host.builds import Place
from agent.workers import keeping

_MARK = ".writing-"


@dataclass(frozen=True)
class Boot:
    """``since`` in seconds since the epoch."""

    name: str
    since: float


def boot() -> Boot:
    """The present one (proc(5), boot_id)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return Boot(file.read().strip(), time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))


def begin(place: Place) -> None:
    """Notes that the cache is being written to, after throwing away what one that was cut off may have left in it."""
    now = boot()
    os.makedirs(place.cache, exist_ok=True)
    for name in keeping.names_in(place.cache):
        if name.startswith(_MARK):
            _throw_away(place.cache, name, now)
    if not os.path.exists(_mark(place)):
        builds.save(_mark(place), now.name)


def settle(place: Place) -> None:
    """Waits until everything that was written is on the disk. Raises OSError where it did not get there."""
    directories = {os.stat(path).st_dev: path for path in (place.builds, place.cache)}
    for path in directories.values():
        _write_out(path)
    os.unlink(_mark(place))


def _mark(place: Place) -> str:
    return f"{place.cache}/{_MARK}{place.name}"


def _throw_away(cache: str, mark: str, now: Boot) -> None:
    """What came into the cache between the mark and the end of its boot, and what is known of channels."""
    with contextlib.suppress(FileNotFoundError):  # another worker did
        begun = os.stat(f"{cache}/{mark}").st_mtime_ns
        with open(f"{cache}/{mark}", encoding="ascii", errors="replace") as file:
            if file.read().strip() == now.name:
                return
        for name in keeping.names_in(f"{cache}/pkgs"):
            with contextlib.suppress(FileNotFoundError):
                if begun <= os.stat(f"{cache}/pkgs/{name}").st_ctime_ns <= now.since * 1e9:
                    keeping.erase(f"{cache}/pkgs/{name}")
        keeping.erase(f"{cache}/repodata")
        os.unlink(f"{cache}/{mark}")


def _write_out(path: str) -> None:
    """See syncfs(2)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.syncfs(descriptor):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
    finally:
        os.close(descriptor)
