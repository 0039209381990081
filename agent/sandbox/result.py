"""What became of a command that was run in a throw-away host."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Self

from agent.errors import HostError


@dataclass(frozen=True)
class Result:
    """Exit status (of a program killed by signal N: 128 + N), what it wrote, and the seconds it took."""

    command: list[str]
    status: int
    stdout: str
    stderr: str
    seconds: float

    def check(self) -> Self:
        """Itself; raises HostError with all it wrote if the status is not 0."""
        if self.status:
            words = f"{self.stdout}{self.stderr}".rstrip()
            raise HostError(f"{shlex.join(self.command)}: exit status {self.status}\n{words}")
        return self
