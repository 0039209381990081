"""Broken specs, each with everything that is said about it. Other tests take them from here.

A case in `*.txt` is a line `=== name`, the spec as it is written, and one line `! ...` for each problem: line, column,
field, message, and the hint in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One broken spec."""

    name: str
    text: str
    said: tuple[str, ...]


def cases(folder: str = ".") -> Iterator[Case]:
    """All of them, in the order of the files. In ``lists`` are files that specs name, named ``given``."""
    for path in sorted((Path(__file__).parent / folder).glob("*.txt")):
        for part in re.split(r"^=== ", path.read_text(), flags=re.MULTILINE)[1:]:
            name, _, rest = part.partition("\n")
            lines = rest.splitlines(keepends=True)
            text = "".join(line for line in lines if not line.startswith("! "))
            said = tuple(line[2:].rstrip("\n") for line in lines if line.startswith("! "))
            yield Case(f"{path.stem}: {name}", text, said)
