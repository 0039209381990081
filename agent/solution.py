"""What an environment is made of, package by package: an entry of the lock file, and what differs between two.

The worker wrote it as the environment's owner, or a person by hand: whoever reads it here takes it for what anybody may have written. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

LARGEST = 32 << 20
"""Bytes of an entry; a large environment has a thousandth of a gigabyte."""
_MOST = 20_000
"""Packages."""
_LISTS = ("channels", "packages", "pip", "pypi")
_NAMED = ("name", "version", "build", "subdir", "url", "fn")


@dataclass(frozen=True, order=True)
class Package:
    """One package. ``build`` is empty for those of pip, whose ``channel`` is ``pypi``."""

    name: str
    version: str
    build: str = ""
    channel: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class PackageChange:
    """One package that is not the same in two solutions; None on the side where it is not. ``by`` is ``conda`` or ``pip``."""

    name: str
    by: str
    before: Package | None
    after: Package | None


@dataclass(frozen=True)
class Solution:
    """The packages of an environment. ``entry`` is the whole of it, as it stands in a lock file."""

    conda: tuple[Package, ...]
    pip: tuple[Package, ...]
    entry: Mapping[str, Any] = field(repr=False)

    def asked(self) -> tuple[object, ...]:
        """What it is a solution of, to be compared with what a spec asks for."""
        entry = self.entry
        variables = tuple(sorted((str(name), str(value)) for name, value in entry["variables"].items()))
        return (*(tuple(entry[name]) for name in ("channels", "packages", "pip")), variables, entry["activation"])


def parse(content: bytes) -> Solution | None:
    """The solution, or None for anything that is not one."""
    if len(content) > LARGEST:
        return None
    try:
        entry = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return None if fault(entry) else of(entry)


def of(entry: Mapping[str, Any]) -> Solution:
    """The solution that an entry without fault describes."""
    conda = (
        Package(each["name"], each["version"], each["build"], each.get("channel") or "") for each in entry["conda"]
    )
    return Solution(tuple(sorted(conda)), tuple(sorted(map(pin, entry["pypi"]))), entry)


def fault(entry: Any) -> str:
    """What keeps it from being an entry of a lock file: the first field that is not as it must be; empty when all is well."""
    if not isinstance(entry, dict):
        return "it is no mapping"
    for name in _LISTS:
        if not _lines(entry.get(name)):
            return f"{name} is no list of lines"
    variables = entry.get("variables")
    if not isinstance(variables, dict) or not _lines([*variables.values()]):
        return "variables is no mapping of lines"
    if not isinstance(entry.get("activation"), str) or not isinstance(entry.get("build"), str):
        return "activation or build is no text"
    packages = entry.get("conda")
    if not isinstance(packages, list) or len(packages) > _MOST:
        return "conda is no list of packages"
    for index, package in enumerate(packages):
        if wrong := _package_fault(package):
            return f"conda[{index}]: {wrong}"
    return next((f"pypi: {text[:80]!r} is no pin" for text in entry["pypi"] if not _is_pin(text)), "")


def _package_fault(package: Any) -> str:
    if not isinstance(package, dict):
        return "it is no mapping"
    for name in _NAMED:
        if not isinstance(package.get(name), str) or not _line(package[name]):
            return f"{name} is no text"
    channel = package.get("channel") or ""
    if not isinstance(channel, str) or not _line(channel):
        return "channel is no text"
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", package["name"]):
        return f"no package is called {package['name'][:80]!r}"
    for name, digits in (("sha256", 64), ("md5", 32)):
        if package.get(name) and not (isinstance(package[name], str) and re.fullmatch(r"[0-9a-f]+", package[name])):
            return f"{name} is no digest"
        if package.get(name) and len(package[name]) != digits:
            return f"{name} has not {digits} digits"
    if re.search(r"://[^/]*@|/t/[^/]+/", f"{package['url']} {channel}"):
        return "its address holds a password or token"
    return ""


def _lines(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) <= _MOST and all(isinstance(each, str) and _line(each) for each in value)
    )


def _line(text: str) -> bool:
    return len(text) <= 1 << 16 and text.isprintable()


def _is_pin(text: str) -> bool:
    return bool(re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*(==\S| @ \S)", text)) and not re.search(r"://[^/\s]*@", text)


def unhashed(found: Solution) -> list[str]:
    """Packages that cannot be checked when they are downloaded."""
    return [each["name"] for each in found.entry["conda"] if not each.get("sha256") and not each.get("md5")]


def pin(text: str) -> Package:
    """``rich==13.7.0 --hash=...`` or ``name @ https://...``, as a package."""
    name, _, rest = text.partition(" ")[0].partition("==")
    version = rest if rest else text.partition(" @ ")[2].partition(" ")[0]
    return Package(re.sub(r"[-_.]+", "-", name).lower(), version, channel="pypi")


def changes(before: Solution | None, after: Solution | None) -> tuple[PackageChange, ...]:
    """What is not the same, by name: conda's packages, then those of pip."""
    return tuple(
        each
        for by in ("conda", "pip")
        for each in _changes(by, getattr(before, by) if before else (), getattr(after, by) if after else ())
    )


def _changes(by: str, before: tuple[Package, ...], after: tuple[Package, ...]) -> Iterator[PackageChange]:
    old = {each.name: each for each in before}
    new = {each.name: each for each in after}
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield PackageChange(name, by, old.get(name), new.get(name))
