"""Whether there is room for a build, on the disk and in memory, before anything is begun.

The figures are estimates on the safe side; they refuse what would certainly fail, with what is needed and what there is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from agent.host.builds import Place
from agent.workers.problems import WorkError

UNPACKED = 4
"""How many times its size a package has unpacked."""
ENTRIES = 300_000
"""Bytes that a linked package costs beside its files: directories, its record, files with the prefix in them, byte-code."""
COPIED = 4_000_000
"""Bytes of a package's files, where they cannot be linked from the cache."""
RESERVE = 64 << 20
"""Bytes that stay free on every file system; or a hundredth of it, whichever is more."""
SOLVER = 120 << 20
"""Bytes of memory that a worker needs beside what channels say of their packages."""
INDEX = 4
"""How many times the size of a channel's index, as JSON, it takes in memory."""


def check_disk(place: Place, packages: Sequence[int], linked: int) -> None:
    """Raises WorkError of kind ``space`` when a build has no room.

    ``packages`` are the sizes in bytes of the packages that are not in the cache, ``linked`` is the number of all that
    the build is made of.
    """
    cache, target = existing(place.cache), existing(place.builds)
    same = os.stat(cache).st_dev == os.stat(target).st_dev
    for path, needed in sorted(shares(cache, target, packages, linked, same=same).items()):
        system = os.statvfs(path)
        require_disk(needed, system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize, path)


def shares(cache: str, target: str, packages: Sequence[int], linked: int, *, same: bool) -> dict[str, int]:
    """Bytes needed at each of the two paths; at ``target`` alone when both are on the ``same`` file system, where files are linked."""
    fetched = sum(packages) * (1 + UNPACKED)
    if same:
        return {target: fetched + linked * ENTRIES}
    return {cache: fetched, target: linked * (ENTRIES + COPIED)}


def require_disk(needed: int, free: int, size: int, path: str) -> None:
    """Raises WorkError when ``needed`` bytes do not fit into the ``free`` ones of a file system of ``size`` bytes, with the reserve left."""
    reserve = max(RESERVE, size // 100)
    if needed and needed + reserve > free:
        raise WorkError(
            f"not enough room: about {shown(needed)} are needed and {shown(reserve)} stay in reserve, {shown(free)} are free on {path}",
            kind="space",
            hint="free some with `agent env clean`, or give the file system more",
            temporary=True,
        )


def check_memory(cache: str) -> None:
    """Raises WorkError of kind ``memory`` when choosing packages would end in the kernel's killing somebody."""
    require_memory(solver_memory(indexes(f"{cache}/repodata")), available_memory())


def solver_memory(index: int) -> int:
    """Bytes that choosing packages takes, with ``index`` bytes of what channels say of theirs."""
    return SOLVER + INDEX * index


def require_memory(needed: int, available: int) -> None:
    """Raises WorkError when there is less memory, swap included."""
    if needed > available:
        raise WorkError(
            f"not enough memory: choosing packages takes about {shown(needed)}, {shown(available)} are available",
            kind="memory",
            hint="add memory or swap; name fewer or smaller channels, or use a lock file: then nothing is chosen",
            temporary=True,
        )


def indexes(directory: str) -> int:
    """Bytes of the channels' indexes in a directory, as they were unpacked."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.endswith(".info.json"):
                    total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass  # none yet
    return total


def available_memory(proc: str = "/proc", cgroups: str = "/sys/fs/cgroup") -> int:
    """Bytes that a new program can have, swap included: what the host has left, and each control group above this process allows (proc(5), cgroup v2)."""
    figures = _figures(f"{proc}/meminfo")
    host = 1024 * (figures.get("MemAvailable:", 0) + figures.get("SwapFree:", 0))
    swap = 1024 * figures.get("SwapFree:", 0)
    return max(0, min([host, *(_left(path, swap) for path in _groups(proc, cgroups))]))


def _groups(proc: str, cgroups: str) -> Iterator[str]:
    """Directories of the control groups that this process is in, innermost first, without the root, which has no limit."""
    path = next(
        (line[3:].strip("/") for line in _text(f"{proc}/self/cgroup").splitlines() if line.startswith("0::")), ""
    )
    while path:
        yield f"{cgroups}/{path}"
        path = os.path.dirname(path)


def _left(group: str, swap_of_host: int) -> int:
    """What a control group may still take: cached files of its own count as free, for they give way."""
    limit, used = _text(f"{group}/memory.max").strip(), _text(f"{group}/memory.current").strip()
    if not (limit.isdigit() and used.isdigit()):
        return 1 << 62
    figures = _figures(f"{group}/memory.stat")
    left = int(limit) - int(used) + figures.get("inactive_file", 0) + figures.get("active_file", 0)
    swap, swapped = _text(f"{group}/memory.swap.max").strip(), _text(f"{group}/memory.swap.current").strip()
    if not swap.isdigit():  # as much as the host has, which is looked at by itself
        return left + swap_of_host
    return left + max(0, int(swap) - int(swapped or 0))


def _figures(path: str) -> dict[str, int]:
    words = (line.split() for line in _text(path).splitlines())
    return {each[0]: int(each[1]) for each in words if len(each) > 1 and each[1].isdigit()}


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def existing(path: str) -> str:
    """The path, or the nearest directory above it that there is."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def shown(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
