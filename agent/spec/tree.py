"""What a text says, as a tree in which every value and key remembers its place. Knows neither YAML nor the spec."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TypeAlias

from agent.errors import Place

Keys: TypeAlias = tuple[str | int, ...]
Value: TypeAlias = "str | int | bool | list[Value] | dict[str, Value] | None"


class Plain(str):
    """Text that was written without quotes, for the few fields where ``1.5`` and ``'1.5'`` differ."""

    __slots__ = ()


@dataclass(frozen=True)
class Scalar:
    """A text, a whole number, true, false or null."""

    place: Place
    value: str | int | bool | None


@dataclass(frozen=True)
class Series:
    """What YAML calls a sequence."""

    place: Place
    members: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """A key of a table, and what stands behind it."""

    place: Place
    node: Node


@dataclass(frozen=True)
class Table:
    """What YAML calls a mapping; its keys are text, as written."""

    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)


Node: TypeAlias = "Scalar | Series | Table"


def plain(node: Node) -> Value:
    """The same without places."""
    if isinstance(node, Table):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, Series):
        return [plain(member) for member in node.members]
    return node.value


def place_of(node: Node, keys: Keys) -> Place:
    """Where the value of these keys stands, or the nearest thing around it that was written."""
    place = node.place
    for key in keys:
        found = _step(node, key)
        if found is None:
            return place
        node, place = found.node, found.node.place
    return place


def key_place(node: Node, keys: Keys) -> Place:
    """Where the key itself stands, for problems with the key; that of its value where there is no key."""
    parent = value_at(node, keys[:-1])
    if parent is not None and (found := _step(parent, keys[-1])):
        return found.place
    return place_of(node, keys)


def value_at(node: Node, keys: Keys) -> Node | None:
    """What stands there; None if nothing was written."""
    for key in keys:
        found = _step(node, key)
        if found is None:
            return None
        node = found.node
    return node


def _step(node: Node, key: str | int) -> Entry | None:
    """One key further. A list of names may stand for a table of them, and one value for a list of one."""
    if isinstance(node, Table):
        return node.entries.get(str(key))
    if isinstance(node, Series):
        for index, member in enumerate(node.members):
            if index == key or (isinstance(key, str) and isinstance(member, Scalar) and str(member.value) == key):
                return Entry(member.place, member)
    return None


def dotted(keys: Keys) -> str:
    """Keys the way people say them: ``conda.environments.analysis.packages[2]``, ``files["/etc/motd"].mode``."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", key):
            text += f".{key}"
        else:
            text += f"[{json.dumps(key)}]"
    return text.removeprefix(".")
