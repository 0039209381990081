"""When to look: at start, when something that matters may have changed, and from time to time. Looks itself; a pass that may change the host is a process
of its own (`agent apply`), so that the daemon stays small, can be killed at any time, and always runs the code that is installed."""

from __future__ import annotations

import hashlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from agent import evidence, status
from agent.errors import Exit
from agent.wanted import drop_ins
from agent.watch import Watch

LOOK_EVERY = 10.0
"""Seconds between looks at what gives no notice of its changes (units, databases)."""
SETTLE = 0.2
"""Seconds to wait after a change for the rest of it: editors write in several steps."""
FIRST_RETRY = 5.0
"""Seconds until the next try after a pass that failed; doubled each time, up to the interval."""
INTERVAL, SPLAY = 600.0, 60.0
"""Seconds between full passes until a spec was read that says otherwise."""
PATIENCE = 3600.0
"""Seconds a pass may wait for another one's lock."""


@dataclass
class Backoff:
    """How long to wait after failures. Reset by success and by a new spec."""

    longest: float
    delay: float = 0.0

    def failed(self) -> float:
        self.delay = min(self.longest, self.delay * 2 if self.delay else FIRST_RETRY)
        return self.delay

    def reset(self) -> None:
        self.delay = 0.0


@dataclass
class Daemon:
    """Passes for ever, until SIGTERM or SIGINT. The interval between full passes is the spec's, as the last pass wrote it into the status."""

    spec: str
    state: str
    _stopping: bool = False
    _pending: bool = False
    _waiting_for_spec: bool = False
    """The spec is bad or was rolled back: only another one can help."""
    _child: subprocess.Popen[bytes] | None = None
    _spec_seen: str = ""
    _watch: Watch = field(default_factory=Watch)

    def run(self) -> int:
        """Returns an exit status when told to stop; a pass that is under way finishes the step it is at."""
        self._backoff = Backoff(INTERVAL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: self._wake())
        self._readable, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wakeup)
        self._watch.arm(self._spec_questions())
        notify("READY=1")
        self._next_full = time.monotonic()  # the first pass, now
        self._retry_at: float | None = None
        while not self._stopping:
            self._turn()
        notify("STOPPING=1")
        return Exit.OK

    def _turn(self) -> None:
        """One turn of the loop. The watchdog is told that one was completed, whatever it found."""
        now = time.monotonic()
        spec = self._spec_digest()
        if spec != self._spec_seen or now >= self._next_full or (self._retry_at is not None and now >= self._retry_at):
            if spec != self._spec_seen:
                self._backoff.reset()
            self._spec_seen = spec
            self._pass()
        elif self._retry_at is None and not self._waiting_for_spec and not self._as_wanted():
            self._pass()
        notify("WATCHDOG=1")
        self._sleep()

    def _sleep(self) -> None:
        """Until something happens, or until it is time for the next look."""
        moments = [time.monotonic() + LOOK_EVERY, self._next_full] + (
            [self._retry_at] if self._retry_at is not None else []
        )
        poll = select.poll()
        poll.register(self._watch.fileno(), select.POLLIN)
        poll.register(self._readable, select.POLLIN)
        until = min(moments)
        while not self._stopping:
            left = until - time.monotonic()
            if left <= 0:
                return
            ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
            if self._readable in ready:
                os.read(self._readable, 4096)
                if self._pending:
                    self._pending = False
                    self._next_full = 0.0
                    return
            if self._watch.fileno() in ready and self._watch.drain():
                time.sleep(SETTLE)
                self._watch.drain()
                return

    def _as_wanted(self) -> bool:
        found = evidence.load(f"{self.state}/evidence", self.spec)
        return found is not None and found.holds()

    def _pass(self) -> None:
        """One full pass in a process of its own; decides when to look again."""
        notify("STATUS=making a pass")
        exit_status = self._apply()
        if self._stopping:
            return
        found = evidence.load(f"{self.state}/evidence", self.spec)
        self._watch.arm([*self._spec_questions(), *(found.questions if found else ())])
        document = status.load(f"{self.state}/status.json") or {}
        now = time.monotonic()
        share = random.Random(_machine()).random()  # noqa: S311  # the same on each run, another on each host
        self._backoff.longest = float(document.get("interval", INTERVAL))
        self._next_full = now + self._backoff.longest + share * float(document.get("splay", SPLAY))
        self._retry_at = None
        self._waiting_for_spec = exit_status in (Exit.BAD_SPEC, Exit.ROLLED_BACK)
        if exit_status == Exit.OK:
            self._backoff.reset()
        elif not self._waiting_for_spec:
            self._retry_at = now + self._backoff.failed()
        notify(f"STATUS={_summary(document, exit_status)}")

    def _apply(self) -> int:
        words = [sys.executable, "-I", "-m", "agent", "apply", self.spec, "--yes", f"--lock-timeout={PATIENCE:.0f}"]
        self._child = subprocess.Popen(words, stdin=subprocess.DEVNULL, close_fds=True)
        try:
            while True:
                try:
                    return self._child.wait(timeout=LOOK_EVERY)
                except subprocess.TimeoutExpired:
                    notify("WATCHDOG=1")
        finally:
            self._child = None

    def _spec_questions(self) -> list[tuple[str, str]]:
        return [("file", self.spec), ("names", drop_ins(self.spec))]

    def _spec_digest(self) -> str:
        """Of the spec's files as they are; what cannot be read counts as empty, the pass will say why."""
        whole = hashlib.blake2b(digest_size=16)
        directory = drop_ins(self.spec)
        try:
            beside = [f"{directory}/{name}" for name in sorted(os.listdir(directory))]
        except OSError:
            beside = []
        for path in [self.spec, *beside]:
            try:
                with open(path, "rb") as file:
                    content = file.read(1 << 20)
            except OSError:
                content = b""
            whole.update(f"{path}:{len(content)}:".encode() + content)
        return whole.hexdigest()

    def _stop(self) -> None:
        self._stopping = True
        if self._child is not None:
            self._child.terminate()

    def _wake(self) -> None:
        self._pending = True


def _summary(document: dict[str, Any], exit_status: int) -> str:
    for condition in document.get("conditions", ()):
        if not condition.get("status"):
            return f"{condition.get('type')}: {condition.get('reason')}: {condition.get('message')}"[:400]
    return "as wanted" if exit_status == Exit.OK else f"the last pass ended with status {exit_status}"


def notify(text: str) -> None:
    """Tells systemd (sd_notify(3)); does nothing where nobody listens."""
    if "NOTIFY_SOCKET" in os.environ:
        from systemd import daemon

        daemon.notify(text)


def _machine() -> str:
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
