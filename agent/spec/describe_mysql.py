"""What a database server has, as the spec would say it: databases, roles and accounts, with what cannot be said and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.host.database_facts import DatabaseAccount, DatabaseFacts
from agent.host.database_grants import EVERYTHING, Granted, ServerGrants, Target
from agent.host.database_privileges import DATABASE, GLOBAL, GRANT_OPTION, PROXY, TABLE
from agent.host.passwords import CACHING_SHA2, NATIVE
from agent.kinds.sql_names import pattern
from agent.spec.sections.mysql import Database
from agent.spec.sections.mysql_grants import (
    NO_ROLE,
    SYSTEM_ACCOUNTS,
    SYSTEM_DATABASES,
    DatabaseName,
    DatabaseRole,
    RoleName,
)
from agent.spec.sections.mysql_users import Account, DatabaseUser

SERVICES = {"rdsadmin", "rdsrepladmin", "rdstopmgr", "rds_superuser_role", "azure_superuser", "cloudsqladmin"} | {
    "cloudsqlsuperuser", "cloudsqlexport", "cloudsqlimport", "cloudsqlreplica", "cloudsqloneshot", "cloudsqlapplier",
}  # fmt: skip
"""What managed services call the accounts and roles that they come by themselves."""
USUAL = "default"
_SOCKETS = ("unix_socket", "auth_socket")
_LIMITS = ("max_queries_per_hour", "max_updates_per_hour", "max_connections_per_hour", "max_user_connections")
_LOCAL = ("localhost", "127.0.0.1", "::1")
_NAMES: Mapping[str, tuple[TypeAdapter[str], type[Any]]] = {
    "databases": (TypeAdapter(DatabaseName), Database),
    "roles": (TypeAdapter(RoleName), DatabaseRole),
    "users": (TypeAdapter(Account), DatabaseUser),
}


@dataclass
class Entry:
    """One thing under ``databases``, ``roles`` or ``users``."""

    section: str
    name: str
    """As the spec's model has it: an account with its host."""
    settings: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    """What people should know of it."""
    reasons: list[str] = field(default_factory=list)
    """Why the spec cannot have it as it is."""

    @property
    def written(self) -> str:
        """As people write it."""
        return self.name.removesuffix("@localhost") if self.section == "users" else self.name

    def check(self) -> None:
        """Notes as a reason what the spec's own fields refuse."""
        name, model = _NAMES[self.section]
        try:
            name.validate_python(self.name)
            model.model_validate(self.settings)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in found["loc"] if part != "[key]")
            must = found.get("ctx", {}).get("must")
            words = f"must be {must}, not {found['input']}" if must else found["msg"]
            self.reasons.append(f"{where}: {words}" if where else words)


def databases(found: Mapping[str, DatabaseFacts]) -> Iterator[Entry]:
    """All but the server's own, by name."""
    for name in sorted(found):
        if name.lower() in SYSTEM_DATABASES:
            continue
        facts = found[name]
        settings = {"charset": facts.character_set, "collation": facts.collation}
        if settings["charset"] == "utf8mb4":
            del settings["charset"]
            if facts.collation == "utf8mb4_unicode_ci":
                del settings["collation"]
        yield Entry("databases", name, settings)


def role_names(accounts: Iterable[DatabaseAccount], granted: ServerGrants) -> frozenset[str]:
    """The roles there are. In MySQL they are accounts from everywhere, locked and without a password."""
    if granted.mariadb:
        return granted.roles - {"PUBLIC"}
    return frozenset(each.user for each in accounts if each.host == "%" and each.locked and each.passwordless)


def roles(names: Iterable[str], granted: ServerGrants) -> Iterator[Entry]:
    for name in sorted(names):
        held = granted.of(name, None)
        entry = Entry("roles", name, {})
        _say_rights(entry, held, granted)
        yield entry


def users(accounts: Iterable[DatabaseAccount], roles: frozenset[str], granted: ServerGrants) -> Iterator[Entry]:
    """All but roles and the server's own, by name and host."""
    for account in sorted(accounts, key=lambda each: (each.user, each.host)):
        is_role = not granted.mariadb and account.host == "%" and account.user in roles
        if not is_role and not is_system(account.user):
            yield _user(account, granted)


def is_system(user: str) -> bool:
    """Whether an account belongs to the server, or to who runs it as a service."""
    return user.lower() in SYSTEM_ACCOUNTS | SERVICES


def _user(account: DatabaseAccount, granted: ServerGrants) -> Entry:
    entry = Entry("users", f"{account.user}@{account.host.lower()}", _login(account))
    local = account.host.lower() in _LOCAL
    if account.require == "SPECIFIED":
        entry.reasons.append("it must come with a certificate of a certain issuer, subject or cipher (REQUIRE)")
    elif (account.require != "") == local or account.require == "X509":
        entry.settings["require_ssl"] = {"": False, "SSL": True, "X509": "x509"}[account.require]
    if limits := {name: getattr(account, name) for name in _LIMITS if getattr(account, name)}:
        entry.settings["limits"] = limits
    if account.locked:
        entry.settings["locked"] = True
    if account.password_expires != USUAL:
        entry.settings["password_expires"] = account.password_expires
    if not account.user:
        entry.reasons.append("it has no name: anybody is let in, whatever they call themselves")
    elif account.passwordless and not account.locked:
        entry.notes.append("it has no password: whoever can connect is let in")
    if entry.settings.get("password") == "keep" and account.plugin != (NATIVE if granted.mariadb else CACHING_SHA2):
        entry.notes.append(f"logs in by {account.plugin}")
    _say_rights(entry, granted.of(account.user, account.host), granted)
    return entry


def _login(account: DatabaseAccount) -> dict[str, Any]:
    plain = len(account.ways) == 1 and account.ways[0][1] in (b"", account.user.encode())
    own = account.password_expires == USUAL and not account.password_expired
    if account.plugin in _SOCKETS and plain and own and account.host.lower() == "localhost":
        return {"plugin": "socket"}
    return {"password": "keep"}


def _say_rights(entry: Entry, held: Granted, granted: ServerGrants) -> None:
    if held.withheld:
        entry.reasons.append("some of its privileges on everything do not count in some databases (partial revokes)")
    if GRANT_OPTION in held.rights.get(EVERYTHING, ()) and not held.passes_all_on:
        entry.reasons.append("it may pass on some of its privileges on everything, and others not")
    roles = {}
    for role in sorted(held.roles):
        if role.host:
            entry.reasons.append(f"its role {role} is not from everywhere")
        roles[role.name] = held.roles[role]
    if roles:
        entry.settings["roles"] = [{"name": name, "admin": True} if admin else name for name, admin in roles.items()]
    default = {role.name for role in held.default_roles}
    if entry.section == "users" and default != roles.keys():
        entry.settings["default_role"] = sorted(default) if len(default) > 1 else next(iter(default), NO_ROLE)
    grants: dict[str, list[str]] = {}
    for target in sorted(held.rights):
        if (text := _target(entry, target, literal=granted.literal)) is not None:
            # of a routine ALL is so little that it may just as well have been listed
            everything = granted.everything[target.level] if target.level in (GLOBAL, DATABASE, TABLE) else frozenset()
            grants[text] = list(_privileges(held.rights[target], everything))
    if grants:
        entry.settings["grants"] = grants


def _target(entry: Entry, target: Target, *, literal: bool) -> str | None:
    """As the spec writes it; None with a reason where it cannot."""
    if target.level == GLOBAL:
        return "*"
    if target.level == PROXY:
        entry.reasons.append(f"it may act as another account (PROXY on {target})")
        return None
    if target.level == DATABASE:
        name = target.database if literal else re.sub(r"\\(.)", r"\1", target.database, flags=re.DOTALL)
        if not literal and pattern(name) != target.database:
            entry.reasons.append(f"its grant on {target} is a pattern, which other databases match, too")
        return name
    inside = f"{target.database}.{target.name}"
    return inside if target.level == TABLE else f"{target.level} {inside}"


def _privileges(held: frozenset[str], everything: frozenset[str]) -> Iterator[str]:
    whole = {each for each in held if not each.endswith(")")} - {GRANT_OPTION}
    if everything and whole >= everything:
        yield "ALL"
    else:
        yield from sorted(whole)
    columns: dict[str, list[str]] = {}
    for each in sorted(held - whole - {GRANT_OPTION}):
        name, _, column = each.partition(" (`")
        columns.setdefault(name, []).append(column[:-2].replace("``", "`"))
    for name, found in columns.items():
        yield f"{name} ({', '.join(found)})"
    if GRANT_OPTION in held:
        yield GRANT_OPTION
