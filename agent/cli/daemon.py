"""The verb `daemon`."""

from __future__ import annotations

import argparse
import os

from agent.daemon import Daemon
from agent.errors import AgentError
from agent.host.machine import Paths


def daemon(options: argparse.Namespace) -> int:
    """Keeps the host as the spec wants it."""
    if os.geteuid() != 0:
        raise AgentError("the daemon changes the host and needs root", hint="sudo systemctl start agent")
    return Daemon(os.path.abspath(options.spec), Paths().state).run()
