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
import urllib.parse
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from agent.workers.archives import Pin, canonical, identity, pinned, stand_in
from agent.workers.distributions import (
    State,
    distributions,
    name_of,
    owned_by_conda,
    probe,
    replaced,
    unmet,
)
from agent.workers.pip_program import ELSEWHERE, Conflict, Index, Program
from agent.workers.problems import WorkError

__all__ = (
    "Index", "canonical", "distributions", "install", "name_of", "owned_by_conda", "replaced", "resolve", "unmet",
)  # fmt: skip

WRITTEN = 315532800
"""1980-01-01: the time of every file that pip writes."""
_ATTEMPTS = 4
_REPORTS = [22, 2]
"""The first pip that tells what it would install."""
_CHOOSES = [20, 2], [21, 0]
"""Between these, Python 2 gets the resolver that heeds constraints only when asked."""
_UNHASHABLE = re.compile(r"(?:^|@\s*)(?:git|hg|svn|bzr)\+", re.IGNORECASE)

Say = Callable[[str], None]


# ---- choosing


def resolve(
    prefix: str,
    requirements: Sequence[str],
    owned: Mapping[str, str],
    keep: Sequence[str],
    say: Say,
    *,
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
                kind="pip",
                about=(each,),
                hint="name a package, or the address of an archive: 'name @ https://...'",
            )
    state = probe(prefix, requirements, pinned(keep), owned)
    _refuse_overlap(state, owned)
    if not state.unmet:
        return []
    say("pip chooses packages")
    stay = {name: version for name, version in state.stay.items() if name not in owned}
    with (index or Index()).program(prefix) as pip:
        found = _chosen(pip, requirements, state, stay)
    for pin in found:
        if pin.name in owned:
            raise WorkError(
                f"pip would replace {pin.name} {owned[pin.name]}, which conda brought, by {pin.version or pin.url}",
                kind="pip",
                about=(pin.name,),
                hint=ELSEWHERE,
            )
    return [str(pin) for pin in sorted(found, key=lambda each: each.name)]


def _refuse_overlap(state: State, owned: Mapping[str, str]) -> None:
    for each in state.unmet:
        name = name_of(each)
        if name in owned:
            raise WorkError(
                f"pip requirement {each!r} asks for another {name} than conda's {owned[name]}",
                kind="pip", about=(each,), hint=ELSEWHERE,
            )  # fmt: skip


def _chosen(pip: Program, requirements: Sequence[str], state: State, stay: Mapping[str, str]) -> list[Pin]:
    """Versions to ``stay`` give way where they are to blame for a conflict; all of them, when it is not clear which."""
    for attempt in range(_ATTEMPTS):
        try:
            return _tried(pip, requirements, state, stay)
        except Conflict as error:
            if not stay or set(error.about) & state.exact.keys():
                raise
            named = stay.keys() & set(error.about) if attempt < _ATTEMPTS - 2 else set()
            stay = {name: version for name, version in stay.items() if named and name not in named}
    raise AssertionError("the last attempt keeps nothing")


def _tried(pip: Program, requirements: Sequence[str], state: State, stay: Mapping[str, str]) -> list[Pin]:
    wanted = pip.write("requirements.txt", [*(pip.index.archives.links() if pip.index.offline else ()), *requirements])
    versions = sorted({**stay, **state.exact}.items())
    constraints = pip.write("constraints.txt", [f"{name}=={version}" for name, version in versions])
    if list(state.pip) < _REPORTS:
        return _downloaded(pip, requirements, state, ["-c", constraints, "-r", wanted])
    report = f"{pip.directory}/report.json"
    pip.run(
        "choosing packages",
        "install",
        "--dry-run",
        "--report",
        report,
        "-c",
        constraints,
        "-r",
        wanted,
        owned=state.exact,
    )
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


def _downloaded(pip: Program, requirements: Sequence[str], state: State, words: Sequence[str]) -> list[Pin]:
    """The same with a pip that tells no more than what it downloads: what conda owns is shown to it as archives without content."""
    stubs, fresh = f"{pip.directory}/stubs", f"{pip.directory}/archives"
    for path in (stubs, fresh):
        os.makedirs(path, exist_ok=True)
    for name, version in state.exact.items():
        stand_in(stubs, name, version, state.extras.get(name, ""))
    heed = _CHOOSES[0] <= list(state.pip) < _CHOOSES[1] and state.python[0] == 2
    more = ["--use-feature=2020-resolver"] if heed else []
    pip.run("choosing packages", "download", "-d", fresh, "--find-links", stubs, *more, *words, owned=state.exact)
    direct = {}
    for each in requirements:
        address = each.partition(";")[0].partition("@")[2].strip().partition("#")[0]
        direct[urllib.parse.unquote(posixpath.basename(urllib.parse.urlsplit(address).path))] = address
    pins = []
    for name in os.listdir(fresh):
        distribution, version = identity(f"{fresh}/{name}")
        if distribution not in state.exact:
            url, digest = direct.get(name, ""), pip.index.archives.keep(f"{fresh}/{name}")
            pins.append(Pin(distribution, (f"sha256:{digest}",), "" if url else version, url))
    return pins


# ---- installing


def install(prefix: str, pins: Sequence[str], say: Say, *, index: Index | None = None) -> None:
    """Installs exactly these archives and nothing else. The files are the same every time, their times included, unless an archive of sources builds otherwise.

    What is not in the cache is downloaded first, so that nothing is begun which cannot be had. Raises WorkError.
    """
    if not pins:
        return
    exact = [Pin.of(line) for line in sorted(pins)]
    with (index or Index()).program(prefix) as pip:
        archives = pip.index.archives
        _fetch(pip, exact, say)
        say(f"pip installs {_counted(exact)}")
        paths = {pin: archives.path(pin) or "" for pin in exact}
        here = [replace(pin, url=Path(paths[pin]).as_uri()) if pin.url else pin for pin in exact]
        wanted = pip.write("install.txt", [*archives.links(exact), *here])
        pip.run(
            "installing", "install", "--no-deps", "--require-hashes", "--no-compile", "--no-warn-script-location", "-r", wanted,
            alone=all(path.endswith(".whl") for path in paths.values()),  # building from sources may need more
        )  # fmt: skip
    addresses = {pin.name: pin.url for pin in exact}
    for site in _site_packages(prefix):
        for name in _names(site):
            found = re.fullmatch(r"([^/]+?)-[^/-]+(?:-py[0-9.]+)?\.(?:dist|egg)-info", name)
            if found and canonical(found[1]) in addresses:
                _note_address(f"{site}/{name}", addresses[canonical(found[1])])
                _settle(prefix, f"{site}/{name}")


def _fetch(pip: Program, pins: Sequence[Pin], say: Say) -> None:
    archives = pip.index.archives
    missing = [pin for pin in pins if not archives.sound(pin)]
    if not missing:
        return
    if pip.index.offline:
        raise WorkError(
            f"not in the cache: {', '.join(f'{pin.name} {pin.version or pin.url}' for pin in missing)}",
            kind="pip",
            temporary=True,
            about=tuple(pin.name for pin in missing),
            hint="it is offline: apply once with the network",
        )
    say(f"pip downloads {_counted(missing)}")
    wanted, fresh = pip.write("download.txt", missing), f"{pip.directory}/fresh"
    pip.run("downloading", "download", "--no-deps", "--require-hashes", "-d", fresh, "-r", wanted)
    for name in os.listdir(fresh):
        archives.keep(f"{fresh}/{name}")
    if left := [pin.name for pin in missing if archives.path(pin) is None]:
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


def _counted(pins: Sequence[Pin]) -> str:
    return f"{len(pins)} package{'s' if len(pins) != 1 else ''}"


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
