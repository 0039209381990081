"""Packages that pip puts into an environment beside conda's. Runs the environment's own Python, so never as root.

What conda brought is never touched: its records would lie. Everything else is chosen once, with the hash of each archive (``resolve``), and then
installed exactly so, with the same files as a result on every host (``install``).
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import posixpath
import re
import stat
import subprocess
import tempfile
import urllib.parse
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from agent.workers.archives import Archives, Pin, canonical, identity, pinned, scratch, stand_in
from agent.workers.distributions import (
    State, distributions, name_of, owned_by_conda, probe, replaced, run_python, unmet,
)  # fmt: skip
from agent.workers.problems import WorkError, temporary_words

__all__ = (
    "Index", "canonical", "distributions", "install", "name_of", "owned_by_conda", "replaced", "resolve", "unmet",
)  # fmt: skip

SECONDS = 1800
WRITTEN = 315532800
"""1980-01-01: the time of every file that pip writes."""
ELSEWHERE = "conda's packages keep their versions; ask for it under 'packages'"
_ATTEMPTS = 4
_REPORTS = [22, 2]
"""The first pip that tells what it would install."""
_CHOOSES = [20, 2], [21, 0]
"""Between these, Python 2 gets the resolver that heeds constraints only when asked."""
_DEPENDS = re.compile(r"^\s*(\S+ \S+|\S+) depends on (.+)$", re.MULTILINE)
_CONSTRAINED = re.compile(r"The user requested \(constraint\) ([A-Za-z0-9._-]+?)\s*=+")
_UNHASHABLE = re.compile(r"(?:^|@\s*)(?:git|hg|svn|bzr)\+", re.IGNORECASE)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Index:
    """How pip gets archives; from where is said by the machine's own configuration of pip. ``cache`` is a directory to keep them in."""

    cache: str = ""
    offline: bool = False
    timeout: float = 60.0
    """Seconds without an answer, for one connection."""
    retries: int = 2

    @property
    def archives(self) -> Archives:
        return Archives(f"{self.cache}/pip/archives")

    @contextlib.contextmanager
    def at_work(self) -> Iterator[tuple[Index, str]]:
        """With a cache in any case, and a directory to work in."""
        with contextlib.ExitStack() as stack:
            cache = self.cache or stack.enter_context(tempfile.TemporaryDirectory())
            yield replace(self, cache=cache), stack.enter_context(scratch(f"{cache}/pip/work"))

    def options(self) -> list[str]:
        alone = ["--no-index"] if self.offline else []
        return [
            *alone, "--cache-dir", f"{self.cache}/pip/cache",
            "--retries", str(self.retries), "--timeout", str(max(1, round(self.timeout))),
        ]  # fmt: skip


class _Conflict(WorkError):
    """Nothing meets all requirements; ``names`` are the constraints to blame."""

    names: frozenset[str] = frozenset()


# ---- choosing


def resolve(
    prefix: str,
    requirements: Sequence[str],
    owned: Mapping[str, str],
    keep: Sequence[str],
    say: Say,
    index: Index | None = None,
) -> list[str]:
    """Pins, sorted, of everything that pip must install to meet the requirements beside what conda ``owned``, in a prefix with nothing else in it.

    ``keep`` are pins whose versions stay as long as they meet the requirements. Raises WorkError of kind ``pip``: for what conda has in another
    version, what has no hash (a repository), what cannot be had.
    """
    if not requirements:
        return []
    for each in requirements:
        if _UNHASHABLE.search(each) or each.startswith("-") or "\n" in each:
            raise WorkError(
                f"pip requirement {each!r} does not stand for an archive with a hash",
                kind="pip", about=(each,), hint="name a package, or the address of an archive: 'name @ https://...'",
            )  # fmt: skip
    state = probe(prefix, requirements, pinned(keep), owned)
    _refuse_overlap(state, owned)
    if not state.unmet:
        return []
    say("pip chooses packages")
    stay = {name: version for name, version in state.stay.items() if name not in owned}
    with (index or Index()).at_work() as (ready, directory):
        for attempt in range(_ATTEMPTS):
            try:
                found = _chosen(prefix, requirements, state, stay, ready, directory)
                break
            except _Conflict as error:
                if not stay:
                    raise
                named = error.names & stay.keys() if attempt < _ATTEMPTS - 2 else frozenset()
                stay = {name: version for name, version in stay.items() if named and name not in named}
    for pin in found:
        if pin.name in owned:
            raise WorkError(
                f"pip would replace {pin.name} {owned[pin.name]}, which conda brought, by {pin.version or pin.url}",
                kind="pip", about=(pin.name,), hint=ELSEWHERE,
            )  # fmt: skip
    return [str(pin) for pin in sorted(found, key=lambda each: each.name)]


def _refuse_overlap(state: State, owned: Mapping[str, str]) -> None:
    for each in state.unmet:
        name = name_of(each)
        if name in owned:
            raise WorkError(
                f"pip requirement {each!r} asks for another {name} than conda's {owned[name]}",
                kind="pip", about=(each,), hint=ELSEWHERE,
            )  # fmt: skip


def _chosen(
    prefix: str, requirements: Sequence[str], state: State, stay: Mapping[str, str], index: Index, directory: str
) -> list[Pin]:
    wanted, constraints = f"{directory}/requirements.txt", f"{directory}/constraints.txt"
    lines = [*(index.archives.links() if index.offline else ()), *requirements]
    Path(wanted).write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    versions = {**stay, **state.exact}
    Path(constraints).write_text(
        "".join(f"{name}=={version}\n" for name, version in sorted(versions.items())), encoding="utf-8"
    )
    words = [*index.options(), "-c", constraints, "-r", wanted]
    if list(state.pip) < _REPORTS:
        return _downloaded(prefix, words, requirements, state, index, directory)
    report = f"{directory}/report.json"
    done = _pip(prefix, directory, "install", "--dry-run", "--quiet", "--report", report, *words)
    _check(done, "choosing packages", index, state)
    content = json.loads(Path(report).read_text(encoding="utf-8"))
    return [_pin_of(each) for each in content["install"]]


def _pin_of(record: Mapping[str, Any]) -> Pin:
    """One entry of pip's installation report. Raises WorkError for what has no hash."""
    name, version = canonical(record["metadata"]["name"]), str(record["metadata"]["version"])
    address = record["download_info"]
    archive = address.get("archive_info") or {}
    hashes = archive.get("hashes") or dict([str(archive.get("hash", "=")).split("=", 1)])
    digest = hashes.get("sha256")
    if not digest:
        raise WorkError(
            f"there is no SHA-256 of {name} {version} from {address['url']}",
            kind="pip", about=(name,), hint="name an archive instead of a directory or repository; the index must tell hashes",
        )  # fmt: skip
    direct = bool(record.get("is_direct"))
    return Pin(name, (f"sha256:{digest}",), "" if direct else version, address["url"] if direct else "")


def _downloaded(
    prefix: str, words: list[str], requirements: Sequence[str], state: State, index: Index, directory: str
) -> list[Pin]:
    """The same with a pip that tells no more than what it downloads: what conda owns is shown to it as archives without content."""
    stubs, fresh = f"{directory}/stubs", f"{directory}/archives"
    for path in (stubs, fresh):
        os.makedirs(path, exist_ok=True)
    for name, version in state.exact.items():
        stand_in(stubs, name, version, state.extras.get(name, ""))
    heed = (
        ["--use-feature=2020-resolver"] if _CHOOSES[0] <= list(state.pip) < _CHOOSES[1] and state.python[0] == 2 else []
    )
    done = _pip(prefix, directory, "download", "-d", fresh, "--find-links", stubs, *heed, *words)
    _check(done, "choosing packages", index, state)
    direct = {
        urllib.parse.unquote(posixpath.basename(urllib.parse.urlsplit(address).path)): address
        for each in requirements
        if (address := each.partition(";")[0].partition("@")[2].strip().partition("#")[0])
    }
    pins = []
    for name in os.listdir(fresh):
        distribution, version = identity(f"{fresh}/{name}")
        if distribution not in state.exact:
            url = direct.get(name, "")
            pins.append(
                Pin(distribution, (f"sha256:{index.archives.keep(f'{fresh}/{name}')}",), "" if url else version, url)
            )
    return pins


# ---- installing


def install(prefix: str, pins: Sequence[str], say: Say, index: Index | None = None) -> None:
    """Installs exactly these archives and nothing else. The files are the same every time, their times included, unless an archive of sources builds otherwise.

    What is not in the cache is downloaded first, so that nothing is begun which cannot be had. Raises WorkError.
    """
    if not pins:
        return
    exact = [Pin.of(line) for line in sorted(pins)]
    with (index or Index()).at_work() as (ready, directory):
        _fetch(prefix, exact, ready, directory, say)
        say(f"pip installs {_counted(exact)}")
        paths = {pin: ready.archives.path(pin) or "" for pin in exact}
        here = [replace(pin, url=Path(paths[pin]).as_uri()) if pin.url else pin for pin in exact]
        wanted = f"{directory}/install.txt"
        lines = [*ready.archives.links(exact), *map(str, here)]
        Path(wanted).write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
        # building from sources may need other archives
        alone = replace(ready, offline=ready.offline or all(path.endswith(".whl") for path in paths.values()))
        done = _pip(
            prefix, directory, "install", "--no-deps", "--require-hashes", "--no-compile", "--no-warn-script-location",
            "--progress-bar", "off", *alone.options(), "-r", wanted,
        )  # fmt: skip
        _check(done, "installing", ready, None)
    addresses = {pin.name: pin.url for pin in exact}
    for site in _site_packages(prefix):
        for name in _names(site):
            found = re.fullmatch(r"([^/]+?)-[^/-]+(?:-py[0-9.]+)?\.(?:dist|egg)-info", name)
            if found and canonical(found[1]) in addresses:
                _note_address(f"{site}/{name}", addresses[canonical(found[1])])
                _settle(prefix, f"{site}/{name}")


def _fetch(prefix: str, pins: Sequence[Pin], index: Index, directory: str, say: Say) -> None:
    missing = [pin for pin in pins if index.archives.path(pin) is None]
    if not missing:
        return
    if index.offline:
        raise WorkError(
            f"not in the cache: {', '.join(f'{pin.name} {pin.version or pin.url}' for pin in missing)}",
            kind="pip", temporary=True, about=tuple(pin.name for pin in missing), hint="apply once with the network, or set offline to false",
        )  # fmt: skip
    say(f"pip downloads {_counted(missing)}")
    wanted, fresh = f"{directory}/download.txt", f"{directory}/fresh"
    Path(wanted).write_text("".join(f"{pin}\n" for pin in missing), encoding="utf-8")
    done = _pip(
        prefix, directory, "download", "--no-deps", "--require-hashes", "--progress-bar", "off", "-d", fresh,
        *index.options(), "-r", wanted,
    )  # fmt: skip
    _check(done, "downloading", index, None)
    for name in os.listdir(fresh):
        index.archives.keep(f"{fresh}/{name}")
    if left := [pin.name for pin in missing if index.archives.path(pin) is None]:
        raise WorkError(f"pip did not download {', '.join(left)}", kind="pip")


def _note_address(record: str, url: str) -> None:
    """Lets a distribution say where it came from, not where its archive was kept here (PEP 610)."""
    path = f"{record}/direct_url.json"
    if not url or not os.path.isfile(path):
        return
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    text = json.dumps({**content, "url": url}, sort_keys=True).encode()
    Path(path).write_bytes(text)
    digest = urlsafe_b64encode(sha256(text).digest()).rstrip(b"=").decode()
    name = f"{os.path.basename(record)}/direct_url.json"
    lines = Path(record, "RECORD").read_text(encoding="utf-8").splitlines()
    lines = [f"{name},sha256={digest},{len(text)}" if each.startswith(f"{name},") else each for each in lines]
    Path(record, "RECORD").write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")


def _settle(prefix: str, record: str) -> None:
    """Gives the files of a distribution, none outside of the prefix, one time."""
    for name, base in (("RECORD", os.path.dirname(record)), ("installed-files.txt", record)):
        with (
            contextlib.suppress(OSError),
            open(f"{record}/{name}", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            for row in csv.reader(file):
                path = posixpath.normpath(f"{base}/{row[0]}") if row else ""
                with contextlib.suppress(OSError):
                    if path.startswith(f"{prefix}/") and stat.S_ISREG(os.lstat(path).st_mode):
                        os.utime(path, (WRITTEN, WRITTEN), follow_symlinks=False)


def _site_packages(prefix: str) -> list[str]:
    libraries = (f"{prefix}/lib/{name}/site-packages" for name in _names(f"{prefix}/lib") if name.startswith("python"))
    return [each for each in libraries if os.path.isdir(each)]


# ---- pip


def _pip(prefix: str, directory: str, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return run_python(prefix, ["-m", "pip", words[0], "--no-input", *words[1:]], "", SECONDS, directory)
    except subprocess.TimeoutExpired as error:
        raise WorkError(
            f"pip {words[0]} took more than {SECONDS} s and was stopped", kind="pip", temporary=True
        ) from error


def _check(done: subprocess.CompletedProcess[str], doing: str, index: Index, state: State | None) -> None:
    """Raises WorkError with pip's own words when it failed."""
    if not done.returncode:
        return
    words = done.stdout + done.stderr
    if os.environ.get("DEBUG_PIP"):
        print(words)
    told = "; ".join(line.removeprefix("ERROR: ") for line in words.splitlines() if line.startswith("ERROR"))
    told = (told or "; ".join(words.strip().splitlines()[-3:]) or "no words")[:1000]
    constrained = frozenset(map(canonical, _CONSTRAINED.findall(words)))
    clash = constrained & (state.exact.keys() if state else set())
    temporary = temporary_words(words)
    if clash:
        found = _DEPENDS.findall(words)
        asking = "; ".join(
            f"{who} needs {what}" for who, what in found if canonical(re.split("[^A-Za-z0-9._-]", what)[0]) in clash
        )
        have = ", ".join(f"{name} {state.exact[name]}" for name in sorted(clash)) if state else ""
        raise _Conflict(
            f"pip: {asking or told}, and conda has {have}", kind="pip", about=tuple(sorted(clash)), hint=ELSEWHERE
        )
    if index.offline:
        raise WorkError(
            f"pip, {doing} offline: {told}",
            kind="pip",
            temporary=True,
            hint="what is not in the cache needs the network",
        )
    if temporary or state is None:
        raise WorkError(f"pip, {doing}: {told}", kind="pip", temporary=temporary)
    conflict = _Conflict(f"pip, {doing}: {told}", kind="pip")
    conflict.names = constrained
    raise conflict


def _counted(pins: Sequence[Pin]) -> str:
    return f"{len(pins)} package{'s' if len(pins) != 1 else ''}"


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
