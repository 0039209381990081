"""What the agent's own units did on a throw-away host, as systemd and the journal tell it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.sandbox import Machine
from tests.system import roots

MOTD = "/etc/motd"
_DROP_IN = "/etc/agent/spec.d/50-motd.yaml"


def motd_spec(text: str) -> str:
    return f'files: {{{MOTD}: {{content: "{text}\\n"}}}}\n'


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> float:
    """Waits until it is so. Returns after how many seconds it was."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds, f"after {seconds:g} s still not: {what}"
        time.sleep(0.05)
    return time.monotonic() - begun


@dataclass(frozen=True)
class Units:
    """One of the agent's services on a host on which the quickstart was applied, and a further file, the greeting."""

    machine: Machine
    service: str

    def show(self, name: str, unit: str = "") -> str:
        return self.machine.run(["systemctl", "show", "--value", "-p", name, unit or self.service]).stdout.strip()

    def read(self, path: str) -> str:
        return self.machine.run(["cat", path], check=False).stdout

    def save(self, text: str) -> None:
        """Saves the greeting's part of the spec, as most editors do: beside, then renamed."""
        roots.write_spec(self.machine, text, _DROP_IN)

    def greet(self, text: str) -> None:
        self.save(motd_spec(text))

    def greets(self, text: str, seconds: float = 60.0) -> float:
        return wait_for(lambda: self.read(MOTD) == f"{text}\n", f"the greeting is {text!r}", seconds)

    def status(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.machine.run(["agent", "status", "--json"], check=False).stdout)
        return found

    def journal(self, *matches: str) -> list[dict[str, str]]:
        """The entries of this boot, oldest first. ``matches`` as for journalctl(1)."""
        self.machine.run("journalctl --sync")
        return [json.loads(line) for line in self.machine.journal("--output=json", *matches).splitlines()]

    def enabled(self, unit: str) -> bool:
        return self.machine.run(["systemctl", "is-enabled", unit], check=False).stdout == "enabled\n"
