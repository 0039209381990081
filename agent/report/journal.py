"""Journal entries with fields beside the message: `journalctl AGENT_RESULT=failed`, `journalctl AGENT_REF=unit:jupyter.service`.

What goes here is said nowhere else, so that nothing stands in the journal twice.
"""

from __future__ import annotations

import os
import syslog

from agent.errors import Problem
from agent.report.problems import format_problem
from agent.resource import Outcome, Result


def listens() -> bool:
    """Whether this process's standard error goes to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return (str(stream.st_dev), str(stream.st_ino)) == (device, inode)


def outcome(each: Outcome) -> None:
    """An entry for a resource that was not as wanted. Never content, never a secret."""
    action = f" ({each.change.action.value})" if each.change else ""
    message = f": {each.message}" if each.message else ""
    hint = f"\n  hint: {each.hint}" if each.hint else ""
    fields = {"AGENT_ACTION": each.change.action.value} if each.change else {}
    if each.change:
        fields["AGENT_CAUSE"] = "drift" if each.change.drift else "intended"
    _send(
        f"{each.ref}: {each.result.value}{action}{message}{hint}",
        syslog.LOG_ERR if each.result is Result.FAILED else syslog.LOG_INFO,
        AGENT_REF=str(each.ref),
        AGENT_RESULT=each.result.value,
        AGENT_SECONDS=f"{each.seconds:.3f}",
        **fields,
    )


def problem(each: Problem) -> None:
    """An entry for something wrong with the spec, with its line."""
    place = {"AGENT_PLACE": str(each.place)} if each.place else {}
    _send(format_problem(each), syslog.LOG_ERR, AGENT_RESULT="invalid", AGENT_FIELD=each.field, **place)


def error(message: str, hint: str = "") -> None:
    """An entry for what ended a verb."""
    _send(f"{message}\n  hint: {hint}" if hint else message, syslog.LOG_ERR, AGENT_RESULT="error")


def _send(message: str, priority: int, **fields: str) -> None:
    from systemd import journal

    journal.send(message, PRIORITY=priority, SYSLOG_IDENTIFIER="agent", **fields)
