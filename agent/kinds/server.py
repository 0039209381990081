"""A database server, secured: nobody gets in who was not let in by name. Installing, configuring and starting it are other kinds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.host.passwords import ED25519
from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
TEST_PATTERNS = ("test", "test\\_%")
"""What the grants of the test database are on: a database called test, and all whose names begin with test_."""


@dataclass(frozen=True)
class ServerState(State):
    """Where a server is open; all empty and false when it is secured, as mariadb-secure-installation(1) leaves it."""

    anonymous_users: tuple[str, ...]
    """Hosts from which someone without a name is let in."""
    remote_root: tuple[str, ...]
    """Hosts, other than this one, from which root is let in."""
    root_passwordless: tuple[str, ...]
    """Local hosts from which root is let in without a password, whoever asks."""
    test_grants: tuple[str, ...]
    """Names and patterns of databases that the test database's grants open to everyone."""
    test_database: bool | None
    """Whether there is an empty database called test; one that holds something is left alone."""
    local_infile: bool
    """Whether a client can be asked to send its files (LOAD DATA LOCAL)."""
    ed25519: bool | None = None
    """Whether it has loaded MariaDB's plugin of that name; only managed where an account wants it."""


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

    def desired(self) -> ServerState:
        return ServerState(
            anonymous_users=(),
            remote_root=(),
            root_passwordless=(),
            test_grants=(),
            test_database=None if self.keep_test_database else False,
            local_infile=False,
            ed25519=True if self.ed25519 else None,
        )

    def read(self, host: Host) -> ServerState:
        databases = host.databases
        accounts = databases.accounts(self.server).values()
        roots = [account for account in accounts if account.user == "root"]
        return ServerState(
            anonymous_users=tuple(account.host for account in accounts if not account.user),
            remote_root=tuple(account.host for account in roots if account.host.lower() not in LOCAL_HOSTS),
            root_passwordless=tuple(
                account.host for account in roots if account.host.lower() in LOCAL_HOSTS and account.passwordless
            ),
            test_grants=tuple(
                sorted({name for user, _, name in databases.grants(self.server) if not user and name in TEST_PATTERNS})
            ),
            test_database="test" in databases.databases(self.server) and databases.test_is_empty(self.server),
            local_infile=databases.local_infile(self.server),
            ed25519=ED25519 in databases.plugins(self.server) if self.ed25519 else None,
        )

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is not Action.UPDATE:
            return
        current: ServerState = change.current
        for host in current.root_passwordless:
            # first: from here on root is let in as the system's root only, which is how the agent comes
            alter = "ALTER USER 'root'@%s IDENTIFIED WITH "
            yield Sql(self.server, f"{alter}unix_socket", (host,), on_mysql=f"{alter}auth_socket")
        for host in current.anonymous_users:
            yield Sql(self.server, "DROP USER ''@%s", (host,))
        for host in current.remote_root:
            yield Sql(self.server, "DROP USER 'root'@%s", (host,))
        if change.touches("test_grants"):
            # these belong to an anonymous user that need not exist, and REVOKE refuses where there is no user
            yield Sql(self.server, "DELETE FROM mysql.db WHERE User = '' AND Db IN (%s, %s)", TEST_PATTERNS)
            yield Sql(self.server, "FLUSH PRIVILEGES")
        if change.touches("test_database"):
            yield Sql(self.server, "DROP DATABASE test")
        if change.touches("local_infile"):
            yield Sql(self.server, "SET GLOBAL local_infile = 0")
        if change.touches("ed25519"):
            yield Sql(self.server, "INSTALL SONAME 'auth_ed25519'")  # the server keeps it over restarts

    def needs(self) -> tuple[Ref, ...]:
        return self.after
