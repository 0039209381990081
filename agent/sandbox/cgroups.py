"""A control group of its own for each throw-away host.

systemd-nspawn, told to leave units alone, puts its payload into ``payload`` below the group it was started from: two
hosts started from one group would share it, and stop each other's services. It also must be found again, whole, when
whoever started it was killed.

Where systemd runs this system, a delegated scope is asked for, since systemd alone may write to its tree
(https://systemd.io/CGROUP_DELEGATION). Elsewhere the groups are made by hand, in every hierarchy there is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from agent.errors import HostError
from agent.sandbox.programs import attempt, run

_TREE = Path("/sys/fs/cgroup")
# The arguments are the files to write one's own process ID to, "--", and the program to become.
_ENTER = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 71; shift; done; shift; exec "$@"'


class Cgroup(Protocol):
    """Where the processes of one host live."""

    def enter(self, argv: list[str]) -> list[str]:
        """The command that runs another one inside."""
        ...

    def remove(self) -> None:
        """Kills what is in it and deletes it. Doing so twice is harmless."""
        ...


def for_host(name: str, record: Path) -> Cgroup:
    """The group of one host. ``record`` remembers it for whoever clears up after us."""
    if Path("/run/systemd/system").is_dir():
        return Scope(name)
    if not record.exists():
        record.write_text("".join(f"{path}\n" for path in _own_groups(name)))
    return Groups(record)


def controllers_are_v1() -> bool:
    """Whether limits work through the old hierarchies, which systemd-nspawn mounts read-only."""
    return not (_TREE / "cgroup.controllers").exists()


class Scope:
    """A transient scope unit of this system's systemd. Each start gets a new one, as the old may linger a moment."""

    def __init__(self, name: str) -> None:
        self.unit = f"agent-sandbox-{name}"
        self.starts = 0

    def enter(self, argv: list[str]) -> list[str]:
        self.starts += 1
        unit = f"--unit={self.unit}-{os.getpid()}-{self.starts}.scope"
        scope = ["systemd-run", "--scope", "--quiet", "--collect", "--slice=machine.slice", "--property=Delegate=yes"]
        return [*scope, unit, "--", *argv]

    def remove(self) -> None:
        pattern = f"{self.unit}-*.scope"
        deadline = time.monotonic() + 10
        while run("systemctl", "list-units", "--no-legend", "--plain", pattern).strip():
            if time.monotonic() > deadline:
                raise HostError(f"{pattern}: its processes cannot be killed", hint=f"systemctl status '{pattern}'")
            attempt("systemctl", "kill", "--signal=KILL", pattern)
            time.sleep(0.02)


class Groups:
    """Directories made by hand, below our own group in each hierarchy."""

    def __init__(self, record: Path) -> None:
        self.paths = [Path(line) for line in record.read_text().splitlines()]

    def enter(self, argv: list[str]) -> list[str]:
        for path in self.paths:
            self._make(path)
        files = [str(path / "cgroup.procs") for path in self.paths]
        return ["/bin/sh", "-c", _ENTER, "sh", *files, "--", *argv]

    def remove(self) -> None:
        deadline = time.monotonic() + 10
        while any(path.is_dir() for path in self.paths):
            for pid in set(self.processes()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for path in self.paths:
                _delete(path)  # in the same loop, since a process that has just been started may still be on its way in
            if time.monotonic() > deadline:
                raise HostError(f"the control group {self.paths[0]} cannot be removed")
            time.sleep(0.01)

    def processes(self) -> Iterator[int]:
        for path in self.paths:
            for folder, _, files in os.walk(path):
                if "cgroup.procs" in files:
                    try:
                        yield from map(int, Path(folder, "cgroup.procs").read_text().split())
                    except (OSError, ValueError):
                        continue

    @staticmethod
    def _make(path: Path) -> None:
        path.mkdir(exist_ok=True)
        if (path / "cpuset.cpus").exists() and (path / "cgroup.clone_children").exists():  # empty at first on v1
            for name in ("cpuset.cpus", "cpuset.mems"):
                (path / name).write_text((path.parent / name).read_text())
            (path / "cgroup.clone_children").write_text("1")
        for controller in ("cpu", "memory", "pids"):
            control = path.parent / "cgroup.subtree_control"
            try:
                control.write_text(f"+{controller}")
            except OSError:
                break  # v1, or a v2 group that holds processes: then limits stay without effect


def _delete(path: Path) -> None:
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):  # busy as long as a process has not quite ended
            os.rmdir(folder)


def _own_groups(name: str) -> Iterator[Path]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        mount = _TREE / ("unified" if not controllers else controllers.removeprefix("name="))
        if not mount.is_dir():
            mount = _TREE  # a pure v2 system
        parent = mount / own.lstrip("/")
        yield (parent if parent.is_dir() else mount) / f"agent-sandbox-{name}"
