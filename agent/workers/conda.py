"""Makes a conda environment what a request asks for. Runs as the environment's owner, in a process of its own.

One request comes in as JSON on standard input; out come lines of JSON: ``{"progress": text}`` as often as there is
something to say, and at last ``{"result": ...}`` or ``{"error": {"type", "message", "hint", "temporary"}}``.

A request has a ``verb``: ``apply``, ``check`` (which packages are not as asked for; changes nothing, needs no
network) or ``remove``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.host import look, receipt
from agent.host.receipt import LINKED, VERIFIED, WORKING, Receipt
from agent.workers import pip
from agent.workers.problems import WorkError, explained

if TYPE_CHECKING:
    from rattler import PrefixRecord, RepoDataRecord

    from agent.workers.rattler_api import Channels

LOCK_SECONDS = 300
"""How long to wait for another worker in the same environment."""
COMPILE_SECONDS = 900

_speaking = threading.Lock()


@dataclass(frozen=True)
class Request:
    """What an environment must be: ``packages`` are match specs, ``pip`` requirements."""

    verb: str
    prefix: str
    cache: str
    channels: tuple[str, ...] = ()
    mirrors: tuple[tuple[str, tuple[str, ...]], ...] = ()
    alias: str = "https://conda.anaconda.org"
    packages: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()

    @property
    def specs(self) -> list[str]:
        """Match specs, with pip where something is asked of it."""
        from agent.workers.rattler_api import name_of

        extra = ["pip"] if self.pip and "pip" not in map(name_of, self.packages) else []
        return [*self.packages, *extra]


def main() -> None:
    """Ends the process: the library's threads make a normal exit of the interpreter crash now and then."""
    os.umask(0o022)
    status = 1
    try:
        _speak({"result": asyncio.run(work(_request(json.load(sys.stdin))))})
        status = 0
    except BaseException as error:  # a panic in the library is no Exception
        _speak({"error": _described(error)})
    os._exit(status)


async def work(request: Request) -> dict[str, Any]:
    """Does one request. Raises WorkError and whatever the library raises."""
    from agent.workers.rattler_api import Channels

    if os.geteuid() == 0:
        raise WorkError("environments are never made by root", hint="run this as the environment's owner")
    with contextlib.ExitStack() as stack:
        if request.verb == "remove":
            if not os.path.isdir(request.prefix):
                return {}
            stack.enter_context(_locked(request.prefix))
            result = await _remove(request.prefix, Channels((), (), request.alias, request.cache))
            _forget_cache(request)
            return result
        channels = Channels(request.channels, request.mirrors, request.alias, request.cache)
        if request.verb == "check":
            return {"unmet": _unmet(request, channels)}
        stack.enter_context(_locked(request.prefix))
        return await _apply(request, channels)


async def _apply(request: Request, channels: Channels) -> dict[str, Any]:
    from agent.workers import rattler_api

    prefix, specs = request.prefix, request.specs
    before = receipt.read(prefix) or Receipt()
    have, unreadable = rattler_api.installed(prefix)
    _say("solving")
    records, added_by_owner = await _solved(request, channels, before, have)
    there = {rattler_api.identity(record) for record in have}
    new = [record for record in records if rattler_api.identity(record) not in there]
    wanted = {record.name.normalized for record in records}
    gone = sorted({record.name.normalized for record in have} - wanted)
    held = wanted - added_by_owner
    asked = Receipt(WORKING, request.channels, request.packages, request.pip, tuple(sorted(held)))
    unfinished = before.phase == WORKING
    if new or gone or unfinished or unreadable:
        rattler_api.verify_local(new)
        if new and have:
            await _prefetch(channels, prefix, new, records)
        # those of the last request still count as asked for: a run that is cut short must not leave them as the owner's
        receipt.write(prefix, replace(asked, held=tuple(sorted(held | set(before.held)))))
        rattler_api.forget_unreadable(unreadable)
        await channels.link(records, prefix, specs, _say, anew=unfinished or bool(unreadable))
        now, _ = rattler_api.installed(prefix)
        _finish(prefix, [record for record in now if unfinished or rattler_api.identity(record) not in there])
    receipt.write(prefix, replace(asked, phase=LINKED, pip=tuple(dict.fromkeys((*request.pip, *before.pip)))))
    _apply_pip(request, before)
    if left := _unmet(request, channels):
        raise WorkError(f"everything was done and still not there: {', '.join(left)}")
    receipt.write(prefix, replace(asked, phase=VERIFIED, seen=_seen(prefix, bool(request.pip))))
    return {
        "linked": sorted(record.name.normalized for record in new),
        "removed": gone,
        "kept": sorted(added_by_owner),
    }


async def _solved(
    request: Request, channels: Channels, before: Receipt, have: Sequence[PrefixRecord]
) -> tuple[list[RepoDataRecord], set[str]]:
    """The packages to have, and those among them that stay because the owner added them by hand.

    What was added gives way only if nothing meets the request beside it.
    """
    from agent.workers.rattler_api import name_of

    asked = set(map(name_of, request.specs))
    added = sorted({record.name.normalized for record in have} - set(before.held) - asked)
    if added:
        try:
            return await channels.solve([*request.specs, *added], have), set(added)
        except WorkError as error:
            if error.kind != "solve":
                raise
    records = await channels.solve(request.specs, have)
    if added:
        stay = {record.name.normalized for record in records}
        if lost := [name for name in added if name not in stay]:
            _say(f"gives way to what was asked for: {', '.join(lost)}")
    return records, set()


async def _prefetch(
    channels: Channels, prefix: str, new: Sequence[RepoDataRecord], records: Sequence[RepoDataRecord]
) -> None:
    """Brings new packages into the cache by linking them somewhere else first.

    The library unlinks the old ones before it downloads: a download that fails would cost an environment that works.
    """
    scratch = f"{prefix}/{receipt.DIRECTORY}/prefetch"
    shutil.rmtree(scratch, ignore_errors=True)
    names = {record.name.normalized for record in new}
    python = [record for record in records if record.name.normalized == "python" and "python" not in names]
    try:
        await channels.link([*new, *python], scratch, (), _say, doing="fetching")
    except BaseException:
        await _clear(scratch)
        raise
    shutil.rmtree(scratch, ignore_errors=True)


async def _clear(scratch: str) -> None:
    """Links that were under way when another package failed are still made after that: the directory must stay gone for a moment."""
    gone = 0
    for _ in range(100):
        shutil.rmtree(scratch, ignore_errors=True)
        await asyncio.sleep(0.05)
        gone = 0 if os.path.exists(scratch) else gone + 1
        if gone == 6:
            return


def _finish(prefix: str, changed: Sequence[PrefixRecord]) -> None:
    """Lets others read what is installed, and compiles the Python files that came: a kernel starts in half the time."""
    meta = f"{prefix}/conda-meta"
    names = os.listdir(meta)
    for name in names:
        if name.endswith(".json"):
            os.chmod(f"{meta}/{name}", 0o644)
    sources = [f"{prefix}/{file}" for record in changed for file in record.files if str(file).endswith(".py")]
    python = f"{prefix}/bin/python"
    if sources and os.path.exists(python):
        _say(f"compiling {len(sources)} files")
        parallel = () if receipt.installed(names).get("python", "").startswith("2.") else ("-j", "0")
        # a file that does not compile (a template, another version's) is no failure, nor is doing without
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [python, "-E", "-s", "-m", "compileall", "-q", *parallel, "-i", "-"],
                check=False,
                input="\n".join(sources),
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=COMPILE_SECONDS,
            )


def _apply_pip(request: Request, before: Receipt) -> None:
    from agent.workers.rattler_api import installed

    records, _ = installed(request.prefix)
    owned = pip.owned_by_conda(str(file) for record in records for file in record.files)
    wanted = set(map(pip.name_of, request.pip))
    if left := sorted(set(map(pip.name_of, before.pip)) - wanted - set(owned)):
        _say(f"pip uninstalls {', '.join(left)}")
        pip.uninstall(request.prefix, left)
    if missing := pip.unmet(request.prefix, request.pip):
        pip.install(request.prefix, missing, owned, _say)


def _unmet(request: Request, channels: Channels) -> list[str]:
    from agent.workers import rattler_api

    records, _ = rattler_api.installed(request.prefix)
    missing = rattler_api.unmet(records, request.specs, channels)
    return missing + [f"pip:{each}" for each in pip.unmet(request.prefix, request.pip)]


def _seen(prefix: str, with_pip: bool) -> str:
    stamps = look.stamps(f"{prefix}/conda-meta") or ()
    python = receipt.installed(name for name, *_ in stamps).get("python")
    names = look.names(receipt.site_packages(prefix, python)) if with_pip and python else ()
    return receipt.seen(stamps, names or ())


async def _remove(prefix: str, channels: Channels) -> dict[str, Any]:
    """Takes away what packages own and what came from it. What else lies there is somebody's, and stays."""
    from agent.workers import rattler_api

    records, unreadable = rattler_api.installed(prefix)
    owned = pip.owned_by_conda(str(file) for record in records for file in record.files)
    pip.uninstall(prefix, sorted(set(pip.distributions(prefix)) - set(owned)))
    rattler_api.forget_unreadable(unreadable)
    _say(f"removing {len(records)} packages")
    await channels.link((), prefix, (), _say)
    for directory, _, files in os.walk(prefix):
        if os.path.basename(directory) == "__pycache__":
            for name in files:
                os.unlink(f"{directory}/{name}")
    for own in ("conda-meta", receipt.DIRECTORY):
        shutil.rmtree(f"{prefix}/{own}", ignore_errors=True)
    for name in (".condarc", "CACHEDIR.TAG"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{prefix}/{name}")
    stays = 0
    for directory, below, files in os.walk(prefix, topdown=False):
        stays += len(files) + sum(os.path.islink(f"{directory}/{name}") for name in below)
        with contextlib.suppress(OSError):  # not empty; or the last one, in a directory that belongs to somebody else
            os.rmdir(directory)
    if stays:
        _say(f"{stays} files that no package owns stay in {prefix}")
    return {"stays": stays}


def _forget_cache(request: Request) -> None:
    """With the last environment beside it goes what packages were unpacked for all of them."""
    beside = os.path.dirname(request.prefix)
    if not any(os.path.isdir(f"{beside}/{name}/conda-meta") for name in _names(beside)):
        for name in _names(request.cache):
            shutil.rmtree(f"{request.cache}/{name}", ignore_errors=True)
            with contextlib.suppress(OSError):
                os.unlink(f"{request.cache}/{name}")


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


@contextlib.contextmanager
def _locked(prefix: str) -> Iterator[None]:
    """One worker at a time in one environment; the kernel lets go of the lock when its holder dies."""
    try:
        os.makedirs(f"{prefix}/{receipt.DIRECTORY}", exist_ok=True)
        lock = os.open(f"{prefix}/{receipt.DIRECTORY}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise WorkError(
            f"{prefix} cannot be made or written: {error.strerror}",
            hint="its parent directory must belong to the account",
        ) from error
    try:
        give_up, waiting = time.monotonic() + LOCK_SECONDS, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise WorkError(
                        f"another worker has been busy in {prefix} for {LOCK_SECONDS} s", temporary=True
                    ) from None
                if not waiting:
                    _say("waiting for another worker in this environment")
                waiting = True
                time.sleep(0.1)
        yield
    finally:
        os.close(lock)


def _request(record: dict[str, Any]) -> Request:
    if record.get("verb") not in ("apply", "check", "remove"):
        raise WorkError(f"no verb is called {record.get('verb')!r}")
    return Request(
        verb=record["verb"],
        prefix=record["prefix"],
        cache=record["cache"],
        channels=tuple(record.get("channels", ())),
        mirrors=tuple((channel, tuple(urls)) for channel, urls in record.get("mirrors", ())),
        alias=record.get("alias", Request.alias),
        packages=tuple(record.get("packages", ())),
        pip=tuple(record.get("pip", ())),
    )


def _described(error: BaseException) -> dict[str, Any]:
    told = explained(error)
    hint = told.hint
    if not hint and "No space left on device" in str(told):
        hint = "make room for the environment or the package cache; what was begun is repaired then"
    return {"type": told.kind, "message": str(told), "hint": hint, "temporary": told.temporary}


def _say(text: str) -> None:
    _speak({"progress": text})


def _speak(line: dict[str, Any]) -> None:
    with _speaking, contextlib.suppress(OSError):  # nobody listens any more: the work is finished all the same
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
