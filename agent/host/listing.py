"""Lists of exact packages: read again when a step runs, and used only if they are still what the spec was read with."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from agent.errors import HostError, refusal
from agent.host import builds

if TYPE_CHECKING:
    from agent.steps import Listing

LARGEST = 64 << 20
"""Bytes of a list."""


def entry(listing: Listing) -> Any:
    """What a list says: the environment's entry of the agent's own lock file; of other forms the whole text.

    Raises HostError when it is not there, or not what its digest was made of.
    """
    content = _content(listing.path)
    try:
        found: Any = content.decode()
        if listing.form == "agent":
            found = json.loads(found)["environments"][listing.entry]
    except (ValueError, RecursionError, KeyError, TypeError):
        found = None
    if found is None or builds.digest(found) != listing.digest:
        raise HostError(f"{listing.path} was changed after the spec was read")
    return found


def _content(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise refusal(error) from error
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise HostError(f"{path} is not a file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise HostError(f"{path} has more than {LARGEST >> 20} MiB")
    return content
