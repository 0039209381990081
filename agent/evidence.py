"""Evidence: what the last pass that found everything as wanted asked of the host, and what the host answered.

As long as the same questions get the same answers (the spec's files are among them), everything still is as wanted: kinds read through questions only
and are pure otherwise, so the full pass would reach the same verdict. Asking again needs no spec, no kinds and no library, which is why a pass that
finds nothing to do takes hardly longer than starting Python. Any difference at all, and anything odd, means: make the full pass.

Imported at every start of the agent: only what is built into the interpreter.
"""

from __future__ import annotations

import marshal
import posix
import sys

from agent import VERSION
from agent.host import look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.host.look import Answer, Question

FORMAT = 2
_DIGEST = 16
"""Bytes of the digest that the file begins with."""


class Evidence:
    """Questions and answers of a pass that found everything as wanted, and what the status says but for the time of the last pass."""

    __slots__ = ("answers", "questions", "status", "words")

    def __init__(
        self, questions: list[Question], answers: list[Answer], status: tuple[bytes, bytes], words: str
    ) -> None:
        self.questions = questions
        self.answers = answers
        self.status = status
        """The status document as JSON, before and after the moment of the last pass."""
        self.words = words
        """What a verb says that finds nothing to do."""

    def holds(self) -> bool:
        """Whether every question is answered as it was. Any error of the host counts as a different answer."""
        try:
            return look.answer_all(self.questions) == self.answers
        except OSError:
            return False


def key(spec: str) -> tuple[object, ...]:
    """What evidence is only good for: this agent, this interpreter, this spec."""
    return (FORMAT, VERSION, sys.hexversion, spec)


def load(path: str, spec: str) -> Evidence | None:
    """The evidence kept for a spec; None when there is none that this agent can use. A damaged file counts as none."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except OSError:
        return None
    try:
        content = b""
        while more := posix.read(descriptor, 1 << 20):
            content += more
    except OSError:
        return None
    finally:
        posix.close(descriptor)
    if look.digest(content[_DIGEST:]) != content[:_DIGEST]:  # marshal may not survive a damaged file
        return None
    try:
        found, questions, answers, status, words = marshal.loads(content[_DIGEST:])  # noqa: S302  # root's own file, in a directory only root can write
    except (ValueError, EOFError, TypeError):
        return None
    return Evidence(questions, answers, status, words) if found == key(spec) else None


def dump(evidence: Evidence, spec: str) -> bytes:
    """The bytes that ``load`` reads; to be kept where only root can read and write."""
    parts: Any = (key(spec), evidence.questions, evidence.answers, evidence.status, evidence.words)
    content = marshal.dumps(parts)
    return look.digest(content) + content
