"""All that an account or a role of a database server may do: exactly this, wherever it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from agent.errors import HostError
from agent.host.database_grants import Granted, Role, ServerGrants, Target, on_column
from agent.host.database_privileges import (
    ALL,
    DATABASE,
    FUNCTION,
    GLOBAL,
    GRANT_OPTION,
    KNOWN,
    ON_COLUMNS,
    PROCEDURE,
    TABLE,
)
from agent.kinds.privilege_tables import noted
from agent.kinds.rights import DEFAULT, ROLE, Right, Statements, compare, compare_roles
from agent.kinds.sql_names import LONGEST_PATTERN, TOO_LONG, TOO_LONG_HINT, pattern
from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Step

if TYPE_CHECKING:
    from agent.host.machine import Host

ALL_ROLES = "ALL"
"""As a default role: all roles that the account has."""


_ALWAYS = (ALL, GRANT_OPTION)


class Given(NamedTuple):
    """Privileges on one target, whose names are as they are: nothing in them is a pattern."""

    level: str
    """``global``, ``database``, ``table``, ``procedure`` or ``function``."""
    database: str = ""
    name: str = ""
    privileges: tuple[str, ...] = ()
    """``ALL PRIVILEGES`` stands for all that the server knows; with ``GRANT OPTION`` they may be passed on."""
    on_columns: tuple[tuple[str, str], ...] = ()
    """Privilege and column, of a table."""


class GivenRole(NamedTuple):
    """A role that an account or another role has."""

    role: str
    admin: bool = False
    """Whether it may be given to others."""


@dataclass(frozen=True)
class GrantsState(State):
    """What differs, in the words of SQL: both are empty when it is right."""

    missing: frozenset[Right]
    too_much: frozenset[Right]
    held: Granted | None = None
    """All that the account may do now. Not compared; the steps rest on it, as on what follows."""
    mariadb: bool | None = None
    literal: bool | None = None


@dataclass(frozen=True)
class Grants(Resource):
    """``name`` is ``user@host``, or that of a role, which has no host. Where nothing is given nothing may be there."""

    kind: ClassVar[str] = "grants"

    server: str
    user: str
    host: str | None = None
    given: tuple[Given, ...] = ()
    roles: tuple[GivenRole, ...] = ()
    default_roles: tuple[str, ...] = ()
    """Those that are active from login on; ``ALL`` alone stands for all that it has."""
    after: tuple[Ref, ...] = ()
    leaving: bool = False
    """Set in the ledger's copy: nothing shall be left."""

    def __post_init__(self) -> None:
        # privileges become part of a statement: there is nothing that would quote them
        for level, database, _, privileges, on_columns in self.given:
            if level not in KNOWN or (level == GLOBAL) == bool(database):
                raise ValueError(f"privileges are given on everything or in a database, not on {level} {database!r}")
            names = {privilege for privilege, _ in on_columns}
            unknown = (set(privileges) - KNOWN[level] - {ALL, GRANT_OPTION}) | (names - set(ON_COLUMNS))
            if unknown or (names and level != TABLE) or not (privileges or names):
                raise ValueError(f"no such privilege on a {level}: {', '.join(sorted(unknown | names)) or 'none'}")
        if self.host is None and self.default_roles:
            raise ValueError(f"the role {self.user} does not log in and has no default role")

    def desired(self) -> GrantsState | None:
        return GrantsState(frozenset(), frozenset()) if self.given or self.roles else None

    def read(self, host: Host) -> GrantsState | None:
        server = host.databases.granted(self.server)
        held = server.of(self.user, self.host)
        self._refuse_unknown(server)
        if held.nothing and (self.leaving or not (server.literal and self.given)):
            return None  # but with literal names: what is to be done cannot be told without this state
        missing, too_much = compare(self._rights(literal=server.literal), held, server)
        missing_roles, extra_roles = compare_roles(self._roles(), self._default(), held)
        state = frozenset(missing | missing_roles), frozenset(too_much | extra_roles)
        return GrantsState(*state, held, server.mariadb, server.literal)

    def _refuse_unknown(self, server: ServerGrants) -> None:
        """Raises HostError for what this server cannot do."""
        for level, database, _, privileges, _ in self.given:
            if level == DATABASE and not server.literal and len(pattern(database)) > LONGEST_PATTERN:
                raise HostError(f"{database} {TOO_LONG}", hint=TOO_LONG_HINT)
            if unknown := set(privileges).difference(server.everything[level], _ALWAYS):
                kind = "MariaDB" if server.mariadb else "MySQL"
                message = f"this {kind} server knows no privilege {', '.join(sorted(unknown))} on a {level}"
                raise HostError(
                    message, hint=f"SHOW PRIVILEGES lists what it knows; take it out of grants of {self.name}"
                )
        if self.default_roles and server.mariadb and len(self._default()) > 1:
            message = f"MariaDB activates one role at login, and {self.name} shall have {len(self._default())}"
            raise HostError(message, hint="say which one: default_role")

    def steps(self, change: Change) -> Iterator[Step]:
        return noted(self._statements(change), self.name)

    def _statements(self, change: Change) -> Iterator[Step]:
        statements = Statements(self.server, self.user, self.host)
        current: GrantsState | None = change.current
        if change.action is Action.DELETE:
            if current and current.held:
                yield from statements.revoking_all(current.held, mariadb=bool(current.mariadb))
            return
        wanted = self._rights(literal=bool(current and current.literal))
        if current is None:
            missing, too_much = _all_of(wanted), frozenset[Right]()
            missing |= compare_roles(self._roles(), self._default(), Granted())[0]
        else:
            missing, too_much = current.missing, current.too_much
        wide = {right for right in missing if right.on.level in (GLOBAL, DATABASE, ROLE)}
        yield from statements.granting(wide, wanted)
        if any(right.what == DEFAULT for right in (*missing, *too_much)):
            yield statements.default_roles(self._default())
        yield from statements.granting(missing - wide, wanted)
        yield from statements.revoking(too_much, wanted, mariadb=bool(current and current.mariadb))

    def _rights(self, *, literal: bool) -> dict[Target, frozenset[str]]:
        found: dict[Target, frozenset[str]] = {}
        for level, database, name, privileges, on_columns in self.given:
            if level == DATABASE:
                target = Target(level, database if literal else pattern(database))
            else:
                target = Target(level, database, name.lower() if level in (PROCEDURE, FUNCTION) else name)
            rights = {*privileges, *(on_column(privilege, column) for privilege, column in on_columns)}
            found[target] = found.get(target, frozenset()).union(rights)
        return found

    def _roles(self) -> dict[Role, bool]:
        return {Role(role): admin for role, admin in self.roles}

    def _default(self) -> frozenset[Role]:
        if self.default_roles == (ALL_ROLES,):
            return frozenset(self._roles())
        return frozenset(map(Role, self.default_roles))

    def stub(self) -> Resource:
        return replace(self, leaving=True)

    def needs(self) -> tuple[Ref, ...]:
        account = Ref("database_role" if self.host is None else "database_user", self.name)
        databases = {Ref("database", database) for level, database, *_ in self.given if level != GLOBAL}
        return (*self.after, account, *sorted(databases), *(Ref("database_role", role) for role, _ in self.roles))


def _all_of(wanted: dict[Target, frozenset[str]]) -> frozenset[Right]:
    return frozenset(Right(what, target) for target, names in wanted.items() for what in names)
