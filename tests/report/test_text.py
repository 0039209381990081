"""What a plan looks like: drift first, permissions in octal, secrets never."""

from __future__ import annotations

import json

from agent.kinds.file import File, FileState
from agent.plan import Plan, compare
from agent.report import machine, text
from agent.resource import Action, Change, Hidden, Loss, Outcome, Ref, Result
from agent.steps import Content, SecretRef, Slot
from tests.fakes import Toy

MOTD = File("/etc/motd", Content.of("Welcome\nhere\n"))
SECRET = File("/root/.my.cnf", Content(("password=", Slot(SecretRef("stored", "one"), "cnf"))), 0o600)


def changed(resource: File, current: FileState) -> Change:
    change = compare(resource, current)
    assert change is not None
    return change


def test_drift_comes_first_and_is_marked() -> None:
    drifted = Change(Toy("b"), Action.UPDATE, drift=True)
    found = list(text.plan(Plan((Change(Toy("a"), Action.CREATE), drifted), resources=2)))

    assert found == [
        "Drift: changed on the host since the last pass",
        "! ~ toy:b",
        "",
        "Changes that the spec asks for",
        "  + toy:a",
        "",
        "Plan: 1 to add, 1 to change, 0 to remove, 0 restarts.",
    ]


def test_permissions_are_octal() -> None:
    change = changed(MOTD, FileState(MOTD.content, 0o666, "root", "root"))

    assert "        mode: 0666 -> 0644" in list(text.plan(Plan((change,))))
    assert machine.change(change)["differences"] == [{"field": "mode", "current": "0666", "desired": "0644"}]


def test_a_diff_is_shown_when_asked_for() -> None:
    change = changed(MOTD, FileState("Welcome\nthere\n", 0o644, "root", "root"))

    brief = "\n".join(text.plan(Plan((change,))))
    whole = "\n".join(text.plan(Plan((change,)), diff=True))

    assert "content: 1 lines added, 1 removed" in brief
    assert "there" not in brief
    assert "-there" in whole
    assert "+here" in whole


def test_a_file_with_a_secret_in_it_is_never_shown() -> None:
    change = changed(SECRET, FileState(Hidden("password=old-canary"), 0o600, "root", "root"))

    shown = "\n".join(text.plan(Plan((change,)), diff=True)) + json.dumps(machine.plan(Plan((change,))))

    assert "content: changed (hidden)" in shown
    assert "canary" not in shown
    assert "password" not in shown


def test_orphans_and_what_cannot_be_read_are_said() -> None:
    found = list(text.plan(Plan((), orphans=(Ref("user", "alice"),), failures=((Ref("database", "a"), "no answer"),))))

    assert found[0] == "user:alice left the spec and stays: it may hold someone's work."
    assert text.stays("database:a").endswith(
        "stays: it may hold someone's work. Remove it, after a dump: agent apply --allow-data-loss"
    )
    assert found[1] == "? database:a: cannot be read: no answer"


def test_what_is_lost_and_how_it_is_got_back_are_said() -> None:
    change = Change(Toy("a"), Action.DELETE, loss=Loss.DUMPED, loses="3 tables")
    found = Plan((), removals=(change,))

    assert "  - toy:a  with all that is in it: 3 tables" in list(text.plan(found))
    assert machine.plan(found)["losses"] == {"toy:a": "3 tables"}
    done = Outcome(Ref("toy", "a"), Result.CHANGED, change, "the dump is kept")
    assert list(text.outcomes((done,))) == ["  - toy:a", "      the dump is kept"]


def test_nothing_to_do_is_one_line() -> None:
    assert list(text.plan(Plan((), resources=34))) == ["No changes. 34 resources are as the spec wants them."]
