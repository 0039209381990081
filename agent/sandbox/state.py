"""What a throw-away host occupies on this system, written down so that anybody can clear it away.

Each host has a directory below /run/agent/sandbox. Its owner holds a lock (flock(2)) on a file in it, which the kernel
releases when the owner dies, however that happens: a directory whose lock is free has been abandoned.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from agent.sandbox import cgroups, mounts
from agent.sandbox.network import Network, free_number

RUN = Path("/run/agent/sandbox")


class Lease:
    """A host's name, directory and network, ours as long as we live or until ``remove()``."""

    def __init__(self, name: str, number: int, lock: int) -> None:
        self.name = name
        self.directory = RUN / name
        self.network = Network(name, number)
        self.cgroup = cgroups.for_host(name, self.directory / "cgroups")
        self._lock = lock

    @property
    def disk(self) -> Path:
        """Where the host's RAM disk is mounted."""
        return self.directory / "disk"

    @property
    def root(self) -> Path:
        """Where its root directory is mounted."""
        return self.disk / "root"

    def remove(self) -> None:
        """Kills every process of the host and removes all it occupied. Doing so twice is harmless."""
        self.cgroup.remove()
        self.network.down()
        mounts.remove_tree(self.directory)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def claim() -> Lease:
    """A new lease with a name and network that no other host has."""
    with _registry():
        number = free_number({_number(directory) for directory in RUN.glob("try-*")})
        directory = RUN / f"try-{uuid.uuid4().hex[:8]}"
        directory.mkdir(mode=0o700)
        lock = _lock(directory)
        assert lock is not None  # noqa: S101 - nobody else knows the name
        (directory / "number").write_text(str(number))
        return Lease(directory.name, number, lock)


def sweep() -> list[str]:
    """Removes what owners that were killed left behind and returns the names. Hosts in use stay."""
    swept = []
    with _registry():
        for directory in sorted(RUN.glob("try-*")):
            with contextlib.suppress(FileNotFoundError):  # its owner takes it away just now
                lock = _lock(directory)
                if lock is not None:
                    Lease(directory.name, _number(directory), lock).remove()
                    swept.append(directory.name)
    return swept


def _number(directory: Path) -> int:
    """Of a host's network; -1 while it has none yet, and when its owner is taking it away."""
    try:
        return int((directory / "number").read_text())
    except (FileNotFoundError, ValueError):
        return -1


def _lock(directory: Path) -> int | None:
    descriptor = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def _registry() -> Iterator[None]:
    """One at a time: claiming a name and clearing away."""
    RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(RUN / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
