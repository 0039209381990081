"""The verb `secret`."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys

from agent.errors import AgentError, Exit, UsageError
from agent.host import durable
from agent.host.machine import Host
from agent.host.secrets import NEXT
from agent.steps import SecretRef


def secret(options: argparse.Namespace) -> int:
    """Lists, shows, sets or rotates what the agent keeps."""
    if os.geteuid() != 0:
        raise AgentError("secrets are root's", hint=f"sudo agent secret {options.action}")
    host = Host()
    if options.action == "list":
        for name in _names(host):
            print(name)
        return Exit.OK
    if not options.name:
        raise UsageError(f"secret {options.action} wants a name", hint="agent secret list")
    if options.action == "rotate":
        return _rotate(options)
    if options.disconnect:
        raise UsageError("--disconnect goes with rotate", hint="agent secret rotate NAME --disconnect")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", options.name):
        raise UsageError(f"no secret can be called {options.name!r}", hint="agent secret list")
    if options.action == "set":
        _set(host, options.name)
    elif options.name not in _names(host):
        raise AgentError(f"no secret is called {options.name}", hint="agent secret list")
    else:
        print(host.secrets.value(SecretRef("stored", options.name)))
    return Exit.OK


def _names(host: Host) -> list[str]:
    """What people may want to see; hashes and the agent's own token are of no use to them."""
    try:
        names = os.listdir(host.paths.secrets)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if not name.startswith(".") and not name.endswith((".hash", ".token", NEXT)))


def _rotate(options: argparse.Namespace) -> int:
    from agent.cli.console import RED, Lines, paint, say
    from agent.environments import Order
    from agent.resource import Result
    from agent.rotation import Rotation

    host = Host(progress=Lines.progress())
    order = Order(
        os.path.abspath(options.spec),
        (options.name,),
        lock_timeout=options.lock_timeout,
        waiting=lambda holder: say(f"waiting: {holder} holds the lock"),
    )
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not options.yes
    done = Rotation(order, host).run(disconnect=options.disconnect, approve=_ask if asks else lambda _told: True)
    if done.refused:
        print("Nothing was changed.")
    elif done.back:
        print(paint(f"{done.name} could not be rotated: {done.back}", RED), file=sys.stderr)
        print("  hint: the secret from before is in force; when the cause is gone, rotate it again", file=sys.stderr)
    else:
        changed = ", ".join(str(each.ref) for each in done.outcomes if each.result is Result.CHANGED)
        print(f"{done.name} was rotated: {changed or 'nothing depends on it yet'}")
        for line in done.waiting:
            print(f"  waits: {line}")
        if done.disconnected is not None:
            print(f"{done.disconnected} session{'s' if done.disconnected != 1 else ''} ended")
    return done.exit_status


def _ask(told: list[str]) -> bool:
    for line in told:
        print(line)
    return input("Rotate it? [y/N] ").strip().lower() in ("y", "yes")


def _set(host: Host, name: str) -> None:
    if sys.stdin.isatty():
        value = getpass.getpass(f"{name}: ")
        if getpass.getpass("once more: ") != value:
            raise AgentError("the two are not the same; nothing was changed")
    else:
        value = sys.stdin.readline().rstrip("\n")
    if not keep(host, name, value):
        raise AgentError("a password needs at least 8 characters, all of them printable; nothing was changed")
    print(f"{name} is set; the next pass puts it to use: sudo agent apply", file=sys.stderr)


def keep(host: Host, name: str, value: str) -> bool:
    """Puts a secret that a person chose into the agent's store; False when it is none that can be used."""
    if len(value) < 8 or not value.isprintable():
        return False
    durable.make_directory(host.paths.secrets, 0o700, 0, 0)
    durable.replace(f"{host.paths.secrets}/{name}", f"{value}\n".encode(), mode=0o600)
    return True
