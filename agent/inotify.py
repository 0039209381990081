"""The kernel's notices of changes to files (inotify(7)), through the C library.

By hand because the libraries for it load `ctypes.util`, and with that archives and random numbers: a fifth of all the memory that an idle daemon has.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# <sys/inotify.h>
ATTRIB = 0x00000004
CLOSE_WRITE = 0x00000008
MOVED_FROM = 0x00000040
MOVED_TO = 0x00000080
CREATE = 0x00000100
DELETE = 0x00000200
DELETE_SELF = 0x00000400
MOVE_SELF = 0x00000800
UNMOUNT = 0x00002000
Q_OVERFLOW = 0x00004000
IGNORED = 0x00008000
ONLYDIR = 0x01000000

_HEADER = struct.Struct("iIII")
_ROOM = 1 << 16
"""Bytes read at once; one notice has at most 272."""


@dataclass(frozen=True)
class Notice:
    """``watch`` is the descriptor that `add` returned; ``name`` that of a file in the directory, or nothing."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One queue of notices. Does not block. All raise OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def fileno(self) -> int:
        return self._descriptor

    def add(self, path: str, mask: int) -> int:
        """Watches a path; the same descriptor as before if what is there is watched already."""
        return _checked(self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), ctypes.c_uint32(mask)))

    def remove(self, watch: int) -> None:
        _checked(self._libc.inotify_rm_watch(self._descriptor, watch))

    def read(self) -> Iterator[Notice]:
        """All notices that wait."""
        while True:
            try:
                data = os.read(self._descriptor, _ROOM)
            except BlockingIOError:
                return
            place = 0
            while place < len(data):
                watch, mask, _cookie, length = _HEADER.unpack_from(data, place)
                place += _HEADER.size + length
                yield Notice(watch, mask, os.fsdecode(data[place - length : place].rstrip(b"\0")))

    def close(self) -> None:
        os.close(self._descriptor)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
