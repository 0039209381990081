"""A host with a database server that a spec governs, for tests that change it behind the agent's back, or disturb the agent at it.

The server is `external` to the spec, so that each test is about databases, accounts and what they may do.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.sandbox import Machine
from tests.system import database_hosts
from tests.system.database_hosts import SOCKET
from tests.system.governed import Host

Privilege = tuple[str, ...]
"""Grantee, on what, which, and whether it may be passed on."""
INSIDE = "/run/tests/system"
"""Where the programs that run inside a host are put."""
_PROGRAM = Path(__file__).parent / "inside_sql.py"


@dataclass(frozen=True)
class Snapshot:
    """What a server holds, in its own words (inside_sql.py)."""

    accounts: Mapping[str, list[str]]
    """SHOW CREATE USER and SHOW GRANTS by account; a role is called ``role NAME``."""
    databases: Mapping[str, tuple[str, str]]
    """Character set and collation."""
    defaults: Sequence[Any]
    """The roles that are in force after a login."""
    local_infile: Any
    privileges: frozenset[Privilege] = field(repr=False)

    def of(self, accounts: Sequence[str], databases: Sequence[str]) -> dict[str, Any]:
        """Only these, and all that concerns everybody; for comparing."""
        return {
            "accounts": {name: self.accounts.get(name) for name in accounts},
            "databases": {name: self.databases.get(name) for name in databases},
            "defaults": [row for row in self.defaults if f"{row[0]}@{row[1]}" in accounts],
            "local_infile": self.local_infile,
            "open": [name for name in self.accounts if name.startswith(("@", "root@"))],
        }

    def held_by(self, account: str) -> frozenset[tuple[str, str]]:
        """On what, and which privilege or role; that it may pass on what it has there is a privilege of its own. ``account`` as in ``accounts``."""
        name, at, host = account.removeprefix("role ").rpartition("@")
        grantees = (f"'{name}'@'{host}'",) if at else (f"'{host}'@''", host, f"'{host}'")
        found = {each[1:] for each in self.privileges if each[0] in grantees and each[2] != "USAGE"}
        passed_on = {(on, "GRANT OPTION") for on, _, option in found if option.startswith("Y")}
        return frozenset({(on, privilege) for on, privilege, _ in found} | passed_on)


class GovernedServer(Host):
    """``server`` is one of database_hosts.SERVERS. Verbs as Host has them."""

    def __init__(self, machine: Machine, server: str) -> None:
        super().__init__(machine)
        self.server = server
        self.mysql = database_hosts.is_mysql(machine)
        self.unit = database_hosts.unit(machine)
        machine.run(f"mkdir -p {INSIDE}; cat >{INSIDE}/inside_sql.py", stdin=_PROGRAM.read_text())

    def ask(self, **asked: Any) -> Any:
        """``inside_sql.py``."""
        return json.loads(
            self.machine.run(["python3", "-B", f"{INSIDE}/inside_sql.py"], stdin=json.dumps(asked)).stdout
        )

    def sql(self, *statements: str) -> list[Any]:
        """Rows of each. An error fails the test."""
        answers: list[Any] = self.ask(statements=statements)["statements"]
        errors = [(said, answer) for said, answer in zip(statements, answers, strict=True) if isinstance(answer, str)]
        assert not errors, errors
        return answers

    def attempt(self, *statements: str) -> list[str]:
        """The error of each, or nothing."""
        return [answer if isinstance(answer, str) else "" for answer in self.ask(statements=statements)["statements"]]

    def snapshot(self) -> Snapshot:
        return snapshot(self.ask(snapshot=True)["snapshot"])

    def logins(self, *users: str) -> dict[str, str]:
        """As whom the server lets each in, with the password that the agent made up for it."""
        paths = {user: f"/var/lib/agent/secrets/mysql.{user}" for user in users}
        return dict(self.ask(logins=paths)["logins"])


def snapshot(found: dict[str, Any]) -> Snapshot:
    """From what inside_sql.py prints."""
    databases = {name: (charset, collation) for name, charset, collation in found["databases"]}
    privileges = frozenset(tuple(map(str, each)) for each in found["privileges"])
    return Snapshot(found["accounts"], databases, found["defaults"], found["local_infile"], privileges)


def unlike(before: Any, after: Any, where: str = "") -> list[str]:
    """What differs, a line each."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        return [line for name in names for line in unlike(before.get(name), after.get(name), f"{where}/{name}")]
    if isinstance(before, list) and isinstance(after, list):
        gone = [f"{where}: gone: {each}" for each in before if each not in after]
        return gone + [f"{where}: new: {each}" for each in after if each not in before]
    return [] if before == after else [f"{where}: {before!r} became {after!r}"]


def external(section: str, socket: str = SOCKET) -> str:
    """A spec with a ``mysql`` section of these lines, for a server that is there already."""
    lines = [f"  {line}" for line in section.strip("\n").splitlines()]
    return "\n".join(["mysql:", "  server: external", f"  socket: {socket}", *lines]) + "\n"


@contextlib.contextmanager
def governed_server(server: str, *before: str, spec: str = "") -> Iterator[GovernedServer]:
    """A booted host; ``before`` are statements that the server is told before ``spec`` is applied."""
    with Machine(database_hosts.database_root(server)) as machine:
        machine.run(["systemctl", "start", database_hosts.unit(machine)])
        host = GovernedServer(machine, server)
        host.sql(*before)
        if spec:
            host.write_spec(spec)
            host.apply()
        yield host
