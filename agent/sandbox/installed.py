"""Throw-away roots with this agent installed in them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import agent
from agent.errors import HostError
from agent.sandbox.nspawn import Bind
from agent.sandbox.roots import Root, base_root, layer

INSIDE = Path("/root/source")
"""Where the agent's source is seen, read-only, while it is installed."""
PARTS = (
    "agent",
    "templates",
    "units",
    "examples",
    "docs",
    "setup.cfg",
    "pyproject.toml",
    "install.sh",
    "README.md",
    "LICENSE",
)
"""What an installed agent is made of: another content makes another layer."""


def source_tree() -> Path:
    """The source of the agent that is running: its checkout, or the copy that install.sh keeps beside the installed one.

    Raises HostError when there is neither.
    """
    for top in (Path(agent.__file__).resolve().parents[1], Path(sys.prefix) / "source"):
        if (top / "install.sh").is_file():
            return top
    raise HostError("the source of this agent is not here", hint="run install.sh from a checkout again")


def agent_root(
    suite: str = "bookworm", *, lower: Root | None = None, tell: Callable[[str], None] = lambda _line: None
) -> Root:
    """A root in which install.sh has installed this agent. ``tell`` is called with a line when something is built."""
    top = source_tree()
    return layer(
        lower or base_root(suite, tell=tell),
        f"cp -a {INSIDE} /tmp/source; /tmp/source/install.sh; rm -rf /tmp/source",
        "agent",
        binds=[Bind(top, INSIDE)],
        digest=content_digest(top / name for name in PARTS),
        tell=tell,
    )


def content_digest(paths: Iterable[Path]) -> str:
    """One digest for the names, modes and content of files and directories; compiled Python does not count."""
    total = hashlib.sha256()
    for top in paths:
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                total.update(f"{path.relative_to(top.parent)}\0{os.access(path, os.X_OK)}\0".encode())
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
