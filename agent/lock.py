"""The one lock for everything that changes the host. The kernel releases it when the holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.errors import BusyError, refusal


def holder(path: str) -> str:
    """Who holds the lock, in words for a message: verb, pid and since when; what is known of it."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(4096))
        return f"agent {found['verb']} (pid {int(found['pid'])}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run of agent"


@contextmanager
def locked(
    path: str,
    verb: str,
    *,
    timeout: float,
    waiting: Callable[[str], None] = lambda _holder: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Holds the lock while the block runs. Waits up to ``timeout`` seconds or until ``stopped``, telling ``waiting`` once whom for; then raises BusyError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _acquire(descriptor, path, timeout, waiting, stopped)
        note = {"pid": os.getpid(), "verb": verb, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        _write(descriptor, path, json.dumps(note).encode())
        yield
        _write(descriptor, path, b"")
    finally:
        os.close(descriptor)


def _write(descriptor: int, path: str, note: bytes) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note, 0)
    except OSError as error:
        raise refusal(OSError(error.errno, error.strerror, path)) from error


def _acquire(
    descriptor: int, path: str, timeout: float, waiting: Callable[[str], None], stopped: Callable[[], bool]
) -> None:
    deadline = time.monotonic() + timeout
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if stopped():
            raise BusyError(f"{holder(path)} holds the lock, and this run was told to stop")
        if time.monotonic() >= deadline:
            raise BusyError(
                f"{holder(path)} holds the lock",
                hint=f"wait for it, or give more time: --lock-timeout (was {timeout:g} s)",
            )
        if not told:
            waiting(holder(path))
            told = True
        time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))
