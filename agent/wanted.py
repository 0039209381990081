"""From the spec's files to the resources they stand for, read through the host so that evidence covers them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.errors import AgentError, Problem, SpecError
from agent.plan import by_ref
from agent.resource import Ref, Resource
from agent.specfiles import drop_ins, is_drop_in, lock_path

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.source import Examined
    from agent.spec.spec import Spec


@dataclass(frozen=True)
class Wanted:
    """A valid spec, the files it came from (the spec first, then its drop-ins, then what stands beside it), and its resources."""

    spec: Spec
    documents: tuple[tuple[str, bytes], ...]
    resources: Mapping[Ref, Resource]
    warnings: tuple[Problem, ...] = ()
    examined: Examined | None = None

    def locate(self, ref: Ref, about: tuple[str, ...]) -> str:
        """Where the spec asks for what an error about this resource is about, in words; nothing where that cannot be told."""
        environments = self.spec.every_environment()
        if self.examined is None or ref.kind != "environment" or ref.name not in environments:
            return ""
        packages = environments[ref.name].packages
        found = []
        for text in about:
            at = ("packages", packages.index(text)) if text in packages else ()
            if place := self.examined.place((*self.spec.keys_of(ref.name), *at)):
                found.append(f"{place} ({text})")
        return f"asked for at {', '.join(found)}" if found else ""

    @property
    def digest(self) -> str:
        """Of the files as they are written."""
        return digest(self.documents)


def digest(documents: tuple[tuple[str, bytes], ...]) -> str:
    """A digest of the names and bytes of the spec's files."""
    whole = hashlib.blake2b(digest_size=16)
    for name, content in documents:
        whole.update(f"{len(name)}:{name}:{len(content)}:".encode() + content)
    return whole.hexdigest()


def documents(path: str, host: Host, *, trusted_only: bool) -> tuple[tuple[str, bytes], ...]:
    """The spec's file and its drop-ins in name order.

    With ``trusted_only`` each is refused (SpecError) when someone other than root can write it or a directory above it. Raises AgentError when
    there is no spec.
    """
    found = []
    directory = drop_ins(path)
    names = host.looks.ask("names", directory) or ()
    for each in [path, *(f"{directory}/{name}" for name in names if is_drop_in(name))]:
        content = _content(each, host, trusted_only=trusted_only)
        if content is None:
            raise AgentError(
                f"there is no spec at {each}", hint="agent apply PATH, or write one: see examples/ and docs/spec.md"
            )
        found.append((each, content))
    return tuple(found)


def _content(path: str, host: Host, *, trusted_only: bool, beside: bool = False) -> bytes | None:
    """A document; None if there is none. What stands ``beside`` a spec may be large. Raises SpecError."""
    from agent.host.listing import LARGEST
    from agent.spec.safety import MAX_BYTES, unsafe

    if trusted_only and (problem := unsafe(path, largest=LARGEST if beside else MAX_BYTES)) is not None:
        raise SpecError((problem,))
    return host.files.content(path, LARGEST) if beside else host.files.content(path)


def want(path: str, host: Host, *, trusted_only: bool = True, lock: bool = True) -> Wanted:
    """Loads, validates and expands the spec, with the files that it names and its lock file, which ``lock`` leaves out when it is false.

    Raises SpecError with every problem at once.
    """
    from agent.spec.expand import expand
    from agent.spec.lists import beside
    from agent.spec.safety import exposed
    from agent.spec.source import Document, examine

    files = documents(path, host, trusted_only=trusted_only)
    named: dict[str, bytes] = {}

    def find(name: str) -> Document | None:
        if (content := _content(name, host, trusted_only=trusted_only, beside=True)) is None:
            return None
        named[name] = content
        return Document(name, content)

    examined = examine(
        [Document(name, content) for name, content in files],
        lambda name: find(beside(name, path)),
        find(lock_path(path)) if lock else None,
    )
    if examined.spec is None:
        raise SpecError(examined.problems)
    shown = [note for name, _ in files if (note := exposed(name, examined.spec)) is not None]
    try:
        resources = by_ref(expand(examined.spec, host, examined.listings))
    except SpecError as error:
        raise SpecError(tuple(_placed(problem, examined) for problem in error.problems)) from None
    return Wanted(examined.spec, (*files, *sorted(named.items())), resources, (*examined.notes, *shown), examined)


def _placed(problem: Problem, examined: Examined) -> Problem:
    """A problem that only showed when files beside the spec were read, with the place in the spec that names them."""
    section, _, name = problem.field.partition(".")
    return replace(problem, place=examined.place((section, name) if name else (section,)))
