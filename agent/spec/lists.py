"""Files beside the spec that list an environment's packages: conda's environment.yml, lists of exact addresses, lock files of rattler and pixi.

Each becomes a part of the spec's tree, as if its packages had been written there, with their places in the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic_core import PydanticCustomError

from agent.errors import Place, Problem, SpecError
from agent.host.builds import digest
from agent.steps import Listing

from .exact import addresses, locked
from .explain import Finding
from .fields import plain_path
from .reader import LARGE, Document, Text, decode, read
from .tree import Entry, Keys, Node, Scalar, Series, Table, plain, value_at

Find = Callable[[str], Document | None]
"""Reads the file that an environment names; None if there is none. Raises SpecError for one that cannot be used."""

ENVIRONMENTS = ("conda", "environments")
EXPLICIT = re.compile(r"^@EXPLICIT\s*$", re.MULTILINE)
LOCKED = re.compile(r"^version:\s*[0-9]+\s*$(?=.*^environments:\s*$)(?=.*^packages:)", re.MULTILINE | re.DOTALL)
_KNOWN = ("name", "prefix", "channels", "dependencies", "variables")
"""Keys of an environment.yml. The first two say where it was made, which is the spec's to say."""


@dataclass
class Included:
    """What became of a tree whose environments name files."""

    tree: Node
    texts: dict[str, Text] = field(default_factory=dict)
    """The files, by name."""
    listings: dict[str, Listing] = field(default_factory=dict)
    """Environments of exact packages, with where those are listed."""
    findings: list[Finding] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


def include(tree: Node, find: Find | None) -> Included:
    """Puts what the named files list in the place of their names. Without ``find`` only asks whether there is one list each."""
    included = Included(tree)
    environments = value_at(tree, ENVIRONMENTS)
    for name, entry in environments.entries.items() if isinstance(environments, Table) else ():
        if isinstance(entry.node, Table) and (path := _path(entry.node)):
            _include(included, name, entry.node, path, find)
    return included


def _path(section: Table) -> str | None:
    named = section.entries.get("file")
    if named is None or not isinstance(named.node, Scalar) or not isinstance(named.node.value, str):
        return None
    try:
        return plain_path(named.node.value.removeprefix("./"))
    except PydanticCustomError:  # said when the section is looked at
        return None


def _include(included: Included, name: str, section: Table, path: str, find: Find | None) -> None:
    keys: Keys = (*ENVIRONMENTS, name)
    twice = [each for each in ("packages", "pip") if _given(section, each)]
    for each in twice:
        included.findings.append(Finding((*keys, each), f"stands beside a file, {path}", "keep one", at_key=True))
    if find is None or twice:
        return
    try:
        document = find(path)
    except SpecError as error:
        included.problems += error.problems
        return
    if document is None:
        hint = "" if path.startswith("/") else "a relative path begins in the spec's directory"
        included.findings.append(Finding((*keys, "file"), "must be the path of a file that is there", hint))
        return
    written = _Written(included, document)
    found = written.entries(name)
    if written.form and _given(section, "channels"):
        message = f"has no meaning: the addresses in {path} say where packages come from"
        included.findings.append(Finding((*keys, "channels"), message, at_key=True))
    if written.form and _given(section, "update"):
        message = f"asks for newer versions, but {path} lists exact ones"
        included.findings.append(Finding((*keys, "update"), message, "keep one", at_key=True))
    if written.form:
        content = document.content.decode(errors="replace")
        included.listings[name] = Listing(document.name, digest(content), written.form, written.environment)
    own = {key: each for key, each in section.entries.items() if _given(section, key)}
    if (variables := own.get("variables")) and isinstance(variables.node, Table) and "variables" in found:
        theirs = found["variables"].node
        if isinstance(theirs, Table):
            own["variables"] = Entry(
                variables.place, Table(variables.node.place, {**theirs.entries, **variables.node.entries})
            )
    included.tree = _replaced(included.tree, keys, Table(section.place, {**found, **own}))


def _given(section: Table, key: str) -> bool:
    return key in section.entries and plain(section.entries[key].node) is not None


def _replaced(node: Node, keys: Keys, new: Node) -> Node:
    """The tree with another node there."""
    if not keys:
        return new
    if not isinstance(node, Table):
        raise TypeError(keys)
    key = str(keys[0])
    old = node.entries[key]
    return Table(node.place, {**node.entries, key: Entry(old.place, _replaced(old.node, keys[1:], new))})


class _Written:
    """One file. ``form`` is that of its Listing, empty for one that lists no exact packages."""

    def __init__(self, included: Included, document: Document) -> None:
        self._included, self._document = included, document
        self.form = ""
        self.environment = ""

    def entries(self, name: str) -> Mapping[str, Entry]:
        """Its packages, pip, channels and variables as an environment of the spec has them."""
        text = Text(self._document.name)
        written = decode(self._document, text, LARGE[0])
        if written is None:
            return self._refused(text)
        if EXPLICIT.search(written):
            self.form = "explicit"
            self._included.texts[text.name] = text
            return self._exact(addresses(text, self._included.findings, self._included.notes))
        locked_form = LOCKED.search(written) is not None
        text = read(self._document, LARGE) if locked_form else read(self._document)
        if text.problems or text.tree is None:
            return self._refused(text)
        self._included.texts[text.name] = text
        if locked_form:
            self.form = "rattler"
            found = locked(text.tree, name, self._included.findings)
            self.environment = found.environment
            return self._exact(found.conda, found.pip)
        return dict(self._environment_yml(text.tree))

    def _refused(self, text: Text) -> Mapping[str, Entry]:
        self._included.texts[text.name] = text
        self._included.problems += text.problems or [Problem(text.place(0, 0), "", "is empty")]
        return {}

    def _exact(self, conda: Iterable[Node], pip: Sequence[Node] = ()) -> Mapping[str, Entry]:
        packages, before = list(conda), len(self._included.findings)
        start = Place(self._document.name, 1, 1)
        if not packages and not before:
            self._say(start, "lists no packages")
        members = {"packages": packages, **({"pip": list(pip)} if pip else {})}
        return {key: Entry(start, Series(start, nodes)) for key, nodes in members.items()}

    def _say(self, place: Place, message: str, hint: str = "") -> None:
        self._included.findings.append(Finding((), message, hint, place=place))

    def _environment_yml(self, tree: Node) -> Iterator[tuple[str, Entry]]:
        """See https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html."""
        forms = "conda's environment.yml, a list that begins with @EXPLICIT, or a lock file of rattler or pixi"
        if isinstance(tree, Table) and {"package", "metadata"} <= tree.entries.keys():
            hint = "conda-lock render --kind explicit writes an @EXPLICIT list"
            self._say(tree.place, f"is a lock file of conda-lock, which is not read; what is: {forms}", hint)
            return
        if not isinstance(tree, Table) or "dependencies" not in tree.entries:
            self._say(tree.place, f"lists no packages: it must be {forms}")
            return
        for key, entry in tree.entries.items():
            if key not in _KNOWN:
                self._say(entry.place, "has a key that environment files do not have", f"known are {', '.join(_KNOWN)}")
        yield from self._dependencies(tree.entries["dependencies"])
        for key in ("channels", "variables"):
            if (found := tree.entries.get(key)) is not None and plain(found.node) is not None:
                yield key, _without_nodefaults(found) if key == "channels" else found

    def _dependencies(self, entry: Entry) -> Iterator[tuple[str, Entry]]:
        if not isinstance(entry.node, Series) or not entry.node.members:
            self._say(entry.place, "must be a list of packages")
            return
        packages: list[Node] = [each for each in entry.node.members if not isinstance(each, Table)]
        yield "packages", Entry(entry.place, Series(entry.node.place, packages))
        for table in entry.node.members:
            for key, inner in table.entries.items() if isinstance(table, Table) else ():
                if key == "pip" and isinstance(inner.node, Series):
                    yield "pip", inner
                elif key == "pip":
                    self._say(inner.place, "must be a list of requirements")
                else:
                    self._say(inner.place, "must be a package, or 'pip:' with a list")


def _without_nodefaults(entry: Entry) -> Entry:
    """conda's word for: not the channels of its own settings, which nobody asks here."""
    if not isinstance(entry.node, Series):
        return entry
    members = [each for each in entry.node.members if plain(each) != "nodefaults"]
    return Entry(entry.place, Series(entry.node.place, members))


def beside(path: str, spec: str) -> str:
    """Where a file is that a spec names."""
    return os.path.join(os.path.dirname(spec), path.removeprefix("./"))
