"""Whether a spec's file is one that only root could have written. Looks at the host's files; reads none of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.errors import Place, Problem

if TYPE_CHECKING:
    from .spec import Spec

MAX_BYTES = 256 * 1024
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


def unsafe(path: str, *, owner: int = 0, largest: int = MAX_BYTES) -> Problem | None:
    """Why this file must not be applied: it, or a directory above it, can be written by someone other than ``owner``,
    it is no regular file, or it is too large. None if it may be applied, and if there is no such file.

    Says what is so at this moment: as nobody else can write any of the directories, nobody else can change it after.
    """
    path = os.path.abspath(path)
    try:
        for each in (*_directories(path), path):
            if problem := _unsafe(each, os.lstat(each), owner, largest if each == path else None):
                return Problem(Place(path, 1, 1), "", problem[0], "", problem[1])
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return Problem(Place(path, 1, 1), "", "is below something that is not a directory")
    return None


def exposed(path: str, spec: Spec) -> Problem | None:
    """A warning for a file that everyone can read although a password's hash stands in the spec; None otherwise."""
    if spec.jupyter is None or spec.jupyter.password.hash is None:
        return None
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    if not mode & 0o004:
        return None
    return Problem(
        Place(path, 1, 1),
        "jupyter.password",
        "is a hash in a file that every account can read, and guess at",
        hint=f"chmod 0600 {path}, or name a file or a credential instead",
    )


def _directories(path: str) -> Iterator[str]:
    """Every directory above, as it is named and as it really is, from the top."""
    seen: dict[str, None] = {}
    for start in (path, os.path.join(os.path.realpath(os.path.dirname(path)), "x")):
        above, upwards = start, []
        while above != "/":
            above = os.path.dirname(above)
            upwards.append(above)
        seen.update(dict.fromkeys(reversed(upwards)))
    yield from seen


def _unsafe(path: str, found: os.stat_result, owner: int, largest: int | None) -> tuple[str, str] | None:
    """``largest`` is given for the file itself."""
    last = largest is not None
    what = "" if last else f"is below {path}, which "
    kind = stat.S_IFMT(found.st_mode)
    if last and kind != stat.S_IFREG:
        return f"is {KINDS.get(kind, 'not a file')}; a spec is a regular file", ""
    if largest is not None and found.st_size > largest:
        return f"is larger than {largest // 1024} KiB{'; a spec is a page or two' if largest == MAX_BYTES else ''}", ""
    if found.st_uid not in (owner, 0):
        return f"{what}belongs to user {found.st_uid}, who could change the host through it", f"chown root: {path}"
    if kind != stat.S_IFLNK and found.st_mode & 0o022:
        who = "every account" if found.st_mode & 0o002 else "its group"
        return f"{what}can be written by {who}", f"chmod go-w {path}, or keep the spec in /etc/agent"
    return None
