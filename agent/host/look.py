"""Questions that can be asked of the host, and how each is answered.

A question is a plain tuple whose first member says what is asked; an answer is plain data too (numbers, text, bytes, None, tuples), so
that both can be kept with marshal. Whatever a kind reads, it reads through such questions, and therefore: when all questions of a pass that
found everything as wanted are answered the same again, everything still is as wanted (agent.evidence).

    ("file", path)        what stands there and the digest of its content; None when nothing does
    ("names", path)       the sorted names in a directory; None when it is not one
    ("stamp", path)       inode, size and time of change: for what is only ever replaced, or changes with each of its entries
    ("stamps", path)      name, size and time of change of everything in a directory
    ("unit", name)        load, active and sub state of a systemd unit; None when systemd does not answer
    ("rows", server, statement)   digest of the rows that a query gives; None when the server does not answer
    ("before", moment)    whether it is earlier than this second since the epoch
    ("hostname",)         the host's name
    ("address",)          the host's own addresses: those that packets to elsewhere leave from

This module and what it imports are the whole start-up cost of a pass that finds nothing to do, so it imports only what is built into the
interpreter, and the two that talk to a socket when they are asked.
"""

from __future__ import annotations

import errno
import posix
import stat
import time

try:
    from _blake2 import blake2b
except ImportError:  # an interpreter built without it
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Question = tuple[Any, ...]
    Answer = Any

LARGEST = 64 << 20
"""Bytes of a file that are digested; of a larger one only the size counts."""

_FLAGS = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR)
_NOT_READABLE_AS_FILE = (errno.ELOOP, errno.ENXIO, errno.ENODEV)


def answer_all(questions: list[Question]) -> list[Answer]:
    """The answers, in order. Units are asked for in one exchange, and the rows of one server over one connection."""
    answers: list[Answer] = [None] * len(questions)
    units, rows = [], []
    for index, question in enumerate(questions):
        what = question[0]
        if what == "file":
            answers[index] = file(question[1])
        elif what == "unit":
            units.append(index)
        elif what == "rows":
            rows.append(index)
        else:
            answers[index] = _OTHERS[what](*question[1:])
    if units:
        from agent.host.bus import unit_states

        states = unit_states([questions[index][1] for index in units])
        for index in units:
            answers[index] = states.get(questions[index][1])
    if rows:
        from agent.host.sql import digests as row_digests

        digests = row_digests([questions[index][1:] for index in rows])
        for index, digest in zip(rows, digests, strict=True):
            answers[index] = digest
    return answers


def file(path: str) -> Answer:
    """None, or (type and mode, uid, gid, links, digest): the digest is of a regular file's content or of a link's target; a directory has none.

    Permissions and content are read from one descriptor; the last component is never followed.
    """
    try:
        descriptor = posix.open(path, _FLAGS)
    except OSError as error:
        if error.errno in _GONE:
            return None
        if error.errno in _NOT_READABLE_AS_FILE:
            return _special(path)
        raise
    try:
        status = posix.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return (status.st_mode, status.st_uid, status.st_gid, 0, b"")
        digest = _digest(descriptor, status.st_size)
    finally:
        posix.close(descriptor)
    return (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, digest)


def digest(content: bytes) -> bytes:
    """The digest of a file's content, as ``file`` answers it."""
    return blake2b(content, digest_size=16).digest()


def _digest(descriptor: int, size: int) -> bytes:
    if size > LARGEST:
        return b"%d bytes" % size
    content = posix.read(descriptor, size + 1)
    if len(content) == size:
        return blake2b(content, digest_size=16).digest()
    whole = blake2b(content, digest_size=16)  # it grew, or the kernel gave less than was asked for
    while more := posix.read(descriptor, 1 << 20):
        whole.update(more)
    return whole.digest()


def _special(path: str) -> Answer:
    try:
        status = posix.lstat(path)
        target = posix.readlink(path).encode(errors="surrogateescape") if stat.S_ISLNK(status.st_mode) else b""
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    return (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, target)


def names(path: str) -> Answer:
    """The sorted names in a directory, or None."""
    try:
        return tuple(sorted(posix.listdir(path)))
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def stamp(path: str) -> Answer:
    """(inode, size, nanosecond of last change of content), or None. Follows no link."""
    try:
        status = posix.lstat(path)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def stamps(path: str) -> Answer:
    """The sorted (name, size, nanosecond of last change) of what is in a directory, or None."""
    try:
        directory = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            found = []
            with posix.scandir(directory) as entries:  # by descriptor: no path to walk for each of them
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.name, status.st_size, status.st_mtime_ns))
        finally:
            posix.close(directory)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    found.sort()
    return tuple(found)


def before(moment: int) -> bool:
    """Whether it is earlier than this second since the epoch."""
    return time.time() < moment


def hostname() -> str:
    return posix.uname().nodename


def address() -> tuple[str, ...]:
    """The host's own IPv4 and IPv6 address towards elsewhere; none of them where there is no route. Sends nothing."""
    import _socket

    found = []
    # addresses set aside for documentation (RFC 5737, RFC 3849): connecting a datagram socket only chooses the route
    for family, elsewhere in ((_socket.AF_INET, "192.0.2.1"), (_socket.AF_INET6, "2001:db8::1")):
        try:
            probe = _socket.socket(family, _socket.SOCK_DGRAM)
        except OSError:
            continue
        try:
            probe.connect((elsewhere, 9))
            found.append(probe.getsockname()[0])
        except OSError:
            pass
        finally:
            probe.close()
    return tuple(found)


_OTHERS: dict[str, Callable[..., Answer]] = {
    "names": names,
    "stamp": stamp,
    "stamps": stamps,
    "before": before,
    "hostname": hostname,
    "address": address,
}
