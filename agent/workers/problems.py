"""How a worker says what went wrong."""

from __future__ import annotations

import re

_LINES, _CHARACTERS = 40, 4000
_TEMPORARY = re.compile(
    r"tcp connect error|connection (refused|reset|closed|aborted|error)|error sending request|dns error|timed? ?out\b"
    r"|name resolution|server error \((500|502|503|504)|\b(500|502|503|504) (internal|bad|service|gateway|server)"
    r"|429 too many|incompletemessage|unexpected eof|broken pipe|network is unreachable|no route to host"
    r"|max retries exceeded|error decoding response body|newconnectionerror",
    re.IGNORECASE,
)


class WorkError(Exception):
    """The work could not be done. ``temporary``: the same request may go through later. ``about``: what of the request is to blame."""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "work",
        hint: str = "",
        temporary: bool = False,
        about: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.kind, self.hint, self.temporary, self.about = kind, hint, temporary, about


def temporary_words(text: str) -> bool:
    """Whether a message is about a network or a server that did not answer, and not about what was asked for."""
    return _TEMPORARY.search(text) is not None


def trimmed(text: str) -> str:
    """At most a screenful: the head of a solver's tree names what was asked for, which is what a person can change."""
    lines = text.strip().splitlines()
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"... and {len(lines) - _LINES} more lines"]
    return "\n".join(lines)[:_CHARACTERS]


def explained(error: BaseException) -> WorkError:
    """Whatever was raised, as an error that a person can read."""
    if isinstance(error, WorkError):
        return error
    text = trimmed(str(error)) or type(error).__name__
    return WorkError(text, kind=type(error).__name__, temporary=temporary_words(text))
