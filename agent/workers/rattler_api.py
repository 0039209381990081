"""The only module that knows py-rattler, whose names change often: channels, solving, linking, what a prefix holds."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import re
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from rattler import (
    Channel,
    ChannelConfig,
    Client,
    Gateway,
    MatchSpec,
    PrefixRecord,
    RepoDataRecord,
    SourceConfig,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    install,
    solve,
)
from rattler.exceptions import (
    GatewayError,
    InvalidChannelError,
    SolverError,
)
from rattler.install.installer import InstallerReporter
from rattler.networking.fetch_repo_data import CacheAction
from rattler.networking.middleware import AuthenticationMiddleware, MirrorMiddleware, RetryMiddleware

from agent.workers.problems import WorkError, temporary_words, trimmed
from agent.workers.rattler_records import as_hex, name_of, parse, unpacked_name, verify_local

REPODATA_SECONDS = 60
"""For one answer about what a channel has."""
PACKAGE_SECONDS = 1800
"""For one package, its download included: the library's timeout is of the whole request."""
SOLVE_SECONDS = 300
RETRIES = 2

Say = Callable[[str], None]


class Channels:
    """Where packages come from.

    ``mirrors`` maps a channel to the addresses to use instead of its own; records keep the channel's.
    A channel given by name stands below ``alias``. ``logins`` are agent.steps.Login as dicts, with their secrets; ``timeout`` is for one answer about
    what a channel has.
    """

    def __init__(
        self,
        channels: Sequence[str],
        mirrors: Iterable[tuple[str, Sequence[str]]],
        alias: str,
        cache: str,
        *,
        logins: Sequence[Mapping[str, str]] = (),
        offline: bool = False,
        timeout: float = REPODATA_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        try:
            config = ChannelConfig(alias)
            self._channels = {name: Channel(name, config) for name in channels}
            instead = {Channel(name, config).base_url.rstrip("/"): list(urls) for name, urls in mirrors if urls}
        except InvalidChannelError as error:
            raise WorkError(f"a channel cannot be used: {error}", kind="spec") from error
        self.cache, self.offline = f"{cache}/pkgs", offline
        reached = {origin: [_over_http(url) for url in urls] for origin, urls in instead.items()}
        with _known(logins):
            self._packages = _client(reached, retries, PACKAGE_SECONDS)
            answers = _client(reached, retries, max(1, round(timeout)))
        self._gateway = _gateway(cache, answers, "force-cache-only" if offline else "cache-or-fetch")
        self._from_cache = _gateway(cache, answers, "force-cache-only")

    async def solve(self, specs: Sequence[str], locked: Sequence[PrefixRecord], say: Say) -> list[RepoDataRecord]:
        """The packages that meet the specs, those that are there already in their versions where that is possible.

        A channel that does not answer is replaced by what is known of it from earlier. Raises WorkError of kind ``solve``
        when nothing can meet the specs.
        """
        try:
            return await self._solve(self._gateway, specs, locked)
        except GatewayError as error:
            if not temporary_words(str(error)):
                raise
            with contextlib.suppress(GatewayError, WorkError):
                found = await self._solve(self._from_cache, specs, locked)
                say("a channel does not answer: going on with what is known of it from earlier")
                return found
            raise

    async def _solve(
        self, gateway: Gateway, specs: Sequence[str], locked: Sequence[PrefixRecord]
    ) -> list[RepoDataRecord]:
        try:
            return await solve(
                sources=list(self._channels.values()),
                specs=[parse(spec) for spec in specs],
                gateway=gateway,
                platforms=[Subdir.current(), Subdir("noarch")],
                virtual_packages=VirtualPackage.detect(VirtualPackageOverrides()),
                locked_packages=list(locked) or None,
                timeout=timedelta(seconds=SOLVE_SECONDS),
            )
        except SolverError as error:
            tree = trimmed(str(error))
            raise WorkError(
                f"no set of packages meets the request:\n{tree}", kind="solve", about=_culprits(specs, tree)
            ) from error

    async def listed(self, addresses: Mapping[str, str]) -> list[RepoDataRecord]:
        """The records of packages given by address (conda's @EXPLICIT lists), each with the digest that must be its own or nothing.

        Raises WorkError for one that its channel does not have, or not with that digest.
        """
        names = {address: address.rpartition("/")[2].rsplit("-", 2)[0] for address in addresses}
        channels = sorted({address.rsplit("/", 2)[0] for address in addresses})
        query = [f"{name}" for name in sorted(set(names.values()))]
        found = await self._gateway.query(
            [Channel(each) for each in channels], [Subdir.current(), Subdir("noarch")], query, recursive=False
        )
        known = {record.url: record for records in found for record in records}
        for address, digest in addresses.items():
            record = known.get(address)
            if record is None:
                raise WorkError(f"{address} is not in its channel", kind="solve", about=(address,))
            if digest and digest not in (as_hex(record.sha256), as_hex(record.md5)):
                raise WorkError(f"{address} has another digest in its channel than {digest}", kind="solve")
        return [known[address] for address in addresses]

    def cached(self, record: RepoDataRecord) -> bool:
        """Whether the package is unpacked in the cache."""
        return os.path.isdir(f"{self.cache}/{unpacked_name(record.file_name)}")

    async def link(
        self,
        records: Sequence[RepoDataRecord],
        prefix: str,
        specs: Sequence[str],
        say: Say,
    ) -> None:
        """Puts these packages into a prefix that is empty. Runs no script of a package. Raises WorkError, and what the library raises."""
        if self.offline and (missing := [record.file_name for record in records if not self.cached(record)]):
            raise WorkError(
                f"conda.offline is set, and {len(missing)} packages are not in the cache: {', '.join(missing[:5])}",
                hint="set conda.offline to false once",
            )
        verify_local(record for record in records if not self.cached(record))
        await install(
            records=list(records),
            target_prefix=prefix,
            cache_dir=Path(self.cache),
            client=self._packages,
            show_progress=False,
            reporter=cast(InstallerReporter, Reporter(say)),
            # 0.28.0 takes the inner objects here, although it says otherwise
            requested_specs=[parse(spec)._match_spec for spec in specs],
            execute_link_scripts=False,
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

    def __init__(self, say: Say) -> None:
        self._say, self._lock = say, threading.Lock()
        self._total = self._linked = 0
        self._bytes: dict[int, tuple[int, int]] = {}
        """What came of each download, and how much it is."""
        self._told = 0.0

    def on_transaction_start(self, total_operations: int) -> None:
        self._total = total_operations

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:
        with self._lock:
            self._bytes[download_idx] = progress, total or progress
            done, whole = (sum(each) / 1e6 for each in zip(*self._bytes.values(), strict=True))
            self._tell(f"downloading, {done:.1f} of {whole:.1f} MB")

    def on_link_start(self, operation: int, package_name: str) -> int:
        with self._lock:
            self._linked += 1
            self._tell(f"linking {package_name} ({self._linked} of {self._total})")
        return operation

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if now - self._told > 0.2:
            self._told = now
            self._say(text)


def _culprits(specs: Sequence[str], tree: str) -> tuple[str, ...]:
    """Of what was asked for, that which the solver's explanation begins with or names."""
    words = set(re.findall(r"[A-Za-z0-9_][A-Za-z0-9._-]*", tree.lower()))
    return tuple(spec for spec in specs if name_of(spec) in words)


def _gateway(cache: str, client: Client, action: CacheAction) -> Gateway:
    settings = SourceConfig(bz2_enabled=False, cache_action=action)
    return Gateway(cache_dir=Path(cache, "repodata"), client=client, default_config=settings)


def _client(mirrors: dict[str, list[str]], retries: int, timeout: int) -> Client:
    """Not `Client.from_config`, which looks for the login of a channel's own server and sends that to its mirror."""
    instead = [MirrorMiddleware(mirrors)] if mirrors else []
    return Client([RetryMiddleware(retries), *instead, AuthenticationMiddleware()], timeout=timeout)


@contextlib.contextmanager
def _known(logins: Sequence[Mapping[str, str]]) -> Iterator[None]:
    """The library knows these logins for good if it is told of them here; what tells it of them, a file, is there for this moment alone."""
    if not logins:
        yield
        return
    known: dict[str, Any] = {}
    for login in logins:
        if login["scheme"] == "basic":
            known[login["host"]] = {"BasicHTTP": {"username": login["username"], "password": login["secret"]}}
        else:
            known[login["host"]] = {"BearerToken" if login["scheme"] == "bearer" else "CondaToken": login["secret"]}
    before = os.environ.get("RATTLER_AUTH_FILE")
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        path = f"{directory}/credentials.json"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(known, file)
        os.environ["RATTLER_AUTH_FILE"] = path
        try:
            yield
        finally:
            os.environ.pop("RATTLER_AUTH_FILE")
            if before is not None:
                os.environ["RATTLER_AUTH_FILE"] = before


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
