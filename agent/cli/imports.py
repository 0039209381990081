"""The verb `import`: what is there already, as a spec."""

from __future__ import annotations

import argparse
import os
from typing import Any

from agent.adoption import adoption, text
from agent.cli.console import say
from agent.errors import AgentError, Exit, UsageError
from agent.host.machine import Host
from agent.spec.expand_mysql_server import SOCKET


def import_mysql(options: argparse.Namespace) -> int:
    """Prints the spec of the databases, accounts, roles and grants of a database server. Changes nothing."""
    reached = _reached(options)
    if os.geteuid() != 0:
        raise AgentError("a database server tells only root", hint="sudo agent import mysql")
    found = adoption(reached, Host())
    for line in text(found):
        print(line)
    if found.left_out:
        say(f"{found.left_out} of {len(found.entries)} could not be said and stand there as comments, with the reason.")
    return Exit.OK


def _reached(options: argparse.Namespace) -> dict[str, Any]:
    """What the spec says of how the server is reached."""
    if options.host and options.socket:
        raise UsageError("a server is reached by its socket or by its host", hint="leave one of the two out")
    reached: dict[str, Any] = {"server": "external"}
    if options.host:
        reached.update(host=options.host, port=options.port)
        if options.tls:
            reached["tls"] = False if options.tls == "no" else os.path.abspath(options.tls)
    else:
        reached["socket"] = options.socket or SOCKET
    if options.user and not options.password_file:
        raise UsageError(
            "an administrator needs a password", hint="--password-file FILE; only root may be able to read it"
        )
    if options.host and not options.user:
        raise UsageError("a server elsewhere is asked as its administrator", hint="--user NAME --password-file FILE")
    if options.user:
        reached["administrator"] = {"user": options.user, "password": {"file": os.path.abspath(options.password_file)}}
    return reached
