"""What an account or a role of the database server may do, and with what: targets, privileges and roles as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from agent.host.database_privileges import (
    DATABASE,
    GLOBAL,
    GRANT_OPTION,
    ON_COLUMNS,
    ON_EVERYTHING,
    SPELLINGS,
    TABLE,
)

from ..base import OneOf, Section, Spelled, refuse
from ..fields import Flag

SYSTEM_DATABASES = {"mysql", "information_schema", "performance_schema", "sys"}
PRIVILEGES = ("ALL", *ON_EVERYTHING, GRANT_OPTION)
NAME = r"[A-Za-z0-9_$-]{1,64}"
_COLUMNS = r"([A-Za-z0-9_$]{1,64})( *, *[A-Za-z0-9_$]{1,64})*"
_WHERE = "'*' for everything, 'analysis', 'analysis.results', 'procedure analysis.refresh' or 'function analysis.area'"


def _database(name: str) -> str:
    if name.lower() in SYSTEM_DATABASES:
        raise refuse("must be a database of yours; this one belongs to the server")
    return name


class Target(NamedTuple):
    """What a grant is on: its level as in agent.host.database_privileges, and its names."""

    level: str
    database: str = ""
    name: str = ""


def target_of(text: str) -> Target:
    """What the text of a target names. Raises a refusal."""
    if text in ("*", "*.*"):
        return Target(GLOBAL)
    found = re.fullmatch(rf"(?:(procedure|function) +)?({NAME})(?:\.({NAME}|\*))?", text, re.ASCII | re.IGNORECASE)
    kind, database, name = found.groups(default="") if found else ("", "", "")
    if not database or (kind and name in ("", "*")):
        raise refuse(f"must be {_WHERE}")
    _database(database)
    if kind:
        return Target(kind.lower(), database, name)
    return Target(DATABASE, database) if name in ("", "*") else Target(TABLE, database, name)


def plain_target(text: str) -> str:
    """The one spelling of a target: ``*.*``, ``db.*``, ``db.table`` or ``procedure db.name``."""
    target = target_of(text)
    if target.level == GLOBAL:
        return "*.*"
    if target.level == DATABASE:
        return f"{target.database}.*"
    if target.level == TABLE:
        return f"{target.database}.{target.name}"
    return f"{target.level} {target.database}.{target.name.lower()}"  # routines have no case


def privilege_of(text: str) -> tuple[str, tuple[str, ...]]:
    """A privilege and the columns that it is for; without columns it is for the whole target."""
    name, parenthesis, columns = text.partition(" (")
    return (name, tuple(columns[:-1].split(", "))) if parenthesis else (text, ())


def listed(value: Any) -> Any:
    """One text is a list, too: ``SELECT, INSERT (id, name)``."""
    if not isinstance(value, str):
        return value
    return [part for part in re.split(r",(?![^(]*\))", value) if part.strip()] or [value]


def _privilege(value: Any) -> Any:
    """One spelling: ``ALL``, ``SELECT (id, name)``."""
    if not isinstance(value, str):
        return value
    name, parenthesis, columns = value.strip().partition("(")
    plain = " ".join(name.upper().split())
    plain = "ALL" if plain == "ALL PRIVILEGES" else plain if plain == "ALL" else SPELLINGS.get(plain, plain)
    if not parenthesis:
        if plain.endswith(")"):
            raise refuse("is half of a list of columns", "in brackets write it in quotes: 'SELECT (id, name)'")
        return plain
    if not columns.endswith(")"):
        raise refuse("must close its parenthesis", "in brackets write it in quotes: 'SELECT (id, name)'")
    if not re.fullmatch(_COLUMNS, columns[:-1].strip(), re.ASCII):
        raise refuse("must name columns after its parenthesis, such as 'SELECT (id, name)'")
    if plain not in ON_COLUMNS:
        raise refuse(f"must be one of {', '.join(ON_COLUMNS)} to be for columns")
    return f"{plain} ({', '.join(re.split(r' *, *', columns[:-1].strip()))})"


class _OneOfPrivileges(OneOf):
    def check(self, text: str) -> str:
        super().check(privilege_of(text)[0])
        return text

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        on_columns = {"type": "string", "pattern": rf"^({'|'.join(ON_COLUMNS)}) \({_COLUMNS}\)$"}
        return {"anyOf": [super().__get_pydantic_json_schema__(schema, handler), on_columns]}


Privilege = Annotated[
    str, _OneOfPrivileges(PRIVILEGES, "a privilege such as SELECT, INSERT or ALL"), BeforeValidator(_privilege)
]
DatabaseName = Annotated[
    str,
    Spelled(NAME, "the name of a database, such as 'analysis': letters, digits and _$-, at most 64", longest=10000),
    AfterValidator(_database),
]
Grants = Mapping[
    Annotated[str, AfterValidator(plain_target)],
    Annotated[
        tuple[Privilege, ...],
        Field(min_length=1),
        BeforeValidator(listed, json_schema_input_type=tuple[Privilege, ...] | Privilege),
    ],
]

SYSTEM_ACCOUNTS = {
    "root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint",
}  # fmt: skip
ALL_ROLES, NO_ROLE = "ALL", "NONE"


def _role(name: str) -> str:
    if name.lower() in SYSTEM_ACCOUNTS:
        raise refuse("must be a role of yours; this name belongs to the server")
    if name.upper() in (ALL_ROLES, NO_ROLE, "PUBLIC", "DEFAULT"):
        raise refuse("must be another name; this one means something to the server")
    return name


RoleName = Annotated[
    str,
    Spelled(r"[A-Za-z0-9_.$-]{1,32}", "the name of a role, such as 'reader': letters, digits and _.$-, at most 32"),
    AfterValidator(_role),
]


class HeldRole(Section):
    """A role that an account, or another role, has."""

    name: RoleName = Field(description="The role.", examples=["reader"])
    admin: Flag = Field(default=False, description="Whether it may give the role to others.")


def _held_role(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _held_roles(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


Roles = Annotated[
    tuple[Annotated[HeldRole, BeforeValidator(_held_role, json_schema_input_type=str | HeldRole)], ...],
    BeforeValidator(_held_roles, json_schema_input_type=tuple[str | HeldRole, ...] | str | HeldRole),
]


def _default_roles(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return (value.upper(),) if value.upper() in (ALL_ROLES, NO_ROLE) else (value,)


DefaultRoles = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_default_roles, json_schema_input_type=tuple[str, ...] | str),
]


class DatabaseRole(Section):
    """Rights under one name, for accounts that have the role."""

    grants: Grants = Field(
        default={},
        description="Exactly what it gives, as `grants` of an account.",
        examples=[{"analysis": ["SELECT", "SHOW VIEW"]}],
    )
    roles: Roles = Field(default=(), description="Roles that it contains.", examples=[["reader"]])
