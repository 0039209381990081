"""A database server, secured: nobody gets in who was not let in by name. Installing, configuring and starting it are other kinds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from agent.host.passwords import ED25519
from agent.kinds import privilege_tables
from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Sql, Step

if TYPE_CHECKING:
    from agent.host.database_facts import DatabaseAccount
    from agent.host.machine import Host

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_GRANT_TABLES = ("db", "tables_priv", "columns_priv", "procs_priv")
_PICK = "SELECT '{table}', Host, User, Db FROM mysql.{table} WHERE User IN ({everyone})"


class OpenGrant(NamedTuple):
    """A grant to everyone: to an account without a name, which need not exist, or to MariaDB's PUBLIC."""

    table: str
    host: str
    user: str
    database: str
    """A pattern in ``mysql.db``, a name elsewhere."""

    def __str__(self) -> str:
        return self.database


@dataclass(frozen=True)
class ServerState(State):
    """Where a server is open; all empty and false when it is secured, as mariadb-secure-installation(1) leaves it."""

    anonymous_users: tuple[str, ...]
    """Hosts from which someone without a name is let in."""
    remote_root: tuple[str, ...]
    """Hosts, other than this one, from which root is let in."""
    root_passwordless: tuple[str, ...]
    """Local hosts from which root is let in without a password, whoever asks."""
    test_grants: tuple[OpenGrant, ...]
    """What opens a database called test, or one whose name begins with test_, to everyone."""
    test_database: bool | None
    """Whether there is an empty database called test; one that holds something is left alone."""
    unlocked: tuple[str, ...] = ()
    """Accounts, other than root's and those of the spec, that anybody gets into without a password."""
    local_infile: bool | None = None
    """Whether a client can be asked to send its files (LOAD DATA LOCAL); only managed where nobody else looks after variables."""
    ed25519: bool | None = None
    """Whether it has loaded MariaDB's plugin of that name; only managed where an account wants it."""
    owed: tuple[str, ...] = ()
    """For whose sake it must read its tables of privileges again."""


@dataclass(frozen=True)
class Server(Resource):
    """The server that listens on ``server``. It is only ever updated: it is there, or cannot be read yet."""

    kind: ClassVar[str] = "server"

    server: str
    keep_test_database: bool = False
    """Whether the spec has a database called test."""
    after: tuple[Ref, ...] = ()
    ed25519: bool = False
    """Whether an account of the spec logs in by it."""
    declared: tuple[str, ...] = ()
    """The accounts of the spec, as ``name@host``: how they log in is their own affair."""
    closes_local_infile: bool = False
    """Whether LOAD DATA LOCAL is switched off here: where the server's variables are no resource of their own."""

    def desired(self) -> ServerState:
        return ServerState(
            anonymous_users=(),
            remote_root=(),
            root_passwordless=(),
            test_grants=(),
            test_database=None if self.keep_test_database else False,
            unlocked=(),
            local_infile=False if self.closes_local_infile else None,
            ed25519=True if self.ed25519 else None,
        )

    def read(self, host: Host) -> ServerState:
        databases = host.databases
        own = databases.own_account(self.server)
        accounts = [each for each in databases.accounts(self.server).values() if (each.user, each.host.lower()) != own]
        local = [each for each in databases.accounts(self.server).values() if _is_root(each) and _is_local(each)]
        return ServerState(
            anonymous_users=tuple(each.host for each in accounts if not each.user),
            remote_root=tuple(each.host for each in accounts if _is_root(each) and not _is_local(each)),
            root_passwordless=tuple(each.host for each in local if each.passwordless and not each.locked),
            test_grants=self._test_grants(host),
            test_database="test" in databases.databases(self.server) and databases.test_is_empty(self.server),
            unlocked=self._unlocked(accounts),
            local_infile=databases.local_infile(self.server) if self.closes_local_infile else None,
            # that MySQL cannot is for the accounts to say, one by one
            ed25519=not databases.mariadb(self.server) or ED25519 in databases.plugins(self.server)
            if self.ed25519
            else None,
            owed=privilege_tables.owed(host),
        )

    def _unlocked(self, accounts: Iterable[DatabaseAccount]) -> tuple[str, ...]:
        declared = {(user, host.lower()) for user, _, host in (each.rpartition("@") for each in self.declared)}
        return tuple(
            f"{each.user}@{each.host}"
            for each in accounts
            if each.user and not _is_root(each) and each.passwordless and not each.locked
            if (each.user, each.host.lower()) not in declared
        )

    def _test_grants(self, host: Host) -> tuple[OpenGrant, ...]:
        everyone = "'', 'PUBLIC'" if host.databases.mariadb(self.server) else "''"
        statement = " UNION ".join(_PICK.format(table=table, everyone=everyone) for table in _GRANT_TABLES)
        rows = host.databases.rows(self.server, f"{statement} ORDER BY 1, 2, 3, 4")
        grants = (OpenGrant(*(value or "" for value in row)) for row in rows)
        return tuple(each for each in grants if opens_test(each.database, is_pattern=each.table == "db"))

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is not Action.UPDATE:
            return
        if change.touches("owed"):
            yield from privilege_tables.made_up_for(self.server, change.current.owed)
        yield from privilege_tables.noted(self._securing(change), self.name)

    def _securing(self, change: Change) -> Iterator[Step]:
        current: ServerState = change.current
        for host in current.root_passwordless:
            # first: from here on root is let in as the system's root only, which is how the agent comes
            alter = "ALTER USER 'root'@%s IDENTIFIED WITH "
            yield Sql(self.server, f"{alter}unix_socket", (host,), on_mysql=f"{alter}auth_socket")
        for host in current.anonymous_users:
            yield Sql(self.server, "DROP USER ''@%s", (host,))
        for host in current.remote_root:
            yield Sql(self.server, "DROP USER 'root'@%s", (host,))
        for grant in current.test_grants:
            # REVOKE refuses where there is no such user
            where = (grant.host, grant.user, grant.database)
            statement = f"DELETE FROM mysql.{grant.table} WHERE Host = %s AND User = %s AND Db = %s"  # noqa: S608  # one of _GRANT_TABLES
            yield Sql(self.server, statement, where)
        if current.test_grants:
            yield Sql(self.server, privilege_tables.FLUSH)
        for account in current.unlocked:
            user, _, host = account.rpartition("@")
            yield Sql(self.server, "ALTER USER %s@%s ACCOUNT LOCK", (user, host))
        if change.touches("test_database"):
            yield Sql(self.server, "DROP DATABASE test")
        if change.touches("local_infile"):
            yield Sql(self.server, "SET GLOBAL local_infile = 0")
        if change.touches("ed25519"):
            yield Sql(self.server, "INSTALL SONAME 'auth_ed25519'")  # the server keeps it over restarts

    def needs(self) -> tuple[Ref, ...]:
        return self.after


def _is_root(account: DatabaseAccount) -> bool:
    return account.user == "root"


def _is_local(account: DatabaseAccount) -> bool:
    return account.host.lower() in LOCAL_HOSTS


def opens_test(name: str, *, is_pattern: bool) -> bool:
    """Whether a grant on this name, or pattern as LIKE has them, reaches a database called test or one whose name begins with test_."""
    if not is_pattern:
        return name == "test" or name.startswith("test_")
    if re.match(r"test(\\?_|%)", name):
        return True
    parts = re.findall(r"\\.|.", name, re.DOTALL)
    whole = "".join({"%": ".*", "_": "."}.get(part) or re.escape(part[-1]) for part in parts)
    return any(re.fullmatch(whole, example, re.DOTALL) for example in ("test", "test_x"))
