"""From the spec's files to a Spec, or to every problem at once, each with its place. Reads no file itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from agent.errors import Place, Problem, SpecError
from agent.steps import Listing

from . import listing
from .checks import check, notes
from .explain import Finding, existing, explain, public
from .lists import Find, include
from .merge import merge
from .reader import Document, Text, read
from .spec import Spec
from .tree import Keys, Node, Table, dotted, key_place, place_of, plain, value_at

__all__ = ["Document", "Examined", "examine", "load"]


@dataclass(frozen=True)
class Examined:
    """What came of reading the spec's files. ``spec`` is None if and only if there are ``problems``."""

    spec: Spec | None
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    """What is allowed but worth saying. They stop nothing."""
    tree: Node | None = None
    listings: Mapping[str, Listing] = field(default_factory=dict)
    """Environments that are made of exact packages, with where those are listed."""

    def place(self, keys: Keys) -> Place | None:
        """Where the value of these keys, or the nearest thing around it, was written."""
        return place_of(self.tree, keys) if self.tree else None


def load(documents: Sequence[Document]) -> Spec:
    """The spec that these files make together: the first one, then its drop-ins, in this order.

    Raises SpecError with every problem, in file order.
    """
    examined = examine(documents)
    if examined.spec is None:
        raise SpecError(examined.problems)
    return examined.spec


def examine(documents: Sequence[Document], find: Find | None = None, lock: Document | None = None) -> Examined:
    """As ``load``, but never raises, and tells what is worth noting about a good spec.

    ``find`` reads the files that environments name; without it those stay names. ``lock`` is the spec's lock file.
    """
    texts = [read(document) for document in documents]
    problems = [problem for text in texts for problem in text.problems]
    tree = _merged(texts, problems)
    if tree is None:
        return Examined(None, _in_order(problems, texts), ())
    included = include(tree, find)
    tree, exact = included.tree, included.listings
    texts += included.texts.values()
    problems += included.problems
    spec, findings = _validated(tree)
    findings = [*included.findings, *findings, *check(spec, tree)]
    held = listing.parse(lock) if lock else None
    if held is not None:
        texts.append(held.text)
        problems += held.text.problems
    if held is not None and not held.text.problems:
        findings += listing.contradictions(spec, held, exact)
    problems += _with_places(findings, tree, texts)
    if problems:
        return Examined(None, _in_order(problems, texts), (), tree)
    said = [*notes(spec), *included.notes, *(listing.unused(spec, held, exact) if held else ())]
    locked = {name: held.listing(name) for name in held.entries if name in spec.every_environment()} if held else {}
    return Examined(spec, (), _in_order(_with_places(said, tree, texts), texts), tree, {**locked, **exact})


def _merged(texts: Sequence[Text], problems: list[Problem]) -> Node | None:
    """All trees in one; None, with a problem said, if one has none."""
    if not texts:
        problems.append(Problem(None, "", "there is no spec to read"))
        return None
    whole: Node | None = None
    for text in texts:
        tree = text.tree
        if tree is None and text.problems:
            return None
        empty = tree is None or plain(tree) in (None, {})
        if empty and whole is None:
            hint = "an empty spec would remove what the agent made; a small one is: jupyter: {}"
            problems.append(Problem(text.place(0, 0), "", "is empty", "", hint))
            return None
        if empty or tree is None:
            continue
        if not isinstance(tree, Table):
            problems.append(
                Problem(
                    tree.place, "", "must be a mapping of sections", text.source(tree.place), "such as 'jupyter: {}'"
                )
            )
            return None
        whole = tree if whole is None else merge(whole, tree, problems)
    return whole


def _validated(tree: Node) -> tuple[Spec, list[Finding]]:
    """The spec, without those sections that are not right: the checks between sections still see the others."""
    value = plain(tree)
    try:
        return Spec.model_validate(value), []
    except ValidationError as error:
        findings = list(explain(error, tree))
        wrong = {
            str(detail["loc"][0]) for detail in error.errors(include_input=False, include_url=False) if detail["loc"]
        }
    rest = {name: section for name, section in value.items() if name not in wrong} if isinstance(value, dict) else {}
    hidden = dict.fromkeys(wrong & Spec.model_fields.keys() - {"packages", "files", "units", "agent"})
    return Spec.model_validate(rest).model_copy(update=hidden), findings


def _with_places(findings: Iterable[Finding], tree: Node, texts: Sequence[Text]) -> list[Problem]:
    """Findings become problems. First all that must not be shown is hidden, then source lines are taken."""
    placed = []
    by_name = {text.name: text for text in texts}
    for found in findings:
        keys = spelled(tree, found.keys)
        finding = found if found.place else replace(found, keys=keys if found.at_key else existing(keys, tree))
        place = finding.place or (key_place if finding.at_key else place_of)(tree, finding.keys)
        if finding.unknown and (text := by_name.get(place.file)):
            line = text.lines[place.line - 1] if place.line <= len(text.lines) else ""
            colon = line.find(":", place.column - 1 + len(str(finding.keys[-1])))
            sayable = colon >= 0 and public(finding.keys) == finding.keys
            text.mask.add(place.line, colon + 1 if sayable else place.column - 1, place.line)
        placed.append((finding, place))
    return [
        Problem(place, dotted(public(finding.keys)), finding.message, by_name[place.file].source(place), finding.hint)
        for finding, place in placed
    ]


def spelled(tree: Node, keys: Keys) -> Keys:
    """Keys as they were written, for keys as the models have them: ``a`` for ``a@localhost``, ``a`` for ``a.*``,
    ``max-connections`` for ``max_connections``."""
    written: list[str | int] = []
    node: Node | None = tree
    for key in keys:
        found = key
        if isinstance(node, Table) and key not in node.entries:
            found = next((other for other in node.entries if _plainest(other) == _plainest(str(key))), key)
        written.append(found)
        node = value_at(node, (found,)) if node else None
    return tuple(written)


def _plainest(key: str) -> str:
    return key.replace("-", "_").removesuffix("@localhost").removesuffix(".*").rstrip("@").lower()


def _in_order(problems: Iterable[Problem], texts: Sequence[Text]) -> tuple[Problem, ...]:
    """In the order of the files, each said once."""
    files = {text.name: number for number, text in enumerate(texts)}

    def key(problem: Problem) -> tuple[int, int, int]:
        place = problem.place
        return (files.get(place.file, 0), place.line, place.column) if place else (-1, 0, 0)

    return tuple(sorted(dict.fromkeys(problems), key=key))
