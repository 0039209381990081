"""pydantic's errors in our words: what would do, what was given, what was probably meant. Never repeats a secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agent.errors import Place

from .secrecy import holds_secret, is_secret
from .shape import everywhere, meant, nearest
from .tree import Keys, Node, Scalar, Series, Table, key_place, place_of, value_at

Context = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """What is wrong with, or to be said about, the value of some keys."""

    keys: Keys
    message: str
    hint: str = ""
    at_key: bool = False
    """The problem is the key, not its value."""
    unknown: bool = False
    """The key is no field; what stands behind it may be anything, so it is not shown."""
    place: Place | None = None


def explain(error: ValidationError, tree: Node) -> Iterable[Finding]:
    """One finding for each thing wrong."""
    for detail in error.errors(include_input=False, include_url=False):
        kind, context, keys = detail["type"], detail.get("ctx", {}), tuple(detail["loc"])
        if at := context.get("at"):
            keys = (*keys, at)
        node = value_at(tree, keys)
        if kind == "too_short" and isinstance(node, Series) and node.members:
            continue  # its members were refused, one by one; pydantic counts those that were not
        yield _finding(kind, keys, context, detail["msg"], tree)


def _finding(kind: str, keys: Keys, context: Context, message: str, tree: Node) -> Finding:
    if keys[-1:] == ("[key]",):
        said, hint, show = _say(kind, context, message)
        given = _quoted(str(keys[-2])) if show and not _hidden(keys[:-2]) else ""
        return Finding(keys[:-1], said + (given and f", got {given}"), hint, at_key=True)
    if kind == "extra_forbidden":
        sayable = public(keys) == keys
        message = "is not a field here" if sayable else "has a key that is not a field"
        return Finding(keys, message, meant(keys if sayable else (*keys[:-1], "?")), at_key=True, unknown=True)
    if kind == "missing":
        return Finding(keys, "is required", place=_parent_place(keys, tree))
    said, hint, show = _say(kind, context, message)
    keys = existing(keys, tree)
    node = value_at(tree, keys)
    given = _given(node, secret=_hidden(keys)) if show else ""
    if kind == "literal_error" and isinstance(node, Scalar) and not _hidden(keys):
        near = nearest(str(node.value), re.findall(r"'([^']+)'", str(context.get("expected", ""))))
        hint = f"did you mean '{near}'?" if near else ""
    return Finding(keys, said + (given and f", got {given}"), _shape_hint(kind, node) or hint)


def _say(kind: str, context: Context, message: str) -> tuple[str, str, bool]:
    """What would do, a hint, and whether to add what was given."""
    if kind == "refused":
        return context["message"], context["hint"], context["show"]
    if kind == "literal_error":
        return f"must be {context.get('must') or _either(str(context['expected']))}", "", True
    if kind in SAYINGS:
        return SAYINGS[kind](context), "", kind != "too_short"
    return message.removeprefix("Value error, ").replace("Input should be", "must be"), "", True


SAYINGS: Mapping[str, Callable[[Context], str]] = {
    "string_type": lambda _: "must be text",
    "int_type": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number",
    "bool_type": lambda _: "must be true or false",
    "tuple_type": lambda _: "must be a list",
    "dict_type": lambda _: "must be a mapping",
    "mapping_type": lambda _: "must be a mapping",
    "model_type": lambda _: "must be a mapping",
    "model_attributes_type": lambda _: "must be a mapping",
    "too_short": lambda _: "must not be empty",
}


def _shape_hint(kind: str, node: Node | None) -> str:
    """For a list where a mapping belongs, and the other way round."""
    if kind in ("dict_type", "mapping_type", "model_type") and isinstance(node, Series):
        return "write 'name:' lines, not '- name' lines"
    if kind == "tuple_type" and isinstance(node, Scalar) and node.value is not None:
        return "put it in brackets, or write '- ' before it"
    if kind == "tuple_type" and isinstance(node, Table):
        return "write '- name' lines, not 'name:' lines"
    if kind == "string_type" and isinstance(node, Scalar) and isinstance(node.value, bool):
        return "put it in quotes if text is meant"
    return ""


def _either(expected: str) -> str:
    """'a', 'b' or 'c'."""
    choices = re.findall(r"'[^']*'", expected)
    return " or ".join([", ".join(choices[:-1]), choices[-1]]) if len(choices) > 1 else expected


def _given(node: Node | None, *, secret: bool) -> str:
    if isinstance(node, Table):
        return "a mapping"
    if isinstance(node, Series):
        return "a list"
    if node is None or secret:
        return ""
    return "nothing" if node.value is None else _quoted(node.value)


def _quoted(value: str | int) -> str:
    """As it would be typed, in one short line; letters that look like others are spelled out."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    if holds_secret(value):
        return ""
    return ascii(value) if len(value) <= 80 else f"{value[:60]!a}..."


def _hidden(keys: Keys) -> bool:
    return any(isinstance(key, str) and is_secret(key) for key in keys)


def public(keys: Keys) -> Keys:
    """The keys to name in a message: below a secret only the words of the spec's own, as what was written there may be
    the secret itself, in the wrong place."""
    for count, key in enumerate(keys):
        if isinstance(key, str) and _hidden(keys[:count]) and key not in everywhere():
            return keys[:count]
    return keys


def existing(keys: Keys, tree: Node) -> Keys:
    """Only those keys that stand in the text: ``kernel: x`` is short for ``kernel: {display_name: x}``."""
    while keys and value_at(tree, keys) is None:
        keys = keys[:-1]
    return keys


def _parent_place(keys: Keys, tree: Node) -> Place:
    parent = existing(keys[:-1], tree)
    return key_place(tree, parent) if parent else place_of(tree, ())
