"""What the owner added to a build by hand goes along into the next one: packages of pip and R, data, scripts.

What was added is told by the list of files that the build was finished with. Nothing is reached through a link, nothing that is there
already is touched, and nothing is taken from the old build: files are linked, or copied where they cannot be or must differ.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import filecmp
import itertools
import os
import posixpath
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.host import builds
from agent.workers.archives import canonical

LARGEST_TEXT = 1 << 20
"""Bytes; a longer file is looked at no further than its first line."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)

_DISTRIBUTION = re.compile(
    r"(lib/python[^/]+/site-packages/([^/]+?)-([^/-]+)(?:-py[0-9.]+)?\.(?:dist-info|egg-info))(?:/|$)"
)
_IN_PYTHON = re.compile(r"lib/python([0-9]+\.[0-9]+)[a-z]*/(?:site-packages/)?[^/]+")
_R_LIBRARY = "lib/R/library/"
_REWRITTEN = re.compile(
    r"^bin/|\.(?:pth|egg-link|pc)$|(?:^|/)(?:direct_url|kernel)\.json$|^etc/conda/(?:de)?activate\.d/|^etc/conda/env_vars\.d/"
)
"""Files in which the old prefix stands for the environment; in others it is what their owner wrote."""


@dataclass(frozen=True)
class Carried:
    """``files`` came along; ``lost`` could not: distributions and R packages with the reason, paths of anything else."""

    files: list[str]
    lost: list[str]


@dataclass(frozen=True)
class _Package:
    """What comes along together or not at all; files that belong to nothing have no ``name``."""

    name: str
    version: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Move:
    """From one build to the next."""

    old: str
    new: str
    pythons: tuple[str, str]
    """Major and minor version of Python in each; empty without one."""
    rs: tuple[str, str]
    """The same of R."""


def listed(prefix: str) -> list[str]:
    """Every file and link in a prefix, relative to it, sorted; without conda's records and byte-code, which are made anew."""
    found: list[str] = []
    for directory, below, names in os.walk(prefix):
        within = "" if directory == prefix else f"{directory[len(prefix) + 1 :]}/"
        links = [name for name in below if os.path.islink(f"{directory}/{name}")]
        below[:] = [name for name in below if name != "__pycache__" and f"{within}{name}" != "conda-meta"]
        here = set(names)
        # Python 2 keeps it beside its source
        kept = (name for name in names if not (name.endswith((".pyc", ".pyo")) and name[:-1] in here))
        found += [within + name for name in itertools.chain(links, kept)]
    return sorted(found)


def carry(old: str, new: str, finished_with: Iterable[str], say: Callable[[str], None]) -> Carried:
    """Takes files that came to ``old`` after it was finished to ``new``; below lib/pythonX.Y and lib/R/library only where that version is the same.

    A package of which any version is in ``new`` does not come; when that is another one it is told as lost. Raises OSError
    when there is no room.
    """
    known = set(finished_with)
    added = [path for path in listed(old) if path not in known]
    if not added:
        return Carried([], [])
    say(f"taking along {len(added)} files that were added by hand")
    move = _Move(
        old, new, (_version(old, "python"), _version(new, "python")), (_version(old, "r-base"), _version(new, "r-base"))
    )
    files: list[str] = []
    lost: set[str] = set()
    there = _distributions(new)
    for package in _packages(old, added):
        obstacle = _obstacle(package, move, there)
        if obstacle is not None:
            lost |= {f"{package.name} {package.version} ({obstacle})".replace("  ", " ")} if obstacle else set()
            continue
        for path in package.files:
            if _misses_version(path, move):
                found = _IN_PYTHON.match(path)
                lost.add(found[0] if found else path)
            elif (came := _take(move, path)) is not None:
                files += [path] if came else []
                lost |= set() if came else {path}
    if lost:
        say(f"stays behind in {old}: {', '.join(sorted(lost)[:10])}{' ...' if len(lost) > 10 else ''}")
    return Carried(sorted(files), sorted(lost))


# ---- what belongs together


def _packages(old: str, added: Sequence[str]) -> Iterator[_Package]:
    """Distributions and R packages that were added, with those of their files that were; at last everything else."""
    left = dict.fromkeys(added)
    marks = [(match, path) for path in added if (match := _DISTRIBUTION.match(path))]
    for (root, name, version), found in itertools.groupby(marks, lambda each: each[0].groups()):
        own = dict.fromkeys((*(path for _, path in found), *_record(old, root)))
        yield _taken(left, canonical(name), version, own)
    in_r = [path for path in left if path.startswith(_R_LIBRARY) and path.count("/") > 3]
    for name, paths in itertools.groupby(in_r, lambda path: path.split("/")[3]):
        yield _taken(left, name, "", paths)
    yield _Package("", "", tuple(left))


def _taken(left: dict[str, None], name: str, version: str, paths: Iterable[str]) -> _Package:
    mine = tuple(path for path in paths if path in left)
    for path in mine:
        del left[path]
    return _Package(name, version, mine)


def _record(old: str, root: str) -> Iterator[str]:
    """The files that a distribution says are its own: RECORD (PEP 376), or installed-files.txt of setuptools."""
    for name, base in (("RECORD", posixpath.dirname(root)), ("installed-files.txt", root)):
        with (
            contextlib.suppress(OSError, csv.Error),
            open(f"{old}/{root}/{name}", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            yield from (posixpath.normpath(f"{base}/{row[0]}") for row in csv.reader(file) if row)


def _obstacle(package: _Package, move: _Move, there: dict[str, str]) -> str | None:
    """Why a package cannot come; None when it can, nothing where its like is there already."""
    if not package.name or not package.files:
        return None
    if package.files[0].startswith(_R_LIBRARY):
        if os.path.lexists(f"{move.new}/{_R_LIBRARY}{package.name}"):
            return ""
        return None if move.rs[0] == move.rs[1] else f"it is for R {move.rs[0]}"
    now = there.get(package.name)
    if now is not None:
        return "" if now == package.version else f"{now} is there"
    return None if move.pythons[0] == move.pythons[1] else f"it is for Python {move.pythons[0]}"


def _misses_version(path: str, move: _Move) -> bool:
    if found := _IN_PYTHON.match(path):
        return found[1] != move.pythons[1]
    return path.startswith(_R_LIBRARY) and move.rs[0] != move.rs[1]


def _distributions(prefix: str) -> dict[str, str]:
    """Version of each distribution in a prefix, from the names of their directories."""
    site = f"lib/python{_version(prefix, 'python')}/site-packages"
    found = (_DISTRIBUTION.match(f"{site}/{name}") for name in _names(f"{prefix}/{site}"))
    return {canonical(match[2]): match[3] for match in found if match}


def _version(prefix: str, package: str) -> str:
    version = builds.installed(_names(f"{prefix}/conda-meta")).get(package, "")
    return ".".join(version.split(".")[:2])


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


# ---- one file


def _take(move: _Move, path: str) -> bool | None:
    """True when it came, False when it could not; None when the same is there already."""
    directory, name = posixpath.split(path)
    try:
        with _directory(move.old, directory) as source, _directory(move.new, directory, make=True) as target:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                text = os.readlink(name, dir_fd=source)
                os.symlink(os.fsdecode(_moved(os.fsencode(text), move)), name, dir_fd=target)
            elif stat.S_ISREG(status.st_mode):
                _take_file(move, path, source, target)
            else:
                return False
    except FileExistsError:
        return None if _same(f"{move.old}/{path}", f"{move.new}/{path}") else False
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return False
    return True


def _take_file(move: _Move, path: str, source: int, target: int) -> None:
    name = posixpath.basename(path)
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    with open(reading, "rb") as file:
        head = _head(move, path, file.read(LARGEST_TEXT + 1))
        if head is None:
            try:
                os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
                return
            except OSError as error:
                if error.errno not in _CANNOT_LINK:
                    raise
        replaced, instead = head or (0, b"")
        file.seek(replaced)
        writing = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target
        )
        try:
            with open(writing, "wb") as copy:
                copy.write(instead)
                shutil.copyfileobj(file, copy, 1 << 20)
                copy.flush()
                status = os.fstat(reading)
                os.fchmod(writing, stat.S_IMODE(status.st_mode) & 0o777)
                os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
        except BaseException:
            os.unlink(name, dir_fd=target)
            raise


def _head(move: _Move, path: str, start: bytes) -> tuple[int, bytes] | None:
    """How many bytes at the beginning of a file are replaced, and by what; None when it stays as it is."""
    if _REWRITTEN.search(path) and len(start) <= LARGEST_TEXT and b"\0" not in start:
        length = len(start)
    elif start.startswith(b"#!"):
        length = start.find(b"\n") + 1 or len(start)
    else:
        return None
    instead = _moved(start[:length], move)
    return None if instead == start[:length] else (length, instead)


def _moved(text: bytes, move: _Move) -> bytes:
    """With the new prefix wherever the old one stands, as a whole path or the beginning of one."""
    new = os.fsencode(move.new)
    return re.sub(re.escape(os.fsencode(move.old)) + rb"(?![A-Za-z0-9._-])", lambda _: new, text)


@contextlib.contextmanager
def _directory(root: str, path: str, *, make: bool = False) -> Iterator[int]:
    """A descriptor of a directory below root, which is reached through no link. Raises OSError."""
    descriptor = os.open(root, _DIRECTORY)
    try:
        for name in path.split("/") if path else ():
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=descriptor)
            below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _same(one: str, other: str) -> bool:
    try:
        if os.path.islink(one) or os.path.islink(other):
            return os.path.islink(one) and os.path.islink(other) and os.readlink(one) == os.readlink(other)
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False
