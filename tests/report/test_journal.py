"""What goes to the journal: one entry for each outcome and problem, with fields, and only where the journal listens."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest

from agent.cli import console
from agent.errors import Place, Problem
from agent.report import journal
from agent.resource import Action, Change, Outcome, Ref, Result
from tests.fakes import Toy

REF = Ref("toy", "one")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What is sent to the journal."""
    entries: list[tuple[str, dict[str, Any]]] = []
    package, module = types.ModuleType("systemd"), types.ModuleType("systemd.journal")
    module.send = lambda message, **fields: entries.append((message, fields))  # type: ignore[attr-defined]
    package.journal = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "systemd", package)
    monkeypatch.setitem(sys.modules, "systemd.journal", module)
    return entries


def outcome(result: Result, message: str = "", hint: str = "") -> Outcome:
    return Outcome(REF, result, Change(Toy("one"), Action.UPDATE, drift=True), message, hint, seconds=1.5)


@pytest.mark.parametrize("of", ["nothing", "another-stream", "this-stream"])
def test_it_listens_where_standard_error_is_its_stream(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = os.fstat(2)
    value = {"nothing": "", "another-stream": "1:2", "this-stream": f"{stream.st_dev}:{stream.st_ino}"}[of]
    monkeypatch.setenv("JOURNAL_STREAM", value)

    assert journal.listens() is (of == "this-stream")


def test_an_outcome_is_an_entry_with_fields(sent: list[tuple[str, dict[str, Any]]]) -> None:
    journal.outcome(outcome(Result.FAILED, "no room", "make some"))

    ((message, fields),) = sent
    assert message == "toy:one: failed (update): no room\n  hint: make some"
    assert fields == {
        "PRIORITY": 3, "SYSLOG_IDENTIFIER": "agent", "AGENT_REF": "toy:one", "AGENT_RESULT": "failed", "AGENT_ACTION": "update",
        "AGENT_CAUSE": "drift", "AGENT_SECONDS": "1.500",
    }  # fmt: skip


def test_a_problem_of_the_spec_has_its_place(sent: list[tuple[str, dict[str, Any]]]) -> None:
    journal.problem(Problem(Place("spec.yaml", 2, 3), "jupyter.prot", "is not a field here", "  prot: 1", "port?"))

    ((message, fields),) = sent
    assert message.splitlines()[0] == "spec.yaml:2:3: jupyter.prot: is not a field here"
    assert (fields["AGENT_PLACE"], fields["AGENT_FIELD"], fields["PRIORITY"]) == ("spec.yaml:2:3", "jupyter.prot", 3)


@pytest.mark.parametrize("listens", [True, False])
def test_an_outcome_is_told_once(
    listens: bool,
    sent: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(journal, "listens", lambda: listens)
    progress = console.Lines.progress()

    progress.say("toy:one", "update")
    progress.ended(outcome(Result.FAILED, "no room"))

    printed = capsys.readouterr().err
    assert len(sent) == (1 if listens else 0)
    assert printed.count("no room") == (0 if listens else 1)
