"""What an account of the database server may do, and with what: targets and privileges as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from ..base import OneOf, Spelled, refuse

SYSTEM_DATABASES = {"mysql", "information_schema", "performance_schema", "sys"}
ON_TABLES = (
    "ALL", "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES",
    "CREATE VIEW", "SHOW VIEW", "TRIGGER",
)  # fmt: skip
PRIVILEGES = (
    *ON_TABLES, "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT",
)  # fmt: skip
SERVER_WIDE = {
    "GRANT OPTION", "SUPER", "FILE", "PROCESS", "RELOAD", "SHUTDOWN", "CREATE USER", "SHOW DATABASES",
    "REPLICATION CLIENT", "REPLICATION SLAVE", "PROXY", "CREATE TABLESPACE",
}  # fmt: skip
NAME = r"[A-Za-z0-9_$-]{1,64}"


def _database(name: str) -> str:
    if name.lower() in SYSTEM_DATABASES:
        raise refuse("must be a database of yours; this one belongs to the server")
    return name


def with_tables(text: str) -> str:
    """``db``, ``db.*`` or ``db.table``; always returned with its second half."""
    if text.startswith("*"):
        raise refuse(
            "must name one database: 'analysis' or 'analysis.table'",
            "rights over the whole server are not given out here",
        )
    database, dot, table = text.partition(".")
    if not re.fullmatch(NAME, database, re.ASCII) or (
        dot and not (table == "*" or re.fullmatch(NAME, table, re.ASCII))
    ):
        raise refuse("must be a database or a table of it: 'analysis', 'analysis.*' or 'analysis.results'")
    _database(database)
    return f"{database}.{table or '*'}"


def privileges(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _privilege(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = " ".join(value.upper().split())
    if name in SERVER_WIDE:
        raise refuse("is a right over the whole server, which the spec does not give out")
    return "ALL" if name == "ALL PRIVILEGES" else name


Privilege = Annotated[str, OneOf(PRIVILEGES, "a privilege such as SELECT, INSERT or ALL"), BeforeValidator(_privilege)]
DatabaseName = Annotated[
    str,
    Spelled(NAME, "the name of a database, such as 'analysis': letters, digits and _$-, at most 64", longest=10000),
    AfterValidator(_database),
]
GrantTarget = Annotated[str, AfterValidator(with_tables)]
"""``database.*`` or ``database.table``."""
