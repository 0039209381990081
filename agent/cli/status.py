"""The verb `status`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from agent import status as document
from agent.cli.console import paint
from agent.errors import AgentError, Exit
from agent.host.dumps import kept
from agent.host.machine import Paths
from agent.kinds.database import size as bytes_text
from agent.report.text import stays


def status(options: argparse.Namespace) -> int:
    """Shows the last pass, as it was written down; asks the host nothing."""
    found = document.load(Paths().status)
    if found is None:
        raise AgentError("no pass was made on this host yet", hint="sudo agent apply")
    bad = [each for each in found["conditions"] if not each["status"]]
    if options.json:
        print(json.dumps(found, indent=1))
    elif not options.quiet or bad:
        for line in lines(found, kept(Paths().dumps)):
            print(line)
    return Exit.PENDING if bad else Exit.OK


def lines(found: dict[str, Any], dumps: tuple[int, int] | None = None) -> list[str]:
    """The status for people: conditions first, then what is not right, then what stays. ``dumps``: their number and bytes."""
    text = [f"{found['spec']}, generation {found['generation'] or '-'}, last pass {found['last_pass']}"]
    for each in found["conditions"]:
        mark = paint("yes", "32") if each["status"] else paint("no", "31")
        text.append(
            f"  {each['type']}: {mark}  since {each['since']}" + (f"  {each['message']}" if not each["status"] else "")
        )
    for each in found["resources"]:
        if each["result"] in ("failed", "skipped"):
            text.append(f"  {paint('x', '31')} {each['ref']}: {each['result']}: {each.get('message', '')}")
            if each.get("hint"):
                text.append(f"      hint: {each['hint']}")
    text += [f"  {paint('note', '33')}: {note}" for note in found.get("notes", ())]
    text += [f"  {stays(ref)}" for ref in found["orphans"]]
    if dumps and dumps[0]:
        number, size = dumps
        text.append(
            f"  {number} dump{'' if number == 1 else 's'} of databases, {bytes_text(size)}, in {Paths().dumps}; the agent removes none"
        )
    counts = ", ".join(f"{number} {word}" for word, number in found["counts"].items() if number)
    return [*text, f"  {len(found['resources'])} resources: {counts or 'none'}"]
