"""Small facts that the agent keeps from pass to pass: with which inputs a service was last started."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING

from agent.host import durable, look

if TYPE_CHECKING:
    from agent.host.looks import Looks
    from agent.steps import Remember

_LONGEST = 4096
_CODED = re.compile(r"%([0-9a-f]+)\.")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-\\")


def file_name(key: str) -> str:
    """A name for a file that stands for this key alone."""
    if not key:
        return "%."  # never a character: those have a number
    name = "".join(each if each in _PLAIN else f"%{ord(each):x}." for each in key)
    return f"%{ord('.'):x}.{name[1:]}" if name[0] == "." else name


def _key(name: str) -> str:
    """What a file name stands for."""
    return _CODED.sub(lambda found: chr(int(found.group(1), 16)), name) if name != "%." else ""


class Memory:
    """One file for each key below ``directory``. Reading is noted as a question; writing is durable."""

    def __init__(self, directory: str, looks: Looks) -> None:
        self._directory = directory
        self._looks = looks
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        """What was kept under the key; None when nothing was. Raises HostError."""
        path = f"{self._directory}/{file_name(key)}"
        found = durable.read(path, _LONGEST)
        if found is None:
            self._looks.saw(("file", path), None)
            return None
        status, content = found
        answer = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, look.digest(content))
        self._looks.saw(("file", path), answer)
        return content.decode(errors="replace")

    def below(self, prefix: str) -> list[str]:
        """The keys that begin so and have something kept under them."""
        names = self._looks.ask("names", self._directory) or ()
        return [key for key in map(_key, names) if key.startswith(prefix)]

    def perform(self, step: Remember) -> None:
        """Keeps or forgets. Raises HostError."""
        path = f"{self._directory}/{file_name(step.key)}"
        with self._lock:
            if step.value is None:
                durable.remove(path)
                return
            durable.make_directory(self._directory, 0o700, os.geteuid(), os.getegid())
            durable.replace(path, step.value.encode(), mode=0o600)
