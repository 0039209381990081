"""Rights of one account as they are compared, and the statements that give and take them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from agent.host.database_grants import EVERYTHING, Granted, Role, ServerGrants, Target
from agent.host.database_privileges import (
    ALL,
    DATABASE,
    FUNCTION,
    GLOBAL,
    GRANT_OPTION,
    PROCEDURE,
    PROXY,
    TABLE,
)
from agent.kinds.privilege_tables import FLUSH
from agent.steps import Sql

ROLE, ADMIN, DEFAULT = "ROLE", "ADMIN OPTION", "DEFAULT ROLE"
_ORDER = (GLOBAL, DATABASE, ROLE, TABLE, PROCEDURE, FUNCTION)
"""The widest first, and last those that GRANT refuses while what they are on is not there."""

Wanted = Mapping[Target, frozenset[str]]


class Right(NamedTuple):
    """One thing that an account may do: a privilege on a target, a role (whose target is called so), to give a role away, or to have it from login on."""

    what: str
    on: Target

    def __str__(self) -> str:
        if self.on.level == ROLE:
            role = str(Role(self.on.database, self.on.name))
            return f"{ADMIN} FOR {role}" if self.what == ADMIN else f"{self.what} {role}"
        return f"{self.what} ON {self.on}"


def of_role(what: str, role: Role) -> Right:
    return Right(what, Target(ROLE, *role))


def compare(wanted: Wanted, held: Granted, server: ServerGrants) -> tuple[set[Right], set[Right]]:
    """What is missing and what is too much among privileges. ALL PRIVILEGES is all that this server knows there."""
    missing: set[Right] = set()
    too_much: set[Right] = set()
    if wanted == held.rights and held.passes_all_on and not held.withheld:
        return missing, too_much  # of most accounts there is nothing more to know
    for target in held.rights.keys() | wanted.keys():
        here, there = wanted.get(target, frozenset()), held.rights.get(target, frozenset())
        counting = there
        if target == EVERYTHING:
            counting = there - held.withheld if held.passes_all_on else there - held.withheld - {GRANT_OPTION}
        if here == there == counting:
            continue
        whole = _everything(server, target)
        if ALL in here:
            lacking = (here & {GRANT_OPTION}) - counting | (frozenset() if counting >= whole else {ALL})
            extra = there - whole - here
        else:
            lacking, extra = here - counting, there - here
            if not here and whole and there >= whole and (target != EVERYTHING or server.mariadb):
                # in MySQL it is taken by name: REVOKE ALL PRIVILEGES ON *.* would take the grants on databases, too
                extra = extra - whole | {ALL}
        missing |= {Right(what, target) for what in lacking}
        too_much |= {Right(what, target) for what in extra}
    return missing, too_much


def compare_roles(
    roles: Mapping[Role, bool], default: Collection[Role], held: Granted
) -> tuple[set[Right], set[Right]]:
    """What is missing and what is too much among roles."""
    if not (roles or held.roles or held.default_roles):
        return set(), set()
    wanted = _role_rights(roles, default)
    have = _role_rights(held.roles, held.default_roles)
    return wanted - have, have - wanted


def _role_rights(roles: Mapping[Role, bool], default: Collection[Role]) -> set[Right]:
    found = {of_role(ROLE, role) for role in roles} | {of_role(DEFAULT, role) for role in default}
    return found | {of_role(ADMIN, role) for role, admin in roles.items() if admin}


def _everything(server: ServerGrants, target: Target) -> frozenset[str]:
    if target.level == PROXY:
        return frozenset()
    return server.everything.get(target.level, server.everything[PROCEDURE])  # MariaDB has packages of routines


@dataclass(frozen=True)
class Statements:
    """Makes the statements for one account; ``host`` is None for a role."""

    server: str
    user: str
    host: str | None

    def granting(self, missing: Iterable[Right], wanted: Wanted) -> Iterator[Sql]:
        """Gives privileges and roles; not default roles."""
        for target, words in _by_target(missing):
            if target.level == ROLE:
                if words & {ROLE, ADMIN}:
                    option = " WITH ADMIN OPTION" if ADMIN in words else ""
                    yield self._sql("GRANT %s TO", (target.database,), option)
                continue
            option = " WITH GRANT OPTION" if GRANT_OPTION in words else ""
            # MySQL keeps the option for each dynamic privilege: all are named again
            named = wanted[target] if option and target == EVERYTHING else words
            listed = ", ".join(sorted(named - {GRANT_OPTION})) or "USAGE"
            yield self._sql(f"GRANT {_escaped(listed)} ON {_escaped(str(target))} TO", (), option)

    def revoking(self, too_much: Iterable[Right], wanted: Wanted, *, mariadb: bool) -> Iterator[Sql]:
        """Takes privileges and roles, of columns before those of their table; not default roles."""
        for target, words in _by_target(too_much):
            if target.level == ROLE:
                yield from self._revoking_role(target, words, mariadb=mariadb)
            elif target.level == PROXY:
                yield self._sql("REVOKE PROXY ON %s@%s FROM", (target.database, target.name))
            else:
                yield from self._revoking_privileges(target, words, wanted.get(target, frozenset()))
                if target == EVERYTHING and not mariadb and any(map(_dynamic, words)):
                    yield self.in_memory

    def _revoking_privileges(self, target: Target, words: frozenset[str], wanted: frozenset[str]) -> Iterator[Sql]:
        on_columns = {word for word in words if word.endswith("`)")}
        kept = {word.partition(" (")[0] for word in wanted if word.endswith("`)")}
        for_columns = words & kept if target.level == TABLE else frozenset()
        # beside ALL PRIVILEGES it must not be named, and beside a dynamic privilege of MySQL it alone would be taken
        option = words & {GRANT_OPTION}
        rest = sorted(words - on_columns - option - for_columns)
        # MySQL takes all of them together on everything to mean those on databases and tables, too
        half = len(rest) // 2 if target == EVERYTHING else 0
        for named in (sorted(on_columns), sorted(option), rest[:half], rest[half:]):
            if named:
                yield self._sql(f"REVOKE {_escaped(', '.join(named))} ON {_escaped(str(target))} FROM")
                if GRANT_OPTION in named and any(map(_dynamic, rest)):
                    yield self.in_memory
        if for_columns:
            yield from self._revoking_beside_columns(target, for_columns)

    @property
    def in_memory(self) -> Sql:
        """Makes MySQL forget what its tables no longer have: a dynamic privilege that was given with and without GRANT OPTION
        is in memory twice, of which REVOKE takes one, and so for ever if it is the wrong one (seen with 9.7)."""
        return Sql(self.server, "DO 0", on_mysql=FLUSH)

    def _revoking_role(self, target: Target, words: frozenset[str], *, mariadb: bool) -> Iterator[Sql]:
        role = (target.database, target.name) if target.name else (target.database,)
        if ROLE in words:
            yield self._sql(f"REVOKE {'@'.join(['%s'] * len(role))} FROM", role)
        elif ADMIN in words and mariadb:
            yield self._sql("REVOKE ADMIN OPTION FOR %s FROM", role)
        elif ADMIN in words:
            # MySQL has no statement for it, and without the role for a moment the account would have less
            yield Sql(
                self.server,
                "UPDATE mysql.role_edges SET WITH_ADMIN_OPTION = 'N'"
                " WHERE FROM_USER = %s AND FROM_HOST = %s AND TO_USER = %s AND TO_HOST = %s",
                (target.database, target.name or "%", self.user, "%" if self.host is None else self.host),
            )
            yield self.in_memory

    def _revoking_beside_columns(self, target: Target, names: frozenset[str]) -> Iterator[Sql]:
        """REVOKE of a privilege on a table takes it from its columns as well, where it shall stay all the time."""
        bits = sum(1 << _TABLE_BITS[name] for name in sorted(names))
        hosts = (
            ("", "%") if self.host is None else (self.host, self.host)
        )  # a role has one in MySQL and none in MariaDB
        yield Sql(
            self.server,
            "UPDATE mysql.tables_priv SET Table_priv = Table_priv & ~CAST(%s AS UNSIGNED)"
            " WHERE User = %s AND Host IN (%s, %s) AND Db = %s AND Table_name = %s",
            (bits, self.user, *hosts, target.database, target.name),
        )
        yield Sql(self.server, FLUSH)

    def default_roles(self, roles: Iterable[Role]) -> Sql:
        """Makes these the roles that are active from login on."""
        names = tuple(role.name for role in sorted(roles))
        listed = ", ".join(["%s"] * len(names)) or "NONE"
        arguments = (*names, self.user, self.host)
        statement = f"SET DEFAULT ROLE {listed}"
        return Sql(self.server, f"{statement} FOR %s@%s", arguments, on_mysql=f"{statement} TO %s@%s")

    def revoking_all(self, held: Granted, *, mariadb: bool) -> Iterator[Sql]:
        """Takes everything."""
        if held.default_roles and self.host is not None:
            yield self.default_roles(())
        taken = {of_role(ROLE, role) for role in held.roles}
        taken |= {Right(PROXY, target) for target in held.rights if target.level == PROXY}
        yield from self.revoking(taken, {}, mariadb=True)
        if any(target.level != PROXY for target in held.rights):
            yield self._sql("REVOKE ALL PRIVILEGES, GRANT OPTION FROM")
        if not mariadb and any(map(_dynamic, held.rights.get(EVERYTHING, ()))):
            yield self.in_memory

    def _sql(self, statement: str, arguments: tuple[str, ...] = (), option: str = "") -> Sql:
        whom = (self.user,) if self.host is None else (self.user, self.host)
        return Sql(self.server, f"{statement} {'@'.join(['%s'] * len(whom))}{option}", (*arguments, *whom))


_TABLE_BITS = {"SELECT": 0, "INSERT": 1, "UPDATE": 2, "REFERENCES": 7}
"""Where a privilege stands in the SET of mysql.tables_priv, in both servers."""


def _dynamic(privilege: str) -> bool:
    """Whether it may be one of MySQL's dynamic privileges, or the option to pass those on."""
    return "_" in privilege or privilege == GRANT_OPTION


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _by_target(rights: Iterable[Right]) -> Iterator[tuple[Target, frozenset[str]]]:
    def place(right: Right) -> tuple[int, Target]:
        level = right.on.level
        return (_ORDER.index(level) if level in _ORDER else len(_ORDER), right.on)

    for (_, target), found in groupby(sorted(rights, key=place), key=place):
        yield target, frozenset(right.what for right in found)
