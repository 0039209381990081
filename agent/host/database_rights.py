"""What the agent's own account may do on a server, from what SHOW GRANTS says of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.host.database_privileges import ALL, DYNAMIC, ON_DATABASES, SPELLINGS

OWN_GRANTS = "SHOW GRANTS"
KNOWN = "SHOW PRIVILEGES"
EVERYTHING = "*"
"""Stands for all databases."""
ROLE_ADMIN = "ROLE_ADMIN"
"""What giving roles takes in MySQL. In MariaDB whoever makes a role may give it."""

_NAME = r"`(?:[^`]|``)*`"
_LINE = re.compile(rf"(GRANT|REVOKE) (?P<privileges>.+?) ON (?P<database>\*|{_NAME})\.\* (?:TO|FROM) ")
_OTHER_NAMES = {**SPELLINGS, "DELETE VERSIONING ROWS": "DELETE HISTORY"}


@dataclass(frozen=True, order=True)
class Need:
    """A privilege that the agent must have: on everything, or on a database; ``to_pass_on`` when it is to give it to others."""

    privilege: str
    database: str = EVERYTHING
    to_pass_on: bool = False

    def __str__(self) -> str:
        where = "*.*" if self.database == EVERYTHING else f"{self.database}.*"
        return f"{self.privilege} ON {where}{' WITH GRANT OPTION' if self.to_pass_on else ''}"


@dataclass(frozen=True)
class Right:
    """One line of SHOW GRANTS. ``database`` is a pattern, as the server has it."""

    privileges: frozenset[str]
    database: str
    grant_option: bool
    taken: bool = False
    """Whether it takes away (MySQL's partial revokes)."""

    def covers(self, database: str) -> bool:
        return self.database == EVERYTHING or (database != EVERYTHING and _matches(self.database, database))


def rights(lines: Iterable[str]) -> tuple[Right, ...]:
    """What the lines of SHOW GRANTS say of whole databases and of everything; the rest is left out."""
    return tuple(_rights(lines))


def _rights(lines: Iterable[str]) -> Iterator[Right]:
    for line in lines:
        if found := _LINE.match(line):
            privileges = frozenset(each.strip() for each in found["privileges"].split(","))
            database = found["database"]
            name = database if database == EVERYTHING else database[1:-1].replace("``", "`")
            yield Right(privileges, name, line.endswith(" WITH GRANT OPTION"), taken=found[1] == "REVOKE")


def lacking(needs: Iterable[Need], held: Iterable[Right], known: Iterable[str]) -> tuple[Need, ...]:
    """The needs that are not met, in order. ``known``: what SHOW PRIVILEGES calls those that the server has."""
    found = tuple(held)
    spelled = {_OTHER_NAMES.get(name.upper(), name.upper()) for name in known}
    everything = frozenset(ON_DATABASES) & spelled
    asked = (need for need in sorted(set(needs)) if need.privilege in spelled or need.privilege not in DYNAMIC)
    return tuple(need for need in asked if not _met(need, found, everything))


def _met(need: Need, held: tuple[Right, ...], everything: frozenset[str]) -> bool:
    covering = [right for right in held if right.covers(need.database)]
    given: set[str] = set()
    for right in covering:
        if not right.taken:
            given |= right.privileges
    for right in covering:
        if right.taken:
            given -= right.privileges
    if need.to_pass_on and not any(right.grant_option and not right.taken for right in covering):
        return False
    wanted = everything if need.privilege == ALL and need.database != EVERYTHING else {need.privilege}
    return ALL in given or wanted <= given


def _matches(pattern: str, name: str) -> bool:
    """Whether a name is among those that a grant is for: ``_`` is any character, ``%`` any number of them, and after a backslash they are themselves."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"_": ".", "%": ".*"}
    return bool(re.fullmatch("".join(wild.get(part) or re.escape(part[-1]) for part in parts), name, re.DOTALL))
