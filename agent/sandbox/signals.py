"""Leaving no throw-away host behind when the program is told to end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


def unwind_on_sigterm() -> None:
    """From now on SIGTERM raises KeyboardInterrupt, so that it leaves through every ``finally`` and ``with``.

    Nothing is touched where the program has its own idea of SIGTERM, or outside the main thread.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block is done: a second Ctrl-C must not interrupt the clearing up."""
    waiting = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
