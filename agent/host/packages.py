"""The distribution's packages: read from its own records, changed by its own tools. apt-get(8) and dnf(8) behind one face."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.errors import HostError, TemporaryError
from agent.host import durable
from agent.host.programs import Finished, ended

if TYPE_CHECKING:
    from agent.host.look import Answer
    from agent.host.looks import Looks
    from agent.host.programs import Programs
    from agent.steps import AddRepository
    from agent.steps import Packages as Step

PATIENCE = 300
"""Seconds to wait for another program that holds a lock of the package system."""

_DPKG = "/var/lib/dpkg"
_LISTS = "/var/lib/apt/lists"
_LOCKS = (f"{_DPKG}/lock-frontend", f"{_DPKG}/lock", f"{_LISTS}/lock", "/var/cache/apt/archives/lock")
_CANDIDATES = "/run/agent/sources"
"""Where a source of packages is until apt has read it."""
_RPM = ("/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages")
_LABEL = "packages"
"""What progress is told under."""
_LONGEST = 3600.0
_FRESH = 86400.0
_ENVIRONMENT = {"NEEDRESTART_SUSPEND": "1", "APT_LISTCHANGES_FRONTEND": "none", "UCF_FORCE_CONFFOLD": "1"}
_OPTIONS = (
    *("-y", "-q", "-o", f"DPkg::Lock::Timeout={PATIENCE}", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Status-Fd=1"),
    *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
)
_STATUS = re.compile(r"^(?:dl|pm)status:([^:]*):([0-9.]+):(.*)$")
_UNKNOWN = re.compile(r"^E: (?:Unable to locate package (\S+)|Package '(\S+)' has no installation candidate)", re.M)
_ELSEWHERE = (
    "this distribution has MariaDB alone: say 'server: mariadb', or declare mysql.repository, such as MySQL's own"
)
_STALE_LISTS = (
    "404  Not Found",
    "Failed to fetch",
    "Hash Sum mismatch",
    "size mismatch",
    "has no installation candidate",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?", re.ASCII | re.IGNORECASE)


class Packages:
    """What is installed, parsed once for each change of the package database."""

    def __init__(self, looks: Looks, programs: Programs) -> None:
        self._looks = looks
        self._programs = programs
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._stamp: Answer = None
        self._versions: dict[str, str] = {}

    def family(self) -> str:
        """``apt`` or ``dnf``. Raises HostError when the host has neither."""
        if os.path.exists(f"{_DPKG}/status"):
            return "apt"
        if any(os.path.exists(path) for path in _RPM):
            return "dnf"
        raise HostError("this host has neither dpkg's nor rpm's database", hint="the agent knows apt and dnf")

    def version(self, name: str) -> str | None:
        """The installed version; None when it is not installed, or not wholly. Raises HostError."""
        with self._lock:
            path = f"{_DPKG}/status" if self.family() == "apt" else next(path for path in _RPM if os.path.exists(path))
            stamp = self._looks.ask("stamp", path)
            if stamp != self._stamp:
                self._versions = self._read(path)
                self._stamp = stamp
            return self._versions.get(name)

    def forget(self) -> None:
        """Nothing to forget: what was parsed is tied to the database's stamp, which is asked for every time."""

    def _read(self, path: str) -> dict[str, str]:
        if path.endswith("/status"):
            with open(path, encoding="utf-8", errors="replace") as file:
                return parse_status(file.read())
        # rpm's database can only be read by rpm: the one child process that a pass without changes may start
        form = "%{NAME}\\t%{VERSION}-%{RELEASE}\\n"
        done = self._programs.run(("rpm", "--query", "--all", "--queryformat", form))
        if done.status != 0:
            raise HostError(f"rpm {ended(done.status)}: {done.last_words()}")
        return dict(line.split("\t", 1) for line in done.output.splitlines() if "\t" in line)

    def perform(self, step: Step) -> None:
        """Installs and removes. Waits for other package managers; raises TemporaryError when they take too long, else HostError."""
        for name in (*step.install, *step.remove):
            if not _NAME.fullmatch(name):
                raise HostError(f"{name!r} is not the name of a package")
        with self._changing:
            tool = _Apt(self._programs) if self.family() == "apt" else _Dnf(self._programs)
            if step.install:
                tool.install(step.install)
            if step.remove:
                tool.remove(step.remove)

    def add_repository(self, step: AddRepository) -> None:
        """Raises TemporaryError when the repository cannot be reached, HostError when its signature is not believed; nothing is changed then."""
        with self._changing:
            _Apt(self._programs).add(step)


def parse_status(text: str) -> dict[str, str]:
    """Name and version of what is wholly installed, from dpkg's status file; a foreign one also as ``name:architecture``."""
    versions: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        if " ok installed\n" not in paragraph:
            continue
        found = {}
        for line in paragraph.split("\n"):
            field, colon, value = line.partition(": ")
            if colon and field in ("Package", "Status", "Version", "Architecture"):
                found[field] = value
        if found.get("Status", "").endswith(" ok installed") and "Package" in found:
            name, version = found["Package"], found.get("Version", "")
            versions[f"{name}:{found.get('Architecture', '')}"] = versions[name] = version
    return versions


def is_interrupted(status: str) -> bool:
    """Whether dpkg was interrupted: packages that are neither installed nor gone, which `dpkg --configure -a` finishes."""
    return bool(re.search(r"^Status: \S+ \S+ (?:half-configured|unpacked|triggers-\w+)$", status, re.M))


class _Apt:
    """One transaction of apt at a time."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._updated = False
        self._said = ""

    def install(self, names: tuple[str, ...]) -> None:
        self._heal()
        if _lists_age() > _FRESH:
            self._update(must=False)
        done = self._install(names)
        if done.status != 0 and not self._updated and _wants_update(done):
            self._update(must=True)
            done = self._install(names)
        unknown = _unknown(done)
        known = tuple(name for name in names if name not in unknown)
        if done.status != 0 and unknown and known:
            done = self._install(known)  # the others need not wait for a name that is misspelt
            if done.status == 0:
                raise _no_such(unknown)
        if done.status != 0:
            raise _no_such(unknown) if unknown else _failure("install", names, done)

    def remove(self, names: tuple[str, ...]) -> None:
        self._heal()
        done = self._run("apt-get", "--simulate", "remove", "--", *names)
        others = sorted(set(re.findall(r"^Remv (\S+)", done.output, re.M)) - set(names))
        if others:
            raise HostError(
                f"removing {', '.join(names)} would take {', '.join(others)} away too, so nothing is removed",
                hint=f"if that is meant: apt-get remove {' '.join(names)}",
            )
        if done.status == 0:
            done = self._apt("remove", *names)
        if done.status != 0:
            raise _failure("remove", names, done)

    def add(self, step: AddRepository) -> None:
        if _lists_age() > _FRESH:  # what is read below makes them look fresh
            self._update(must=False)
        self._say("reading the index of the new repository")
        durable.make_directory(_CANDIDATES, 0o700, os.geteuid(), os.getegid())
        candidate = f"{_CANDIDATES}/{os.path.basename(step.path)}"
        durable.replace(candidate, step.source.encode(), mode=0o600)
        try:
            alone = (f"Dir::Etc::SourceList={candidate}", "Dir::Etc::SourceParts=/dev/null")
            settings = (*alone, "APT::Get::List-Cleanup=0", "APT::Update::Error-Mode=any")
            done = self._apt("update", options=tuple(word for setting in settings for word in ("-o", setting)))
        finally:
            durable.remove(candidate)
        if done.status != 0:
            raise _not_believed(step, done)
        durable.replace(step.path, step.source.encode(), mode=0o644)

    def _install(self, names: tuple[str, ...]) -> Finished:
        return self._apt("install", *names, options=("--no-install-recommends", "--no-remove"))

    def _update(self, *, must: bool) -> None:
        self._say("reading the package lists")
        done = self._apt("update", options=("-o", "APT::Update::Error-Mode=any"))
        self._updated = True
        if must and done.status != 0:
            raise TemporaryError(
                f"apt-get update {ended(done.status)}: {_words(done)}",
                hint="look at the network and the package sources, then apply again",
            )

    def _heal(self) -> None:
        """Finishes what an interrupted dpkg left."""
        _wait_for_locks(self._say)
        with open(f"{_DPKG}/status", encoding="utf-8", errors="replace") as file:
            interrupted = is_interrupted(file.read())
        if interrupted or any(name.isdigit() for name in os.listdir(f"{_DPKG}/updates")):
            self._say("finishing what an interrupted dpkg left")
            self._run("dpkg", "--force-confdef", "--force-confold", "--configure", "-a")

    def _apt(self, verb: str, *names: str, options: tuple[str, ...] = ()) -> Finished:
        deadline = time.monotonic() + PATIENCE
        while True:
            _wait_for_locks(self._say)
            done = self._run("apt-get", *_OPTIONS, *options, verb, *(("--", *names) if names else ()))
            if done.status == 0 or not _locked(done) or time.monotonic() > deadline:
                return done
            time.sleep(1)

    def _run(self, *argv: str) -> Finished:
        return self._programs.run(
            argv, environment=_ENVIRONMENT, timeout=_LONGEST, on_line=self._listen, log_name="packages"
        )

    def _listen(self, line: str) -> None:
        if found := _STATUS.match(line):
            self._say(f"{float(found[2]):.0f} % {found[3]}")

    def _say(self, text: str) -> None:
        if text != self._said:
            self._programs.say(_LABEL, text)
        self._said = text


class _Dnf:
    """dnf waits for its own lock."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def _say(self, line: str) -> None:
        self._programs.say(_LABEL, line)

    def install(self, names: tuple[str, ...]) -> None:
        self._run("install", "--setopt=install_weak_deps=False", "--", *names)

    def remove(self, names: tuple[str, ...]) -> None:
        needing = self._programs.run(("rpm", "--erase", "--test", "--", *names))
        if needing.status != 0:
            raise HostError(
                f"{', '.join(names)} cannot be removed alone: {needing.last_words()}",
                hint=f"if the others may go as well: dnf remove {' '.join(names)}",
            )
        self._run("remove", "--setopt=clean_requirements_on_remove=False", "--", *names)

    def _run(self, verb: str, *words: str) -> None:
        argv = ("dnf", "--assumeyes", "--quiet", verb, *words)
        done = self._programs.run(argv, timeout=_LONGEST, on_line=self._say, log_name="packages")
        if done.status != 0:
            raise HostError(f"dnf {verb} {ended(done.status)}: {done.last_words()}")


def _lists_age() -> float:
    """Seconds since the package lists were last read; apt renews these directories, while the lists keep their sources' times."""
    newest = 0.0
    for path in (f"{_LISTS}/partial", _LISTS, "/var/lib/apt/periodic/update-success-stamp"):
        try:
            newest = max(newest, os.stat(path).st_mtime)
        except FileNotFoundError:
            pass
    try:
        empty = not any(name.endswith("Packages") or "_Packages." in name for name in os.listdir(_LISTS))
    except FileNotFoundError:
        empty = True
    return float("inf") if empty else time.time() - newest


def _wait_for_locks(say: Callable[[str], None]) -> None:
    """Until nobody holds a lock of dpkg or apt. Raises TemporaryError, naming the holder, when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while held := next((found for path in _LOCKS if (found := lock_holder(path))), None):
        say(f"waiting for {'the package lists' if 'lists' in held[0] else 'dpkg'}, locked by {held[1]}")
        if time.monotonic() > deadline:
            raise TemporaryError(
                f"{held[1]} has held {held[0]} for {PATIENCE} s",
                hint="wait for it to end, or look at what it waits for",
            )
        time.sleep(1)


def lock_holder(path: str) -> tuple[str, str] | None:
    """The path, and name and pid of the process that holds the lock on it (fcntl(2), F_GETLK); None when it is free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, fcntl.F_GETLK, request))
    finally:
        os.close(descriptor)
    if kind == fcntl.F_UNLCK:
        return None
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
    except OSError:
        name = "a process"
    return path, f"{name} ({pid})"


def _locked(done: Finished) -> bool:
    return "Could not get lock" in done.errors or "Unable to acquire the dpkg frontend lock" in done.errors


def _unknown(done: Finished) -> tuple[str, ...]:
    return tuple(dict.fromkeys(first or second for first, second in _UNKNOWN.findall(done.errors)))


def _wants_update(done: Finished) -> bool:
    return bool(_unknown(done)) or any(words in done.errors for words in _STALE_LISTS)


def _words(done: Finished) -> str:
    """apt's errors; of those the first says the most."""
    errors = [line[3:] for line in done.errors.splitlines() if line.startswith("E: ")]
    return errors[0][:400] if errors else done.last_words()


def _no_such(names: tuple[str, ...]) -> HostError:
    text = f"there is no package {', '.join(names)} in the package sources"
    hint = "look for it with apt-cache search, or add the source that has it"
    return HostError(text, hint=_ELSEWHERE if "mysql-server" in names else hint)


def _not_believed(step: AddRepository, done: Finished) -> HostError:
    words = next((line[3:] for line in done.errors.splitlines() if re.match("[EW]: .*(?:GPG|OpenPGP|sign)", line)), "")
    if words:
        text = f"the repository is not signed by {step.key}, so it is not used: {words[:600]}"
        return HostError(
            text,
            hint="name the key that its owner publishes; its fingerprint can be given as mysql.repository.fingerprint",
        )
    if _locked(done):
        return TemporaryError(f"apt-get update could not get its lock: {_words(done)}", hint="try again later")
    text = f"the repository cannot be read, so it is not used: {_words(done)}"
    return TemporaryError(text, hint="look at mysql.repository.uri and suite, and at the network")


def _failure(verb: str, names: tuple[str, ...], done: Finished) -> HostError:
    if _locked(done):
        return TemporaryError(f"apt-get {verb} could not get its lock: {_words(done)}", hint="try again later")
    if "remove is disabled" in done.errors:
        text = f"installing {', '.join(names)} would remove other packages, so nothing is installed"
        return HostError(text, hint=f"if that is meant: apt-get install {' '.join(names)}")
    text = f"apt-get {verb} {' '.join(names)} {ended(done.status)}: {_words(done)}"
    return HostError(text, hint="all it said is in packages.log in the agent's logs directory")
