"""systemd's units: asked over D-Bus, all of a pass in one exchange; changed by systemctl(1)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import HostError, TemporaryError, Unhealthy
from agent.host import bus
from agent.steps import Remember

if TYPE_CHECKING:
    from agent.host.looks import Looks
    from agent.host.memory import Memory
    from agent.host.programs import Programs
    from agent.steps import Unit

UNIT_FILES = "/etc/systemd/system"
NEVER = "-"
"""Stands for the invocation of a unit that never ran, or that is not known: it is no unit's."""

_WANTED = ("UnitFileState", "InvocationID", "NeedDaemonReload", "FragmentPath")
_SETTLED = 0.2
"""Seconds after which a program that cannot be executed is known to have failed."""
_STARTS = ("start", "restart", "try-restart")
_READS_FILES = (*_STARTS, "reload", "enable")
_SECRET = re.compile(r"((?:token|password|passwd|secret|key)\S*?\s*[=:]\s*)\S+", re.IGNORECASE)


@dataclass(frozen=True)
class UnitFacts:
    """What systemd says of a unit, in its own words (systemctl(1), org.freedesktop.systemd1(5)).

    ``enabled`` is its UnitFileState: enabled, disabled, static, masked, alias ..., or empty when it has no file.
    ``invocation`` is another one after every start.
    """

    load: str
    active: str
    sub: str
    enabled: str
    invocation: str
    needs_reload: bool


@dataclass(frozen=True)
class Start:
    """With which inputs the agent last started a unit. ``before`` is the invocation that was to end, ``after`` the one that came of it."""

    inputs: str
    before: str
    after: str

    @classmethod
    def parse(cls, text: str) -> Start | None:
        """None for a text that is no note of a start."""
        words = text.split()
        return cls(*words) if len(words) == 3 else None

    def __str__(self) -> str:
        return f"{self.inputs} {self.before} {self.after}"


class Units:
    """One conversation with systemd for all units of a pass. A change of any of them ends what was known."""

    def __init__(self, looks: Looks, programs: Programs, memory: Memory) -> None:
        self._looks = looks
        self._programs = programs
        self._memory = memory
        self._lock = threading.RLock()
        self._expected: set[str] = set()
        self._facts: dict[str, UnitFacts] = {}
        self._intended: dict[str, str] = {}

    # -- looking

    def expect(self, names: Iterable[str]) -> None:
        """These will be asked for: so they are asked for together."""
        with self._lock:
            self._expected.update(names)

    def show(self, name: str) -> UnitFacts:
        """What systemd says. Raises HostError when it does not answer, or the name is none of a unit."""
        if not bus.is_unit_name(name):
            raise HostError(f"{name!r} is not the name of a unit", hint="it ends in .service, .socket, .timer ...")
        with self._lock:
            self._expected.add(name)
            if name not in self._facts:
                self._ask(sorted(self._expected - self._facts.keys()))
            return self._facts[name]

    def forget(self) -> None:
        """Something was changed."""
        with self._lock:
            self._facts.clear()

    def _ask(self, names: list[str]) -> None:
        states = self._looks.ask_all([("unit", name) for name in names])
        found = bus.properties(names, _WANTED)
        self._watch_enablement()
        for name, state in zip(names, states, strict=True):
            if state is None or name not in found:
                raise TemporaryError("systemd does not answer on D-Bus", hint="is this host booted with systemd?")
            enabled, invocation, needs_reload, path = (found[name].get(each) for each in _WANTED)
            self._looks.ask("stamp", f"{UNIT_FILES}/{name}.d")
            if isinstance(path, str) and path:
                self._looks.ask("stamp", path)
            load, active, sub = state
            self._facts[name] = UnitFacts(
                load,
                active,
                sub,
                enabled if isinstance(enabled, str) else "",
                invocation.hex() if isinstance(invocation, bytes) and invocation.strip(b"\0") else NEVER,
                needs_reload is True,
            )

    def _watch_enablement(self) -> None:
        """A unit file or link that comes or goes changes one of these directories."""
        self._looks.ask("stamp", UNIT_FILES)
        for name in self._looks.ask("names", UNIT_FILES) or ():
            if name.endswith((".wants", ".requires")):
                self._looks.ask("stamp", f"{UNIT_FILES}/{name}")

    # -- what it was last started with

    def started(self, name: str) -> Start | None:
        """The agent's last start of the unit; None when there was none, or it was forgotten."""
        noted = self._memory.get(memory_key(name))
        return None if noted is None else Start.parse(noted)

    def is_stale(self, name: str, inputs: str) -> bool:
        """Whether a running unit was not started with these inputs, or the start that was noted never came about."""
        start = self.started(name)
        return start is None or start.inputs != inputs or start.before == self.show(name).invocation

    def intend(self, name: str, inputs: str) -> None:
        """From now on, a start by ``perform`` is a start with these inputs."""
        with self._lock:
            self._intended[name] = inputs

    def _note(self, name: str, before: str, after: str) -> None:
        inputs = self._intended.get(name)
        if inputs is not None:
            self._memory.perform(Remember(memory_key(name), str(Start(inputs, before, after))))

    # -- changing

    def perform(self, step: Unit) -> None:
        """Does what the step says and waits until it is done.

        A start is noted before it is made, with the invocation that it ends: whenever the agent is killed, the next pass
        can tell whether it came about. Raises HostError with the unit's last words in the journal.
        """
        if step.verb in _READS_FILES and any(self.show(name).needs_reload for name in step.names):
            self._systemctl("daemon-reload", (), step.timeout)
            self.forget()
        verb = self._announce(step) if step.verb in _STARTS else step.verb
        begun = time.time()
        self._systemctl(verb, step.names, step.timeout, begun)
        if step.verb == "unmask":  # which leaves a mask that is for this boot only
            self._systemctl("unmask --runtime", step.names, step.timeout)
        self.forget()
        if step.verb in _STARTS:
            self._settle(step.names)
            for name in step.names:
                start, facts = self.started(name), self.show(name)
                if start is not None:
                    self._note(name, start.before, facts.invocation)
                if facts.active in ("failed", "activating"):  # the job counts as done once the process was forked
                    raise Unhealthy(f"{name} ended right after its start", hint=self._journal((name,), begun))
        elif step.verb == "reload":
            for name in step.names:
                self._note(name, NEVER, self.show(name).invocation)

    def _announce(self, step: Unit) -> str:
        """Notes a start that is about to be made; the verb to make it with."""
        verb = step.verb
        for name in step.names:
            facts = self.show(name)
            if verb == "start" and facts.active == "activating" and name in self._intended:
                # a run that was killed, or the boot, is at it; one with other inputs would not do
                if not self.is_stale(name, self._intended[name]):
                    continue
                verb = "restart"
            self._note(name, facts.invocation, NEVER)
        # also of those that run: their limit of starts (systemd.unit(5), StartLimitBurst=) is meant for crashes, not for this
        self._programs.run(_command("reset-failed", step.names))
        return verb

    def _settle(self, names: tuple[str, ...]) -> None:
        """Gives services that count as started before their program runs the time to fail (systemd.service(5), Type=)."""
        types = bus.properties([name for name in names if name.endswith(".service")], ("Type",), "Service")
        if any(each.get("Type") in ("simple", "idle") for each in types.values()):
            time.sleep(_SETTLED)

    def _systemctl(self, verb: str, names: tuple[str, ...], timeout: float, begun: float = 0.0) -> None:
        try:
            done = self._programs.run(_command(verb, names), timeout=timeout)
        except TemporaryError:
            raise TemporaryError(
                f"systemctl {verb} {' '.join(names)} did not end within {timeout:g} s",
                hint="systemctl list-jobs shows what it waits for",
            ) from None
        if done.status != 0:
            words = (done.errors.strip() or done.output.strip()).splitlines()[:1]
            kind = Unhealthy if verb in (*_STARTS, "reload") else HostError
            raise kind(
                ": ".join([f"systemctl {verb} {' '.join(names)} exited {done.status}", *words]),
                hint=self._journal(names, begun),
            )

    def _journal(self, names: tuple[str, ...], begun: float) -> str:
        """The last lines of the units since then, without what looks like a secret."""
        if not names or not begun:
            return ""
        self._programs.run(["journalctl", "--sync"], timeout=20)
        # without --reverse, systemd 252 gives the first lines since then, not the last
        argv = ["journalctl", "--no-pager", "--output=cat", "--reverse", "--lines=6", f"--since=@{begun:.3f}"]
        done = self._programs.run([*argv, *(f"--unit={name}" for name in names)], timeout=20)
        lines = [line.strip() for line in done.output.splitlines()[::-1] if line.strip() and not line.startswith("-- ")]
        said = " | ".join(_SECRET.sub(r"\1********", line)[:200] for line in lines)
        return f"the journal says: {said}" if said else f"journalctl --unit={names[0]} may say why"


def memory_key(name: str) -> str:
    """What the agent remembers the last start of a unit under."""
    return f"started.{name}"


def _command(verb: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return ("systemctl", "--no-ask-password", "--quiet", *verb.split(), *(("--", *names) if names else ()))
