"""The verbs that only look: validate, plan, verify, render, schema."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from agent.apply import look
from agent.cli.console import paint
from agent.errors import AgentError, Exit, SpecError
from agent.host.machine import Host
from agent.report import machine, text


def validate(options: argparse.Namespace) -> int:
    """Says everything that is wrong with a spec. Needs no root and looks at nothing but the spec's files."""
    from agent.report.problems import format_problem
    from agent.wanted import want

    host = Host()
    path = os.path.abspath(options.spec)
    try:
        wanted = want(path, host, trusted_only=False)
    except SpecError as error:
        if not options.json:
            raise
        print(json.dumps({"valid": False, "problems": [machine.problem(each) for each in error.problems]}, indent=1))
        return Exit.BAD_SPEC
    notes = [machine.problem(each) for each in wanted.warnings]
    if options.json:
        refs = [str(ref) for ref in wanted.resources]
        print(json.dumps({"valid": True, "problems": [], "notes": notes, "resources": refs}, indent=1))
    elif not options.quiet:
        for note in wanted.warnings:
            print(f"note: {format_problem(note)}")
        count = len(wanted.documents) - 1
        beside = f" with {count} further file{'s' if count != 1 else ''}" if count else ""
        print(f"{options.spec}{beside} is valid: {len(wanted.resources)} resources.")
    return Exit.OK


def plan(options: argparse.Namespace) -> int:
    """Shows what apply would change, and changes nothing."""
    from agent.cli import saved

    path = os.path.abspath(options.spec)
    loss = saved.allowed(options)
    found = look(path, Host(), targets=tuple(options.target), loss=loss)
    if options.json:
        print(json.dumps(machine.plan(found), indent=1))
    else:
        for line in text.plan(found, paint, diff=options.diff):
            print(line)
    if options.out:
        saved.save(options.out, path, tuple(options.target), loss, found)
        print(f"Saved: agent apply {options.out}", file=sys.stderr)
    return Exit.PENDING if options.detailed_exitcode and not found.as_wanted else Exit.OK


def verify(options: argparse.Namespace) -> int:
    """Whether the host is as the spec wants it: the plan, with an exit status that says so."""
    found = look(os.path.abspath(options.spec), Host(), targets=tuple(options.target))
    if options.json:
        print(json.dumps(machine.plan(found), indent=1))
    elif not (options.quiet and found.as_wanted):
        for line in text.plan(found, paint):
            print(line)
    return Exit.OK if found.as_wanted else Exit.PENDING


def render(options: argparse.Namespace) -> int:
    """Prints a file as it would be written."""
    from agent.kinds.file import File
    from agent.wanted import want

    wanted = want(os.path.abspath(options.spec), Host(), trusted_only=False)
    files = {each.name: each for each in wanted.resources.values() if isinstance(each, File)}
    if not options.path:
        for name in sorted(files):
            print(name)
        return Exit.OK
    if options.path not in files:
        raise AgentError(f"the spec writes no file {options.path}", hint="agent render lists those it writes")
    sys.stdout.write(text.text_of(files[options.path].content))
    return Exit.OK


def schema(options: argparse.Namespace) -> int:
    """Prints the JSON Schema of the spec, or of the status document."""
    document: dict[str, Any]
    if options.status:
        from agent.report.status_schema import SCHEMA

        document = SCHEMA
    else:
        from agent.spec.schema import spec_schema

        document = spec_schema()
    print(json.dumps(document, indent=2))
    return Exit.OK
