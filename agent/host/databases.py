"""MariaDB and MySQL servers: what they hold, and statements that change it.

A server is named by one text: the path of its local socket, or an address (agent.host.database_address). All accounts come
from one query, all grants from another, and are kept until something changes. Each query is one question of agent.host.look,
which asks it again by agent.host.sql.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from agent.errors import HostError, TemporaryError
from agent.host import database_address, database_connection, database_refusals, database_room, passwords, sql
from agent.host import database_facts as facts
from agent.host import database_grants as grants
from agent.host.database_facts import DatabaseAccount, DatabaseFacts
from agent.host.database_grants import ServerGrants
from agent.resource import NotYetReadable
from agent.steps import PasswordHash, SecretRef, Sql

if TYPE_CHECKING:
    from agent.host.looks import Looks
    from agent.host.secrets import Secrets

T = TypeVar("T")
Row = tuple[str | None, ...]

_NOT_UP = {2002, 2003, 2005}
_LOST = {2006, 2013, 1927, 4031}
_TEMPORARY = {1040, 1053, 1203, 1205, 1213} | _NOT_UP | _LOST
_UNREACHABLE = 10.0
"""Seconds for which a server that did not answer in time is not tried again: many resources ask for it, one after the other."""
_LONG = 4.0
"""Seconds after which a connection that was lost was lost by waiting."""


@dataclass(frozen=True)
class _Answer:
    names: tuple[str, ...]
    rows: tuple[Row, ...]

    def records(self) -> list[dict[str, str]]:
        return [{name: value or "" for name, value in zip(self.names, row, strict=True)} for row in self.rows]


class Databases:
    """The servers of one host. Safe to use from several threads.

    Reading raises NotYetReadable when the server does not run, and HostError when it refuses.
    """

    def __init__(self, looks: Looks, secrets: Secrets) -> None:
        self._looks = looks
        self._secrets = secrets
        self._lock = threading.RLock()
        self._connections: dict[tuple[str, float], Any] = {}
        self._refused: dict[str, tuple[float, Exception]] = {}
        self._own: dict[str, tuple[str, str]] = {}
        self._directories: dict[str, str] = {}
        self._known: dict[tuple[str, str], Any] = {}
        self._checked: dict[bytes, bool] = {}

    def forget(self) -> None:
        """What was read is read anew at the next question."""
        with self._lock:
            self._known.clear()

    def rows(self, server: str, statement: str) -> tuple[Row, ...]:
        """The rows of a query, numbers and times as the server writes them; None is NULL. The same until ``forget``."""
        return self._answer(server, statement).rows

    def mariadb(self, server: str) -> bool:
        """Whether it is MariaDB, else MySQL."""
        with self._lock, _explained(server, NotYetReadable):
            return _is_mariadb(self._connection(server))

    def databases(self, server: str) -> Mapping[str, DatabaseFacts]:
        """All databases by name."""

        def read() -> Mapping[str, DatabaseFacts]:
            rows = self.rows(server, facts.DATABASES)
            return {name or "": DatabaseFacts(charset or "", collation or "") for name, charset, collation in rows}

        return self._once(server, "databases", read)

    def accounts(self, server: str) -> Mapping[tuple[str, str], DatabaseAccount]:
        """All accounts by user and host (in small letters: host names have no case). Roles are none."""

        def read() -> Mapping[tuple[str, str], DatabaseAccount]:
            found: list[DatabaseAccount | None]
            if self.mariadb(server):
                rows = self.rows(server, facts.ACCOUNTS_MARIADB)
                found = [facts.mariadb_account(user or "", host or "", priv or "{}") for user, host, priv in rows]
            else:
                records = self._answer(server, facts.ACCOUNTS_MYSQL).records()
                found = [facts.mysql_account(record) for record in records]
            return {(each.user, each.host.lower()): each for each in found if each is not None}

        return self._once(server, "accounts", read)

    def plugins(self, server: str) -> frozenset[str]:
        """The ways to log in that the server has loaded."""
        return frozenset(name for (name,) in self.rows(server, facts.PLUGINS) if name)

    def granted(self, server: str) -> ServerGrants:
        """What every account and role may do: a constant number of queries, however many there are."""
        return self._once(server, "granted", lambda: self._read_grants(server))

    def _read_grants(self, server: str) -> ServerGrants:
        mariadb = self.mariadb(server)
        literal = not mariadb and self.rows(server, grants.PARTIAL_REVOKES_MYSQL) == (("1",),)
        found = grants.Collected(self.rows(server, grants.KNOWN), mariadb=mariadb, literal=literal)
        if mariadb:
            found.mariadb_accounts(self.rows(server, facts.ACCOUNTS_MARIADB))
        else:
            accounts = self._answer(server, facts.ACCOUNTS_MYSQL)
            found.mysql_accounts(accounts.names, accounts.rows)
            found.dynamic(self.rows(server, grants.DYNAMIC_MYSQL))
            found.default_roles(self.rows(server, grants.DEFAULT_ROLES_MYSQL))
        on_databases = self._answer(server, grants.ON_DATABASES)
        found.databases(on_databases.names, on_databases.rows)
        found.tables(self.rows(server, grants.ON_TABLES))
        found.columns(self.rows(server, grants.ON_COLUMNS))
        found.routines(self.rows(server, grants.ON_ROUTINES))
        found.proxies(self.rows(server, grants.PROXIES))
        found.role_edges(self.rows(server, grants.ROLES_MARIADB if mariadb else grants.ROLES_MYSQL))
        return found.whole()

    def shown(self, server: str) -> tuple[int, int] | None:
        """From when until when the certificate is good that the server shows to new sessions; None when it shows none."""

        def read() -> tuple[int, int] | None:
            if not self.mariadb(server):
                return facts.validity(self.rows(server, facts.SHOWN_CERTIFICATE))
            # MariaDB tells it to sessions that were shown it alone; what the server has loaded follows from files and from when it was started
            with _explained(server, NotYetReadable):
                return facts.validity(database_connection.ask_encrypted(_library(), server, facts.SHOWN_CERTIFICATE))

        return self._once(server, "certificate", read)

    def local_infile(self, server: str) -> bool:
        """Whether clients of this server can be asked for their files."""
        return self.rows(server, facts.LOCAL_INFILE) != (("0",),)

    def test_is_empty(self, server: str) -> bool:
        """Whether the database called test holds nothing."""
        return self.rows(server, facts.IN_TEST_DATABASE) == (("0",),)

    def password_right(self, account: DatabaseAccount, password: SecretRef) -> bool:
        """Whether the account's password is this one; false while the secret does not exist."""
        value = self._secrets.value(password)
        return value is not None and any(self._matches(value, plugin, kept) for plugin, kept in account.ways)

    def _matches(self, value: str, plugin: str, kept: bytes) -> bool:
        # checking costs milliseconds for each account, so what was found is kept: under a digest, not in clear
        key = _key(value, plugin, kept)
        with self._lock:
            known = self._checked.get(key)
        if known is None:
            known = passwords.matches(kept, value, plugin or passwords.NATIVE)
            with self._lock:
                self._checked[key] = known
        return known

    def perform(self, step: Sql) -> None:
        """Runs one statement, committed at once. ``%s`` in it stands for an argument, ``%%`` for a percent sign.

        Raises TemporaryError when the server is not up or was busy, else HostError: with the server's own words, never
        with what is kept of a password.
        """
        stored: dict[PasswordHash, str] = {}
        with self._lock, _explained(step.server, TemporaryError, stored.values()):
            self._spare_own_account(step)
            connection = self._connection(step.server, database_connection.STATEMENT_TIMEOUT)
            self._make_sure_of_room(step.server)
            mariadb = _is_mariadb(connection)
            plugin = passwords.NATIVE if mariadb else passwords.CACHING_SHA2
            stored.update(
                (each, self._stored_form(each, each.plugin or plugin))
                for each in step.arguments
                if isinstance(each, PasswordHash)
            )
            statement = step.statement if mariadb or step.on_mysql is None else step.on_mysql
            bound = (stored[each] if isinstance(each, PasswordHash) else each for each in step.arguments)
            literals = tuple(
                b"NULL" if each is None else connection.string_literal(str(each).encode()) for each in bound
            )
            self._query(step.server, statement.encode() % literals, database_connection.STATEMENT_TIMEOUT)

    def _stored_form(self, password: PasswordHash, plugin: str) -> str:
        value = self._secrets.value(password.secret)
        if value is None:
            raise HostError(f"the secret {password.secret} does not exist yet")
        stored = passwords.stored_form(value, plugin)
        with self._lock:  # what was just made need not be checked
            self._checked[_key(value, plugin, stored.encode())] = True
        return stored

    def _once(self, server: str, what: str, read: Callable[[], T]) -> T:
        with self._lock:
            key = (server, what)
            if key not in self._known:
                self._known[key] = read()
            known: T = self._known[key]
            return known

    def _answer(self, server: str, statement: str) -> _Answer:
        return self._once(server, statement, lambda: self._ask(server, statement))

    def _ask(self, server: str, statement: str) -> _Answer:
        question = ("rows", server, statement)
        try:
            with _explained(server, NotYetReadable):
                names, rows = self._query(server, statement.encode())
        except (NotYetReadable, HostError):
            self._looks.saw(question, None)
            raise
        self._looks.saw(question, sql.digest(rows))
        return _Answer(names, tuple([tuple([_text(value) for value in row]) for row in rows]))

    def _query(self, server: str, statement: bytes, patience: float = 0) -> tuple[tuple[str, ...], tuple[sql.Row, ...]]:
        connection, begun = self._connection(server, patience), time.monotonic()
        try:
            connection.query(statement)
            result = connection.store_result()
        except _library().MySQLError as error:
            if _code(error) in _LOST:
                self._drop(server)
                if (waited := time.monotonic() - begun) > _LONG:
                    silence = TimeoutError(f"no answer within {waited:.0f} seconds")
                    self._refused[server] = (time.monotonic() + _UNREACHABLE, silence)
                    raise silence from error
            raise
        if result is None:
            return (), ()
        names = tuple(column[0] for column in result.describe())
        return names, result.fetch_row(maxrows=0)

    def _connection(self, server: str, patience: float = 0) -> Any:
        """The connection that is held, when it still answers, or a new one. ``patience``: seconds for one statement; 0 for those that only read."""
        elsewhere = not server.startswith("/")
        patience = patience or (
            database_connection.READ_TIMEOUT if elsewhere else database_connection.STATEMENT_TIMEOUT
        )
        held = self._connections.get((server, patience))
        if held is not None:
            try:
                held.ping()
            except _library().MySQLError:
                self._drop(server)
            else:
                return held
        until, refusal = self._refused.get(server, (0.0, None))
        if refusal is not None and time.monotonic() < until:
            raise refusal
        begun = time.monotonic()
        try:
            opened = self._open_elsewhere(server, patience) if elsewhere else connect(server)
        except (_library().MySQLError, TimeoutError) as error:
            if elsewhere or time.monotonic() - begun > _LONG:
                self._refused[server] = (time.monotonic() + _UNREACHABLE, error)
            raise
        self._connections[server, patience] = opened
        return opened

    def _open_elsewhere(self, server: str, patience: float) -> Any:
        address = database_address.parse(server)
        secret = SecretRef(*address.secret) if address else None
        password = self._secrets.value(secret) if secret else None
        if password is None:
            raise HostError(f"{database_address.place(server)}: the administrator's password, {secret}, does not exist")
        return connect(server, password, patience)

    def _drop(self, server: str) -> None:
        for key in [key for key in self._connections if key[0] == server]:
            self._connections.pop(key).close()

    def _make_sure_of_room(self, server: str) -> None:
        """Nothing changes on a server of this host whose disk is full."""
        if not server.startswith("/"):
            return
        if server not in self._directories:
            _, ((directory,),) = self._query(server, database_room.DIRECTORY.encode())
            self._directories[server] = (directory or b"").decode(errors="surrogateescape")
        database_room.make_sure(server, self._directories[server])

    def _spare_own_account(self, step: Sql) -> None:
        """The account that the agent is logged in as by a password is its only way in: no statement may change or drop it."""
        place = database_address.place(step.server)
        named = [(one, other.lower()) for one, other in itertools.pairwise(map(str, step.arguments))]
        # what left the spec is removed as the administrator of then: who is it now is seen from the other connections
        servers = {server for server, _ in self._connections} | {step.server}
        for server in servers:
            if server.startswith("/") or database_address.place(server) != place:
                continue
            if (own := self._own_account(server)) in named:
                raise HostError(
                    f"{place}: {'@'.join(own)} is the account that the agent logs in as, which it never changes",
                    hint="name another account as mysql.administrator to have this one changed",
                )

    def own_account(self, server: str) -> tuple[str, str]:
        """User and host (in small letters) of the account that the agent is logged in as."""
        with self._lock, _explained(server, NotYetReadable):
            return self._own_account(server)

    def _own_account(self, server: str) -> tuple[str, str]:
        if server not in self._own:
            _, (((who,),)) = self._query(server, facts.OWN_ACCOUNT.encode())
            user, _, host = (who or b"").decode().rpartition("@")
            self._own[server] = user, host.lower()
        return self._own[server]


def connect(server: str, password: str | None = None, patience: float = database_connection.STATEMENT_TIMEOUT) -> Any:
    """A new connection that is logged in, as agent.host.database_connection has it. Raises the library's errors and TimeoutError."""
    return database_connection.connect(_library(), server, password, patience=patience)


@contextmanager
def _explained(server: str, temporary: type[Exception], secrets: Iterable[str] = ()) -> Iterator[None]:
    """Raises what the client library raises as ``temporary`` or HostError, with the server's words less any secret."""
    try:
        yield
    except TimeoutError as error:
        raise temporary(f"{database_address.place(server)}: {error}") from None
    except _library().MySQLError as error:
        words = str(error.args[-1]) if error.args else type(error).__name__
        code = 2026 if "CERTIFICATE_VERIFY_FAILED" in words else _code(error)  # 2003 with PyMySQL
        words = words.partition(" near '")[0]  # what follows repeats the statement, arguments and all
        for secret in secrets:
            words = words.replace(secret, "********")
        message = f"{database_address.place(server)}: {code}: {words}"
        if code in _TEMPORARY:
            raise temporary(message) from None
        raise HostError(message, hint=database_refusals.way_out(server, code, words)) from None


def _key(value: str, plugin: str, kept: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join((plugin.encode(), kept, value.encode())), digest_size=16).digest()


def _is_mariadb(connection: Any) -> bool:
    return "mariadb" in connection.get_server_info().lower()


def _code(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="surrogateescape")


def _library() -> Any:
    try:
        return database_connection.library()
    except ImportError as error:
        message = f"the MySQL client library cannot be loaded: {error}"
        raise HostError(message, hint="install python3-mysqldb") from error
