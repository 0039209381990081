"""The verb `daemon`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.daemon import Daemon
from agent.errors import AgentError
from agent.quiet import STATE

if TYPE_CHECKING:
    import argparse


def daemon(options: argparse.Namespace) -> int:
    """Keeps the host as the spec wants it."""
    return follow(options.spec)


def follow(spec: str) -> int:
    """The daemon's work, for one spec. Raises AgentError."""
    if os.geteuid() != 0:
        raise AgentError("the daemon changes the host and needs root", hint="sudo systemctl start agent")
    return Daemon(os.path.abspath(spec), STATE).run()
