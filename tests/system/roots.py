"""Roots that system tests boot, beyond the plain ones: those with the agent of this checkout in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from agent.sandbox import Bind, Root, base_root, layer

CHECKOUT = Path(__file__).resolve().parents[2]
INSIDE = Path("/root/checkout")
"""Where the checkout is seen, read-only, while the agent is installed."""
INSTALLED = ("agent", "templates", "units", "setup.cfg", "pyproject.toml", "install.sh")
"""What an installed agent is made of: another content makes another layer."""
INSTALL = f"cp -a {INSIDE} /tmp/checkout; cd /tmp/checkout; ./install.sh --no-units; rm -rf /tmp/checkout"


def agent_root(suite: str = "bookworm", *, lower: Root | None = None, command: str = INSTALL) -> Root:
    """A root with the agent installed by ``command``, a script for sh -e that finds the checkout at /root/checkout."""
    return layer(
        lower or base_root(suite),
        command,
        "agent",
        binds=[Bind(CHECKOUT, INSIDE)],
        digest=content_digest(CHECKOUT / name for name in INSTALLED),
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
