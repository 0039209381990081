"""Where an environment's builds are, and what the conda worker writes down about each of them.

An environment ``envs/NAME`` is a link to one of its builds, ``builds/NAME/ID``. A build is made beside the others, tried, and only then linked to,
in one rename; it is never changed afterwards by the agent. Its manifest ``ID.json`` is written last: a build without one was never finished.

The worker writes all of it as the environment's owner; root reads it as something that anyone may have written. Standard library only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

BUILD = r"[0-9a-f]{12}(?:\.[0-9]{1,6})?"
"""What a build is called: a digest of what it is made of, with a number where that name was taken."""
BEFORE = "before"
"""Stands for a directory that was at the environment's place before the agent came: kept whole among the builds, put back when the environment leaves."""
LARGEST = 1 << 20
"""Bytes; a longer manifest is none."""
FORMAT = 1


@dataclass(frozen=True)
class Asked:
    """What a build was made for. ``lock`` is the digest of the lock entry that it was made of; empty without one."""

    channels: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    activation: str = ""
    """Shell text that is sourced when the environment is activated."""
    installer: str = ""
    """The digest of an installer program that makes the environment instead of packages, as ``sha256:...``."""
    lock: str = ""

    def digest(self) -> str:
        return hashlib.blake2b(json.dumps(dataclasses.astuple(self)).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """What a finished build is like."""

    asked: Asked = field(default_factory=Asked)
    held: tuple[str, ...] = ()
    """Conda packages that are there because of what was asked for; the owner added the others."""
    entry: str = ""
    """The digest of its lock entry."""
    seen: str = ""
    """The digest of its lists of packages (``seen``) when it was finished."""
    created: float = 0.0
    """Seconds since the epoch."""
    solved: int = 0
    """When its versions were last chosen freely: what a schedule of updates counts from."""
    tried: int = 0
    """When an update of it was last tried and failed, and in ``failed`` why."""
    failed: str = ""
    kernels: tuple[str, ...] = ()
    """What each of its kernels printed when it was tried: interpreter and version."""
    carried: tuple[str, ...] = ()
    """What the owner had added to the build before it by hand and was taken over."""
    lost: tuple[str, ...] = ()
    """What the owner had added to the build before it and could not be taken over; it is still in that one."""

    def serves(self, asked: Asked) -> bool:
        """Whether a build made for this is one for what is asked now: of no lock any, of a lock those of the same packages."""
        same = dataclasses.replace(self.asked, lock=asked.lock) == asked
        return same and asked.lock in ("", self.asked.lock, self.entry)


@dataclass(frozen=True)
class Place:
    """The paths of one environment. ``root`` is the directory of all."""

    root: str
    name: str

    @property
    def link(self) -> str:
        return f"{self.root}/envs/{self.name}"

    @property
    def builds(self) -> str:
        return f"{self.root}/builds/{self.name}"

    @property
    def cache(self) -> str:
        return f"{self.root}/pkgs"

    @property
    def lock(self) -> str:
        return f"{self.builds}/lock"

    @property
    def removing(self) -> str:
        """Is there while the environment is being taken away."""
        return f"{self.root}/builds/.{self.name}.removing"

    def build(self, build: str) -> str:
        return f"{self.builds}/{build}"

    def manifest(self, build: str) -> str:
        return f"{self.builds}/{build}.json"

    def solution(self, build: str) -> str:
        """Every package with its hash, in the form of an entry of the lock file."""
        return f"{self.builds}/{build}.lock.json"

    def files(self, build: str) -> str:
        """The files that it was finished with, so that those which came later can be told."""
        return f"{self.builds}/{build}.files"

    def target(self, build: str) -> str:
        """What the link says."""
        return f"../builds/{self.name}/{build}"

    def build_of(self, target: str) -> str | None:
        """The build that a link's text stands for; None for anything else."""
        build = target.removeprefix(self.target(""))
        return build if build != target and re.fullmatch(f"{BUILD}|{BEFORE}", build) else None

    def in_force(self) -> str | None:
        """For the worker, and for what needs no evidence; the kinds ask `Environments.build`."""
        try:
            return self.build_of(os.readlink(self.link))
        except OSError:
            return None

    def finished(self) -> dict[str, Manifest]:
        """Manifests of all finished builds, newest first."""
        try:
            names = os.listdir(self.builds)
        except OSError:
            return {}
        found = {}
        for name in names:
            build = name.removesuffix(".json")
            if re.fullmatch(BUILD, build) and name.endswith(".json") and (manifest := read(self.manifest(build))):
                found[build] = manifest
        return dict(sorted(found.items(), key=lambda each: (-each[1].created, each[0])))


def parse(content: bytes) -> Manifest | None:
    """The manifest, or None for anything that is not one."""
    if len(content) > LARGEST:
        return None
    try:
        record = json.loads(content)
        if record.pop("format") != FORMAT:
            return None
        return _checked(Manifest, {**record, "asked": _checked(Asked, record["asked"])})
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def _checked(kind: type[T], record: Mapping[str, Any]) -> T:
    """Raises TypeError for a field that is missing, unknown, or not of its type."""
    example: Any = kind()
    values = {}
    for each in dataclasses.fields(example):
        value, default = record[each.name], getattr(example, each.name)
        if each.name == "variables":
            value = tuple((str(name), str(text)) for name, text in value)
        elif isinstance(default, tuple) and isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = tuple(value)
        elif type(value) is not type(default):
            raise TypeError(each.name)
        values[each.name] = value
    if len(record) != len(values):
        raise TypeError("unknown fields")
    return kind(**values)


def read(path: str) -> Manifest | None:
    """For the worker; root reads through its host."""
    try:
        with open(path, "rb") as file:
            return parse(file.read(LARGEST + 1))
    except OSError:
        return None


def write(path: str, manifest: Manifest) -> None:
    """Replaces a manifest, durably: it must not claim more than the disk has after a loss of power."""
    save(path, json.dumps({"format": FORMAT, **dataclasses.asdict(manifest)}, indent=1))


def save(path: str, text: str) -> None:
    """Replaces a file of the worker's, durably."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync(os.path.dirname(path))


def sync(directory: str) -> None:
    """Makes changed names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point(place: Place, build: str) -> None:
    """Makes the link say this build, in one rename, durably. A directory that stands there is exchanged for it and kept as ``before``."""
    temporary = f"{place.root}/envs/.{place.name}.new"
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    os.symlink(place.target(build), temporary)
    if os.path.isdir(place.link) and not os.path.islink(place.link):
        os.rename(place.link, place.build(BEFORE))
    os.replace(temporary, place.link)
    sync(os.path.dirname(place.link))


def plain(text: str) -> str:
    """What an account wrote, in one line without anything that a terminal obeys."""
    return "".join(each if each.isprintable() else " " for each in text[:1000])


def moment(seconds: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """A moment that an account wrote, in UTC; empty for none and for what is no moment."""
    try:
        return time.strftime(form, time.gmtime(seconds)) if seconds else ""
    except (OverflowError, ValueError, OSError):
        return ""


def digest(entry: object) -> str:
    """Of a lock entry."""
    return hashlib.blake2b(json.dumps(entry, sort_keys=True).encode(), digest_size=16).hexdigest()


def seen(stamps: Iterable[Iterable[object]], site_packages: Iterable[str]) -> str:
    """A digest of conda-meta (``look.stamps``) and of the distributions in site-packages (``look.names``).

    The latter are left out where there is no Python.
    """
    distributions = sorted(name for name in site_packages if name.endswith((".dist-info", ".egg-info", ".egg-link")))
    text = json.dumps([[list(stamp) for stamp in stamps], distributions])
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def site_packages(prefix: str, python: str) -> str:
    """Where this version of Python in this environment has its packages."""
    return f"{prefix}/lib/python{'.'.join(python.split('.')[:2])}/site-packages"


def installed(names: Iterable[str]) -> dict[str, str]:
    """Name and version of each package, from the names of the files in conda-meta (``numpy-2.1.0-py311h1_0.json``)."""
    return dict(_installed(names))


def _installed(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        parts = name.removesuffix(".json").rsplit("-", 2)
        if name.endswith(".json") and len(parts) == 3:
            yield parts[0], parts[1]
