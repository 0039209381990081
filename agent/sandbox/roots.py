"""Root file systems of throw-away hosts: made once, kept in a cache, found again by what they were made from.

The cache is /var/cache/agent, or $AGENT_CACHE. A root is a pile of layers, topmost first: a Debian made by
debootstrap(8), and on it what commands added. Each layer is complete or absent: it is built under another name and
renamed at the end, while whoever else wants it waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import HostError, UsageError
from agent.sandbox import cgroups, mounts, nspawn, sources
from agent.sandbox.nspawn import Bind
from agent.sandbox.programs import require
from agent.sandbox.signals import shielded, unwind_on_sigterm

_RECIPE = "1"
"""Part of every key: raise it when a base is made in another way."""
_PACKAGES = [
    "acl",
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "nftables",
    "openssl",
    "passwd",
    "procps",
    "python3",
    "python3-mysqldb",
    "python3-systemd",
    "python3-venv",
    "strace",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
]
_UNWANTED = {"python3-mysqldb"}
"""What a root of the rolling release goes without: its mysql-server refuses to stand beside it."""
_UNUSED = 12 * 3600
"""Seconds after which a root that was not asked for again makes room. No throw-away host runs for as long."""
_ARCHIVES = Path("var/cache/apt/archives")
_FINISH = """
apt-get -qq update
apt-get -qq -y dist-upgrade
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
"""


def _silent(_line: str) -> None:
    pass


@dataclass(frozen=True)
class Root:
    """A complete root: its layers, topmost first, and the key that stands for everything they were made from."""

    suite: str
    layers: tuple[Path, ...]
    key: str


def cache() -> Path:
    """The directory that holds roots and packages; made when it is not there, for root alone."""
    path = Path(os.environ.get("AGENT_CACHE") or "/var/cache/agent")
    for folder in (path, path / "roots"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.resolve()


def base_root(suite: str = "bookworm", *, packages: Sequence[str] = (), tell: Callable[[str], None] = _silent) -> Root:
    """A minimal Debian that boots, with what the agent's installation needs and ``packages`` on top.

    Takes about a minute the first time: ``tell`` is then called with a line for the user. Raises HostError when a
    program is missing or debootstrap fails.
    """
    if suite not in (*sources.SUITES, sources.ROLLING):
        raise UsageError(f"{suite}: no such suite", hint=f"suites that work: {', '.join(sources.SUITES)}")
    require("debootstrap", "systemd-nspawn", "mount", "umount")
    wanted = sorted({*_PACKAGES, *packages} - (_UNWANTED if suite == sources.ROLLING else set()))
    key = _digest(_RECIPE, suite, os.uname().machine, *wanted, _FINISH)
    final = cache() / "roots" / f"{suite}-{key[:12]}"
    root = Root(suite, (final,), key)
    with _building(final) as build:
        if build is not None:
            tell(f"making a Debian {suite} root, once, in about a minute; log: {build.log}")
            _debootstrap(build, suite, wanted)
            _run(build, build.upper, _FINISH, suite)
    return root


def layer(
    lower: Root,
    command: str,
    name: str,
    *,
    binds: Sequence[Bind] = (),
    digest: str = "",
    tell: Callable[[str], None] = _silent,
) -> Root:
    """What ``command`` changes when it is run over ``lower``, as a root of its own.

    ``command`` is a script for sh -e. It runs as root, confined, not booted, on this system's network, with apt and pip
    set up as they are here. ``digest`` stands for the content of ``binds``: another digest is another layer. Raises
    HostError, with the end of its output, when the command fails. ``tell`` is called with a line when it is built.
    """
    require("systemd-nspawn", "mount", "umount")
    key = _digest(lower.key, command, digest, *map(repr, binds))
    final = cache() / "roots" / f"{lower.suite}-{name}-{key[:12]}"
    root = Root(lower.suite, (final, *lower.layers), key)
    with _building(final) as build:
        if build is not None:
            tell(f"adding {name} to the Debian {lower.suite} root, once; log: {build.log}")
            merged, work = build.folder / "merged", build.folder / "work"
            merged.mkdir()
            work.mkdir()
            mounts.overlay((debs(lower.suite), *lower.layers), build.upper, work, merged)
            _run(build, merged, command, lower.suite, binds)
            mounts.unmount_below(merged)
            harvest(lower.suite, build.upper)
    return root


def kept(lower: Root, name: str, digest: str, make: Callable[[Path], None]) -> Root:
    """``lower`` and what ``make`` puts into an upper directory, as a root of its own. ``digest`` stands for what it puts there."""
    key = _digest(lower.key, name, digest)
    final = cache() / "roots" / f"{lower.suite}-{name}-{key[:12]}"
    with _building(final) as build:
        if build is not None:
            make(build.upper)
    return Root(lower.suite, (final, *lower.layers), key)


def debs(suite: str) -> Path:
    """A layer that holds nothing but the packages downloaded so far, where apt looks for them."""
    path = cache() / f"debs-{suite}"
    for folder in (path, *(path / parent for parent in reversed(_ARCHIVES.parents)), path / _ARCHIVES):
        folder.mkdir(mode=0o755, exist_ok=True)
    return path


def harvest(suite: str, upper: Path) -> None:
    """Moves the packages that apt downloaded into an upper directory to where every root of the suite finds them.

    The directory must not be in use any more. Roots of one suite trust each other that far.
    """
    store = debs(suite) / _ARCHIVES
    archives = upper / _ARCHIVES
    if archives.resolve() != archives:
        return
    for package in archives.glob("*.deb"):
        if package.is_file() and not package.is_symlink():
            if not (store / package.name).exists():
                partial = store / f".{package.name}.{os.getpid()}"
                shutil.copyfile(package, partial)
                partial.replace(store / package.name)
            package.unlink()


def sweep() -> list[str]:
    """Clears away builds whose program was killed, and returns the names of the roots they were to become."""
    swept = []
    for folder in sorted((cache() / "roots").glob("*.tmp")):
        with open(_beside(folder, ".lock"), "w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _Build(folder).clear()
            swept.append(folder.stem)
    return swept


@dataclass(frozen=True)
class _Build:
    """A root in the making: a folder beside where it will be."""

    folder: Path

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    @property
    def log(self) -> Path:
        return _beside(self.folder, ".log")

    @property
    def cgroup(self) -> cgroups.Cgroup:
        return cgroups.for_host(self.folder.stem, self.folder / "cgroups")

    def clear(self) -> None:
        """Ends what still runs in it, whoever started that, and removes it with whatever is mounted in it."""
        if self.folder.exists():
            self.cgroup.remove()
            mounts.remove_tree(self.folder)

    def follow(self, argv: list[str], variables: dict[str, str], what: str) -> None:
        """Runs a program to its end, its output going to the log. Nothing of it goes on if we are interrupted."""
        cgroup = self.cgroup
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                cgroup.enter(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**nspawn.ENVIRONMENT, **variables},
                start_new_session=True,
            )
            try:
                status = process.wait()
            finally:
                with shielded():
                    cgroup.remove()
                    process.wait()
        if status:
            lines = self.log.read_text(errors="replace").splitlines()
            last = [line for line in lines if line.strip() and "nspawn/propagate" not in line][-15:]  # its usual noise
            raise HostError(
                f"{what}: exit status {status}\n" + "\n".join(last), hint=f"the whole output is in {self.log}"
            )


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.stem + suffix)


@contextlib.contextmanager
def _building(final: Path) -> Iterator[_Build | None]:
    """Yields where to build, or None if it is there; on leaving without an error, it is there."""
    unwind_on_sigterm()
    build = _Build(final.with_name(final.name + ".tmp"))
    with open(_beside(build.folder, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            yield None
            return
        build.clear()
        build.upper.mkdir(parents=True)
        build.upper.chmod(0o755)  # it becomes the root directory, whatever our umask is
        build.log.unlink(missing_ok=True)
        try:
            yield build
            os.sync()
            build.upper.rename(final)
            _evict(final)
        finally:
            with shielded():
                build.clear()


def _evict(newest: Path) -> None:
    """Removes earlier roots of the same name that nobody has asked for in half a day: each change of the agent makes new ones."""
    name = newest.name.rpartition("-")[0]
    for folder in newest.parent.glob(f"{name}-{'[0-9a-f]' * 12}"):
        lock = folder.with_name(folder.name + ".lock")
        with contextlib.suppress(OSError):
            if folder != newest and time.time() - lock.stat().st_mtime > _UNUSED:
                mounts.remove_tree(folder)
                lock.unlink()
                folder.with_name(folder.name + ".log").unlink(missing_ok=True)


def _debootstrap(build: _Build, suite: str, packages: Sequence[str]) -> None:
    here = sources.of_this_system()
    kept = debs(suite) / _ARCHIVES
    argv = ["debootstrap", "--variant=minbase", f"--cache-dir={kept}", f"--include={','.join(packages)}"]
    if here.archive.trusted:
        argv.append("--no-check-gpg")
    else:
        if not Path(here.archive.keyring).is_file():
            raise HostError(f"{here.archive.keyring} is missing", hint="apt-get install debian-archive-keyring")
        argv += ["--force-check-gpg", f"--keyring={here.archive.keyring}"]
    argv += [suite, str(build.upper), here.archive.uri]
    build.follow(argv, sources.download_environment(here), f"making a Debian {suite} root")


def _run(build: _Build, root: Path, script: str, suite: str, binds: Sequence[Bind] = ()) -> None:
    """Runs a script in a root that is mounted, as little changed by that as can be."""
    here = sources.of_this_system()
    here.install(root, suite)
    sources.put(root, "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)  # packages start no service here
    binds = [*(Bind(folder) for folder in here.folders), *binds]
    absent = [place for bind in binds if not (place := _place(root, bind)).exists()]
    variables = {
        "DEBIAN_FRONTEND": "noninteractive",
        "APT_LISTCHANGES_FRONTEND": "none",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1",
        "LC_ALL": "C.UTF-8",
        **dict(here.proxies),
    }
    options = [
        "--as-pid2",
        "--suppress-sync=yes",
        "--resolv-conf=replace-host",
        *(f"--setenv={name}={value}" for name, value in variables.items()),
    ]
    words = ["/bin/sh", "-ec", script]
    argv = nspawn.command(root, f"build-{suite}", *options, binds=binds, words=words)
    build.follow(argv, {}, f"building {build.folder.stem}")
    (root / "usr/sbin/policy-rc.d").unlink()
    for place in absent:
        _remove_place(root, place)


def _place(root: Path, bind: Bind) -> Path:
    return root / str(bind.target or bind.source).lstrip("/")


def _remove_place(root: Path, place: Path) -> None:
    """Takes away the empty file or directories that a mount was put on."""
    with contextlib.suppress(OSError):
        if place.is_dir():
            while place != root:
                place.rmdir()
                place = place.parent
        elif place.stat().st_size == 0:
            place.unlink()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
