"""What a database server owes to its own tables of privileges: where no statement exists and a row is written, it must read them again.

Killed between the two, the agent would find the tables right and the server at odds with them: so it is noted before, and made up for by the next pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from agent.steps import Remember, Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host

FLUSH = "FLUSH PRIVILEGES"
_OWED = "flush."


def noted(statements: Iterable[Step], owner: str) -> Iterator[Step]:
    """The statements of a resource; when one of them makes the server read its tables, that is known to be owed until all are done."""
    steps = list(statements)
    owes = any(isinstance(each, Sql) and FLUSH in (each.statement, each.on_mysql) for each in steps)
    if owes:
        yield Remember(_OWED + owner, "owed")
    yield from steps
    if owes:
        yield Remember(_OWED + owner, None)


def owed(host: Host) -> tuple[str, ...]:
    """Whose statements were cut short, if any were."""
    return tuple(key.removeprefix(_OWED) for key in host.memory.below(_OWED))


def made_up_for(server: str, owners: Iterable[str]) -> Iterator[Step]:
    """The steps that leave nothing owed."""
    yield Sql(server, FLUSH)
    for owner in owners:
        yield Remember(_OWED + owner, None)
