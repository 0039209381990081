"""The archives that pip's packages are installed from, kept by their digests beside conda's, and the pins that name them.

A pin is one line of a requirements file of pip: ``rich==13.7.0 --hash=sha256:...`` or ``rich @ https://... --hash=sha256:...``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import tarfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from agent.workers.problems import WorkError

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:==(?P<version>[^\s;]+)|\s*@\s*(?P<url>\S+))"
    r"(?P<hashes>(?:\s+--hash=sha(?:256|384|512):[0-9a-f]+)+)"
)
_LEFT_SECONDS = 86400
"""After which a directory that a killed worker left is taken away."""


def canonical(name: str) -> str:
    """A distribution's name in its one spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Pin:
    """One exact archive of one distribution: of a version, or at an address."""

    name: str
    hashes: tuple[str, ...]
    """As ``sha256:...``; any of them will do."""
    version: str = ""
    url: str = ""

    def __str__(self) -> str:
        what = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return " ".join((what, *(f"--hash={each}" for each in self.hashes)))

    @classmethod
    def of(cls, line: str) -> Pin:
        """Raises WorkError for a line that is not exact, or has no hash."""
        found = _PIN.fullmatch(line.strip())
        if found is None:
            raise WorkError(
                f"{line!r} does not name one exact archive",
                kind="pip",
                hint="a pin looks like 'rich==13.7.0 --hash=sha256:...'; write the lock file anew",
            )
        hashes = tuple(each.removeprefix("--hash=") for each in found["hashes"].split())
        return cls(canonical(found["name"]), hashes, found["version"] or "", found["url"] or "")


class Archives:
    """A directory of archives, each in one of its own that is called as its SHA-256."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def path(self, pin: Pin) -> str | None:
        """The archive of a pin, if it is there."""
        for each in pin.hashes:
            algorithm, _, digest = each.partition(":")
            for name in _names(f"{self._directory}/{digest}") if algorithm == "sha256" else ():
                return f"{self._directory}/{digest}/{name}"
        return None

    def sound(self, pin: Pin) -> bool:
        """Whether the archive of a pin is there and is that one; what is not goes, such as a file that a loss of power left empty."""
        path = self.path(pin)
        if path is None or _digest(path) == os.path.basename(os.path.dirname(path)):
            return path is not None
        shutil.rmtree(os.path.dirname(path), ignore_errors=True)
        return False

    def keep(self, path: str) -> str:
        """Moves a file in, from the same file system, unless it is there already. Its SHA-256."""
        digest = _digest(path)
        os.makedirs(f"{self._directory}/{digest}", exist_ok=True)
        if not _names(f"{self._directory}/{digest}"):
            os.replace(path, f"{self._directory}/{digest}/{os.path.basename(path)}")
        return digest

    def links(self, pins: Iterable[Pin] | None = None) -> list[str]:
        """Lines of a requirements file that let pip find archives: those of the pins, or all."""
        if pins is None:
            directories = [f"{self._directory}/{name}" for name in _names(self._directory)]
        else:
            directories = [os.path.dirname(path) for pin in pins if (path := self.path(pin))]
        return [f"--find-links {shlex.quote(each)}" for each in directories]

    def forget(self, keep: Iterable[str], *, dry_run: bool = False) -> tuple[list[str], int]:
        """Removes every archive that none of the pins names. The names of those, and their bytes."""
        kept = {each.partition(":")[2] for line in keep for each in re.findall(r"--hash=(\S+)", line)}
        names, size = [], 0
        for digest in set(_names(self._directory)) - kept:
            directory = f"{self._directory}/{digest}"
            for name in _names(directory):
                names.append(name)
                size += os.lstat(f"{directory}/{name}").st_size
            if not dry_run:
                shutil.rmtree(directory, ignore_errors=True)
        return sorted(names), size


@contextlib.contextmanager
def scratch(directory: str) -> Iterator[str]:
    """A directory to work in below this one, on the same file system: what pip unpacks may not fit into memory, where /tmp may be.

    What a killed worker left there a day ago goes.
    """
    os.makedirs(directory, exist_ok=True)
    for name in _names(directory):
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(f"{directory}/{name}").st_mtime > _LEFT_SECONDS:
                shutil.rmtree(f"{directory}/{name}")
    path = f"{directory}/{os.getpid()}-{time.monotonic_ns()}"
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def identity(path: str) -> tuple[str, str]:
    """Canonical name and version of an archive of a distribution. Raises WorkError for a file that is none."""
    try:
        if path.endswith(".whl"):
            name, version = os.path.basename(path).split("-")[:2]
            return canonical(name), version
        headers = HeaderParser().parsestr(_metadata(path))
        return canonical(headers["Name"]), headers["Version"]
    except (OSError, ValueError, KeyError, TypeError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise WorkError(
            f"{os.path.basename(path)} is not an archive of a Python package: {error}", kind="pip"
        ) from error


def _metadata(path: str) -> str:
    """PKG-INFO of a source archive, which has one directory at its top."""
    if path.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if re.fullmatch(r"[^/]+/PKG-INFO", name):
                    return archive.read(name).decode(errors="replace")
        raise ValueError("it has no PKG-INFO")
    with tarfile.open(path) as source:
        for member in source:
            if re.fullmatch(r"(?:\./)?[^/]+/PKG-INFO", member.name) and (file := source.extractfile(member)):
                return file.read(1 << 20).decode(errors="replace")
    raise ValueError("it has no PKG-INFO")


def stand_in(directory: str, name: str, version: str, extras: str) -> None:
    """Writes a wheel without content: for an old pip, which cannot be told what is installed, in place of what conda owns.

    ``extras`` are its headers about extras, which have requirements of their own.
    """
    stem = f"{re.sub(r'[-_.]+', '_', name)}-{version}"
    meta = f"{stem}.dist-info"
    with zipfile.ZipFile(Path(directory, f"{stem}-999999999-py2.py3-none-any.whl"), "w") as archive:
        archive.writestr(f"{meta}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extras}\n")
        archive.writestr(
            f"{meta}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nBuild: 999999999\nTag: py2-none-any\nTag: py3-none-any\n",
        )
        archive.writestr(f"{meta}/RECORD", f"{meta}/METADATA,,\n{meta}/WHEEL,,\n{meta}/RECORD,,\n")


def pinned(pins: Iterable[str]) -> Mapping[str, str]:
    """Version by name of the pins that say one; what is no pin is left out."""
    found = (_PIN.fullmatch(pin.strip()) for pin in pins)
    return {canonical(each["name"]): each["version"] for each in found if each and each["version"]}


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
