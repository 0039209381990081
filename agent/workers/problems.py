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
_HINTS = (
    (r"hash mismatch", "the server gives another file than its channel tells of, so it was not used; name another one under conda.mirrors, or try again later"),
    (r"client error \(40[13]|unauthorized|forbidden", "conda.authentication says how to get in; see whether its secret is right and for this server"),
    (r"\(404 ", "the channel does not have what it tells of, or its address is wrong; see conda.channels and conda.mirrors"),
    (r"No space left on device", "make room for environments (agent env clean), then apply again; what is in force works as before"),
)  # fmt: skip
"""What a person can do about what the library says, by its words."""
_NOISE = ("failed to interact with the package cache layer.", "an io error occurred: error decoding response body")


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
    if not isinstance(error, WorkError):
        causes = [each for each in str(error).split("\nCaused by: ") if each not in _NOISE]
        text = trimmed(": ".join(causes)) or type(error).__name__
        error = WorkError(text, kind=type(error).__name__, temporary=temporary_words(text))
    error.hint = error.hint or next((hint for words, hint in _HINTS if re.search(words, str(error), re.IGNORECASE)), "")
    return error
