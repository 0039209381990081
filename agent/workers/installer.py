"""Runs an installer of Miniforge, Miniconda or Anaconda, which makes an environment by itself. Runs as the environment's owner, never as root.

The program is fetched whole and is run only if it is the very file that its digest says. A download that failed is begun anew the next time; one
that is whole stays in the cache. The options, ``-b -p PREFIX``, are those of conda's constructor, which makes all three.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from agent.workers import space
from agent.workers.problems import WorkError

LARGEST = 4 << 30
"""Bytes; the largest of Anaconda's has 1.1 GiB."""
ANSWER_SECONDS = 60.0
"""How long a server may be silent."""
DOWNLOAD_SECONDS = 3600.0
RUN_SECONDS = 3600.0
_PIECE = 1 << 20
_LAST_LINES, _LINE = 8, 300
_SAY_SECONDS = 0.5
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_OTHERS = ("BASH_ENV", "CONDA_", "ENV", "LD_", "MAMBA_", "PIP_", "PYTHON", "_CE_")
"""How variables begin that would make an installer look at another Python, or at somebody's settings."""

Say = Callable[[str], None]


def run(url: str, digest: str, prefix: str, cache: str, say: Say) -> None:
    """Makes ``prefix``, which must not exist, by the installer at ``url``.

    ``digest`` is ``sha256:...``, or ``md5:...`` for an old archive that has no other. Raises WorkError; then nothing is left at ``prefix``.
    """
    if os.geteuid() == 0:
        raise WorkError("an installer is never run by root", hint="run this as the environment's owner")
    if os.path.lexists(prefix):
        raise WorkError(f"{prefix} exists already, and an installer makes a new directory only")
    program = fetch(url, digest, cache, say)
    try:
        _run(program, _name(url), prefix, say)
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        raise


def fetch(url: str, digest: str, cache: str, say: Say) -> str:
    """The path of the whole file with this digest, fetched where the cache has it not. Raises WorkError."""
    kind, _, expected = digest.partition(":")
    if kind not in ("sha256", "md5"):
        raise WorkError(f"an installer is checked by sha256 or md5, not by {kind!r}")
    if kind == "md5":
        say(f"{_name(url)} is checked by its MD5 alone, which a forged file can have, too")
    directory = f"{cache}/installers"
    path = f"{directory}/{expected}.sh"
    os.makedirs(directory, exist_ok=True)
    if os.path.isfile(path) and _digest(path, kind) == expected:
        return path
    # of workers that were killed: no more than one environment, and so one worker, has an installer
    for name in os.listdir(directory):
        if name.startswith(".new-"):
            os.unlink(f"{directory}/{name}")
    descriptor, scratch = tempfile.mkstemp(prefix=".new-", dir=directory)
    try:
        os.close(descriptor)
        with open(scratch, "wb") as file:
            found = _download(url, kind, file, say)
        if found != expected:
            raise WorkError(
                f"{url} has the {kind} {found}, not {expected}: it was not run",
                hint="check the address, and take the digest from where the installer's publisher names it",
            )
        os.replace(scratch, path)
    except OSError as error:
        raise WorkError(f"{_name(url)} cannot be kept in {directory}: {error.strerror}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)
    return path


def _download(url: str, kind: str, file: IO[bytes], say: Say) -> str:
    """Writes what is at the address to the file, and returns its digest."""
    total = hashlib.new(kind, usedforsecurity=False)
    try:
        with contextlib.closing(_opened(url)) as answer:
            length = answer.headers["Content-Length"]
            size = int(length) if length and length.isdigit() else None
            _check_room(url, size or 0, os.path.dirname(file.name))
            written = 0
            for piece in _pieces(answer, url, size, say):
                total.update(piece)
                written += len(piece)
                file.write(piece)
    except urllib.error.HTTPError as error:
        raise WorkError(
            f"{url} cannot be had: the server answers {error.code} {error.reason}", temporary=error.code in _TEMPORARY
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        again = url.startswith("http") and "CERTIFICATE_VERIFY" not in str(reason)
        raise WorkError(f"{url} cannot be had: {reason}", temporary=again) from error
    if size is not None and written != size:
        raise WorkError(f"{url} broke off after {written:,} of {size:,} bytes", temporary=True)
    return total.hexdigest()


def _opened(url: str) -> Any:
    """The answer of a web server, or a local file: certificates are verified, proxies are those of the surroundings."""
    if not url.startswith(("https://", "http://", "file:///")):
        raise WorkError(f"an installer comes from https://, http:// or file:///, not from {url}")
    request = urllib.request.Request(url, headers={"User-Agent": "agent", "Accept-Encoding": "identity"})  # noqa: S310 - looked at above
    return urllib.request.urlopen(request, timeout=ANSWER_SECONDS)  # noqa: S310 - the same


def _pieces(answer: Any, url: str, size: int | None, say: Say) -> Iterator[bytes]:
    """Says now and then how far it is. Raises WorkError for too much and for too slow."""
    started = said = time.monotonic()
    got = 0
    while piece := answer.read1(_PIECE):
        got += len(piece)
        if got > LARGEST:
            raise _too_large(url, got)
        now = time.monotonic()
        if now - started > DOWNLOAD_SECONDS:
            raise WorkError(f"{url} was not there whole after {DOWNLOAD_SECONDS:.0f} s", temporary=True)
        if now - said > _SAY_SECONDS:
            said = now
            say(f"fetching {_name(url)}: {got >> 20}{f' of {size >> 20}' if size else ''} MiB")
        yield piece


def _check_room(url: str, size: int, directory: str) -> None:
    """Before the first byte. Environments are beside the cache."""
    if size > LARGEST:
        raise _too_large(url, size)
    system = os.statvfs(directory)
    needed = size * (1 + space.UNPACKED)
    space.require_disk(needed, system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize, directory)


def _too_large(url: str, size: int) -> WorkError:
    return WorkError(f"{url} has {size:,} bytes or more, and an installer has at most {LARGEST:,}")


def _run(program: str, name: str, prefix: str, say: Say) -> None:
    """The account's home is a scratch directory: no settings of its own are read there, and none are left there."""
    say(f"running {name}")
    words: deque[str] = deque(maxlen=_LAST_LINES)
    with tempfile.TemporaryDirectory(prefix="installer-") as home:
        process = subprocess.Popen(
            ["/bin/sh", program, "-b", "-p", prefix],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=home,
            env=_environment(home),
            start_new_session=True,
        )
        listener = threading.Thread(target=_listen, args=(process.stdout, words, say), daemon=True)
        listener.start()
        try:
            status = process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise WorkError(
                f"the installer {name} did not end within {RUN_SECONDS:.0f} s and was stopped", temporary=True
            ) from None
        listener.join(5)
    if status:
        said = "; ".join(words) or "no words"
        raise WorkError(f"the installer {name} exited {status}: {said}", hint=_hint(said))
    if not os.path.isdir(f"{prefix}/conda-meta"):
        raise WorkError(f"the installer {name} exited 0 and made no environment at {prefix}")


def _listen(output: Iterable[str], words: deque[str], say: Say) -> None:
    said = 0.0
    for line in output:
        text = line.rsplit("\r", 1)[-1].strip()[:_LINE]
        if text:
            words.append(text)
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                say(text)


def _hint(words: str) -> str:
    return "make room for environments (agent env clean)" if "No space left on device" in words else ""


def _environment(home: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    return {**kept, "HOME": home, "PATH": "/usr/local/bin:/usr/bin:/bin", "CONDA_REGISTER_ENVS": "false"}


def _digest(path: str, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def _name(url: str) -> str:
    return url.rsplit("/", 1)[-1] or url
