"""What a person sees: colour where it is a terminal, progress on standard error."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time

from agent.host.machine import Progress
from agent.report import journal
from agent.resource import Outcome

BOLD, RED, GREEN, YELLOW, BLUE, DIM, PLAIN = "1", "31", "32", "33", "34", "2", "0"

_MILESTONES = ("create", "update", "delete", "restart", "restoring")
_QUICK, _SELDOM = 1.0, 2.0
"""Seconds: what takes less is not told of, and nothing is told of more often."""
_coloured = {"always": True, "never": False}
_state = {"colour": False, "quiet": False, "verbose": False}


def configure(options: argparse.Namespace) -> None:
    """Takes --color, -q and -v, NO_COLOR (no-color.org), TERM=dumb, and whether standard output is a terminal."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    _state["colour"] = _coloured.get(options.color, not plain)
    _state["quiet"], _state["verbose"] = options.quiet, options.verbose
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.ERROR,
        format="%(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("sh").setLevel(logging.CRITICAL)  # it logs whole argument lists


def paint(text: str, code: str) -> str:
    """The text in a colour, where there are colours."""
    return f"\033[{code}m{text}\033[0m" if _state["colour"] else text


def say(text: str) -> None:
    """A line for the person, on standard error, unless they asked for quiet."""
    if not _state["quiet"]:
        print(text, file=sys.stderr, flush=True)


class Lines:
    """Progress as lines on standard error, about what takes longer than a second and what fails: that it began, how far it is (not more often than every two
    seconds), how it ended. What is quick is in the result.

    In the journal, what ended is an entry with fields, and what begins is left to it.
    """

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._waiting: dict[str, tuple[float, str]] = {}
        """What began and was not told yet."""
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def say(self, ref: str, text: str) -> None:
        with self._lock:
            now = time.monotonic()
            if text in _MILESTONES:
                self._waiting[ref] = (now, text)
            elif now - self._last.get(ref, 0.0) >= _SELDOM:
                self._waiting.pop(ref, None)
                self._line(ref, text)

    def ended(self, outcome: Outcome) -> None:
        if journal.listens():
            journal.outcome(outcome)
            return
        message = f": {outcome.message}" if outcome.message else ""
        with self._lock:
            quick = self._waiting.pop(str(outcome.ref), None) is not None or str(outcome.ref) not in self._last
            if outcome.message or not quick:
                self._line(str(outcome.ref), f"{outcome.result.value}{message}")

    def _tick(self) -> None:
        while True:
            time.sleep(_QUICK / 2)
            with self._lock:
                for ref, (since, text) in list(self._waiting.items()):
                    if time.monotonic() - since > _QUICK:
                        del self._waiting[ref]
                        if not journal.listens():
                            self._line(ref, f"{text} ...")

    def _line(self, ref: str, text: str) -> None:
        now = time.monotonic()
        self._last[ref] = now
        say(f"{paint(f'{now - self._begun:6.1f}s', DIM)} {ref}: {text}")

    @classmethod
    def progress(cls) -> Progress:
        lines = cls()
        return Progress(lines.say, lines.ended)
