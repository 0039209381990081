"""Conda environments, seen from root: what their lists of packages say, and the worker that changes them.

Everything inside an environment was written by its owner. Root reads names of files and one small receipt there, and
runs nothing of it: the worker does, as the owner.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.errors import HostError, TemporaryError
from agent.host import receipt

if TYPE_CHECKING:
    from agent.host.looks import Looks
    from agent.host.machine import Progress
    from agent.host.programs import Programs
    from agent.steps import Work

# The agent may be run from a checkout: an isolated interpreter does not find it by itself.
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from agent.workers.{worker} import main; main()"
_WORKERS = ("conda",)
_CHECK_SECONDS = 180
_LONGEST = 5000
"""Characters of a worker's message that are passed on."""


class Environments:
    """Reads environments and starts the worker. Safe to use from several threads."""

    def __init__(self, looks: Looks, programs: Programs, progress: Progress | None = None) -> None:
        self._looks, self._programs, self._progress = looks, programs, progress
        self._lock = threading.Lock()
        self._unmet: dict[tuple[str, str], frozenset[str]] = {}

    def installed(self, prefix: str) -> Mapping[str, str] | None:
        """Version of each conda package by name, from the names of the files in conda-meta; None without an environment."""
        stamps = self._stamps(prefix)
        return None if stamps is None else receipt.installed(name for name, *_ in stamps)

    def receipt(self, prefix: str) -> receipt.Receipt:
        """What the worker noted when it was last there; an empty one where it never was."""
        path = receipt.path(prefix)
        try:
            self._looks.ask("file", path)
            content = _content(path, receipt.LARGEST)
        except OSError as error:
            raise HostError(f"{path} cannot be read: {error.strerror}") from error
        return receipt.parse(content) or receipt.Receipt()

    def unmet(self, owner: str, request: Mapping[str, Any]) -> frozenset[str]:
        """What of the request the environment does not have: match specs, and ``pip:`` requirements.

        None of it when the environment looks as it did when the worker last saw everything there; else the worker is
        asked, as ``owner``, once for each look that the environment has. Raises HostError.
        """
        prefix = request["prefix"]
        seen = self._seen(prefix, bool(request["pip"]))
        noted = self.receipt(prefix)
        same = noted.packages == tuple(request["packages"]) and noted.pip == tuple(request["pip"])
        if noted.phase == receipt.VERIFIED and same and noted.seen == seen:
            return frozenset()
        if noted.phase == receipt.WORKING:
            return frozenset([*request["packages"], *(f"pip:{each}" for each in request["pip"])])
        key = (json.dumps(request, sort_keys=True), seen)
        with self._lock:
            known = self._unmet.get(key)
        if known is None:
            answer = self._ask("conda", owner, {**request, "verb": "check"}, prefix, _CHECK_SECONDS)
            known = frozenset(map(_shown, answer.get("unmet", ())))
            with self._lock:
                self._unmet[key] = known
        return known

    def work(self, step: Work) -> None:
        """Lets a worker do its work as the step's user and tells the progress of it under the step's label.

        Raises HostError with the worker's words, TemporaryError when the same work may go through later.
        """
        self._ask(step.worker, step.user, dict(step.request), step.label, step.timeout)
        with self._lock:
            self._unmet.clear()

    def _ask(self, worker: str, user: str, request: Mapping[str, Any], label: str, timeout: float) -> Mapping[str, Any]:
        if worker not in _WORKERS:
            raise HostError(f"no worker is called {worker!r}")
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        last: dict[str, Any] = {}

        def on_line(line: str) -> None:
            said = _parsed(line)
            if "progress" not in said:
                last.update(said)
            elif self._progress is not None:
                self._progress.say(label, _shown(said["progress"]))

        done = self._programs.run(
            [sys.executable, "-I", "-c", _PROGRAM.format(worker=worker), root],
            stdin=json.dumps(request).encode(),
            user=user,
            timeout=timeout,
            on_line=on_line,
        )
        if isinstance(last.get("error"), dict):
            error = last["error"]
            kind = TemporaryError if error.get("temporary") is True else HostError
            raise kind(_shown(error.get("message")), hint=_shown(error.get("hint")))
        if done.status or not isinstance(last.get("result"), dict):
            words = _shown(done.errors.strip()[-500:]) or "no words"
            raise HostError(
                f"the {worker} worker exited {done.status} without a result: {words}",
                hint=f"{user} must be able to read the agent's own Python, {sys.executable}, and {root}/agent",
            )
        result: Mapping[str, Any] = last["result"]
        return result

    def _stamps(self, prefix: str) -> tuple[tuple[str, int, int], ...] | None:
        try:
            stamps: tuple[tuple[str, int, int], ...] | None = self._looks.ask("stamps", f"{prefix}/conda-meta")
        except OSError as error:
            raise HostError(f"{prefix}/conda-meta cannot be read: {error.strerror}") from error
        return stamps

    def _seen(self, prefix: str, with_pip: bool) -> str:
        stamps = self._stamps(prefix) or ()
        python = receipt.installed(name for name, *_ in stamps).get("python")
        names: tuple[str, ...] = ()
        if with_pip and python and re.fullmatch(r"[0-9]+\.[0-9]+[0-9a-z.]*", python):
            names = self._looks.ask("names", receipt.site_packages(prefix, python)) or ()
        return receipt.seen(stamps, names)


def _content(path: str, limit: int) -> bytes:
    """Up to ``limit`` bytes and one more of a regular file; of anything else nothing. Waits for no pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, limit + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _parsed(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _shown(text: object) -> str:
    """A worker's words without anything that a terminal obeys: the account that it runs as may have put them there."""
    plain = "".join(each if each.isprintable() or each == "\n" else " " for each in str(text or ""))
    return plain[:_LONGEST]
