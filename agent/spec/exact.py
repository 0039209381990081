"""Lists of exact packages as other programs write them: addresses after @EXPLICIT, lock files of rattler and pixi."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .explain import Finding
from .reader import Text
from .tree import Keys, Node, Scalar, Series, Table, plain, value_at

ADDRESS = re.compile(
    r"(?:https?://|file:///|/)\S+/(?P<subdir>[a-z0-9-]+)/"
    r"(?P<name>[a-z0-9_][a-z0-9._-]*)-(?P<version>[A-Za-z0-9._!+]+)-(?P<build>[A-Za-z0-9._+]+)\.(?:conda|tar\.bz2)"
)
HASH = re.compile(r"[0-9a-f]{32}|(?:sha256:)?[0-9a-f]{64}")
LOGIN = re.compile(r"://[^/\s]*@|/t/[^/\s]+/")
_SUBDIRS = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le", "riscv64": "linux-riscv64"}


def subdir() -> str:
    """What conda calls this host's architecture."""
    machine = platform.machine()
    return _SUBDIRS.get(machine, f"linux-{machine}")


def addresses(text: Text, findings: list[Finding], notes: list[Finding]) -> Iterator[Node]:
    """The packages of a list of addresses, each as a match spec that only it meets."""
    bare: list[Node] = []
    for number, line in enumerate(text.lines):
        written = line.strip()
        if not written or written.startswith("#") or written == "@EXPLICIT":
            continue
        place = text.place(number, len(line) - len(line.lstrip()))
        address, mark, digest = written.partition("#")
        if LOGIN.search(written):
            text.mask.add(number + 1, 0, number + 1)
            findings.append(Finding((), "must not carry a user name, password or token", _AUTHENTICATION, place=place))
        elif (spec := _spec(address)) is None or address.startswith("/"):
            message = "must be the address of a package that ends in .conda or .tar.bz2"
            findings.append(Finding((), message, "what is not made of packages goes into a list for pip", place=place))
        elif _elsewhere(address):
            findings.append(Finding((), f"is a package for another system; this one is {subdir()}", place=place))
        elif mark and not HASH.fullmatch(digest):
            findings.append(Finding((), "must have an MD5 or SHA-256 after the '#'", place=place))
        else:
            node = Scalar(place, spec)
            if not mark:
                bare.append(node)
            yield node
    if bare:
        count = f"{len(bare)} package{'s have' if len(bare) > 1 else ' has'}"
        message = f"{count} no hash, so that what is downloaded for {'them' if len(bare) > 1 else 'it'} is not checked"
        notes.append(Finding((), message, "conda list --explicit --sha256 writes them", place=bare[0].place))


_AUTHENTICATION = "conda.authentication says how to get into a server"


@dataclass(frozen=True)
class Locked:
    """One environment of a lock file, for this host: match specs and requirements that only its packages meet."""

    environment: str
    conda: tuple[Node, ...] = ()
    pip: tuple[Node, ...] = ()


def locked(tree: Node, name: str, findings: list[Finding]) -> Locked:
    """The environment of this name, else the default one."""
    there = value_at(tree, ("environments",))
    names = list(there.entries) if isinstance(there, Table) else []
    environment = name if name in names else "default"
    if environment not in names:
        message = f"has neither an environment '{name}' nor 'default'"
        findings.append(Finding((), message, f"it has: {', '.join(names) or 'none'}", place=tree.place))
        return Locked(environment)
    keys: Keys = ("environments", environment, "packages")
    platforms = value_at(tree, keys)
    members = value_at(tree, (*keys, subdir()))
    if not isinstance(members, Series):
        has = ", ".join(platforms.entries) if isinstance(platforms, Table) else "nothing"
        place = (platforms or tree).place
        findings.append(Finding((), f"has nothing for {subdir()}, which this host is", f"it has: {has}", place=place))
        return Locked(environment)
    versions = _versions(tree)
    conda, pip = [], []
    for member in members.members:
        entries = member.entries if isinstance(member, Table) else {}
        kind = next(iter(entries), "")
        written = str(plain(entries[kind].node)) if kind else ""
        if LOGIN.search(written):
            message = "must not carry a user name, password or token"
            findings.append(Finding((), message, _AUTHENTICATION, place=member.place))
        elif kind == "conda" and (spec := _spec(written)) is not None:
            conda.append(Scalar(member.place, spec))
        elif kind == "pypi" and written in versions:
            pip.append(Scalar(member.place, versions[written]))
        else:
            message = "is not a package that can be fetched: sources and directories are not taken"
            findings.append(Finding((), message, place=member.place))
    return Locked(environment, tuple(conda), tuple(pip))


def _versions(tree: Node) -> dict[str, str]:
    """The requirement that each package from PyPI meets, by its address."""
    packages = value_at(tree, ("packages",))
    found = {}
    for each in packages.members if isinstance(packages, Series) else ():
        fields = plain(each)
        if isinstance(fields, dict) and {"pypi", "name", "version"} <= fields.keys():
            found[str(fields["pypi"])] = f"{fields['name']}=={fields['version']}"
    return found


def _spec(address: str) -> str | None:
    found = ADDRESS.fullmatch(address)
    return f"{found['name']} =={found['version']} {found['build']}" if found else None


def _elsewhere(address: str) -> bool:
    found = ADDRESS.fullmatch(address)
    return found is not None and found["subdir"] not in (subdir(), "noarch")
