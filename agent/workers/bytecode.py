"""Byte-code for all that is Python in a build, the same on every host. A kernel starts in half the time with it.

Byte-code says where its source was and what time that had. So it is made as if the source lay at a place that is the same for all builds of all
environments (Python puts in the right one at each import), and files that linking wrote anew get a fixed time. Then what one build has need not be
compiled for another. Runs the environment's own Python, so never as root.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import re
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SECONDS = 900
"""For all files together; those that are not reached are compiled by whoever imports them."""
SHOWN = "/<environment>"
"""Where byte-code says that its source is."""
LINKED = 315532800
"""1980-01-01: the time of files whose package says none."""
_QUERY_SECONDS = 60

# Both run in the environment's Python, 2.7 to current.
_QUERY = """
import sys
try:
    from _frozen_importlib_external import MAGIC_NUMBER as magic
except ImportError:
    from imp import get_magic
    magic = get_magic()
tag = getattr(getattr(sys, "implementation", None), "cache_tag", "")
print('[[%d, %d], "%s", %s]' % (sys.version_info[0], sys.version_info[1], tag, list(bytearray(magic))))
"""
# In: one line for each file, of its source, where the byte-code goes, and the source's name in it, with NUL between.
_COMPILE = r"""
import os, py_compile, sys
decoded = getattr(os, "fsdecode", str)
# Which texts a process knows shows in byte-code, and no file shall tell which ones came before it. To 3.10 the names in modules that
# compiling loads count, and any text of one character; 3.12 merges sets of texts that it has seen before.
known = [(getattr(sys, "intern", str)(chr(each)), bytes(bytearray([each]))) for each in range(256)]
if (3,) < sys.version_info < (3, 11):
    import codecs, encodings.aliases, unicodedata
    for name in sorted(set(encodings.aliases.aliases.values()) | {"idna", "punycode"}):
        try:
            codecs.lookup(name)
        except Exception:  # this Python lacks it, in one of many ways
            pass
twice = sys.version_info[:2] == (3, 12)
for line in getattr(sys.stdin, "buffer", sys.stdin).read().splitlines():
    source, target, shown = map(decoded, line.split(b"\0"))
    try:
        if twice:
            with open(source, "rb") as file:
                compile(file.read(), shown, "exec", dont_inherit=True)
        py_compile.compile(source, target + ".new", shown, True)
        os.rename(target + ".new", target)
    except Exception:  # no Python of this version, as some tests of packages are: it goes without
        try:
            os.unlink(target + ".new")
        except OSError:
            pass
"""


@dataclass(frozen=True)
class _Python:
    """What the byte-code of an environment's Python is like."""

    version: tuple[int, int]
    tag: str
    magic: bytes

    @property
    def library(self) -> str:
        return f"lib/python{self.version[0]}.{self.version[1]}"

    def target(self, source: str) -> str:
        """Where the byte-code of a source goes: PEP 3147; beside the source before that."""
        if self.version < (3, 2):
            return f"{source}c"
        directory, name = os.path.split(source)
        return f"{directory}/__pycache__/{name.removesuffix('.py')}.{self.tag}.pyc"

    def header(self, source: os.stat_result) -> bytes:
        """How byte-code begins that was made of this source (PEP 552)."""
        flags = bytes(4) if self.version >= (3, 7) else b""
        size = struct.pack("<I", source.st_size & 0xFFFFFFFF) if self.version >= (3, 3) else b""
        return self.magic + flags + struct.pack("<I", int(source.st_mtime) & 0xFFFFFFFF) + size


def settle_times(prefix: str) -> None:
    """Gives files that linking wrote anew, for the prefix is in them, the time of their package instead of now's."""
    for record in _records(prefix):
        moment = record.get("timestamp")
        seconds = moment / 1000 if isinstance(moment, int | float) and 0 < moment < time.time() * 1000 else LINKED
        for path in record.get("paths_data", {}).get("paths", ()):
            if path.get("prefix_placeholder") or "entry_point" in str(path.get("path_type")):
                _settle(f"{prefix}/{path.get('_path')}", int(seconds))


def compile_all(prefix: str, others: Sequence[str], say: Callable[[str], None]) -> None:
    """Compiles every file of Python's library and packages, on all cores.

    Byte-code that a package brought stays; that of files which one of the ``others`` (builds, the likeliest first) has too is linked from there. What
    does not compile (a template, code for another version) is no failure, nor is an environment without Python, nor running out of time.
    """
    python = _python(prefix)
    if python is None:
        return
    brought = {path for record in _records(prefix) for path in record.get("files", ()) if str(path).endswith(".pyc")}
    others = [each for each in others if _same_python(each, prefix)]
    wanted = []
    for source, status in _sources(f"{prefix}/{python.library}"):
        within, header = source[len(prefix) + 1 :], python.header(status)
        target = python.target(source)
        if target[len(prefix) + 1 :] in brought and _made_of(target, header, python):
            continue
        shown = f"{SHOWN}/{within}"
        if any(_linked(f"{each}/{within}", source, python, header, shown) for each in others):
            continue
        wanted.append((status.st_size, source, target, shown))
    if wanted:
        say(f"compiling {len(wanted)} files")
        wanted.sort(reverse=True)  # large ones first: no process is left with one alone
        _compile(prefix, [names for _, *names in wanted])


def _compile(prefix: str, files: Sequence[Sequence[str]]) -> None:
    """Deals the files out to as many processes as there are cores."""
    for directory in {os.path.dirname(target) for _, target, _ in files}:
        os.makedirs(directory, exist_ok=True)
    count = min(len(os.sched_getaffinity(0)), len(files))
    give_up = time.monotonic() + SECONDS
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(_started(prefix, files[number::count])) for number in range(count)]
        try:
            for process in running:
                process.wait(max(0.1, give_up - time.monotonic()))
            return
        except subprocess.TimeoutExpired:
            pass
    for _, target, _ in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{target}.new")


@contextlib.contextmanager
def _started(prefix: str, files: Sequence[Sequence[str]]) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as lines:
        lines.writelines(os.fsencode("\0".join(names)) + b"\n" for names in files)
        lines.seek(0)
        process = subprocess.Popen(
            _program(prefix, _COMPILE),
            stdin=lines,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_variables(),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _python(prefix: str) -> _Python | None:
    try:
        done = subprocess.run(
            _program(prefix, _QUERY), check=True, capture_output=True, timeout=_QUERY_SECONDS, env=_variables()
        )
        (major, minor), tag, magic = json.loads(done.stdout)
        return _Python((int(major), int(minor)), str(tag), bytes(magic))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


def _program(prefix: str, code: str) -> list[str]:
    """Without site-packages: nothing of them is needed, and their .pth files would run."""
    return [f"{prefix}/bin/python", "-B", "-s", "-S", "-c", code]


def _variables() -> dict[str, str]:
    """Sets in byte-code are in the order of their hashes before Python 3.11."""
    return {"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def _sources(library: str) -> Iterator[tuple[str, os.stat_result]]:
    for directory, _, names in os.walk(library):
        for name in names:
            # a line end would break the list that the compiler reads; nothing imports such a name
            if name.endswith(".py") and "\n" not in name:
                status = os.lstat(f"{directory}/{name}")
                if stat.S_ISREG(status.st_mode):
                    yield f"{directory}/{name}", status


def _linked(before: str, source: str, python: _Python, header: bytes, shown: str) -> bool:
    """Whether the byte-code of this source could be taken from another build, where the same is at ``before``."""
    try:
        if not _equal(before, source):
            return False
        code = python.target(before)
        with open(os.open(code, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", 0) as file:
            content = file.read()
        # what a program compiled by itself has another name in it
        if not content.startswith(header) or os.fsencode(shown) not in content:
            return False
        _link(code, python.target(source))
    except OSError:
        return False
    return True


def _link(one: str, other: str) -> None:
    """In most cases one call of the kernel: there are thousands of files."""
    try:
        os.link(one, other, follow_symlinks=False)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(other), exist_ok=True)
        os.link(one, other, follow_symlinks=False)
    except FileExistsError:
        os.unlink(other)
        os.link(one, other, follow_symlinks=False)


def _equal(one: str, other: str) -> bool:
    first, second = os.lstat(one), os.lstat(other)
    if (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino):
        return True
    like = (
        stat.S_ISREG(first.st_mode) and int(first.st_mtime) == int(second.st_mtime) and first.st_size == second.st_size
    )
    return like and filecmp.cmp(one, other, shallow=False)


def _made_of(code: str, header: bytes, python: _Python) -> bool:
    """Whether byte-code is of the source with this header, or of a kind that does not go by times."""
    try:
        with open(code, "rb") as file:
            start = file.read(len(header))
    except OSError:
        return False
    by_hash = python.version >= (3, 7) and start[:4] == python.magic and start[4:8] != bytes(4)
    return start == header or by_hash


def _same_python(one: str, other: str) -> bool:
    """Whether both have one build of Python: another may compile the same source to other code."""
    found = [
        re.findall(r"(?:^|\n)(python-[^-\n]+-[^-\n]+\.json)", "\n".join(_names(f"{each}/conda-meta")))
        for each in (one, other)
    ]
    return bool(found[0]) and found[0] == found[1]


def _records(prefix: str) -> Iterator[Mapping[str, Any]]:
    """What conda-meta says of each package; without what is no record."""
    for name in _names(f"{prefix}/conda-meta"):
        if name.endswith(".json"):
            try:
                with open(f"{prefix}/conda-meta/{name}", encoding="utf-8") as file:
                    record = json.load(file)
            except (OSError, ValueError):
                continue
            if isinstance(record, dict):
                yield record


def _settle(path: str, seconds: int) -> None:
    """Only of a file of this prefix's own: one that is linked has its time from its package already."""
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.utime(path, (seconds, seconds), follow_symlinks=False)


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
