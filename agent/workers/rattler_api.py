"""The only module that knows py-rattler, whose names change often: channels, solving, linking, what a prefix holds."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

from rattler import (
    Channel,
    ChannelConfig,
    Client,
    Gateway,
    MatchSpec,
    PackageRecord,
    PrefixRecord,
    RepoDataRecord,
    SourceConfig,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    install,
    solve,
)
from rattler.config import Config
from rattler.exceptions import (
    InvalidChannelError,
    InvalidMatchSpecError,
    SolverError,
    ValidatePackageRecordsError,
)
from rattler.install.installer import InstallerReporter

from agent.workers.problems import WorkError, trimmed

REPODATA_SECONDS = 60
"""For one answer about what a channel has."""
PACKAGE_SECONDS = 1800
"""For one package, its download included: the library's timeout is of the whole request."""
SOLVE_SECONDS = 300
RETRIES = 2
_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")

Say = Callable[[str], None]


class Channels:
    """Where packages come from.

    ``mirrors`` maps a channel to the addresses to use instead of its own; records keep the channel's.
    A channel given by name stands below ``alias``.
    """

    def __init__(
        self, channels: Sequence[str], mirrors: Iterable[tuple[str, Sequence[str]]], alias: str, cache: str
    ) -> None:
        try:
            config = ChannelConfig(alias)
            self._channels = {name: Channel(name, config) for name in channels}
            instead = {Channel(name, config).base_url.rstrip("/"): list(urls) for name, urls in mirrors if urls}
        except InvalidChannelError as error:
            raise WorkError(f"a channel cannot be used: {error}", kind="spec") from error
        self._cache = cache
        settings = _settings({origin: [_over_http(url) for url in urls] for origin, urls in instead.items()})
        self._packages = Client.from_config(settings, max_retries=RETRIES, timeout=PACKAGE_SECONDS)
        self._gateway = Gateway(
            cache_dir=Path(cache, "repodata"),
            client=Client.from_config(settings, max_retries=RETRIES, timeout=REPODATA_SECONDS),
            default_config=SourceConfig(bz2_enabled=False),
        )

    async def solve(self, specs: Sequence[str], locked: Sequence[PrefixRecord]) -> list[RepoDataRecord]:
        """The packages that meet the specs, those that are there already in their versions where that is possible.

        Raises WorkError of kind ``solve`` when nothing can meet them.
        """
        try:
            return await solve(
                sources=list(self._channels.values()),
                specs=[parse(spec) for spec in specs],
                gateway=self._gateway,
                platforms=[Subdir.current(), Subdir("noarch")],
                virtual_packages=VirtualPackage.detect(VirtualPackageOverrides()),
                locked_packages=list(locked) or None,
                timeout=timedelta(seconds=SOLVE_SECONDS),
            )
        except SolverError as error:
            raise WorkError(f"no set of packages meets the request:\n{trimmed(str(error))}", kind="solve") from error

    async def link(
        self,
        records: Sequence[RepoDataRecord],
        prefix: str,
        specs: Sequence[str],
        say: Say,
        *,
        anew: bool = False,
        doing: str = "linking",
    ) -> None:
        """Makes the prefix hold these packages and no others; with ``anew`` every one is put there again.

        Runs no script of a package.
        """
        await install(
            records=list(records),
            target_prefix=prefix,
            cache_dir=Path(self._cache, "pkgs"),
            client=self._packages,
            show_progress=False,
            reporter=cast(InstallerReporter, Reporter(say, doing)),
            # 0.28.0 takes the inner objects here, although it says otherwise
            requested_specs=[parse(spec)._match_spec for spec in specs],
            execute_link_scripts=False,
            reinstall_packages={record.name.normalized for record in records} if anew else None,
        )

    def serves(self, spec: MatchSpec, record: RepoDataRecord) -> bool:
        """Whether the record is from the channel that the spec names, if any: the library's match leaves that out."""
        if spec.channel is None:
            return True
        wanted = {spec.channel.base_url.rstrip("/")}
        if spec.channel.name in self._channels:
            wanted.add(self._channels[spec.channel.name].base_url.rstrip("/"))
        return (record.channel or "").rstrip("/") in wanted


class Reporter:
    """Turns the library's calls, which come from its threads, into a few lines a second."""

    def __init__(self, say: Say, doing: str) -> None:
        self._say, self._doing, self._lock = say, doing, threading.Lock()
        self._total = self._linked = 0
        self._bytes: dict[int, int] = {}
        self._told = 0.0

    def on_transaction_start(self, total_operations: int) -> None:
        self._total = total_operations

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:  # noqa: ARG002
        with self._lock:
            self._bytes[download_idx] = progress
            self._tell(f"downloaded {sum(self._bytes.values()) / 1e6:.1f} MB")

    def on_link_start(self, operation: int, package_name: str) -> int:
        with self._lock:
            self._linked += 1
            self._tell(f"{self._doing} {package_name} ({self._linked} of {self._total})")
        return operation

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if now - self._told > 0.2:
            self._told = now
            self._say(text)


def parse(spec: str) -> MatchSpec:
    """Raises WorkError that names the spec."""
    try:
        return MatchSpec(spec)
    except InvalidMatchSpecError as error:
        raise WorkError(
            f"package {spec!r}: {error}", kind="spec", hint="a match spec looks like 'numpy >=2,<3'"
        ) from error


def name_of(spec: str) -> str:
    """The package a spec is about."""
    name = parse(spec).name
    return name.normalized if name is not None else ""


def installed(prefix: str) -> tuple[list[PrefixRecord], list[str]]:
    """What conda-meta says is there, and the files in it that cannot be read as a record."""
    records, unreadable = [], []
    try:
        names = sorted(os.listdir(f"{prefix}/conda-meta"))
    except FileNotFoundError:
        return [], []
    for name in names:
        if name.endswith(".json"):
            path = f"{prefix}/conda-meta/{name}"
            try:
                records.append(PrefixRecord.from_path(Path(path)))
            except Exception:  # the library has many ways to say that a record is not one
                unreadable.append(path)
    return records, unreadable


def unmet(records: Sequence[PrefixRecord], specs: Sequence[str], channels: Channels) -> list[str]:
    """The specs that the installed packages do not meet; and if they lack something themselves, what."""
    by_name = {record.name.normalized: record for record in records}
    missing = []
    for text in specs:
        spec = parse(text)
        record = by_name.get(spec.name.normalized if spec.name is not None else "")
        if record is None or not spec.matches(record) or not channels.serves(spec, record):
            missing.append(text)
    try:
        PackageRecord.validate(list(records))
    except ValidatePackageRecordsError as error:
        missing.append(str(error).splitlines()[0])
    return missing


def identity(record: RepoDataRecord) -> tuple[str, str, str, str]:
    return (record.name.normalized, str(record.version), str(record.build), record.subdir)


def verify_local(records: Iterable[RepoDataRecord]) -> None:
    """Checks digests of packages in a channel that is a directory: the library checks only what it downloads.

    Raises WorkError.
    """
    for record in records:
        address = urllib.parse.urlsplit(record.url)
        if address.scheme == "file" and record.sha256 is not None:
            path = urllib.request.url2pathname(address.path)
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").digest() != record.sha256:
                    raise WorkError(
                        f"hash mismatch: {path} is not the package that the channel's index describes",
                        hint="index the channel again, or put the package back",
                    )


def _settings(mirrors: dict[str, list[str]]) -> Config:
    lines = ['tls-root-certs = "system"'] if any(os.path.exists(each) for each in _AUTHORITIES) else []
    if mirrors:
        lines.append("[mirrors]")
        # a JSON string is a TOML string too
        lines += [f"{json.dumps(origin)} = {json.dumps(urls)}" for origin, urls in mirrors.items()]
    return Config.from_toml("\n".join(lines))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass


def _over_http(url: str) -> str:
    """A mirror that is a directory is served on the loopback while the worker lives.

    The library wants mirrors by HTTP, and checks digests only there.
    """
    address = urllib.parse.urlsplit(url)
    if address.scheme not in ("", "file"):
        return url.rstrip("/")
    directory = urllib.request.url2pathname(address.path)
    if not os.path.isdir(directory):
        raise WorkError(f"the mirror {url} cannot be used: there is no such directory", hint="see conda.mirrors")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=directory))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that went away
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def forget_unreadable(paths: Iterable[str]) -> None:
    """Removes records that are none: the library refuses the whole prefix because of one."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
