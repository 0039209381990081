"""An account of a database server: how it logs in. What it may do is a matter of grants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import PasswordHash, SecretRef, Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host

PLUGINS = {"mariadb": ("mysql_native_password", "unix_socket"), "mysql": ("caching_sha2_password", "auth_socket")}
"""By flavour of the server: how an account with a password logs in, and one that the system's account of its name may use."""

RESERVED = frozenset(
    ("", "root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint", "PUBLIC")
)
"""Accounts that a server cannot do without; the spec must not name them."""


@dataclass(frozen=True)
class DatabaseUserState(State):
    """Whether the account logs in as it should, and by nothing else."""

    plugin: str
    password_right: bool | None
    """Whether the wanted password is the one that it has; not managed where there is none."""
    require: str
    server_wide: bool
    """Whether it has privileges on everything (``*.*``), which nothing in a spec gives."""


@dataclass(frozen=True)
class DatabaseUser(Resource):
    """``name`` is ``user@host``. The password never goes to the server: what the server keeps of it is made here."""

    kind: ClassVar[str] = "database_user"

    socket: str
    user: str
    host: str = "localhost"
    password: SecretRef | None = None
    """None lets in the system's account of the same name, over the local socket."""
    require: str = ""
    """``SSL``: only over an encrypted connection; empty: any."""
    flavour: str = "mariadb"
    """``mariadb`` or ``mysql``."""
    after: tuple[Ref, ...] = ()

    def __post_init__(self) -> None:
        if self.user in RESERVED:
            raise ValueError(f"the server itself needs the account {self.user!r}; choose another name")
        if self.require not in ("", "SSL"):
            raise ValueError(f"require must be SSL or empty, got {self.require!r}")

    @property
    def plugin(self) -> str:
        by_password, by_socket = PLUGINS[self.flavour]
        return by_socket if self.password is None else by_password

    def desired(self) -> DatabaseUserState:
        return DatabaseUserState(self.plugin, None if self.password is None else True, self.require, server_wide=False)

    def read(self, host: Host) -> DatabaseUserState | None:
        account = host.databases.accounts(self.socket).get((self.user, self.host.lower()))
        if account is None:
            return None
        right = None if self.password is None else host.databases.password_right(account, self.password)
        return DatabaseUserState(account.plugin, right, account.require, account.server_wide)

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield self._sql("DROP USER %s@%s")
            return
        if change.action is Action.CREATE:
            yield self._sql("CREATE USER %s@%s" + self._identified(), *self._secret(), tail=self._required())
            return
        if change.touches("plugin", "password_right"):
            yield self._sql("ALTER USER %s@%s" + self._identified(), *self._secret(), tail=self._required())
        elif change.touches("require"):
            yield self._sql("ALTER USER %s@%s", tail=self._required())
        if change.touches("server_wide"):
            yield self._sql("REVOKE ALL PRIVILEGES ON *.* FROM %s@%s")
            yield self._sql("REVOKE GRANT OPTION ON *.* FROM %s@%s")

    def _sql(self, statement: str, *arguments: Any, tail: str = "") -> Sql:
        return Sql(self.socket, statement + tail, (self.user, self.host, *arguments))

    def _identified(self) -> str:
        return f" IDENTIFIED WITH {self.plugin}" + (" AS %s" if self.password else "")

    def _secret(self) -> tuple[PasswordHash, ...]:
        return (PasswordHash(self.password, self.plugin),) if self.password else ()

    def _required(self) -> str:
        return f" REQUIRE {self.require or 'NONE'}"

    def needs(self) -> tuple[Ref, ...]:
        return self.after
