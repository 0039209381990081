"""The command line of systemd-nspawn(1), the same for hosts that boot and for layers that are built, and what it tells of a boot."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import HostError
from agent.sandbox.programs import PATH


@dataclass(frozen=True)
class Bind:
    """A file or directory of this system seen in the host, at the same path unless ``target`` names another."""

    source: Path
    target: Path | None = None
    writable: bool = False

    def __str__(self) -> str:
        if not self.source.exists():
            raise HostError(f"{self.source}: is to be seen in a throw-away host, but does not exist")
        source = _escaped(self.source.resolve())
        return f"--bind{'' if self.writable else '-ro'}={source}:{_escaped(self.target or self.source)}"


def _escaped(path: Path) -> str:
    return os.fspath(path).replace("\\", "\\\\").replace(":", "\\:")


def command(root: Path, name: str, *options: str, binds: Iterable[Bind] = (), words: Iterable[str] = ()) -> list[str]:
    """Runs ``words`` (for a host that boots: kernel arguments) in a root, unknown to this system's systemd."""
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        f"--machine={name}",
        "--register=no",
        "--keep-unit",
        "--console=pipe",
        "--link-journal=no",
        "--timezone=off",
        "--settings=no",
        *map(str, binds),
        *options,
        "--",
        *words,
    ]


ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8"}


def wait_ready(notify: socket.socket, alive: Callable[[], bool], timeout: float) -> int:
    """Waits until the host has booted; returns the ID of its first process.

    systemd-nspawn tells that first, then passes on the host's READY=1: sd_notify(3). Raises HostError.
    """
    deadline = time.monotonic() + timeout
    notify.settimeout(0.2)
    leader, ready = 0, False
    while not (ready and leader):
        if not alive():
            raise HostError("systemd-nspawn ended before it had booted")
        if time.monotonic() > deadline:
            raise HostError(f"not booted after {timeout:g} s")
        try:
            lines = notify.recv(65536).decode(errors="replace").splitlines()
        except TimeoutError:
            continue
        ready = ready or "READY=1" in lines
        for line in lines:
            if line.startswith("X_NSPAWN_LEADER_PID="):
                leader = int(line.partition("=")[2])
    return leader
