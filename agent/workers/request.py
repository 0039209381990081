"""What the conda worker is asked, and how it speaks while it works."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import select
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.host.builds import Asked, Place
from agent.workers.problems import WorkError

VERBS = ("apply", "check", "propose", "flip", "discard", "clean", "remove")
LOCK_SECONDS = 300
"""How long to wait for another worker in the same environment."""

_speaking = threading.Lock()
_hidden: set[str] = set()


@dataclass(frozen=True)
class Request:
    """The fields of kinds.environment.Environment, and what the verb needs beside them."""

    verb: str
    place: Place
    asked: Asked = field(default_factory=Asked)
    kernels: tuple[tuple[str, ...], ...] = ()
    listing: Mapping[str, Any] | None = None
    """``form``, ``entry``, ``digest`` and ``content`` of a list of exact packages."""
    installer: tuple[str, str] | None = None
    mirrors: tuple[tuple[str, tuple[str, ...]], ...] = ()
    alias: str = "https://conda.anaconda.org"
    logins: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    offline: bool = False
    timeout: float = 60.0
    retries: int = 2
    link_scripts: tuple[str, ...] = ()
    keep: int = 2
    hold: str = ""
    """The build that a person went back to."""
    due: bool = False
    """Whether newer versions are to be looked for."""
    build: str = ""
    """For flip and discard."""
    dry_run: bool = False

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Request:
        """Raises WorkError for a verb that there is not."""
        if record.get("verb") not in VERBS:
            raise WorkError(f"no verb is called {record.get('verb')!r}")
        asked = dict(record.get("asked") or {})
        asked = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}
        asked["variables"] = tuple((name, text) for name, text in asked.get("variables", ()))
        installer = record.get("installer")
        plain = ("listing", "alias", "offline", "timeout", "retries", "keep", "hold", "due", "build", "dry_run")
        return cls(
            verb=record["verb"],
            place=Place(record["root"], record["name"]),
            asked=Asked(**asked),
            kernels=tuple(map(tuple, record.get("kernels", ()))),
            installer=(installer[0], installer[1]) if installer else None,
            mirrors=tuple((channel, tuple(urls)) for channel, urls in record.get("mirrors", ())),
            logins=tuple(record.get("logins", ())),
            link_scripts=tuple(record.get("link_scripts", ())),
            **{name: record[name] for name in plain if name in record},
        )


def say(text: str) -> None:
    """Tells how far the work is."""
    speak({"progress": text})


def hide(secrets: Iterable[str]) -> None:
    """From now on these are left out of whatever is said: an address that the library complains about may have a token in it."""
    _hidden.update(form for secret in secrets if secret for form in (secret, urllib.parse.quote(secret, safe="")))


def _told(value: Any) -> Any:
    if isinstance(value, str):
        return functools.reduce(lambda text, secret: text.replace(secret, "********"), _hidden, value)
    if isinstance(value, Mapping):
        return {name: _told(each) for name, each in value.items()}
    return list(map(_told, value)) if isinstance(value, list | tuple) else value


def speak(line: Mapping[str, Any]) -> None:
    """One line of JSON on standard output."""
    line = _told(line) if _hidden else line
    with _speaking, contextlib.suppress(OSError):  # nobody listens any more: the work is finished all the same
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def require_listener() -> None:
    """Raises WorkError when whoever asked has ended: what it wanted may not be what is wanted now, and the next one to ask will say."""
    output = select.poll()
    output.register(1, 0)  # a pipe without a reader is an error (poll(2)), which is told in any case
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0)):
        raise WorkError("whoever asked for this has ended", temporary=True)


@contextlib.contextmanager
def locked(path: str, *, shared: bool = False) -> Iterator[None]:
    """One worker at a time in one environment; the kernel lets go of the lock when its holder dies. Raises WorkError after LOCK_SECONDS."""
    directory = os.path.dirname(path)
    make_directory(directory)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        give_up, waiting = time.monotonic() + LOCK_SECONDS, False
        while True:
            try:
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise WorkError(
                        f"another worker has been busy in {directory} for {LOCK_SECONDS} s", temporary=True
                    ) from None
                if not waiting:
                    say("waiting for another worker")
                waiting = True
                time.sleep(0.1)
        yield
    finally:
        os.close(lock)


def make_directory(path: str) -> None:
    """With those above it; raises WorkError where the account may not."""
    try:
        os.makedirs(path, exist_ok=True)
        writable = os.access(path, os.W_OK | os.X_OK)
    except OSError as error:
        raise WorkError(
            f"{path} cannot be made: {error.strerror}", hint="its parent directory must belong to the account"
        ) from error
    if not writable:
        raise WorkError(f"{path} cannot be written", hint="it must belong to the account")
