"""An account of a database server: how it logs in. What it may do is a matter of grants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import PasswordHash, SecretRef, Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host

PASSWORD, SOCKET = "password", "socket"
"""How an account logs in: as usual for this server, by its password, or as the system's account of the same name."""

_MARIADB = {PASSWORD: "mysql_native_password", SOCKET: "unix_socket"}
_MYSQL = {PASSWORD: "caching_sha2_password", SOCKET: "auth_socket"}

RESERVED = frozenset(
    ("", "root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint", "PUBLIC")
)
"""Accounts that a server cannot do without; the spec must not name them."""


@dataclass(frozen=True)
class DatabaseUserState(State):
    """Whether the account logs in as it should, and by nothing else."""

    login: str
    """``password`` or ``socket``; whatever else was set up is told as it is."""
    password_right: bool | None
    """Whether the wanted password is the one that it has; not managed where there is none."""
    require: str
    server_wide: frozenset[str]
    """Privileges on everything (``*.*``), which nothing in a spec gives."""


@dataclass(frozen=True)
class DatabaseUser(Resource):
    """``name`` is ``user@host``. The password never goes to the server: what the server keeps of it is made here."""

    kind: ClassVar[str] = "database_user"

    server: str
    user: str
    host: str = "localhost"
    password: SecretRef | None = None
    """None lets in the system's account of the same name, over the local socket."""
    require: str = ""
    """``SSL``: only over an encrypted connection; empty: any."""
    after: tuple[Ref, ...] = ()

    def __post_init__(self) -> None:
        if self.user in RESERVED:
            raise ValueError(f"the server itself needs the account {self.user!r}; choose another name")
        if self.require not in ("", "SSL"):
            raise ValueError(f"require must be SSL or empty, got {self.require!r}")

    def desired(self) -> DatabaseUserState:
        if self.password is None:
            return DatabaseUserState(SOCKET, None, self.require, frozenset())
        return DatabaseUserState(PASSWORD, True, self.require, frozenset())

    def read(self, host: Host) -> DatabaseUserState | None:
        databases = host.databases
        account = databases.accounts(self.server).get((self.user, self.host.lower()))
        if account is None:
            return None
        plugins = _MARIADB if databases.mariadb(self.server) else _MYSQL
        login = {plugin: login for login, plugin in plugins.items()}.get(account.plugin, account.plugin)
        if login == SOCKET and (other := account.ways[0][1].decode(errors="replace")) not in ("", self.user):
            login = f"socket, as the system's {other}"
        right = None if self.password is None else databases.password_right(account, self.password)
        return DatabaseUserState(login, right, account.require, databases.server_wide(self.server, account))

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield self._sql("DROP USER %s@%s")
        elif change.action is Action.CREATE:
            yield self._identified("CREATE")
        else:
            if change.touches("login", "password_right"):
                yield self._identified("ALTER")
            elif change.touches("require"):
                yield self._sql(f"ALTER USER %s@%s {self._required}")
            if change.touches("server_wide"):
                # by name: MySQL takes REVOKE ALL PRIVILEGES ON *.* to mean the grants on databases too
                listed = ", ".join(sorted(change.current.server_wide))
                yield self._sql(f"REVOKE {listed} ON *.* FROM %s@%s")

    def _identified(self, verb: str) -> Sql:
        def statement(plugins: dict[str, str]) -> str:
            login = plugins[SOCKET] if self.password is None else f"{plugins[PASSWORD]} AS %s"
            return f"{verb} USER %s@%s IDENTIFIED WITH {login} {self._required}"

        secret = () if self.password is None else (PasswordHash(self.password),)
        return Sql(self.server, statement(_MARIADB), (self.user, self.host, *secret), on_mysql=statement(_MYSQL))

    def _sql(self, statement: str) -> Sql:
        return Sql(self.server, statement, (self.user, self.host))

    @property
    def _required(self) -> str:
        return f"REQUIRE {self.require or 'NONE'}"

    def needs(self) -> tuple[Ref, ...]:
        return self.after
