"""What one database user may do in one database, or with one table of it: exactly these privileges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.kinds.sql_names import pattern, quoted
from agent.resource import Change, Ref, Resource, State
from agent.steps import Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host

ALL = "ALL PRIVILEGES"
GRANT_OPTION = "GRANT OPTION"
TABLE_PRIVILEGES = frozenset(
    ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "TRIGGER", ALL)
) | {"CREATE VIEW", "SHOW VIEW", "DELETE HISTORY"}
DATABASE_PRIVILEGES = TABLE_PRIVILEGES | {
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
    "EXECUTE",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "SHOW CREATE ROUTINE",
    "EVENT",
}


@dataclass(frozen=True)
class GrantState(State):
    """The privileges held; ALL PRIVILEGES stands for all that the server knows where all are wanted."""

    privileges: frozenset[str]
    grant_option: bool
    """Whether the user may pass them on."""
    wildcard: frozenset[str]
    """What is granted on the bare name as well, in which ``_`` and ``%`` match anything: on other databases too."""


@dataclass(frozen=True)
class Grant(Resource):
    """``name`` is ``user@host on database.table``, where ``*`` is all tables. Server-wide grants are not a kind."""

    kind: ClassVar[str] = "grant"

    server: str
    user: str
    host: str
    database: str
    privileges: frozenset[str]
    table: str = "*"
    after: tuple[Ref, ...] = ()

    def __post_init__(self) -> None:
        # privileges become part of a statement: there is nothing that would quote them
        known = DATABASE_PRIVILEGES if self.table == "*" else TABLE_PRIVILEGES
        if unknown := self.privileges - known:
            raise ValueError(f"no such privilege on {self.database}.{self.table}: {', '.join(sorted(unknown))}")
        if not self.privileges or self.database in ("", "*"):
            raise ValueError("a grant needs a database and at least one privilege")

    def desired(self) -> GrantState:
        return GrantState(frozenset((ALL,)) if ALL in self.privileges else self.privileges, False, frozenset())

    def read(self, host: Host) -> GrantState | None:
        where = (self.user, self.host.lower())
        wildcard: frozenset[str] = frozenset()
        if self.table != "*":
            held = host.databases.table_grants(self.server).get((*where, self.database, self.table))
        else:
            grants = host.databases.grants(self.server)
            held = grants.get((*where, pattern(self.database)))
            bare = grants.get((*where, self.database)) if pattern(self.database) != self.database else None
            if bare is not None:
                wildcard = bare.privileges | ({GRANT_OPTION} if bare.grant_option else set())
        if held is None:
            return GrantState(frozenset(), False, wildcard) if wildcard else None
        privileges = frozenset((ALL,)) if held.all_privileges and ALL in self.privileges else held.privileges
        return GrantState(privileges, held.grant_option, wildcard)

    def steps(self, change: Change) -> Iterator[Step]:
        wanted: frozenset[str] = change.desired.privileges if change.desired else frozenset()
        current: GrantState = change.current or GrantState(frozenset(), False, frozenset())
        if missing := wanted - current.privileges:
            yield self._sql("GRANT", missing, "TO")
        if current.grant_option:
            yield self._sql("REVOKE", frozenset((GRANT_OPTION,)), "FROM")
        if ALL not in wanted and (extra := current.privileges - wanted):
            yield self._sql("REVOKE", extra, "FROM")
        if current.wildcard:
            yield self._sql("REVOKE", current.wildcard, "FROM", bare=True)

    def _sql(self, verb: str, privileges: frozenset[str], preposition: str, *, bare: bool = False) -> Sql:
        whole = self.table == "*"  # the name is a pattern then, and only then
        database = quoted(pattern(self.database) if whole and not bare else self.database)
        on = f"{database}.{'*' if whole else quoted(self.table)}"
        listed = ", ".join(sorted(privileges))
        return Sql(self.server, f"{verb} {listed} ON {on} {preposition} %s@%s", (self.user, self.host))

    def needs(self) -> tuple[Ref, ...]:
        return (*self.after, Ref("database", self.database), Ref("database_user", f"{self.user}@{self.host}"))
