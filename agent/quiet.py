"""The short way: `agent apply`, `plan` and `verify` on a host where nothing changed since the last pass.

Asks the questions of the evidence again. If all answers are the same, says so, writes the status and is done; otherwise says nothing at all and
leaves everything to the full pass. Imports only what is built into the interpreter.
"""

from __future__ import annotations

import errno
import fcntl
import posix
import time

from agent import evidence

STATE = "/var/lib/agent"
SPEC = "/etc/agent/spec.yaml"

_VERBS = ("apply", "plan", "verify")
_QUIET = ("-q", "--quiet")
_PLAIN = ("--yes", "-y", "--detailed-exitcode")
"""Options that make no difference when there is nothing to do."""


def attempt(words: list[str], state: str = STATE) -> int | None:
    """The exit status when the evidence answers the command; None when the full way must be gone."""
    if not words or words[0] not in _VERBS or posix.geteuid() != 0:
        return None
    options = [word for word in words[1:] if word[:1] == "-"]
    paths = [word for word in words[1:] if word[:1] != "-"]
    if len(paths) > 1 or not all(option in (*_QUIET, *_PLAIN) or _is_patience(option) for option in options):
        return None
    spec = posix_path(paths[0]) if paths else SPEC
    found = evidence.load(f"{state}/evidence", spec)
    if found is None or not _holds(found, words[0], state):
        return None
    if not any(option in _QUIET for option in options):
        posix.write(1, found.words.encode())
    return 0


def _is_patience(option: str) -> bool:
    """Whoever holds the lock makes the short way end at once: how long to wait matters to the full one."""
    return option[:15] == "--lock-timeout=" and option[15:].isdigit()


def posix_path(path: str) -> str:
    """The path, absolute."""
    return path if path[:1] == "/" else f"{posix.getcwd()}/{path}"


def _holds(found: evidence.Evidence, verb: str, state: str) -> bool:
    """Under the lock, if nobody has it: whether everything is as it was. Then an apply also writes the status."""
    try:
        lock = posix.open(f"{state}/lock", posix.O_RDWR | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not found.holds():
            return False
        if verb == "apply":
            _write_status(found.status, state)
        return True
    except OSError:
        return False
    finally:
        posix.close(lock)


def _write_status(cut: tuple[bytes, bytes], state: str) -> None:
    """Replaces the status whole. It is a report, made anew by every pass: not worth waiting for the disk."""
    temporary = (
        f"{state}/.status.json.agent-new"  # as agent.host.durable calls it, so that what a killed run left is found
    )
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW
    descriptor = posix.open(temporary, flags, 0o644)
    try:
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode().join(cut)
        if posix.write(descriptor, text) != len(text):
            raise OSError(errno.ENOSPC, "the disk is full")
    finally:
        posix.close(descriptor)
    posix.rename(temporary, f"{state}/status.json")
