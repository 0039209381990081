"""What the conda worker writes down inside an environment: what was asked for, how it looked when it had that.

The worker writes it as the environment's owner; root reads it as something that anyone may have written.
Standard library only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

DIRECTORY = ".agent"
"""Inside the environment: the receipt, the lock, and packages on their way in."""
NAME = "environment.json"
LARGEST = 1 << 20
"""Bytes; a longer receipt is none."""
WORKING, LINKED, VERIFIED = "working", "linked", "verified"
"""Packages may be half there; conda's packages are there; everything was seen to be there."""
_FORMAT = 1


@dataclass(frozen=True)
class Receipt:
    """``held`` names the conda packages that are there because of what was asked for; the owner added the others."""

    phase: str = ""
    channels: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    seen: str = ""
    """The digest of the environment's lists of packages when they were verified."""


def path(prefix: str) -> str:
    return f"{prefix}/{DIRECTORY}/{NAME}"


def parse(content: bytes) -> Receipt | None:
    """The receipt, or None for anything that is not one."""
    if len(content) > LARGEST:
        return None
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.pop("format", None) != _FORMAT:
        return None
    names = {each.name for each in dataclasses.fields(Receipt)}
    if set(record) != names or record["phase"] not in (WORKING, LINKED, VERIFIED):
        return None
    values: dict[str, Any] = {}
    for name, value in record.items():
        if name in ("phase", "seen"):
            if not isinstance(value, str):
                return None
            values[name] = value
        elif isinstance(value, list) and all(isinstance(each, str) for each in value):
            values[name] = tuple(value)
        else:
            return None
    return Receipt(**values)


def read(prefix: str) -> Receipt | None:
    """For the worker; root reads through its host."""
    try:
        with open(path(prefix), "rb") as file:
            return parse(file.read(LARGEST + 1))
    except OSError:
        return None


def write(prefix: str, receipt: Receipt) -> None:
    """Replaces the receipt, durably: it must not claim more than the disk has after a loss of power."""
    temporary = path(prefix) + ".new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({"format": _FORMAT, **dataclasses.asdict(receipt)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path(prefix))
    directory = os.open(os.path.dirname(path(prefix)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def seen(stamps: Iterable[Iterable[object]], site_packages: Iterable[str]) -> str:
    """A digest of conda-meta (``look.stamps``) and of the distributions in site-packages (``look.names``).

    The latter are left out where nothing is asked of pip.
    """
    distributions = sorted(name for name in site_packages if name.endswith((".dist-info", ".egg-info", ".egg-link")))
    text = json.dumps([[list(stamp) for stamp in stamps], distributions])
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def site_packages(prefix: str, python: str) -> str:
    """Where this version of Python in this environment has its packages."""
    return f"{prefix}/lib/python{'.'.join(python.split('.')[:2])}/site-packages"


def installed(names: Iterable[str]) -> dict[str, str]:
    """Name and version of each package, from the names of the files in conda-meta (``numpy-2.1.0-py311h1_0.json``)."""
    found = {}
    for name in names:
        if name.endswith(".json"):
            parts = name.removesuffix(".json").rsplit("-", 2)
            if len(parts) == 3:
                found[parts[0]] = parts[1]
    return found
