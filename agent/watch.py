"""Tells when something that the last pass looked at may have changed. Only a hint: whoever is told looks for himself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from inotify_simple import INotify, flags

_MASK = (
    flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.CREATE | flags.DELETE | flags.ATTRIB | flags.DELETE_SELF | flags.MOVE_SELF
)  # fmt: skip


class Watch:
    """Watches files by their directories, because editors and agents replace files instead of writing to them.

    ``fileno`` is for poll. Directories that are not there are watched through the nearest one above that is.
    """

    def __init__(self) -> None:
        self._inotify = INotify(nonblocking=True)
        self._names: dict[int, set[str] | None] = {}
        """Per watch descriptor: the names that matter in the directory, or None for all."""

    def fileno(self) -> int:
        return int(self._inotify.fileno())

    def arm(self, questions: Iterable[tuple[Any, ...]]) -> None:
        """Watches what these questions ask about, and nothing else. Arm before looking: then nothing is missed."""
        wanted: dict[str, set[str] | None] = {}
        for question in questions:
            if question[0] in ("file", "stamp"):
                directory, _, name = question[1].rpartition("/")
                _want(wanted, directory or "/", name)
            elif question[0] in ("names", "stamps"):
                _want(wanted, question[1], None)
        for descriptor in self._names:
            try:
                self._inotify.rm_watch(descriptor)
            except OSError:  # the directory is gone, and its watch with it
                pass
        self._names = {}
        for directory, names in wanted.items():
            try:
                self._names[self._inotify.add_watch(directory, _MASK | flags.ONLYDIR)] = names
            except OSError:  # went away, or the limit of watches is reached: the periodic look remains
                continue
        self.drain()

    def drain(self) -> bool:
        """Reads what has happened; whether any of it matters. An overflow matters."""
        matters = False
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                matters = True
            elif event.wd in self._names:
                names = self._names[event.wd]
                matters |= (
                    names is None or event.name in names or bool(event.mask & (flags.DELETE_SELF | flags.MOVE_SELF))
                )
        return matters


def _want(wanted: dict[str, set[str] | None], directory: str, name: str | None) -> None:
    while not os.path.isdir(directory) and directory != "/":
        directory, _, name = directory.rpartition("/")
        directory = directory or "/"
    if name is None:
        wanted[directory] = None
    else:
        names = wanted.setdefault(directory, set())
        if names is not None:
            names.add(name)
