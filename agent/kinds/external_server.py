"""A database server that others look after: whether it lets the agent in, and whether the agent may do there what the spec asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.errors import HostError
from agent.host import database_address, database_rights
from agent.host.database_rights import Need
from agent.host.passwords import ED25519
from agent.kinds import privilege_tables
from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Step

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class ExternalServerState(State):
    """That it can be used, and is not at odds with what the agent wrote; nothing else of it is managed."""

    usable: bool
    owed: tuple[str, ...] = ()
    """For whose sake it must read its tables of privileges again."""


@dataclass(frozen=True)
class ExternalServer(Resource):
    """The server at the address ``server``. It is only ever looked at: its settings and its own accounts are others' work."""

    kind: ClassVar[str] = "external_server"

    server: str
    needs_privileges: tuple[tuple[str, str, bool], ...] = ()
    """What the agent's account must be allowed to do there: privilege, database (``*``: all), whether to pass it on."""
    ed25519: bool = False
    """Whether an account of the spec logs in by MariaDB's plugin of that name, which somebody else must have loaded."""
    after: tuple[Ref, ...] = ()

    def desired(self) -> ExternalServerState:
        return ExternalServerState(usable=True)

    def read(self, host: Host) -> ExternalServerState:
        """Raises HostError that names what is missing."""
        lines = [row[0] or "" for row in host.databases.rows(self.server, database_rights.OWN_GRANTS)]
        known = [row[0] or "" for row in host.databases.rows(self.server, database_rights.KNOWN)]
        needs = (Need(*need) for need in self.needs_privileges)
        missing = database_rights.lacking(needs, database_rights.rights(lines), known)
        if missing:
            user, account_host = host.databases.own_account(self.server)
            place = database_address.place(self.server)
            raise HostError(
                f"{place}: {user}@{account_host}, as whom the agent logs in, lacks {'; '.join(map(str, missing))}",
                hint=f"have its owner GRANT that TO '{user}'@'{account_host}', or name another account as mysql.administrator",
            )
        if self.ed25519 and host.databases.mariadb(self.server) and ED25519 not in host.databases.plugins(self.server):
            raise HostError(
                f"{database_address.place(self.server)}: the server has not loaded the plugin {ED25519}",
                hint="have its owner run: INSTALL SONAME 'auth_ed25519'; or take 'plugin: ed25519' out of mysql.users",
            )
        return ExternalServerState(usable=True, owed=privilege_tables.owed(host))

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.UPDATE:
            yield from privilege_tables.made_up_for(self.server, change.current.owed)

    def needs(self) -> tuple[Ref, ...]:
        return self.after
