"""When to look: at start, when something that matters may have changed, and from time to time. Looks itself; a pass that may change the host is a process
of its own (`agent apply`), so that the daemon stays small, can be killed at any time, and always runs the code that is installed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent import evidence, status
from agent.errors import Exit
from agent.host import look
from agent.specfiles import drop_ins, is_drop_in, lock_path, named
from agent.watch import Watch

if TYPE_CHECKING:
    from agent.host.look import Answer, Question


@dataclass(frozen=True)
class Pace:
    """How often and how long, in seconds."""

    look: float = 10.0
    """Between looks at what gives no notice of its changes (units, databases)."""
    settle: float = 0.2
    """After a change, for the rest of it: editors write in several steps."""
    first_retry: float = 5.0
    """Until the next try after a pass that failed; doubled each time, up to the interval."""
    interval: float = 600.0
    splay: float = 60.0
    """Between full passes, until a pass has told what the spec says. Each host adds its own share of the splay."""
    patience: float = 3600.0
    """What a pass may wait for another one's lock."""
    longest: float = 7200.0
    """What a pass may take until it is told to end."""
    grace: float = 60.0
    """What it may take to end before it is killed."""
    first_rest: float = 1.0
    longest_rest: float = 60.0
    """Between two repairs: doubled as long as something keeps undoing them, forgotten after as long without one."""


@dataclass
class Delay:
    """A delay that doubles each time it is asked for."""

    first: float
    longest: float
    seconds: float = 0.0

    def next(self) -> float:
        self.seconds = min(self.longest, self.seconds * 2 or self.first)
        return self.seconds

    def reset(self) -> None:
        self.seconds = 0.0


class Agenda:
    """Decides when a pass is due. Knows no clock and no host: it is told the moment (monotonic seconds), the spec as it is, and how passes end."""

    def __init__(self, pace: Pace, *, share: float = 0.0) -> None:
        self._pace = pace
        self._share = share
        self._spec: object = None
        self._full_at = 0.0
        self._retry_at: float | None = None
        self._retry = Delay(pace.first_retry, pace.interval)
        self._rest = Delay(pace.first_rest, pace.longest_rest)
        self._rested_at = 0.0
        self._ended_at = 0.0
        self._stuck = False
        """The spec is bad or was rolled back: only another one can help."""

    def due(self, now: float, spec: object) -> str:
        """Why a pass is due whatever the host is like; empty when none is."""
        if spec != self._spec:
            return "the spec has changed" if self._spec is not None else "the first since the start"
        if now >= self._full_at:
            return "time for a full one"
        if self._retry_at is not None and now >= self._retry_at:
            return "trying again"
        return ""

    def may_repair(self, now: float) -> bool:
        """Whether a difference on the host is a reason for a pass."""
        return not self._stuck and self._retry_at is None and now >= self._rested_at

    def was_right(self, now: float) -> None:
        """A look found the host as wanted."""
        if now - self._ended_at > self._pace.longest_rest:
            self._rest.reset()

    def soon(self) -> None:
        """A full pass is due at once."""
        self._full_at = 0.0

    def ended(
        self, now: float, spec: object, exit_status: int, *, repaired: bool, conclusive: bool, interval: float, splay: float
    ) -> None:  # fmt: skip
        """A pass has ended. ``spec`` is what it was before that; ``repaired``: the pass was made for a difference on the host; ``conclusive``: it left
        evidence, so that looks can tell whether the host still is as wanted."""
        if spec != self._spec:
            self._retry.reset()
        self._spec = spec
        self._ended_at = now
        self._full_at = now + interval + self._share * splay
        self._retry.longest = interval
        self._stuck = exit_status in (Exit.BAD_SPEC, Exit.ROLLED_BACK)
        self._retry_at = None
        if exit_status == Exit.OK and conclusive:
            self._retry.reset()
        elif not self._stuck:
            self._retry_at = now + self._retry.next()
        if repaired:
            self._rested_at = now + self._rest.next()

    def next(self, now: float) -> float:
        """The moment of the next look at the latest."""
        moments = [now + self._pace.look, self._full_at]
        if self._retry_at is not None:
            moments.append(self._retry_at)
        if self._rested_at > now:
            moments.append(self._rested_at)
        return min(moments)


class Daemon:
    """Passes for ever, until SIGTERM or SIGINT; SIGHUP asks for one at once. ``command`` makes a pass: `agent apply` by default.

    systemd's watchdog hears of every turn that was completed.
    """

    def __init__(self, spec: str, state: str, *, pace: Pace | None = None, command: Sequence[str] = ()) -> None:
        self._spec, self._state = spec, state
        self._pace = pace or Pace(look=_heartbeat(Pace.look))
        wait = f"--lock-timeout={self._pace.patience:.0f}"
        self._command = command or (sys.executable, "-I", "-m", "agent", "apply", spec, "--yes", wait)
        self._agenda = Agenda(self._pace, share=_share())
        self._watch = Watch()
        self._stopping = False
        self._asked = False
        self._said = ""

    def run(self) -> int:
        """Returns an exit status when told to stop; a pass that is under way finishes the resources it is at."""
        self._readable, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: self._ask())
        notify("READY=1")
        while not self._stopping:
            self._turn()
            notify("WATCHDOG=1")
        notify("STOPPING=1")
        return Exit.OK

    def _stop(self) -> None:
        self._stopping = True

    def _ask(self) -> None:
        self._asked = True

    def _turn(self) -> None:
        """A look, and a pass if one is due. After a pass the next turn looks at once: at what changed meanwhile."""
        if self._asked:
            self._asked = False
            self._agenda.soon()
        found = evidence.load(f"{self._state}/evidence", self._spec)
        self._watch.arm(
            [*self._places(), *(found.questions if found else ())]
        )  # before looking: then nothing is missed
        spec = self._spec_files()
        if spec is None:
            self._tell(f"waiting for a spec at {self._spec}")
            self._sleep()
            return
        now = time.monotonic()
        why = self._agenda.due(now, spec)
        difference = self._difference(found) if not why and self._agenda.may_repair(now) else ""
        if why or difference:
            self._pass(why or difference, spec, repaired=bool(difference))
        else:
            self._agenda.was_right(now)
            self._sleep()

    def _sleep(self) -> None:
        """Until something happens, or until it is time for the next look."""
        now = time.monotonic()
        until = self._agenda.next(now)
        poll = select.poll()
        poll.register(self._watch.fileno(), select.POLLIN)
        poll.register(self._readable, select.POLLIN)
        while not (self._stopping or self._asked) and (left := until - time.monotonic()) > 0:
            ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
            if self._readable in ready:
                os.read(self._readable, 4096)
            if self._watch.fileno() in ready and self._watch.drain():
                time.sleep(self._pace.settle)
                self._watch.drain()
                return

    def _difference(self, found: evidence.Evidence | None) -> str:
        """What is not as the last good pass saw it; empty when nothing is."""
        if found is None:
            return "the last one found something not as wanted"
        try:
            answers = look.answer_all(found.questions)
        except OSError as error:
            return f"cannot look: {error}"
        for question, answer, seen in zip(found.questions, answers, found.answers, strict=True):
            if answer != seen:
                return f"{' '.join(str(word) for word in question[:2])} is not as it was"
        return ""

    def _pass(self, why: str, spec: tuple[Answer, ...], *, repaired: bool) -> None:
        """One full pass in a process of its own."""
        print(f"making a pass: {why}", file=sys.stderr, flush=True)
        self._tell(f"making a pass: {why}")
        exit_status = self._apply()
        if self._stopping:
            return
        document = status.load(f"{self._state}/status.json") or {}
        self._agenda.ended(
            time.monotonic(),
            spec,
            exit_status,
            repaired=repaired,
            conclusive=os.path.exists(f"{self._state}/evidence"),
            interval=float(document.get("interval", self._pace.interval)),
            splay=float(document.get("splay", self._pace.splay)),
        )
        self._tell(summary(document, exit_status))

    def _apply(self) -> int:
        """Runs the command to its end and returns its exit status; tells it to end when the daemon is, or when it takes too long."""
        surroundings = {name: value for name, value in os.environ.items() if name not in _OURS}
        with subprocess.Popen(self._command, stdin=subprocess.DEVNULL, env=surroundings) as child:
            ended = os.pidfd_open(child.pid)
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            poll.register(self._readable, select.POLLIN)
            limit, told = time.monotonic() + self._pace.longest, False
            try:
                while child.poll() is None:
                    late = time.monotonic() >= limit
                    if late and told:
                        child.kill()
                    elif late or (self._stopping and not told):
                        child.terminate()
                        limit, told = time.monotonic() + self._pace.grace, True
                    left = max(0.0, limit - time.monotonic())
                    if any(
                        descriptor == self._readable for descriptor, _ in poll.poll(min(left, self._pace.look) * 1000)
                    ):
                        os.read(self._readable, 4096)
                    notify("WATCHDOG=1")
            finally:
                os.close(ended)
            return child.returncode

    def _places(self) -> list[Question]:
        return [*(("file", path) for path in self._files()), ("names", drop_ins(self._spec))]

    def _spec_files(self) -> tuple[Answer, ...] | None:
        """What the spec's files are now; None when there is no spec. What cannot be read counts as empty: the pass will say why."""
        if not os.path.lexists(self._spec):
            return None
        return tuple((path, _answer(("file", path))) for path in self._files())

    def _files(self) -> list[str]:
        """The spec, its lock file and its drop-ins, and what these name."""
        directory = drop_ins(self._spec)
        names = [name for name in _answer(("names", directory)) or () if is_drop_in(name)]
        written = [self._spec, *(f"{directory}/{name}" for name in names)]
        others = {path for each in written for path in named(self._spec, _content(each))}
        return [*written, lock_path(self._spec), *sorted(others)]

    def _tell(self, text: str) -> None:
        """Says in `systemctl status` what the daemon is at."""
        if text != self._said:
            notify(f"STATUS={' '.join(text.split())[:400]}")
        self._said = text


def _answer(question: Question) -> Answer:
    try:
        return look.answer_all([question])[0]
    except OSError:
        return None


def _content(path: str) -> bytes:
    """Nothing of what is no file, or none that can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def summary(document: dict[str, Any], exit_status: int) -> str:
    """The last pass in a line: the first condition that does not hold."""
    for condition in document.get("conditions", ()):
        if not condition.get("status"):
            return f"{condition.get('type')}: {condition.get('reason')}: {condition.get('message')}"
    if exit_status == Exit.OK:
        return "; ".join(["as wanted", *document.get("notes", ())])
    return f"the last pass ended with status {exit_status}"


_OURS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


def notify(text: str) -> None:
    """Tells systemd (sd_notify(3)); does nothing where nobody listens."""
    if "NOTIFY_SOCKET" in os.environ:
        from systemd import daemon

        daemon.notify(text)


def _heartbeat(longest: float) -> float:
    """Seconds between signs of life: well within what systemd's watchdog wants (sd_watchdog_enabled(3))."""
    wanted = os.environ.get("WATCHDOG_USEC", "")
    return min(longest, int(wanted) / 3_000_000) if wanted.isdigit() else longest


def _share() -> float:
    """A number between 0 and 1: the same on each run, another on each host (machine-id(5) is random)."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return int(file.read(8), 16) / 0xFFFFFFFF
    except (OSError, ValueError):
        return 0.0
