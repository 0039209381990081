"""A database on a server: its name and its defaults. What is in it is people's work, touched only when a person says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.kinds.sql_names import quoted
from agent.resource import Action, Change, Loss, Ref, Resource, State
from agent.steps import Dump, Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class DatabaseState(State):
    """The defaults for tables yet to be made; those that exist keep theirs."""

    character_set: str
    collation: str | None


@dataclass(frozen=True)
class Database(Resource):
    """A database. When it leaves the spec it stays, until a person allows its loss."""

    kind: ClassVar[str] = "database"
    holds_work: ClassVar[bool] = True
    expendable: ClassVar[bool] = True

    server: str
    character_set: str = "utf8mb4"
    collation: str | None = None
    """None leaves it to the server: the default of the character set when the database is made."""
    after: tuple[Ref, ...] = ()

    def desired(self) -> DatabaseState:
        return DatabaseState(self.character_set, self.collation)

    def read(self, host: Host) -> DatabaseState | None:
        found = host.databases.databases(self.server).get(self.name)
        return None if found is None else DatabaseState(found.character_set, found.collation)

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE and change.loss is not None:
            if change.loss is Loss.DUMPED:
                yield Dump(self.server, self.name)
            yield Sql(self.server, f"DROP DATABASE {quoted(self.name)}")
        verb = {Action.CREATE: "CREATE", Action.UPDATE: "ALTER"}.get(change.action)
        if verb is None:
            return
        statement = f"{verb} DATABASE {quoted(self.name)} CHARACTER SET %s"
        if self.collation is None:
            yield Sql(self.server, statement, (self.character_set,))
        else:
            yield Sql(self.server, f"{statement} COLLATE %s", (self.character_set, self.collation))

    def loses(self, host: Host, loss: Loss) -> str:
        found = host.dumps.contents(self.server, self.name)
        what = f"{found.tables} table{'' if found.tables == 1 else 's'}, {size(found.size)}"
        if loss is Loss.UNDUMPED:
            return f"{what}, for ever: WITHOUT A DUMP"
        return f"{what}; a dump goes to {host.dumps.place(self.name)}/ first"

    def way_back(self, host: Host) -> str:
        command = host.dumps.way_back(self.server, self.name)
        return f"the dump is kept; to get it back: {command}" if command else ""

    def needs(self) -> tuple[Ref, ...]:
        return self.after


def size(count: int) -> str:
    """A number of bytes as people write it: ``48.0 KiB``."""
    amount, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{amount:.1f} {units[0]}" if units[0] != "bytes" else f"{count} bytes"
