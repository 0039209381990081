"""A host on which the agent reaches its database server through a proxy that can disturb it at any statement (inside_proxy.py)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.sandbox.result import Result
from tests.system.database_hosts import SOCKET
from tests.system.governed_databases import (
    INSIDE,
    GovernedServer,
    Snapshot,
    external,
    governed_server,
    snapshot,
    unlike,
)

PROXY = "/run/proxy.sock"
PLAN, LOG = "/run/proxy.json", "/run/proxy.log"
_PROGRAM = Path(__file__).parent / "inside_proxy.py"
BEFORE = (
    "CREATE DATABASE shop_db CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    "CREATE TABLE shop_db.orders (id INT, price INT)",
)
ONE = """
databases: [analysis, shop_db]
roles:
  reader: {grants: {analysis: SELECT}}
  writer: {grants: {analysis: [INSERT, UPDATE]}, roles: [reader]}
users:
  alice:
    password: {file: /etc/agent/secrets/first}
    grants: {analysis: [SELECT, INSERT, UPDATE], '*': [PROCESS, GRANT OPTION]}
    roles: [reader]
  bob:
    password: {file: /etc/agent/secrets/first}
    limits: {max_user_connections: 5}
    grants: {analysis: ALL, shop_db.orders: ['SELECT (id)', INSERT]}
  carol@10.0.0.%:
    password: {file: /etc/agent/secrets/first}
    grants: {shop_db: SELECT}
    locked: true
  leaver:
    password: {file: /etc/agent/secrets/first}
    grants: {analysis: SELECT, shop_db.orders: INSERT}
    roles: [writer]
"""
OTHER = """
databases: {analysis: , shop_db: , archive: {charset: latin1}}
roles:
  reader: {grants: {analysis: [SELECT, SHOW VIEW], shop_db.orders: SELECT}}
  keeper: {grants: {archive: ALL}}
users:
  alice:
    password: {file: /etc/agent/secrets/first}
    grants: {analysis: [SELECT, DELETE], shop_db: SELECT, '*': [PROCESS, SHOW DATABASES]}
    roles: [reader, keeper]
    default_role: keeper
  bob:
    password: {file: /etc/agent/secrets/second}
    grants: {analysis: [SELECT, UPDATE], shop_db.orders: ['SELECT (id, price)', UPDATE]}
  carol@10.0.0.%:
    password: {file: /etc/agent/secrets/first}
    require_ssl: false
    password_expires: 90d
    grants: {shop_db: [SELECT, INSERT], archive: ALL}
  joiner:
    password: {file: /etc/agent/secrets/second}
    grants: {archive: ALL, analysis: SELECT}
"""
ACCOUNTS = ("alice@localhost", "bob@localhost", "carol@10.0.0.%", "leaver@localhost", "joiner@localhost")
ROLES = ("reader", "writer", "keeper")
DATABASES = ("analysis", "shop_db", "archive")


class DisturbedServer(GovernedServer):
    """``specs`` are two, and ``wanted`` what the server holds when each was applied undisturbed."""

    specs: Sequence[str]
    wanted: tuple[Snapshot, Snapshot]

    @property
    def roles(self) -> list[str]:
        """As a snapshot calls them."""
        return [f"{role}@%" if self.mysql else f"role {role}" for role in ROLES]

    def plan_disturbance(self, **asked: Any) -> None:
        """For the statements from now on."""
        self.machine.run(f"rm -f {LOG}; touch {LOG}; cat >{PLAN}.new; mv {PLAN}.new {PLAN}", stdin=json.dumps(asked))

    def noted(self) -> list[Any]:
        """What the proxy wrote down."""
        return [json.loads(line) for line in self.run(f"cat {LOG}").splitlines()]

    def statements(self) -> list[str]:
        return [each["statement"] for each in self.noted() if "statement" in each]

    def snapshots(self) -> list[Snapshot]:
        return [snapshot(each["snapshot"]) for each in self.noted() if "snapshot" in each]

    def start_proxy(self) -> None:
        self.plan_disturbance()
        command = ["python3", "-B", "-m", "tests.system.inside_proxy", PROXY, SOCKET, PLAN, LOG]
        self.machine.run(f"cat >{INSIDE}/inside_proxy.py", stdin=_PROGRAM.read_text())
        self.machine.run(["systemd-run", "--quiet", "--unit=proxy.service", "--working-directory=/run", *command])
        self.machine.run(f"while ! test -S {PROXY}; do sleep 0.05; done")

    def attempt_apply(self) -> Result:
        """Whatever becomes of it."""
        return self.machine.run(["agent", "apply", "--yes"], check=False)

    def bring_back(self) -> None:
        """The server runs again and answers."""
        self.machine.run(f"systemctl reset-failed {self.unit}; systemctl start {self.unit}")

    def assert_reached(self, number: int, told: str) -> None:
        """The server holds exactly what the spec asks for, and the agent knows it."""
        found, wanted = (
            each.of((*ACCOUNTS, *self.roles), DATABASES) for each in (self.snapshot(), self.wanted[number])
        )
        assert unlike(wanted, found) == [], told
        self.agent("verify", "--quiet")
        said = self.agent("apply")
        assert "No changes. " in said, f"{said}{told}"

    def outside(self, found: Snapshot) -> list[str]:
        """In what an account or a role may do more than the union of both states, or less than what both allow; nothing when all is well."""
        one, other = self.wanted
        wrong: list[str] = []
        # what another role gives a role that comes or goes is shown as its own, by MariaDB
        staying = [role for role in self.roles if role in one.accounts and role in other.accounts]
        for account in (*ACCOUNTS, *staying):
            held, first, second = (each.held_by(account) for each in (found, one, other))
            wrong += [f"{account} has {each}" for each in held - (first | second)]
            if account in one.accounts and account in other.accounts:
                wrong += [f"{account} has not {each}" for each in (first & second) - held]
            kept = found.accounts.get(account)
            if account in ACCOUNTS and kept and not any("<hash>" in line or "'*" in line for line in kept):
                wrong.append(f"{account} has no password: {kept}")
        return wrong


@contextlib.contextmanager
def disturbed_server(server: str) -> Iterator[DisturbedServer]:
    """A host that is as the first of its two specs wants it; whose agent works through the proxy."""
    with governed_server(server, *BEFORE) as plain:
        host = DisturbedServer(plain.machine, server)
        host.run(
            "mkdir -p -m 700 /etc/agent/secrets; cd /etc/agent/secrets; umask 077; echo one-1 >first; echo two-2 >second"
        )
        host.start_proxy()
        host.specs = [external(section, PROXY) for section in (ONE, OTHER)]
        wanted = []
        for spec in (*host.specs, *host.specs[:1]):  # the last once more: databases stay
            host.write_spec(spec)
            host.apply()
            wanted.append(host.snapshot())
        host.wanted = wanted[2], wanted[1]
        assert all(host.wanted[0].held_by(each) for each in (*ACCOUNTS[:4], *host.roles[:2]))
        yield host
