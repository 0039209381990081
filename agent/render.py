"""Renders templates. Each value is written by a filter made for the language it goes into; secrets stay slots, to be filled on the host."""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
import secrets as random
import shlex
from collections.abc import Callable
from typing import Any

import jinja2

from agent.steps import Content, SecretRef, Slot

_LARGEST_NUMBER = 10**4000
"""Python refuses to read a whole number of more than 4300 digits."""


def render(template: str, **values: object) -> Content:
    """The text of a template, with a slot wherever it says ``secret(reference, quoting)``.

    Raises ValueError for a value that the language around it cannot hold, and jinja2's errors for a template that is wrong.
    """
    slots = _Slots()
    text = _environment().get_template(template).render(**values, secret=slots.mark)
    return slots.split(text)


def source(folder: str, name: str) -> str:
    """The text of a file that is installed with the agent (``folder`` is templates or units), or stands beside it in a checkout."""
    try:
        place = importlib.resources.files(f"agent.{folder}")
    except ModuleNotFoundError:
        place = importlib.resources.files("agent").joinpath("..", folder)
    return place.joinpath(name).read_text(encoding="utf-8")


class _Slots:
    """Marks that stand for secrets while a template is rendered; nobody who writes a value can guess them."""

    def __init__(self) -> None:
        self._key = random.token_hex(16)
        self._slots: list[Slot] = []

    def mark(self, ref: SecretRef, quoting: str = "raw") -> str:
        self._slots.append(Slot(ref, quoting))
        return f"<{self._key}:{len(self._slots) - 1}>"

    def split(self, text: str) -> Content:
        pieces: list[str | Slot] = []
        for number, slot in enumerate(self._slots):
            before, mark, text = text.partition(f"<{self._key}:{number}>")
            if not mark:
                raise ValueError(f"the template changes the secret {slot.secret}, or uses it out of order")
            pieces += [before, slot] if before else [slot]
        if self._key in text:
            raise ValueError("the template uses a secret twice")
        return Content((*pieces, text) if text else tuple(pieces))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: source("templates", name)),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - what is rendered is no HTML; each value passes a filter for its own language
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    return environment


def python(value: object) -> str:
    """A Python literal that reads back as the same value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{python(_key(key))}: {python(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(python, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a setting cannot be {value}")
    if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        raise ValueError("a setting cannot be a number of more than 4000 digits")
    if isinstance(value, str):
        value.encode()  # a lone surrogate cannot be written to a file
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    raise ValueError(f"a setting cannot be {type(value).__name__}")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the keys of a setting must be text, got {type(key).__name__}")  # noqa: TRY004 - as what else is wrong with a value
    return key


# ---- systemd: quoting differs by directive (systemd.syntax(7), systemd.unit(5) on specifiers, systemd.service(5) on command lines)

_ESCAPES = {'"': '\\"', "\\": "\\\\", "%": "%%", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def unit_item(value: object) -> str:
    """One quoted item of a directive that takes a list: Environment=, ReadWritePaths=, BindPaths=."""
    return f'"{_escaped(str(value), _ESCAPES)}"'


def unit_argument(value: object) -> str:
    """One argument of a command line, where a dollar stands for a variable."""
    return f'"{_escaped(str(value), {**_ESCAPES, "$": "$$"})}"'


def unit_text(value: object) -> str:
    """A directive that takes the rest of the line as it is: Description=, WorkingDirectory=, AssertPathExists=.

    These know no quotes. Raises ValueError for control characters and for blanks at the ends.
    """
    text = str(value)
    if text != text.strip() or text.endswith("\\") or any(not each.isprintable() for each in text):
        raise ValueError(f"{text!r} cannot be written into a unit")
    return text.replace("%", "%%")


def _escaped(text: str, escapes: dict[str, str]) -> str:
    if "\0" in text:
        raise ValueError("a NUL cannot be written into a unit")
    return "".join(
        escapes.get(each) or (each if each.isprintable() else "".join(f"\\x{byte:02x}" for byte in each.encode()))
        for each in text
    )


# ---- option files of MySQL (https://dev.mysql.com/doc/refman/8.4/en/option-files.html, MariaDB alike)

_CNF = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b"}


def cnf(value: object) -> str:
    """A quoted value of an option file."""
    text = str(value)
    if "\0" in text:
        raise ValueError("a NUL cannot be written into an option file")
    return '"' + "".join(_CNF.get(each, each) for each in text) + '"'


# ---- shell scripts, and YAML, in which whatever JSON says is said, too


def sh(value: object) -> str:
    """One word of a shell's."""
    text = str(value)
    if "\0" in text:
        raise ValueError("a NUL cannot be written into a script")
    return shlex.quote(text)


def yaml(value: object) -> str:
    """A value in one line. Raises ValueError for what has none."""
    return json.dumps(value, allow_nan=False)


_FILTERS: dict[str, Callable[[Any], str]] = {
    "py": python,
    "unit_item": unit_item,
    "unit_argument": unit_argument,
    "unit_text": unit_text,
    "cnf": cnf,
    "sh": sh,
    "yaml": yaml,
}
