"""Journal entries with fields: AGENT_REF, AGENT_RESULT, AGENT_CAUSE beside the message, for `journalctl AGENT_RESULT=failed`."""

from __future__ import annotations

import os
import syslog

from agent.resource import Outcome, Result


def listens() -> bool:
    """Whether this process was started by systemd with its output going to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    if "JOURNAL_STREAM" not in os.environ:
        return False
    device, _, inode = os.environ["JOURNAL_STREAM"].partition(":")
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return (str(stream.st_dev), str(stream.st_ino)) == (device, inode)


def send(outcomes: tuple[Outcome, ...]) -> None:
    """One entry for each resource that was not as wanted. Never content, never a secret."""
    from systemd import journal

    for outcome in outcomes:
        if outcome.result is Result.UNCHANGED:
            continue
        action = f" ({outcome.change.action.value})" if outcome.change else ""
        message = f": {outcome.message}" if outcome.message else ""
        journal.send(
            f"{outcome.ref}: {outcome.result.value}{action}{message}",
            SYSLOG_IDENTIFIER="agent",
            PRIORITY=syslog.LOG_ERR if outcome.result is Result.FAILED else syslog.LOG_INFO,
            AGENT_REF=str(outcome.ref),
            AGENT_RESULT=outcome.result.value,
            AGENT_CAUSE="drift" if outcome.change and outcome.change.drift else "intended",
            AGENT_SECONDS=f"{outcome.seconds:.3f}",
        )
