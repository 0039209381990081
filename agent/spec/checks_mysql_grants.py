"""What must fit together about the rights of accounts and roles in the `mysql` section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from agent.host.database_privileges import DATABASE, GLOBAL, GRANT_OPTION, KNOWN, MARIADB_ONLY, MYSQL_ONLY, TABLE
from agent.kinds.sql_names import LONGEST_PATTERN, TOO_LONG, TOO_LONG_HINT, pattern

from .explain import Finding
from .sections.mysql import Mysql
from .sections.mysql_grants import ALL_ROLES, NO_ROLE, DatabaseRole, privilege_of, target_of
from .sections.mysql_users import DatabaseUser
from .shape import nearest
from .tree import Keys

_ELSEWHERE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mysql": ("is MariaDB's; MySQL does not know it", MARIADB_ONLY),
    "mariadb": ("is MySQL's; MariaDB does not know it", MYSQL_ONLY),
}
"""By server. What an external one knows, only that itself can tell."""


def check_grants(mysql: Mysql) -> Iterator[Finding]:
    """Targets and roles are declared, privileges fit their targets and the server."""
    for account, user in mysql.users.items():
        keys: Keys = ("mysql", "users", account)
        yield from _grants(keys, user.grants, mysql)
        yield from _roles(keys, user, mysql)
        yield from _default_role(keys, user, mysql)
    names = {account.rpartition("@")[0]: account for account in mysql.users}
    for name, role in mysql.roles.items():
        keys = ("mysql", "roles", name)
        yield from _grants(keys, role.grants, mysql)
        yield from _roles(keys, role, mysql)
        if name in names:
            hint = "MySQL keeps roles among the accounts; give one of them another name"
            yield Finding(keys, f"is called like the account {names[name]}", hint, at_key=True)
    yield from _circles(mysql)


def _grants(above: Keys, grants: Mapping[str, tuple[str, ...]], mysql: Mysql) -> Iterator[Finding]:
    for text, privileges in grants.items():
        target, here = target_of(text), (*above, "grants", text)
        if target.level != GLOBAL and target.database not in mysql.databases:
            near = nearest(target.database, list(mysql.databases))
            hint = f"did you mean '{near}'?" if near else f"add {target.database} to mysql.databases"
            message = f"is a grant on the database '{target.database}', which is not declared"
            yield Finding(here, message, hint, at_key=True)
        if target.level == DATABASE and len(pattern(target.database)) > LONGEST_PATTERN:
            yield Finding(here, TOO_LONG, TOO_LONG_HINT, at_key=True)
        whole = {privilege for privilege in privileges if not privilege_of(privilege)[1]}
        if "ALL" in whole and len(privileges) > len(whole & {"ALL", GRANT_OPTION}):
            hint = "keep ALL alone, or only the others; GRANT OPTION may stand beside it"
            yield Finding(here, "has ALL, which covers the others", hint, at_key=True)
        for index, privilege in enumerate(privileges):
            if problem := _misfit(privilege, target.level, whole, mysql.server):
                yield Finding((*here, index), f"is {privilege}, which {problem[0]}", problem[1])


def _misfit(privilege: str, level: str, whole: set[str], server: str) -> tuple[str, str] | None:
    """Why this privilege cannot stand there, and a hint."""
    name, columns = privilege_of(privilege)
    if columns and level != TABLE:
        return "is for columns of a table", "name the table: 'analysis.results'"
    if columns and name in whole:
        return f"{name} on the whole table covers", ""
    if name not in ("ALL", GRANT_OPTION) and name not in KNOWN[level]:
        fitting = [level for level in ("table", "database", "global") if name in KNOWN[level]]
        if name == "EXECUTE" or not fitting:
            fitting = ["database"]
        where = {"global": "everything ('*')", "database": "a whole database", "table": "a table"}[fitting[0]]
        return f"is for {where}, not for a {level}", ""
    said, others = _ELSEWHERE.get(server, ("", ()))
    if name in others:
        near = nearest(
            name.replace(" ", "_") if server == "mysql" else name.replace("_", " "),
            sorted(KNOWN[level] - set(others)),
            0.9,
        )
        return said, f"did you mean '{near}'?" if near else ""
    return None


def _roles(above: Keys, holder: DatabaseUser | DatabaseRole, mysql: Mysql) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, role in enumerate(holder.roles):
        here: Keys = (*above, "roles", index)
        if role.name not in mysql.roles:
            near = nearest(role.name, list(mysql.roles))
            hint = f"did you mean '{near}'?" if near else "declare it under mysql.roles"
            yield Finding(here, f"is the role '{role.name}', which is not declared", hint)
        elif role.name in seen:
            yield Finding(here, f"is {role.name}, which stands there twice", "keep one")
        seen.add(role.name)


def _default_role(above: Keys, user: DatabaseUser, mysql: Mysql) -> Iterator[Finding]:
    here: Keys = (*above, "default_role")
    names = list(dict.fromkeys(role.name for role in user.roles))
    wanted = user.default_role
    if wanted is None:
        if mysql.server == "mariadb" and len(names) > 1:
            hint = f"say which one: default_role: {names[0]}, or NONE"
            yield Finding(
                (*above, "roles"), "are several, and MariaDB activates one of them at login", hint, at_key=True
            )
        return
    if wanted == (NO_ROLE,):
        return
    for name in () if wanted == (ALL_ROLES,) else wanted:
        if name not in names:
            near = nearest(name, names)
            hint = f"did you mean '{near}'?" if near else "list it under roles"
            yield Finding(here, f"is {name}, a role that the account does not have", hint)
    count = len(names) if wanted == (ALL_ROLES,) else len(wanted)
    if mysql.server == "mariadb" and count > 1:
        yield Finding(here, "is more than one, and MariaDB activates one role at login", "keep one of them")


def _circles(mysql: Mysql) -> Iterator[Finding]:
    sorter = TopologicalSorter({name: [each.name for each in role.roles] for name, role in mysql.roles.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        members = error.args[1]
        yield Finding(
            ("mysql", "roles", members[-1]), f"contains itself: {' -> '.join(reversed(members))}", at_key=True
        )
