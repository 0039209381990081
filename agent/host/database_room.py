"""Whether a server on this host has room on its disk: one that has none may wait for it for ever, statement, session and all."""

from __future__ import annotations

import os

from agent.errors import HostError

LEAST = 4 << 20
"""Bytes that must be free before a statement that changes anything: about what MariaDB and MySQL make their files longer by."""
DIRECTORY = "SELECT @@GLOBAL.datadir"
_WAY_OUT = "make room on that file system, then apply again"


def make_sure(place: str, directory: str) -> None:
    """Raises HostError when the file system of the server's data directory is full, by what is left for others than root."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return  # it is not here: the server has files of its own
    free = found.f_bavail * found.f_frsize
    if free < LEAST:
        message = f"{place}: the disk with the server's data, {directory}, is full: {free >> 10} KiB are free"
        raise HostError(f"{message}, {LEAST >> 10} are needed", hint=_WAY_OUT)
