"""A role of a database server: rights under one name. What they are is a matter of grants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.errors import HostError
from agent.kinds.database_user import RESERVED
from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class DatabaseRoleState(State):
    """MySQL makes a role as an account from everywhere that is locked."""

    locked: bool
    """Whether nobody can log in as it; always true of a role of MariaDB."""


@dataclass(frozen=True)
class DatabaseRole(Resource):
    """``name`` is the role's."""

    kind: ClassVar[str] = "database_role"

    server: str
    after: tuple[Ref, ...] = ()

    def __post_init__(self) -> None:
        if self.name in RESERVED or self.name.upper() in ("NONE", "ALL", "DEFAULT"):
            raise ValueError(f"{self.name!r} means something else to the server; choose another name")

    def desired(self) -> DatabaseRoleState:
        return DatabaseRoleState(locked=True)

    def read(self, host: Host) -> DatabaseRoleState | None:
        databases = host.databases
        if databases.mariadb(self.server):
            return DatabaseRoleState(locked=True) if self.name in databases.granted(self.server).roles else None
        account = databases.accounts(self.server).get((self.name, "%"))
        if account is None:
            return None
        if not account.locked and not account.passwordless:
            message = f"{self.name}@% is an account that people log in with, and MySQL has roles among the accounts"
            raise HostError(message, hint="choose another name for the role, or drop the account")
        return DatabaseRoleState(account.locked)

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.CREATE:
            yield Sql(self.server, "CREATE ROLE %s", (self.name,))
        elif change.action is Action.UPDATE:
            yield Sql(self.server, "ALTER USER %s ACCOUNT LOCK", (self.name,))
        elif change.action is Action.DELETE:
            yield Sql(self.server, "DROP ROLE %s", (self.name,))

    def needs(self) -> tuple[Ref, ...]:
        return self.after
