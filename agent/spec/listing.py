"""The lock file beside a spec: for each locked environment what it was solved from, and every package of it with its hash.

`spec.yaml` has `spec.lock`, JSON that `agent env lock` writes: ``{"version": 1, "environments": {NAME: ENTRY}}``. An entry says what was asked for
(``channels``, ``packages``, ``pip``, ``variables``, ``activation``), what came of it (``conda``, ``pypi``) and the ``build`` that it was read from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent import solution
from agent.errors import Place, Problem, SpecError
from agent.host import builds
from agent.host.listing import LARGEST
from agent.steps import Listing

from .explain import Finding
from .reader import Document, Text, decode
from .tree import Keys

if TYPE_CHECKING:
    from .sections.environment import Environment
    from .spec import Spec

VERSION = 1
ANEW = "agent env lock writes it anew"
_SHOWN = 3
"""How many packages a message names."""


@dataclass(frozen=True)
class Lock:
    """A lock file that was read: its entries by environment, and what is wrong with it."""

    text: Text
    entries: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        return self.text.name

    def place(self, environment: str) -> Place:
        """Where its entry begins."""
        start = re.compile(rf"\s*{re.escape(json.dumps(environment))}\s*:\s*\{{")
        for number, line in enumerate(self.text.lines):
            if start.match(line):
                return self.text.place(number, len(line) - len(line.lstrip()))
        return self.text.place(0, 0)

    def listing(self, environment: str) -> Listing:
        return Listing(self.name, builds.digest(self.entries[environment]), "agent", environment)


def parse(document: Document) -> Lock:
    """Never raises: what is wrong is in the text's problems, each with its place."""
    text = Text(document.name)
    written = decode(document, text, LARGEST)
    if written is None:
        return Lock(text, {})
    try:
        found = json.loads(written)
    except json.JSONDecodeError as error:
        return _none(text, f"is not JSON: {error.msg}", error.lineno - 1, error.colno - 1)
    except (ValueError, RecursionError):
        return _none(text, "is not a lock file")
    if not isinstance(found, dict) or not isinstance(found.get("environments"), dict):
        return _none(text, "is not a lock file: it has no environments")
    if found.get("version") != VERSION:
        return _none(text, f"is a lock file of another version; this agent reads version {VERSION}")
    lock = Lock(text, found["environments"])
    for name, each in lock.entries.items():
        wrong = solution.fault(each) or ("" if re.fullmatch(builds.BUILD, each["build"]) else "no build is called so")
        if wrong:
            text.wrong(lock.place(name), f"has an entry for {name!a} that is none: {wrong}", hint=ANEW)
    return lock


def _none(text: Text, message: str, line: int = 0, column: int = 0) -> Lock:
    text.wrong(text.place(line, column), message, hint=ANEW)
    return Lock(text, {})


def contradictions(spec: Spec, lock: Lock, exact: Mapping[str, Listing]) -> Iterator[Finding]:
    """Environments that the spec describes otherwise than when the lock file was written. ``exact`` are those that another list gives."""
    for name, section in spec.every_environment().items():
        found = lock.entries.get(name)
        if found is None or name in exact:
            continue
        keys: Keys = spec.keys_of(name)
        if section.update is not None:
            message = f"asks for newer versions, but {lock.name} holds the ones that there are"
            yield Finding((*keys, "update"), message, f"leave it out, or take {name} out of {lock.name}", at_key=True)
        if changes := list(_changes(spec, section, found)):
            message = f"has changed since {lock.name} was written: {'; '.join(changes)}"
            yield Finding(keys, message, f"agent env update {name}", at_key=True)


def _changes(spec: Spec, section: Environment, found: Mapping[str, Any]) -> Iterator[str]:
    channels = section.channels or (spec.conda.channels if spec.conda else ())
    for what, now in (("channels", channels), ("packages", section.packages), ("pip", section.pip)):
        before = list(found[what])
        if list(now) != before:
            new, gone = [each for each in now if each not in before], [each for each in before if each not in now]
            parts = [f"{_some(new)} {_is(new)} new" if new else "", f"{_some(gone)} {_is(gone)} gone" if gone else ""]
            yield f"{what} ({', '.join(filter(None, parts)) or 'in another order'})"
    before_set, now_set = dict(found["variables"]), dict(section.variables)
    if different := sorted({name for name, _ in before_set.items() ^ now_set.items()}):
        yield f"variables ({_some(different)})"
    if (section.activation or "") != found["activation"]:
        yield "activation"


def _some(names: list[str]) -> str:
    shown = ", ".join(ascii(each)[1:-1] for each in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _is(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"


def unused(spec: Spec, lock: Lock, exact: Mapping[str, Listing]) -> Iterator[Finding]:
    """Entries that nothing is made of."""
    known = spec.every_environment()
    for name in lock.entries:
        if name not in known:
            message = f"has an entry for {name!a}, which is not an environment of the spec"
            yield Finding((), message, "agent env lock leaves it out", place=lock.place(name))
        elif name in exact:
            message = f"has an entry for {name!a} that is not used: {exact[name].path} lists its packages"
            yield Finding((), message, "agent env lock leaves it out", place=lock.place(name))


def read_lock(path: str) -> dict[str, Mapping[str, Any]]:
    """The entries of a lock file by environment; nothing where there is no file. Raises SpecError for one that is damaged."""
    try:
        with open(path, "rb") as file:
            lock = parse(Document(path, file.read(LARGEST + 1)))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SpecError((Problem(Place(path, 1, 1), "", f"cannot be read: {error.strerror}"),)) from error
    if lock.text.problems:
        raise SpecError(tuple(lock.text.problems))
    return dict(lock.entries)


def text_of(entries: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A lock file of these entries; the same ones give the same bytes on every host."""
    document = {"version": VERSION, "environments": dict(sorted(entries.items()))}
    return f"{json.dumps(document, indent=1)}\n".encode()
