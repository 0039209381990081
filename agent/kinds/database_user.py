"""An account of a database server: how it logs in and within which limits. What it may do is a matter of grants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from agent.errors import HostError
from agent.host.database_address import place
from agent.host.passwords import CACHING_SHA2, ED25519, NATIVE
from agent.resource import Action, Change, NotYetReadable, Ref, Resource, State
from agent.steps import PasswordHash, SecretRef, Sql, Step

if TYPE_CHECKING:
    from agent.host.database_facts import DatabaseAccount
    from agent.host.databases import Databases
    from agent.host.machine import Host

PASSWORD, SOCKET = "password", "socket"
"""How an account logs in: as usual for this server, by its password, or as the system's account of the same name."""

_MARIADB = {PASSWORD: NATIVE, SOCKET: "unix_socket"}
_MYSQL = {PASSWORD: CACHING_SHA2, SOCKET: "auth_socket"}
PLUGINS = (NATIVE, CACHING_SHA2, ED25519)
"""Those that a password can be kept for."""

RESERVED = frozenset(
    ("", "root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint", "PUBLIC")
)
"""Accounts that a server cannot do without; the spec must not name them."""

LIMITS = ("max_queries_per_hour", "max_updates_per_hour", "max_connections_per_hour", "max_user_connections")
_USUAL: dict[str, Any] = {"require": "", "password_expires": "default", "locked": False, **dict.fromkeys(LIMITS, 0)}
"""What a new account has of its own, on every server."""


@dataclass(frozen=True)
class DatabaseUserState(State):
    """Whether the account logs in as it should and by nothing else, and its limits, of which 0 is none."""

    login: str | None
    """``password``, ``socket`` or the plugin that the spec names; whatever else was set up is told as it is."""
    password_right: bool | None
    """Whether the wanted password is the one that it has; not managed where there is none."""
    old_password: bool | None
    """Whether the password before is good as well (MySQL's RETAIN CURRENT PASSWORD)."""
    password_expired: bool | None
    """Whether somebody said PASSWORD EXPIRE. One that has become too old is not a difference: it shall be changed."""
    require: str
    password_expires: str
    locked: bool
    max_queries_per_hour: int
    max_updates_per_hour: int
    max_connections_per_hour: int
    max_user_connections: int


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
    """``SSL``: only over an encrypted connection; ``X509``: and with a client's certificate; empty: any."""
    after: tuple[Ref, ...] = ()
    plugin: str = ""
    """How the server keeps the password; empty: as is usual for it."""
    keeps_password: bool = False
    """The account must be there, and how it logs in is not looked at."""
    password_expires: str = "default"  # noqa: S105  # when, not which
    """``default`` (the server's), ``never``, or days such as ``90d``."""
    locked: bool = False
    max_queries_per_hour: int = 0
    max_updates_per_hour: int = 0
    max_connections_per_hour: int = 0
    max_user_connections: int = 0

    def __post_init__(self) -> None:
        # most of it becomes part of a statement
        if self.user in RESERVED:
            raise ValueError(f"the server itself needs the account {self.user!r}; choose another name")
        if self.require not in ("", "SSL", "X509"):
            raise ValueError(f"require must be SSL, X509 or empty, got {self.require!r}")
        if self.plugin not in ("", *PLUGINS):
            raise ValueError(f"plugin must be one of {', '.join(PLUGINS)} or empty, got {self.plugin!r}")
        if not re.fullmatch("default|never|[1-9][0-9]{0,4}d", self.password_expires):
            raise ValueError(
                f"password_expires must be default, never or days such as 90d, got {self.password_expires!r}"
            )
        if bad := [each for each in LIMITS if type(getattr(self, each)) is not int or getattr(self, each) < 0]:
            raise ValueError(f"{bad[0]} must be a number from 0 up, got {getattr(self, bad[0])!r}")

    def needs(self) -> tuple[Ref, ...]:
        return self.after

    def stub(self) -> DatabaseUser:
        return DatabaseUser(self.name, self.server, self.user, self.host)

    def desired(self) -> DatabaseUserState:
        own = {name: getattr(self, name) for name in _USUAL}
        if self.keeps_password:
            return DatabaseUserState(None, None, None, None, **own)
        if self.password is None:
            return DatabaseUserState(SOCKET, None, False, False, **own)
        return DatabaseUserState(self.plugin or PASSWORD, True, False, False, **own)

    def read(self, host: Host) -> DatabaseUserState | None:
        databases = host.databases
        account = databases.accounts(self.server).get((self.user, self.host.lower()))
        mariadb = databases.mariadb(self.server)
        if self.keeps_password:
            if account is None:
                raise HostError(
                    f"{place(self.server)}: there is no account {self.name}, and 'password: keep' makes none",
                    hint="create it with its password first, or let the spec say where its password is",
                )
        else:
            self._check_plugin(databases, mariadb)
        if account is None:
            return None
        right = None if self.password is None else databases.password_right(account, self.password)
        return DatabaseUserState(
            self._login(account, _MARIADB if mariadb else _MYSQL),
            right,
            bool(account.old_password),
            account.password_expired,
            **{name: getattr(account, name) for name in _USUAL},
        )

    def notes(self, host: Host) -> Iterator[str]:
        """That the password has become older than it may: nobody but a person can say who must be told the new one."""
        try:
            account = host.databases.accounts(self.server).get((self.user, self.host.lower()))
        except NotYetReadable:
            return
        days = self.password_expires.removesuffix("d")
        if account is None or not account.password_changed or not days.isdecimal():
            return
        if not host.clock.before(account.password_changed + int(days) * 86400):
            other = "a new one where the spec takes it from" if self.password else "a new one by hand"
            way = f"agent secret rotate {self.name}" if self.password and self.password.source == "stored" else other
            yield f"{self.ref}: its password is older than {days} days, and the server lets nobody work with it any more: {way}"

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield self._sql("DROP USER %s@%s")
        elif change.action is Action.CREATE:
            yield self._identified("CREATE", self._options(change))
        else:
            options = self._options(change)
            if self.password_expires == _USUAL["password_expires"] and change.current.password_expires.endswith("d"):
                # MySQL 9.7 forgets days only on its way over NEVER: until its next start it would still count them
                yield self._sql("ALTER USER %s@%s PASSWORD EXPIRE NEVER")
            if change.touches("login", "password_right", "password_expired"):
                yield self._identified("ALTER", options)
            elif options:
                yield self._sql(f"ALTER USER %s@%s{options}")
            if change.touches("old_password"):
                yield self._sql("ALTER USER %s@%s DISCARD OLD PASSWORD")

    def overlap(self, new: SecretRef, mariadb: bool) -> Sql:
        """Lets the account log in by a new password beside the one that it has; ``steps`` then ends the time of the old one.

        For a rotation: it leaves the account other than the spec wants it. Raises ValueError for one without a password of its own.
        """
        if self.password is None:
            raise ValueError(f"{self.name} has no password of its own")
        plugin, who = self.plugin or (NATIVE if mariadb else CACHING_SHA2), (self.user, self.host)
        added, kept = PasswordHash(new, self.plugin), PasswordHash(self.password, self.plugin)
        if mariadb:
            both = f"ALTER USER %s@%s IDENTIFIED VIA {plugin} USING %s OR {plugin} USING %s"
            return Sql(self.server, both, (*who, added, kept))
        return Sql(
            self.server, f"ALTER USER %s@%s IDENTIFIED WITH {plugin} AS %s RETAIN CURRENT PASSWORD", (*who, added)
        )

    def _check_plugin(self, databases: Databases, mariadb: bool) -> None:
        """Raises HostError with the way out when the server has no such plugin. What is usual for it is taken to be there."""
        usual = _MARIADB if mariadb else _MYSQL
        wanted = usual[SOCKET] if self.password is None else self.plugin or usual[PASSWORD]
        if (
            wanted == usual[PASSWORD]
            or (mariadb and wanted == usual[SOCKET])
            or wanted in databases.plugins(self.server)
        ):
            return
        hint = "leave out 'plugin', so that the usual one of this server is taken"
        if mariadb and wanted == ED25519:
            hint = "INSTALL SONAME 'auth_ed25519' loads it; or leave out 'plugin'"
        elif self.password is None:
            hint = f"INSTALL PLUGIN {wanted} SONAME '{wanted}.so', or give the account a password"
        raise HostError(f"{place(self.server)}: {self.name}: the server has no plugin {wanted}", hint=hint)

    def _login(self, account: DatabaseAccount, usual: dict[str, str]) -> str:
        names = {usual[SOCKET]: SOCKET} if self.plugin else {plugin: login for login, plugin in usual.items()}
        login = names.get(account.plugin, account.plugin)
        if login == SOCKET and (other := account.ways[0][1].decode(errors="replace")) not in ("", self.user):
            login = f"socket, as the system's {other}"
        return login

    def _options(self, change: Change) -> str:
        """The clauses that follow how it logs in: on creation for what is not usual, else for what differs."""

        def said(name: str) -> bool:
            return getattr(self, name) != _USUAL[name] if change.action is Action.CREATE else change.touches(name)

        clauses = [f" REQUIRE {self.require or 'NONE'}"] if said("require") else []
        if limits := [name for name in LIMITS if said(name)]:
            clauses.append(" WITH " + " ".join(f"{name.upper()} {getattr(self, name)}" for name in limits))
        if said("password_expires"):
            days = self.password_expires.removesuffix("d")
            clauses.append(f" PASSWORD EXPIRE {f'INTERVAL {days} DAY' if days.isdecimal() else days.upper()}")
        if said("locked"):
            clauses.append(f" ACCOUNT {'LOCK' if self.locked else 'UNLOCK'}")
        return "".join(clauses)

    def _identified(self, verb: str, options: str) -> Sql:
        def statement(usual: dict[str, str]) -> str:
            login = usual[SOCKET] if self.password is None else f"{self.plugin or usual[PASSWORD]} AS %s"
            return f"{verb} USER %s@%s IDENTIFIED WITH {login}{options}"

        secret = () if self.password is None else (PasswordHash(self.password, self.plugin),)
        return Sql(self.server, statement(_MARIADB), (self.user, self.host, *secret), on_mysql=statement(_MYSQL))

    def _sql(self, statement: str) -> Sql:
        return Sql(self.server, statement, (self.user, self.host))
