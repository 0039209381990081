"""What stood at a path before the agent replaced it: kept root-only, put back when the path leaves the spec."""

from __future__ import annotations

import json
import os
import stat
import threading
from typing import TYPE_CHECKING

from agent.errors import HostError
from agent.host import durable
from agent.host.memory import file_name

if TYPE_CHECKING:
    from agent.steps import Keep, PutBack

_LARGEST = 64 << 20


class Originals:
    """One file for each ref: a line of JSON with the access, then the content. The first original of a ref counts."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def keep(self, step: Keep) -> None:
        """Keeps the file or link at the path, unless one is kept for this ref or nothing is there. Raises HostError."""
        with self._lock:
            kept = self._path(step.ref)
            if os.path.lexists(kept):
                return
            found = durable.read(step.path, _LARGEST)
            if found is None:
                return
            status, content = found
            access = {
                "link": stat.S_ISLNK(status.st_mode),
                "mode": stat.S_IMODE(status.st_mode),
                "owner": status.st_uid,
                "group": status.st_gid,
                "path": step.path,
            }
            durable.make_directory(self._directory, 0o700, os.geteuid(), os.getegid())
            durable.replace(kept, json.dumps(access).encode() + b"\n" + content, mode=0o600)

    def put_back(self, step: PutBack) -> None:
        """Puts the original of the ref back to the path; when none is kept, nothing is done. Raises HostError."""
        with self._lock:
            found = durable.read(self._path(step.ref), _LARGEST + 4096)
            if found is None:
                return
            line, _, content = found[1].partition(b"\n")
            try:
                access = json.loads(line)
                link, mode, owner, group = (access[name] for name in ("link", "mode", "owner", "group"))
            except (ValueError, KeyError, TypeError):
                raise HostError(
                    f"the original of {step.ref} cannot be read: {self._path(step.ref)} is damaged",
                    hint=f"look at it, put back what is of use, then remove it: the agent leaves {step.path} as it is",
                ) from None
            if link:
                durable.replace_link(step.path, os.fsdecode(content))
            else:
                durable.replace(step.path, content, mode=mode, owner=owner, group=group, parents=True)
            durable.remove(self._path(step.ref))

    def _path(self, ref: str) -> str:
        return f"{self._directory}/{file_name(ref)}"
