"""Tells when something that the last pass looked at may have changed. Only a hint: whoever is told looks for himself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from agent import inotify

_MASK = (
    inotify.CLOSE_WRITE | inotify.MOVED_TO | inotify.MOVED_FROM | inotify.CREATE | inotify.DELETE | inotify.ATTRIB | inotify.DELETE_SELF | inotify.MOVE_SELF
)  # fmt: skip


class Watch:
    """Watches files by their directories, because editors and agents replace files instead of writing to them.

    ``fileno`` is for poll. What is in a directory that is not there is watched through the nearest one above that is.
    """

    def __init__(self) -> None:
        self._inotify = inotify.Inotify()
        self._names: dict[int, set[str] | None] = {}
        """Per watch descriptor: the names that matter in the directory, or None for all."""

    def fileno(self) -> int:
        return self._inotify.fileno()

    def arm(self, questions: Iterable[tuple[Any, ...]]) -> None:
        """Watches what these questions ask about, and nothing else. To be done before looking, each time: a directory may be another one by now."""
        wanted: dict[str, set[str] | None] = {}
        for what, *words in questions:
            if what in ("file", "stamp"):
                directory, _, name = words[0].rpartition("/")
                _want(wanted, directory or "/", name)
            if what in ("names", "stamps") or (what == "stamp" and os.path.isdir(words[0])):
                _want(wanted, words[0], None)
        armed: dict[int, set[str] | None] = {}
        for directory, names in wanted.items():
            try:
                descriptor = self._inotify.add(directory, _MASK | inotify.ONLYDIR)  # the same one if it is watched
            except OSError:  # went away, or the limit of watches is reached: the periodic look remains
                continue
            others = armed.get(descriptor, set())  # two paths may lead to one directory
            armed[descriptor] = None if names is None or others is None else names | others
        for descriptor in self._names.keys() - armed.keys():
            try:
                self._inotify.remove(descriptor)
            except OSError:  # the directory is gone, and its watch with it
                pass
        self._names = armed

    def drain(self) -> bool:
        """Reads what has happened; whether any of it matters. An overflow matters."""
        matters = False
        for event in self._inotify.read():
            if event.mask & inotify.Q_OVERFLOW:
                matters = True
            elif event.watch in self._names:
                names = self._names[event.watch]
                matters |= names is None or event.name in names or bool(event.mask & _GONE)
        return matters


_GONE = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.IGNORED | inotify.UNMOUNT


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
