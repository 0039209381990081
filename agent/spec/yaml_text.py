"""Plain data as YAML that people go on writing: names without quotes where that is safe, short lists in one line. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_NAME = r"[A-Za-z_][A-Za-z0-9_.$-]*"
_PLAIN = re.compile(
    rf"{_NAME}(@[A-Za-z0-9_.%/:-]*[A-Za-z0-9_%])?|[a-z]+ {_NAME}|[A-Z]+( [A-Z]+)+|[0-9]+[a-z]|/[A-Za-z0-9_./-]+",
    re.ASCII,
)
_MEANS_SOMETHING = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def scalar(value: Any) -> str:
    """A text, a number or a switch. Any text can be written; what YAML might take for something else stands in quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _MEANS_SOMETHING:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def inline(value: Any) -> str:
    """In one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(inline(each) for each in value) + "]"
    return scalar(value)


def lines(name: str, value: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A mapping under its name; what is in it, one line each, and mappings of lists one level further."""
    if not value:
        yield f"{indent}{scalar(name)}: {{}}"
        return
    yield f"{indent}{scalar(name)}:"
    for key, each in value.items():
        if key == "grants":
            yield from lines(key, each, f"{indent}  ")
        else:
            yield f"{indent}  {scalar(key)}: {inline(each)}"
