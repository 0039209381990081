"""Names as SQL writes them, for statements in which ``%`` introduces an argument (agent.steps.Sql)."""

from __future__ import annotations


def quoted(name: str) -> str:
    """The name of a database or table, between backticks."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def pattern(database: str) -> str:
    """The pattern that only this database matches: in a grant on a database ``_`` and ``%`` match anything."""
    return database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
