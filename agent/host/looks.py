"""Asks questions on behalf of a pass and keeps what was asked and answered."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from agent.host import look

if TYPE_CHECKING:
    from agent.host.look import Answer, Question


class Looks:
    """What one pass asked of the host. ``steady`` turns false when a question was answered in two ways: then the host changed under the pass."""

    def __init__(self) -> None:
        self.answers: dict[Question, Answer] = {}
        self.steady = True
        self._lock = threading.Lock()

    def ask(self, *question: Any) -> Answer:
        """One answer, from the host, now."""
        return self.ask_all([question])[0]

    def ask_all(self, questions: list[Question]) -> list[Answer]:
        """Several answers, asked together."""
        answers = look.answer_all(questions)
        with self._lock:
            for question, answer in zip(questions, answers, strict=True):
                self._note(question, answer)
        return answers

    def saw(self, question: Question, answer: Answer) -> None:
        """Notes a question that the caller answered by other means (a file that it read itself)."""
        with self._lock:
            self._note(question, answer)

    def _note(self, question: Question, answer: Answer) -> None:
        if self.answers.setdefault(question, answer) != answer:
            self.answers[question] = answer
            self.steady = False

    def restart(self) -> None:
        """Forgets everything: a new pass begins."""
        with self._lock:
            self.answers.clear()
            self.steady = True
