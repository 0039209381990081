"""A database on a server: its name and its defaults. What is in it is people's work and never touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.kinds.sql_names import quoted
from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class DatabaseState(State):
    """The defaults for tables yet to be made; those that exist keep theirs."""

    character_set: str
    collation: str | None


@dataclass(frozen=True)
class Database(Resource):
    """A database. When it leaves the spec it stays."""

    kind: ClassVar[str] = "database"
    holds_work: ClassVar[bool] = True

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
        verb = {Action.CREATE: "CREATE", Action.UPDATE: "ALTER"}.get(change.action)
        if verb is None:
            return
        statement = f"{verb} DATABASE {quoted(self.name)} CHARACTER SET %s"
        if self.collation is None:
            yield Sql(self.server, statement, (self.character_set,))
        else:
            yield Sql(self.server, f"{statement} COLLATE %s", (self.character_set, self.collation))

    def needs(self) -> tuple[Ref, ...]:
        return self.after
