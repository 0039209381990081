"""Who runs from a directory, and how much of the disk is its alone. Looks only; nothing here is evidence."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

PROC = "/proc"


def running(directories: tuple[str, ...], proc: str = PROC) -> Mapping[str, tuple[int, ...]]:
    """The pids of programs that lie below each of these directories (proc_pid_exe(5)); those of others are only seen by root."""
    found: dict[str, list[int]] = {}
    for name in os.listdir(proc):
        if not name.isdecimal():
            continue
        try:
            program = os.readlink(f"{proc}/{name}/exe")
        except OSError:  # it has ended, is the kernel's own, or somebody else's
            continue
        for directory in directories:
            if program.startswith(f"{directory}/"):
                found.setdefault(directory, []).append(int(name))
    return {directory: tuple(sorted(pids)) for directory, pids in found.items()}


def own_bytes(directory: str) -> int:
    """Bytes on the disk that would be free without this directory: of files with no other name. Follows no link; what goes meanwhile does not count."""
    try:
        return sum(
            _own_bytes(name, descriptor)
            for _, _, files, descriptor in os.fwalk(directory, follow_symlinks=False)
            for name in files
        )
    except FileNotFoundError:
        return 0


def _own_bytes(name: str, directory: int) -> int:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return 0
    return status.st_blocks * 512 if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
