"""Dumps of databases, made before what they hold is removed: compressed SQL in the agent's state directory, for root alone.

A dump has its name only once all of it is on the disk and its program has said that it is complete. Old ones are never removed here.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from agent.errors import HostError, TemporaryError
from agent.host import database_address, durable
from agent.host.files import quoted
from agent.host.programs import ENVIRONMENT, ended
from agent.resource import NotYetReadable
from agent.steps import Dump, SecretRef, Slot, Sql

if TYPE_CHECKING:
    from agent.host.database_address import Address
    from agent.host.databases import Databases
    from agent.host.programs import Programs
    from agent.host.secrets import Secrets

SILENCE = 900.0
"""Seconds that the program which dumps may say nothing before it is taken for stuck and ended."""

_CONTENTS = (
    "SELECT TABLE_SCHEMA, SUM(TABLE_TYPE <> 'VIEW'), SUM(COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0)) "
    "FROM information_schema.TABLES GROUP BY TABLE_SCHEMA ORDER BY TABLE_SCHEMA"
)
_SESSIONS = "SELECT DB, USER, COUNT(*) FROM information_schema.PROCESSLIST WHERE DB IS NOT NULL GROUP BY DB, USER ORDER BY DB, USER"
_USUAL = "/run/mysqld/mysqld.sock"
_COMPLETE = b"-- Dump completed"
_PIECE = 1 << 18
_OPTIONS = (
    "--single-transaction",
    "--routines",
    "--events",
    "--triggers",
    "--hex-blob",
    "--no-tablespaces",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
)
_NO_DUMP = "or do without one: --no-dump"


@dataclass(frozen=True)
class Contents:
    """What is in a database: tables (views are none), and bytes of data and indexes as the server reckons them."""

    tables: int
    size: int


class Dumps:
    """The dumps of one host. ``directory`` is made when it is needed."""

    def __init__(self, directory: str, databases: Databases, secrets: Secrets, programs: Programs) -> None:
        self.directory = directory
        self._databases = databases
        self._secrets = secrets
        self._programs = programs
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], str] = {}

    def contents(self, server: str, database: str) -> Contents:
        """What is in a database. Raises as reading from a server does, and as ``Sql`` steps do."""
        # MySQL may answer with figures of yesterday otherwise
        if not self._databases.mariadb(server):
            self._databases.perform(Sql(server, "SET SESSION information_schema_stats_expiry = 0"))
        for name, tables, size in self._databases.rows(server, _CONTENTS):
            if name == database:
                return Contents(int(tables or 0), int(float(size or 0)))
        return Contents(0, 0)

    def place(self, database: str) -> str:
        """The directory of a database's dumps: whatever its name is, it is one component below ``directory``."""
        name = quote(database.encode(errors="surrogateescape"), safe="$")
        if name.startswith("."):
            name = f"%2E{name[1:]}"
        if len(name) > 200:
            name = f"{name[:150]}-{zlib.crc32(name.encode()):08x}"
        return f"{self.directory}/{name}"

    def way_back(self, server: str, database: str) -> str:
        """The command that reads back the dump that this process made last; nothing when it made none."""
        return self._made.get((server, database), "")

    def _client(self, server: str) -> str:
        """The client of a server, as a person calls it; it asks for the password, where there is one."""
        name = "mariadb" if self._databases.mariadb(server) else "mysql"
        address = database_address.parse(server)
        if address is None:
            return name if server == _USUAL else f"{name} --socket={server}"
        return shlex.join((name, *_place(address), f"--user={address.user}", "--password"))

    def perform(self, step: Dump) -> None:
        """Makes a dump, whole and durable, or none. Raises HostError: then nothing was made, and what would do is said.

        Refuses while sessions have the database open: what they still write would be in no dump.
        """
        with self._lock:
            self._unused(step)
            directory = self.place(step.database)
            durable.make_directory(self.directory, 0o700, os.geteuid(), os.getegid())
            durable.make_directory(directory, 0o700, os.geteuid(), os.getegid())
            path, client = _free_name(directory), self._client(step.server)
            try:
                self._write(step, f"{directory}/.dump{durable.NEW}", path)
            except OSError as error:
                raise HostError(
                    f"the dump of {step.database} cannot be written to {directory}: {error.strerror}",
                    hint=f"make room there, then try again, {_NO_DUMP}",
                ) from error
            self._unused(step)
            self._made[step.server, step.database] = f"zcat '{path}' | {client}"

    def _write(self, step: Dump, new: str, path: str) -> None:
        durable.unlink(new)  # what a killed run left
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(new, flags, 0o600), "wb", buffering=0) as file:
                self._pour(step, file)
                os.fsync(file.fileno())
            os.rename(new, path)
            durable.sync_directory(os.path.dirname(path))
        except BaseException:
            durable.unlink(new)
            raise

    def _pour(self, step: Dump, file: IO[bytes]) -> None:
        packer = zlib.compressobj(6, wbits=31)  # as gzip does
        tail, size = b"", 0
        with self._program(step) as output:
            for piece in output:
                tail = (tail + piece)[-4096:]
                size += len(piece)
                _put(file, packer.compress(piece))
                self._programs.say(f"database:{step.database}", f"dumping: {size >> 20} MiB of SQL")
        if not tail.rstrip().rpartition(b"\n")[2].startswith(_COMPLETE):
            raise _failed(step, "it does not end as a complete one does")
        _put(file, packer.flush())

    @contextmanager
    def _program(self, step: Dump) -> Iterator[Iterator[bytes]]:
        """What the program that dumps says. Raises HostError unless it ends well."""
        tool, own, verified = self._tool(step)
        address = database_address.parse(step.server)
        with tempfile.TemporaryFile() as errors, self._login(address) as login:
            reach = (*_reach(step.server, address, login), *(verified if address and address.ca else ()))
            argv = (tool, *reach, *_OPTIONS, *own, "--databases", "--", step.database)
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=dict(ENVIRONMENT), cwd="/",
                start_new_session=True, pass_fds=() if login is None else (login,),
            )  # fmt: skip
            try:
                yield _pieces(process.stdout)
                status = process.wait(SILENCE)
            except subprocess.TimeoutExpired:
                raise _stuck(tool) from None
            finally:
                process.kill()
                process.communicate()
            if status:
                errors.seek(0)
                words = errors.read(1 << 16).decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise _failed(step, f"{tool} {ended(status)}: {words[-1][:400]}")

    def _tool(self, step: Dump) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """The program that dumps, and the options that only its maker knows: always, and for a server that must prove who it is."""
        mariadb = self._databases.mariadb(step.server)
        names = ("mariadb-dump", "mysqldump") if mariadb else ("mysqldump", "mariadb-dump")
        for name in names:
            if shutil.which(name, path=ENVIRONMENT["PATH"]):
                if "MariaDB" in self._programs.run([name, "--version"]).output:
                    # without it what tables WITH SYSTEM VERSIONING remember is in no dump
                    return name, ("--dump-history",) if mariadb else (), ("--ssl", "--ssl-verify-server-cert")
                statistics = ("--column-statistics=0",) if mariadb else ()
                return name, ("--set-gtid-purged=OFF", *statistics), ("--ssl-mode=VERIFY_IDENTITY",)
        package = "mariadb-client" if mariadb else "mysql-client"
        raise _failed(step, f"there is no program {names[0]}", hint=f"install {package}, then try again, {_NO_DUMP}")

    @contextmanager
    def _login(self, address: Address | None) -> Iterator[int | None]:
        """A file in memory with the administrator's password, for the program alone; None where root is let in by the socket."""
        if address is None:
            yield None
            return
        secret = SecretRef(*address.secret)
        password = self._secrets.value(secret)
        if password is None:
            raise HostError(f"there is no secret at {secret}", hint="make it, or correct the spec")
        file = os.memfd_create("agent", os.MFD_CLOEXEC)
        try:
            os.fchmod(file, 0o600)
            user, secret_text = (quoted(text, Slot(secret, "cnf")) for text in (address.user, password))
            os.write(file, f"[client]\nuser = {user}\npassword = {secret_text}\n".encode())
            yield file
        finally:
            os.close(file)

    def _unused(self, step: Dump) -> None:
        self._databases.forget()
        try:
            sessions = self._databases.rows(step.server, _SESSIONS)
        except NotYetReadable as error:
            hint = "start the server; if it is gone, put it back into the spec first"
            raise TemporaryError(f"nothing was dropped: {error}", hint=hint) from None
        users = [f"{user} ({count})" for name, user, count in sessions if name == step.database]
        if users:
            raise TemporaryError(
                f"sessions have {step.database} open: {', '.join(users)}",
                hint="end them (SHOW PROCESSLIST, KILL), so that nothing is written that is in no dump; then try again",
            )


def kept(directory: str) -> tuple[int, int] | None:
    """How many dumps there are and how many bytes they take; None where that cannot be seen."""
    sizes: list[int] = []
    try:
        for folder in os.scandir(directory):
            if folder.is_dir(follow_symlinks=False):
                sizes += [each.stat().st_size for each in os.scandir(folder) if each.name.endswith(".sql.gz")]
    except OSError:
        return None
    return len(sizes), sum(sizes)


def _reach(server: str, address: Address | None, login: int | None) -> tuple[str, ...]:
    """The options that lead to a server. The first one keeps the program from reading anybody's option files."""
    if address is None:
        return ("--no-defaults", "--protocol=socket", f"--socket={server}", "--user=root")
    return (f"--defaults-file=/proc/self/fd/{login}", *_place(address))


def _place(address: Address) -> tuple[str, ...]:
    if address.socket:
        return ("--protocol=socket", f"--socket={address.socket}")
    reach = ("--protocol=tcp", f"--host={address.host}", f"--port={address.port}")
    return (*reach, f"--ssl-ca={address.ca}") if address.ca else reach


def _pieces(pipe: IO[bytes] | None) -> Iterator[bytes]:
    while pipe is not None:
        if not select.select([pipe], [], [], SILENCE)[0]:
            raise _stuck("the program that dumps")
        piece = os.read(pipe.fileno(), _PIECE)
        if not piece:
            return
        yield piece


def _put(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _free_name(directory: str) -> str:
    """A path that says when, in UTC, and is not taken."""
    moment = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    path, number = f"{directory}/{moment}.sql.gz", 1
    while os.path.lexists(path):
        number += 1
        path = f"{directory}/{moment}-{number}.sql.gz"
    return path


def _failed(step: Dump, reason: str, *, hint: str = "") -> HostError:
    return HostError(
        f"the dump of {step.database} failed, so nothing was dropped: {reason}",
        hint=hint or f"put right what it names, then try again, {_NO_DUMP}",
    )


def _stuck(tool: str) -> TemporaryError:
    return TemporaryError(f"{tool} said nothing for {SILENCE:g} s and was ended", hint="look at what it waits for")
