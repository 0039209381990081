"""Runs inside a host, for test_kinds_basic.py: one pass of the engine over some resources, or their removal.

Reads one JSON object from standard input: ``apply`` and ``remove`` (records of resources), ``die`` (``before`` or ``after``: kill
this process there when a unit is restarted). Writes the outcomes, and whether the short way would see the same.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from agent import plan
from agent.host import look
from agent.host.machine import Host
from agent.host.programs import Programs
from agent.ledger import Ledger
from agent.reconcile import Pass, remove
from agent.records import from_record
from agent.resource import Action, Change, Outcome, Result

STATE = "/var/lib/agent"


def main() -> None:
    asked = json.load(sys.stdin)
    if asked["die"]:
        _die_at_a_restart(asked["die"])
    os.makedirs(STATE, exist_ok=True)
    said: list[str] = []
    host, ledger = Host(), Ledger(f"{STATE}/ledger")
    host.programs.say = lambda _label, text: said.append(text)
    desired = plan.by_ref(from_record(each) for each in asked["apply"])
    outcomes = list(Pass(desired, host, ledger).run())
    alike = host.looks.steady and look.answer_all(list(host.looks.answers)) == list(host.looks.answers.values())
    gone = [from_record(each) for each in asked["remove"]]
    changes = [Change(each, Action.DELETE, current=each.read(host)) for each in plan.order(gone, backwards=True)]
    left = plan.Departures(tuple(changes), (), (), plan.by_ref(gone))
    outcomes += remove(left, host, ledger)[0]
    json.dump({"changed": dict(map(_told, outcomes)), "alike": alike, "said": said}, sys.stdout)


def _told(outcome: Outcome) -> tuple[str, str]:
    """A ref and what was done about it: nothing, a change (of these fields, if it is drift), or why not."""
    if outcome.result is Result.UNCHANGED:
        return str(outcome.ref), ""
    if outcome.result is not Result.CHANGED or outcome.change is None:
        return str(outcome.ref), f"{outcome.result.value}: {outcome.message} ({outcome.hint})"
    fields = ",".join(each.field for each in outcome.change.differences)
    return str(outcome.ref), f"{'! ' if outcome.change.drift else ''}{outcome.change.action.value} {fields}".rstrip()


def _die_at_a_restart(moment: str) -> None:
    run = Programs.run

    def dying(self: Programs, argv: Any, **options: Any) -> Any:
        restarting = "restart" in argv
        if restarting and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = run(self, argv, **options)
        if restarting and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    Programs.run = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
