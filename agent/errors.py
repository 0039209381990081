"""What can go wrong, and the exit status each has. Kinds raise none of these; the host and the spec do."""

from __future__ import annotations

import errno
from dataclasses import dataclass


class Exit:
    """Exit statuses of every verb. 64, 65 and 75 are those of sysexits(3)."""

    OK = 0
    ERROR = 1
    PENDING = 2
    FAILED = 3
    ROLLED_BACK = 4
    BUSY = 5
    USAGE = 64
    BAD_SPEC = 65
    TEMPORARY = 75


@dataclass(frozen=True, order=True)
class Place:
    """Where something was written: 1-based line and column, as editors count."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a spec: where, which field, what, and the way out.

    ``message`` never repeats a secret value.
    """

    place: Place | None
    field: str
    message: str
    source: str = ""
    """The line of the spec as it was written; empty where there is none."""
    hint: str = ""


class AgentError(Exception):
    """Anything that ends a verb with a message. ``hint`` is the way out, printed on a line of its own."""

    exit_status = Exit.ERROR

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(AgentError):
    """The command line makes no sense."""

    exit_status = Exit.USAGE


class SpecError(AgentError):
    """The spec is wrong. Carries every problem at once, in file order."""

    exit_status = Exit.BAD_SPEC

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the spec")
        self.problems = problems


class PlanError(AgentError):
    """The resources contradict each other: a cycle of needs, two owners of one thing."""

    exit_status = Exit.BAD_SPEC


class HostError(AgentError):
    """The host refused: what was tried, the status and the last words of whoever refused.

    ``about``: what of the spec is to blame, as it is written there.
    """

    def __init__(self, message: str, *, hint: str = "", about: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.about = about


class TemporaryError(HostError):
    """The host refused for now; the same call may go through later."""

    exit_status = Exit.TEMPORARY


class Unhealthy(HostError):
    """What was changed does not work: its own program refuses it, or the service does not start or answer with it. Tried again, it would not either."""


class Undurable(HostError):
    """A file is as it should be, but the system does not say that it will outlast a power cut: an error although everything looks right."""


class Deferred(HostError):
    """The host would do it, but now is not the time: the text says what is waited for. An outcome of its own: skipped, and tried again."""


def refusal(error: OSError) -> HostError:
    """An error of the operating system as one of the host: the path, if there is one, and the reason."""
    reason = error.strerror or str(error) or type(error).__name__
    hints = {
        errno.ENOSPC: "make room on that file system, then apply again",
        errno.EROFS: "look in the kernel's log for the cause",
    }
    return HostError(f"{error.filename}: {reason}" if error.filename else reason, hint=hints.get(error.errno or 0, ""))


class BusyError(AgentError):
    """Another run holds the lock."""

    exit_status = Exit.BUSY
