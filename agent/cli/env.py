"""The verb `env`: environments by name."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from agent import environments, inventory
from agent.apply import Report
from agent.cli import apply as applying
from agent.cli.console import Lines, paint, say
from agent.environments import Cleaned, Locked, Order, RolledBack
from agent.errors import AgentError, Exit
from agent.host.kernelspecs import Registered, kernelspecs
from agent.host.machine import Host
from agent.kinds.environment import Environment
from agent.ledger import Ledger
from agent.report import environments as report
from agent.resource import Result
from agent.specfiles import lock_path
from agent.update import Proposal, Update, Updated
from agent.wanted import Wanted, want


def env(options: argparse.Namespace) -> int:
    """Does one of the actions on environments."""
    if getattr(options, "path", None):
        options.spec = options.path
    options.spec = os.path.abspath(options.spec)
    if options.action == "list" and options.names:
        return _names(options)
    if os.geteuid() != 0:
        raise AgentError(f"env {options.action} needs root", hint=f"sudo agent env {options.action}")
    return _ACTIONS[options.action](options, Host(progress=Lines.progress()))


def _order(options: argparse.Namespace) -> Order:
    return Order(
        options.spec,
        tuple(options.names),
        options.lock_timeout,
        lambda holder: say(f"waiting: {holder} holds the lock"),
    )


def _print(record: object) -> None:
    print(json.dumps(record, indent=1))


# ---- looking


def _names(options: argparse.Namespace) -> int:
    names = sorted(inventory.environments(want(options.spec, Host(), trusted_only=False).resources))
    if options.json:
        _print(names)
    else:
        print("".join(f"{name}\n" for name in names), end="")
    return Exit.OK


def _wanted(options: argparse.Namespace, host: Host) -> tuple[Wanted, Ledger]:
    host.begin({})
    wanted = want(options.spec, host)
    host.begin(wanted.resources)
    return wanted, Ledger(f"{host.paths.state}/ledger.jsonl")


def _list(options: argparse.Namespace, host: Host) -> int:
    wanted, ledger = _wanted(options, host)
    every = inventory.environments(wanted.resources)
    views = [inventory.view(every[name], wanted.resources, host, ledger) for name in sorted(every)]
    foreign = list(inventory.foreign(wanted.resources, host))
    kernels = kernelspecs(host, wanted.resources)
    if options.json:
        record = {
            "format": report.FORMAT,
            "environments": [report.view(each) for each in views],
            "foreign": [dataclasses.asdict(each) for each in foreign],
            "kernelspecs": [dataclasses.asdict(each) for each in kernels],
        }
        _print(record)
        return Exit.OK
    if views:
        print("\n".join(report.table(views, paint)))
    elif not options.quiet:
        print("The spec has no environments.")
    for line in (*report.strangers(foreign), *report.kernels(_strange(kernels, every), paint)):
        print(line)
    return Exit.OK


def _strange(found: Sequence[Registered], every: Mapping[str, Environment]) -> list[Registered]:
    """Kernels that people should know of: not those which packages bring along inside of their environments."""
    inside = tuple(f"{each.place.builds}/" for each in every.values())
    return [each for each in found if each.state == "dead" or not each.path.startswith(inside)]


def _show(options: argparse.Namespace, host: Host) -> int:
    wanted, ledger = _wanted(options, host)
    (environment,) = inventory.named(inventory.environments(wanted.resources), options.names).values()
    found = inventory.view(environment, wanted.resources, host, ledger)
    detail = inventory.detail(environment, found, host)
    if options.json:
        _print(report.detail_record(detail))
    else:
        print("\n".join(report.detail(detail, paint)))
    return Exit.OK


# ---- changing


def _lock(options: argparse.Namespace, host: Host) -> int:
    found, left = environments.lock(_order(options), host, check=options.check)
    news = [each for each in found if each.news]
    path = lock_path(options.spec)
    if options.json:
        entries = [_locked(each) for each in found]
        written = bool(news) and not options.check
        _print({"format": report.FORMAT, "lock": path, "written": written, "entries": entries, "left": list(left)})
    elif not options.quiet or (options.check and news):
        for each in news:
            print(f"environment:{each.name}: {_contents(each)}")
            for line in report.difference(each.changes if each.known else (), paint):
                print(f"  {line}")
        for name in left:
            print(f"environment:{name}: not locked: its spec has a schedule, an installer or a list of its own")
        if not news:
            print(f"{path} says what is in force.")
        else:
            print(f"{path} says something else." if options.check else f"Written: {path}")
    return Exit.PENDING if options.check and news else Exit.OK


def _contents(found: Locked) -> str:
    conda, pip = len(found.made_of.conda), len(found.made_of.pip)
    return f"{report.count(conda, 'package')}{f' and {pip} of pip' if pip else ''}"


def _locked(found: Locked) -> dict[str, object]:
    build = found.made_of.entry["build"]
    return {"name": found.name, "build": build, "new": found.news, "changes": report.changes(found.changes)}


def _update(options: argparse.Namespace, host: Host) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the build that waits for the answer is taken away
    updated = Update(_order(options), host).run(_approve(options))
    if options.json:
        _print(_updated(updated))
        return updated.exit_status
    shown = updated.taken or any(not each.empty for each in updated.proposals)
    if not shown and (not options.quiet or updated.exit_status):
        print("\n".join(_proposed(updated.proposals)))
    if updated.report is not None:
        _told(updated.report, host, options)
    elif not options.dry_run and shown:
        print("Nothing was changed.")
    if updated.went_back:
        print(paint(f"Rolled back: {updated.went_back}", "31"))
        print("  hint: the builds before are in force again; agent env update tries once more")
    elif updated.taken and not options.quiet:
        for each in updated.proposals:
            if not (each.same or each.failure):
                print(f"environment:{each.name} is at build {each.build} now.")
    return updated.exit_status


def _told(found: Report, host: Host, options: argparse.Namespace) -> None:
    """What the pass did, where it had anything to do."""
    if found.exit_status or any(each.result is not Result.UNCHANGED for each in found.outcomes):
        applying.show(found, host, options)


def _approve(options: argparse.Namespace) -> Callable[[Sequence[Proposal]], bool]:
    """Shows what would be; asks where a person can answer."""
    out = sys.stderr if options.json else sys.stdout
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not options.yes

    def approve(found: Sequence[Proposal]) -> bool:
        if not options.json or asks:
            print("\n".join(_proposed(found)), file=out)
        if options.dry_run or not asks:
            return not options.dry_run
        print("Put this in force? [y/N] ", end="", file=out, flush=True)
        return input().strip().lower() in ("y", "yes")

    return approve


def _proposed(found: Sequence[Proposal]) -> list[str]:
    lines = []
    for each in found:
        if each.failure is not None:
            lines.append(f"{paint('x', '31')} environment:{each.name}: {each.failure}")
            lines += [f"    hint: {each.failure.hint}"] if each.failure.hint else []
            continue
        nothing = "nothing newer" if each.same else ""
        lifted = "the build that was gone back to is no longer held" if each.held else ""
        relocked = "its entry in the lock file is written anew" if each.relocks else ""
        notes = "; ".join(filter(None, (nothing, lifted, relocked)))
        lines.append(f"environment:{each.name}{f': {notes}' if notes else ''}")
        lines += [f"  {line}" for line in report.difference(each.changes, paint)]
    if interrupted := sorted({text for each in found for text in each.interrupts}):
        lines.append(f"Interrupts: {', '.join(interrupted)}")
    changes = [change for each in found for change in each.changes]
    return [*lines, f"Update: {report.tally(changes)}."] if changes else lines


def _updated(found: Updated) -> dict[str, object]:
    proposals = []
    for each in found.proposals:
        record: dict[str, object] = {
            "name": each.name,
            "build": each.build or None,
            "changes": report.changes(each.changes),
        }
        record |= {"relocks": each.relocks, "lifts_hold": each.held, "interrupts": list(each.interrupts)}
        if each.failure is not None:
            record["failed"] = {"message": str(each.failure), "hint": each.failure.hint}
        proposals.append(record)
    pass_made = applying.document(found.report) if found.report is not None else None
    return {
        "format": report.FORMAT,
        "exit_status": found.exit_status,
        "environments": proposals,
        "in_force": found.taken and not found.went_back,
        "rolled_back": found.went_back,
        "pass": pass_made,
    }


def _rollback(options: argparse.Namespace, host: Host) -> int:
    found = environments.rollback(_order(options), host, to=options.to)
    status = found.report.exit_status if found.report is not None else Exit.OK
    if options.json:
        _print(_rolled_back(found, status))
        return status
    if not options.quiet:
        print(f"environment:{found.name} went from build {found.before} to {found.build} in {found.seconds:.2f} s.")
        lines = list(report.difference(found.changes, paint)) or ["the same packages"]
        print("\n".join(f"  {line}" for line in lines))
        if found.held:
            print(f"It stays there until the spec changes, or: agent env update {found.name}")
        else:
            print("That is the build which the spec asks for; none is held any longer.")
    if found.report is not None:
        _told(found.report, host, options)
    return status


def _rolled_back(found: RolledBack, status: int) -> dict[str, object]:
    return {
        "format": report.FORMAT,
        "exit_status": status,
        "name": found.name,
        "before": found.before,
        "build": found.build,
        "held": found.held,
        "seconds": round(found.seconds, 3),
        "changes": report.changes(found.changes),
        "pass": applying.document(found.report) if found.report is not None else None,
    }


def _clean(options: argparse.Namespace, host: Host) -> int:
    found = environments.clean(_order(options), host, keep=options.keep, dry_run=options.dry_run)
    packages = sorted({name for each in found for name in each.packages})
    freed = environments.freed(found, dry_run=options.dry_run)
    if options.json:
        builds = {each.name: list(each.builds) for each in found}
        _print(
            {
                "format": report.FORMAT,
                "dry_run": options.dry_run,
                "builds": builds,
                "packages": packages,
                "bytes": freed,
            }
        )
    elif not options.quiet:
        for line in _cleaned(found, packages):
            print(line)
        print(f"{'Would free' if options.dry_run else 'Freed'} {report.size(freed)}.")
    return Exit.OK


def _cleaned(found: Sequence[Cleaned], packages: Sequence[str]) -> list[str]:
    lines = [f"{paint('-', '31')} environment:{each.name}: build {build}" for each in found for build in each.builds]
    return [*lines, *(f"{paint('-', '31')} package {name}" for name in packages)]


_ACTIONS: dict[str, Callable[[argparse.Namespace, Host], int]] = {
    "list": _list,
    "show": _show,
    "lock": _lock,
    "update": _update,
    "rollback": _rollback,
    "clean": _clean,
}
