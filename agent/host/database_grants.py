"""What accounts and roles of a database server may do: the queries that ask for all of them at once, and the rows as facts. Pure: talks to no server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from agent.host import database_privileges as privileges
from agent.host.database_privileges import DATABASE, GLOBAL, GRANT_OPTION, PROXY, TABLE

ON_DATABASES = "SELECT * FROM mysql.db ORDER BY Host, Db, User"
ON_TABLES = "SELECT Host, User, Db, Table_name, Table_priv FROM mysql.tables_priv ORDER BY Host, Db, User, Table_name"
ON_COLUMNS = (
    "SELECT Host, User, Db, Table_name, Column_name, Column_priv FROM mysql.columns_priv"
    " ORDER BY Host, Db, User, Table_name, Column_name"
)
ON_ROUTINES = (
    "SELECT Host, User, Db, Routine_type, Routine_name, Proc_priv FROM mysql.procs_priv"
    " ORDER BY Host, Db, User, Routine_name, Routine_type"
)
PROXIES = (
    "SELECT Host, User, Proxied_user, Proxied_host FROM mysql.proxies_priv"
    " ORDER BY Host, User, Proxied_host, Proxied_user"
)
ROLES_MARIADB = "SELECT Host, User, Role, '', Admin_option FROM mysql.roles_mapping ORDER BY Host, User, Role"
ROLES_MYSQL = (
    "SELECT TO_HOST, TO_USER, FROM_USER, FROM_HOST, WITH_ADMIN_OPTION FROM mysql.role_edges"
    " ORDER BY TO_HOST, TO_USER, FROM_HOST, FROM_USER"
)
DEFAULT_ROLES_MYSQL = (
    "SELECT HOST, USER, DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles"
    " ORDER BY HOST, USER, DEFAULT_ROLE_HOST, DEFAULT_ROLE_USER"
)
DYNAMIC_MYSQL = "SELECT HOST, USER, PRIV, WITH_GRANT_OPTION FROM mysql.global_grants ORDER BY HOST, USER, PRIV"
KNOWN = "SHOW PRIVILEGES"
"""What the server knows, in an order that stays while it runs. In MySQL the dynamic ones are among them."""
PARTIAL_REVOKES_MYSQL = "SELECT @@GLOBAL.partial_revokes"

Row = tuple[str | None, ...]
Account = tuple[str, str]
"""User and host, in small letters: host names have no case. A role's is empty in MariaDB and ``%`` in MySQL."""


class Target(NamedTuple):
    """What privileges are given on, as the server keeps it: on a database ``database`` is a pattern, with PROXY it is an account."""

    level: str
    database: str = ""
    name: str = ""

    def __str__(self) -> str:
        """As SQL writes it."""
        if self.level == GLOBAL:
            return "*.*"
        database = identifier(self.database)
        if self.level == DATABASE:
            return f"{database}.*"
        if self.level == TABLE:
            return f"{database}.{identifier(self.name)}"
        if self.level == PROXY:
            return f"{database}@{identifier(self.name)}"
        return f"{self.level.upper()} {database}.{identifier(self.name)}"


EVERYTHING = Target(GLOBAL)


class Role(NamedTuple):
    """A role that somebody has. ``host`` is empty but where MySQL has made a role of an account of another host than ``%``."""

    name: str
    host: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.host}" if self.host else self.name


@dataclass
class Granted:
    """The whole of what one account or role may do."""

    rights: dict[Target, frozenset[str]] = field(default_factory=dict)
    """Privileges, ``GRANT OPTION`` among them where any of them may be passed on, and such as SELECT (`column`)."""
    passes_all_on: bool = True
    """Where it has GRANT OPTION on everything: whether that is for all of its privileges there. MySQL keeps it for each dynamic one."""
    withheld: frozenset[str] = frozenset()
    """Privileges on everything that do not count in some database: MySQL's partial revokes."""
    roles: dict[Role, bool] = field(default_factory=dict)
    """Whether it may give the role to others."""
    default_roles: frozenset[Role] = frozenset()

    @property
    def nothing(self) -> bool:
        return not (self.rights or self.roles or self.default_roles)


@dataclass(frozen=True)
class ServerGrants:
    """What everybody may do on one server."""

    mariadb: bool
    by_account: Mapping[Account, Granted]
    everything: Mapping[str, frozenset[str]]
    """What ALL PRIVILEGES stands for on each kind of target: all that this server knows there."""
    literal: bool
    """Whether names of databases in grants are taken as they are, not as patterns: MySQL with partial_revokes."""
    roles: frozenset[str]
    """MariaDB's. MySQL has accounts instead, that are locked."""

    def of(self, user: str, host: str | None) -> Granted:
        """``host`` is None for a role."""
        where = host.lower() if host is not None else "" if self.mariadb else "%"
        return self.by_account.get((user, where), _NOTHING)


_NOTHING = Granted()


def identifier(name: str) -> str:
    """The name between backticks."""
    return "`" + name.replace("`", "``") + "`"


def on_column(privilege: str, column: str) -> str:
    """A privilege on one column. Columns have no case."""
    return f"{privilege} ({identifier(column.lower())})"


class Collected:
    """Collects the rows of all queries. Rights that many accounts have alike are kept, and made out, once."""

    def __init__(self, known: Iterable[Row], *, mariadb: bool, literal: bool = False) -> None:
        self._mariadb = mariadb
        self._literal = literal
        self._found: dict[Account, Granted] = {}
        self._sets: dict[str, frozenset[str]] = {}
        self._roles: set[str] = set()
        spelled = ((name or "").upper() for name, *_ in known)
        self._known = frozenset(privileges.SPELLINGS.get(name, name) for name in spelled)

    def whole(self) -> ServerGrants:
        known = self._known - {"USAGE", PROXY, GRANT_OPTION}
        everything = {level: known & of_level for level, of_level in privileges.KNOWN.items()}
        everything[GLOBAL] = known
        return ServerGrants(self._mariadb, self._found, everything, self._literal, frozenset(self._roles))

    def mariadb_accounts(self, rows: Iterable[Row]) -> None:
        """User, host and Priv of mysql.global_priv."""
        for user, host, stored, *_ in rows:
            text = stored or "{}"
            if '"access":0,' in text and '"is_role"' not in text and '"default_role"' not in text:
                continue  # most accounts, which it would take a while to read
            priv = json.loads(text)
            if priv.get("is_role"):
                self._roles.add(user or "")
            granted = self._account(host, user)
            if access := int(priv.get("access", 0)):
                granted.rights[EVERYTHING] = privileges.of_access(access, int(priv.get("version_id", 0)))
            if role := priv.get("default_role"):
                granted.default_roles = frozenset((Role(role),))

    def mysql_accounts(self, names: tuple[str, ...], rows: Iterable[Row]) -> None:
        """mysql.user of MySQL."""
        read = _flags(names)
        user, host, attributes = (names.index(name) for name in ("User", "Host", "User_attributes"))
        for row in rows:
            if given := read(row):
                self._account(row[host], row[user]).rights[EVERYTHING] = given
            if "Restrictions" in (text := row[attributes] or ""):
                withheld = {name for each in json.loads(text)["Restrictions"] for name in each["Privileges"]}
                self._account(row[host], row[user]).withheld = frozenset(withheld)

    def dynamic(self, rows: Iterable[Row]) -> None:
        """MySQL's dynamic privileges; after ``mysql_accounts``."""
        by_account: dict[Account, list[Row]] = {}
        for row in rows:
            by_account.setdefault((row[1] or "", row[0] or ""), []).append(row)
        for (user, host), found in by_account.items():
            granted = self._account(host, user)
            static = granted.rights.get(EVERYTHING, frozenset())
            passed_on = {passed_on == "Y" for *_, passed_on in found} | ({GRANT_OPTION in static} if static else set())
            option = {GRANT_OPTION} if True in passed_on else frozenset()
            granted.rights[EVERYTHING] = static | option | {name or "" for _, _, name, _ in found}
            granted.passes_all_on = False not in passed_on

    def databases(self, names: tuple[str, ...], rows: Iterable[Row]) -> None:
        """mysql.db."""
        read = _flags(names)
        host, user, database = (names.index(name) for name in ("Host", "User", "Db"))
        for row in rows:
            if given := read(row):
                self._account(row[host], row[user]).rights[Target(DATABASE, row[database] or "")] = given

    def tables(self, rows: Iterable[Row]) -> None:
        for host, user, database, table, given in rows:
            self._add(host, user, Target(TABLE, database or "", table or ""), self._set(given))

    def columns(self, rows: Iterable[Row]) -> None:
        for host, user, database, table, column, given in rows:
            on_columns = frozenset(on_column(name, column or "") for name in self._set(given))
            self._add(host, user, Target(TABLE, database or "", table or ""), on_columns)

    def routines(self, rows: Iterable[Row]) -> None:
        for host, user, database, kind, name, given in rows:
            target = Target((kind or "").lower(), database or "", (name or "").lower())
            self._add(host, user, target, self._set(given))

    def proxies(self, rows: Iterable[Row]) -> None:
        for host, user, proxied, proxied_host in rows:
            self._add(host, user, Target(PROXY, proxied or "", proxied_host or ""), frozenset((PROXY,)))

    def role_edges(self, rows: Iterable[Row]) -> None:
        for host, user, role, role_host, admin in rows:
            self._account(host, user).roles[_role(role, role_host)] = admin == "Y"

    def default_roles(self, rows: Iterable[Row]) -> None:
        for host, user, role, role_host in rows:
            self._account(host, user).default_roles |= {_role(role, role_host)}

    def _account(self, host: str | None, user: str | None) -> Granted:
        key = (user or "", (host or "").lower())
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = Granted()
        return found

    def _add(self, host: str | None, user: str | None, target: Target, given: frozenset[str]) -> None:
        if given:
            rights = self._account(host, user).rights
            rights[target] = rights[target] | given if target in rights else given

    def _set(self, text: str | None) -> frozenset[str]:
        found = self._sets.get(text or "")
        if found is None:
            found = self._sets[text or ""] = privileges.of_set(text or "")
        return found


def _role(name: str | None, host: str | None) -> Role:
    return Role(name or "", "" if host in ("%", None) else host)


def _flags(names: tuple[str, ...]) -> Callable[[Row], frozenset[str]]:
    """Reads the columns that are Y or N, one for each privilege."""
    places = [place for place, name in enumerate(names) if name.endswith("_priv")]
    named = [privileges.of_column(names[place]) for place in places]
    chosen = itemgetter(*places)
    known: dict[Row, frozenset[str]] = {}

    def read(row: Row) -> frozenset[str]:
        flags = chosen(row)
        found = known.get(flags)
        if found is None:
            found = known[flags] = frozenset(name for name, flag in zip(named, flags, strict=True) if flag == "Y")
        return found

    return read
