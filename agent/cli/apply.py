"""The verb `apply`."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

from agent.apply import Apply, Report, Request
from agent.cli import saved
from agent.cli.console import Lines, paint, say
from agent.errors import AgentError, UsageError
from agent.host.machine import Host
from agent.plan import Plan
from agent.report import journal, machine, text
from agent.resource import Action, Disruption, Loss, Result

PASSWORD = "jupyter.password"  # noqa: S105  # its name in the store


def apply(options: argparse.Namespace) -> int:
    """Makes the host match the spec, or a saved plan."""
    if os.geteuid() != 0:
        raise AgentError("apply changes the host and needs root", hint="sudo agent apply")
    host = Host(progress=Lines.progress())
    request = Request(
        os.path.abspath(options.spec),
        targets=tuple(options.target),
        lock_timeout=options.lock_timeout,
        retry=options.retry,
        loss=saved.allowed(options),
        approve=_ask(options, host) if sys.stdin.isatty() and sys.stdout.isatty() and not options.yes else None,
        waiting=lambda holder: say(f"waiting: {holder} holds the lock"),
    )
    plan = saved.load(request.spec)
    if plan is not None:
        if plan.loss is not request.loss:
            raise UsageError(
                f"{options.spec} was saved {_flags(plan.loss)}, and is applied in the same way or not at all",
                hint="Nothing was changed.",
            )
        request = replace(
            request,
            spec=plan.spec,
            targets=plan.targets,
            loss=plan.loss,
            approve=lambda found: _same(found, plan, options.spec),
        )
    run = Apply(request, host)
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    report = run.run()
    show(report, host, options)
    return report.exit_status


def _flags(loss: Loss | None) -> str:
    """How a loss is allowed on the command line."""
    if loss is None:
        return "without --allow-data-loss"
    return "with --allow-data-loss" + (" --no-dump" if loss is Loss.UNDUMPED else "")


def _same(found: Plan, plan: saved.Saved, path: str) -> bool:
    if saved.digest(found) != plan.digest:
        raise AgentError(
            f"{path} is stale: the spec or the host has changed since it was saved. Nothing was changed.",
            hint="look again: agent plan --out FILE",
        )
    return True


def _ask(options: argparse.Namespace, host: Host) -> Callable[[Plan], bool]:
    """Shows the plan; asks only where something is interrupted, removed, or repaired against a hand-made change.

    A password that would be made up is asked for first.
    """

    def approve(found: Plan) -> bool:
        if found.empty:
            return True
        for line in text.plan(found, paint, diff=options.diff):
            print(line)
        if any(
            str(change.resource.ref) == f"secret:{PASSWORD}" and change.action is Action.CREATE
            for change in found.changes
        ):
            _ask_password(host)
        harmless = not (found.removals or found.drift or any(c.disruption is Disruption.RESTART for c in found.changes))
        lost = ", ".join(str(each.resource.ref) for each in found.removals if each.loss)
        question = f"Remove {lost} with all that is in it, and apply" if lost else "Apply"
        return harmless or input(f"{question} these changes? [y/N] ").strip().lower() in ("y", "yes")

    return approve


def _ask_password(host: Host) -> None:
    from agent.cli.secret import keep

    while value := getpass.getpass("Password for Jupyter (Enter: have one made up): "):
        if getpass.getpass("once more: ") != value:
            print("The two are not the same.")
        elif keep(host, PASSWORD, value):
            return
        else:
            print("At least 8 characters, all of them printable, please.")


def show(report: Report, host: Host, options: argparse.Namespace) -> None:
    """What was done, on standard output."""
    if options.json:
        print(json.dumps(document(report), indent=1))
        return
    if report.refused:
        print("Nothing was changed.")
        return
    if not options.quiet or report.exit_status:
        if not journal.listens():  # it has an entry for each
            for line in text.outcomes(report.outcomes, paint):
                print(line)
            for line in text.outcomes(report.restored, paint):
                print(f"  back: {line.strip()}")
        for ref in report.orphans:
            print(text.stays(str(ref)))
        done = report.outcomes or tuple(o for o in report.restored if o.result is not Result.UNCHANGED)
        print(text.counts(done, report.seconds) if done else "Nothing was changed.")
    if report.rolled_back:
        print(paint(f"Rolled back: {report.rolled_back}", "31"))
        print("  hint: change the spec, or try it once more: agent apply --retry")
    show_access(report, host, tell=sys.stdout.isatty() and not options.quiet)


def show_access(report: Report, host: Host, *, tell: bool) -> None:
    """Where the server is, and the password once, right after it was made and to a terminal only."""
    made = {
        o.ref for o in report.outcomes if o.result is Result.CHANGED and o.change and o.change.action is Action.CREATE
    }
    for ref in sorted(made):
        if ref.kind == "secret" and ref.name == PASSWORD:
            from agent.steps import SecretRef

            value = host.secrets.value(SecretRef("stored", ref.name))
            print(f"Password for Jupyter: {value if tell else 'sudo agent secret show jupyter.password'}")


def document(report: Report) -> dict[str, object]:
    """How an apply ended, for programs."""
    return {
        "format": machine.FORMAT,
        "exit_status": report.exit_status,
        "outcomes": [machine.outcome(each) for each in report.outcomes],
        "restored": [machine.outcome(each) for each in report.restored],
        "orphans": [str(ref) for ref in report.orphans],
        "generation": report.generation,
        "rolled_back": report.rolled_back,
        "seconds": round(report.seconds, 3),
    }
