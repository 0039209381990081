"""Names as SQL writes them, for statements in which ``%`` introduces an argument (agent.steps.Sql)."""

from __future__ import annotations

from agent.host.database_grants import identifier

LONGEST_PATTERN = 64
"""Characters that a server takes as the name of a database in a grant, escapes among them."""
TOO_LONG = "is a name that no grant can be on: with its _ and % escaped it has more than 64 characters"
TOO_LONG_HINT = "grant on its tables one by one, or give the database a shorter name"


def quoted(name: str) -> str:
    """The name of a database or table, between backticks."""
    return identifier(name).replace("%", "%%")


def pattern(database: str) -> str:
    """The pattern that only this database matches: in a grant on a database ``_`` and ``%`` match anything."""
    return database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
