"""YAML to a tree with places, without ever building what a hostile text asks for. The only module that knows PyYAML.

The events are looked at one by one, so that nothing is composed before it is known to be small, shallow and free of
aliases. Of YAML 1.1's guesses only ``true``, ``false``, ``null`` and plain decimal numbers become values; ``3.10``,
``no``, ``1:30``, dates, ``010``, ``1e3`` and ``0x1f`` stay the text that was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import yaml

from agent.errors import Place, Problem

from .secrecy import OWN, Mask, holds_secret, is_secret
from .tree import Entry, Keys, Node, Plain, Scalar, Series, Table, dotted

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_EVENTS = 50_000
MAX_PROBLEMS = 100
LARGE = 16 * 1024 * 1024, 1_000_000
"""Bytes and values of a lock file that another program wrote."""

UNCLOSED = "this quote is not closed"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
BIDIRECTIONAL = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True)
class Document:
    """One file of the spec: the name that messages use, and its bytes."""

    name: str
    content: bytes


@dataclass
class Text:
    """A document that was read: its tree, if it has one, and everything that was wrong with it."""

    name: str
    lines: list[str] = field(default_factory=list)
    mask: Mask = field(default_factory=Mask)
    tree: Node | None = None
    problems: list[Problem] = field(default_factory=list)

    def place(self, line: int, column: int) -> Place:
        """From 0-based marks."""
        return Place(self.name, line + 1, column + 1)

    def source(self, place: Place) -> str:
        """The line as it was written, cut before the first secret in it."""
        if not 0 < place.line <= len(self.lines):
            return ""
        return self.mask.cut(place.line, self.lines[place.line - 1])

    def wrong(self, place: Place, message: str, *, keys: Keys = (), hint: str = "") -> None:
        """Note a problem; its source line is added when the whole text was seen, and all secrets in it are known."""
        self.problems.append(Problem(place, dotted(keys), message, "", hint))


class _Stop(Exception):
    """The rest of the text is not looked at."""


def read(document: Document, limits: tuple[int, int] = (MAX_BYTES, MAX_EVENTS)) -> Text:
    """Read one document. Never raises: what is wrong is in ``problems``, and then there may be no tree.

    ``limits`` are the most bytes and values that are looked at.
    """
    text = Text(document.name)
    written = decode(document, text, limits[0])
    if written is None:
        return text
    try:
        text.tree = _Reading(text, limits[1]).run(written)
    except _Stop:
        pass
    except yaml.MarkedYAMLError as error:
        _syntax(error, text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        text.wrong(text.place(0, 0), f"is not YAML: {type(error).__name__}")
    text.problems = [
        Problem(
            problem.place,
            problem.field,
            problem.message,
            text.source(problem.place) if problem.place else "",
            problem.hint,
        )
        for problem in text.problems[:MAX_PROBLEMS]
    ]
    return text


def decode(document: Document, text: Text, largest: int) -> str | None:
    """The document's text, whose lines and problems come into ``text``; None if it is none that can be shown."""
    if len(document.content) > largest:
        more = "; a spec is a page or two" if largest == MAX_BYTES else ""
        text.wrong(text.place(0, 0), f"is larger than {largest // 1024} KiB{more}")
        return None
    try:
        written = document.content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = BREAK.split(document.content[: error.start].decode("utf-8"))
        text.wrong(
            text.place(len(before) - 1, len(before[-1])),
            f"is not UTF-8: byte 0x{document.content[error.start]:02x} makes no sense here",
            hint="save the file as UTF-8",
        )
        return None
    text.lines = BREAK.split(written)
    return written if _shown(written, text) else None


def _shown(written: str, text: Text) -> bool:
    for found in (CONTROL.search(written), BIDIRECTIONAL.search(written)):
        if found:
            before = BREAK.split(written[: found.start()])
            text.mask.all = True
            text.wrong(
                text.place(len(before) - 1, len(before[-1])),
                f"must not contain the invisible character U+{ord(found.group()):04X}",
            )
            return False
    return True


def _syntax(error: yaml.MarkedYAMLError, text: Text) -> None:
    """The scanner's words; everything from the nearest secret on is hidden, as nobody knows where it would end."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    line = min(line, max(len(text.lines) - 1, 0))
    text.mask.guess(text.lines)
    message, hint = _in_our_words(error, text.lines[line][: column + 1] if text.lines else "")
    if message == UNCLOSED and error.context_mark:
        line, column = error.context_mark.line, error.context_mark.column
    text.wrong(text.place(line, column), f"is not YAML: {message}", hint=hint)


def _in_our_words(error: yaml.MarkedYAMLError, before: str) -> tuple[str, str]:
    """The scanner's message without its jargon, and what is usually behind it."""
    said, context = error.problem or "cannot be read", error.context or ""
    if "\t" in before:
        return "must not be indented with a tab", "YAML wants blanks"
    if "quoted scalar" in context and "end of stream" in said:
        return UNCLOSED, ""
    if "mapping values are not allowed" in said:
        return "has a ':' where none can be", "a text with ': ' in it needs quotes; or the line is indented too far"
    if "cannot start any token" in said:
        return "no text can begin like this", "a text that begins with @, ` or % needs quotes"
    said = (
        said.replace("did not find expected ", "")
        .replace("<document start>", "the end")
        .replace("<block end>", "the end")
    )
    if "flow" in context and error.context_mark:
        mark = error.context_mark
        return f"{said} is missing here; the bracket opens in line {mark.line + 1}, column {mark.column + 1}", ""
    if said != error.problem:
        said = "a key" if said == "key" else said
        return f"{said} is missing here", "is a line above it indented differently?"
    return said, ""


class _Reading:
    """One walk over the events: limits first, then the tree."""

    def __init__(self, text: Text, most: int) -> None:
        self.text = text
        self.most = most
        self.stack: list[tuple[Table | Series, Scalar | None]] = []
        """The open tables and series; for a table, the key whose value comes next."""
        self.root: Node | None = None
        self.documents = 0

    def run(self, written: str) -> Node | None:
        for count, event in enumerate(_events(written)):
            if count > self.most:
                self._stop(event, f"has more than {self.most} values")
            self._look(event)
        return self.root

    def _look(self, event: yaml.Event) -> None:
        self._refuse_marks(event)
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._stop(event, "is a second document; a spec is one", "write further files into spec.d")
            if event.version or event.tags:
                self._wrong(event, "must not have % directives")
        elif isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self.stack) >= MAX_DEPTH:
                self._stop(event, f"is nested more than {MAX_DEPTH} levels deep")
            place = self._place(event)
            node = Table(place) if isinstance(event, yaml.MappingStartEvent) else Series(place)
            self._add(node, event)
            self.stack.append((node, None))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()
            if self.stack:
                self.stack[-1] = (self.stack[-1][0], None)

    def _refuse_marks(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._stop(event, "must not have aliases (*name)", "text that begins with '*' needs quotes")
        if getattr(event, "anchor", None):
            self._stop(event, "must not have anchors (&name)", "text that begins with '&' needs quotes")
        if getattr(event, "tag", None):
            self._stop(event, "must not have tags (!name)", "text that begins with '!' needs quotes")

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        place, value = self._place(event), str(event.value)
        if found := CONTROL.search(value) or BIDIRECTIONAL.search(value):
            self._wrong(event, f"must not contain the invisible character U+{ord(found.group()):04X}")
        if event.style:
            return Scalar(place, value)
        if value in ("", "~", "null"):
            return Scalar(place, None)
        if value in ("true", "false"):
            return Scalar(place, value == "true")
        return Scalar(place, int(value) if WHOLE.fullmatch(value) else Plain(value))

    def _add(self, node: Node, event: yaml.Event) -> None:
        """To what is open: as a key, as the value of the key before, or as a member."""
        if not self.stack:
            self.root = node
            return
        parent, key = self.stack[-1]
        if isinstance(parent, Series):
            parent.members.append(node)
            self._hide(event)
        elif key is None:
            self.stack[-1] = (parent, self._key(parent, node, event))
        else:
            name = str(key.value)
            if name not in parent.entries:
                parent.entries[name] = Entry(key.place, node)
            self._hide(event, name)
            if isinstance(node, Scalar):
                self.stack[-1] = (parent, None)

    def _key(self, parent: Table, node: Node, event: yaml.Event) -> Scalar:
        if not isinstance(node, Scalar) or not isinstance(event, yaml.ScalarEvent):
            self._stop(event, "must not be a key; a key is text", "a text that begins with { or [ needs quotes")
        name = str(event.value)  # 'true' and '8888' as they are written
        if name == "<<" and not event.style:
            self._stop(event, "must not merge (<<)", "drop-ins in spec.d merge")
        if not name:
            self._wrong(event, "must be a key; there is none before the colon")
        if self._inside_secret() and name not in OWN:
            self._mask(event)
        if name in parent.entries:
            first = parent.entries[name].place
            shown = f"'{name}' " if len(name) <= 60 and not self._inside_secret() else ""
            before = f"was given before, in line {first.line}, column {first.column}"
            self._wrong(event, f"{shown}{before}", "keep one")
        return Scalar(node.place, name)

    def _inside_secret(self) -> bool:
        return any(isinstance(key, str) and is_secret(key) for key in self._keys())

    def _keys(self) -> Keys:
        """Where reading has come to."""
        keys: list[str | int] = []
        for parent, key in self.stack:
            if isinstance(parent, Series):
                keys.append(max(len(parent.members) - 1, 0))
            elif key is not None:
                keys.append(str(key.value))
        return tuple(keys)

    def _hide(self, event: yaml.Event, name: str = "") -> None:
        if isinstance(event, yaml.ScalarEvent) and (
            is_secret(name) or self._inside_secret() or holds_secret(str(event.value))
        ):
            self._mask(event)

    def _mask(self, event: yaml.Event) -> None:
        place, end = self._place(event), event.end_mark
        self.text.mask.add(place.line, place.column - 1, end.line + 1 if end else len(self.text.lines))

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return self.text.place(mark.line, mark.column) if mark else self.text.place(0, 0)

    def _wrong(self, event: yaml.Event, message: str, hint: str = "") -> None:
        keys = self._keys()
        cut = next((at for at, key in enumerate(keys) if isinstance(key, str) and is_secret(key)), len(keys))
        self.text.wrong(self._place(event), message, keys=keys[: cut + 1], hint=hint)

    def _stop(self, event: yaml.Event, message: str, hint: str = "") -> NoReturn:
        self._wrong(event, message, hint)
        self.text.mask.guess(self.text.lines)
        raise _Stop


def _events(written: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(written, Loader=LOADER)
