"""Which files make up a spec. Imports next to nothing, for the daemon's sake."""

from __future__ import annotations

import os
import re

_FILE = re.compile(rb"""\bfile["']?[ \t]*:[ \t]*["']?([^\s"',{}\[\]#]+)""")


def drop_ins(path: str) -> str:
    """The directory of a spec's drop-ins: ``/etc/agent/spec.d`` for ``/etc/agent/spec.yaml``."""
    return f"{_stem(path)}.d"


def lock_path(path: str) -> str:
    """The lock file of a spec: ``/etc/agent/spec.lock`` for ``/etc/agent/spec.yaml``."""
    return f"{_stem(path)}.lock"


def named(path: str, content: bytes) -> set[str]:
    """Files that a spec at ``path`` may name, those of environments and of secrets, found without understanding it."""
    return {
        os.path.join(os.path.dirname(path), os.fsdecode(each).removeprefix("./")) for each in _FILE.findall(content)
    }


def _stem(path: str) -> str:
    return path.removesuffix(".yaml").removesuffix(".yml")


def is_drop_in(name: str) -> bool:
    """Whether a file of that name in the directory counts: what editors put beside it does not."""
    return name.endswith((".yaml", ".yml")) and name[0] != "."
