"""A pass that finds everything as wanted tells a database server nothing that changes anything, and no more for many accounts than for few.

The witness is the server's own general log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.system.agent_units import wait_for
from tests.system.database_hosts import SERVERS
from tests.system.governed_databases import GovernedServer, external, governed_server

BEFORE = (
    "CREATE DATABASE shop_db CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    "CREATE TABLE shop_db.orders (id INT, price INT)",
)
HARMLESS = re.compile(r"SELECT\b(?!.*\bINTO\b)|SHOW\b|SET SESSION\b|SET NAMES\b|SET autocommit *=", re.I | re.S)
HARMLESS_COMMANDS = ("Connect", "Quit", "Ping")
EVIDENCE = "/var/lib/agent/evidence"
WAYS = {
    "the short way of an apply": "agent apply",
    "a full apply": f"rm {EVIDENCE}; agent apply",
    "a plan": "agent plan --json",
    "the short way of a verification": "agent verify",
    "a full verification": f"mv {EVIDENCE} /run/evidence; agent verify; mv /run/evidence {EVIDENCE}",
}


def spec(users: int) -> str:
    accounts = [
        f"  user{number}: {{grants: {{analysis: [SELECT, INSERT], shop_db.orders: SELECT}}}}\n"
        for number in range(users)
    ]
    return external("databases: [analysis, shop_db]\nusers:\n" + "".join(accounts))


class Witness:
    """What a server was told, from the moment it is made."""

    def __init__(self, host: GovernedServer) -> None:
        self.host = host
        host.sql("SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = 1", "TRUNCATE mysql.general_log")

    def said(self) -> list[str]:
        """Every statement, and every other command by its name, but for this witness's own."""
        (rows,) = self.host.sql(
            "SELECT thread_id, command_type, CONVERT(argument USING utf8mb4) FROM mysql.general_log"
        )
        own = {thread for thread, _, text in rows if "mysql.general_log" in text}
        others = [(command, text) for thread, command, text in rows if thread not in own]
        return [
            text if command == "Query" else f"{command} {text}"
            for command, text in others
            if command not in HARMLESS_COMMANDS
        ]


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[GovernedServer]:
    with governed_server(request.param, *BEFORE, spec=spec(5)) as host:
        host.agent("apply")
        checks = ["pgrep", "-f", "/etc/mysql/debian-start"]  # Debian's own, of tables, after the server was started
        wait_for(lambda: not host.machine.run(checks, check=False).stdout, "the distribution's checks are done")
        yield host


def changing(said: list[str]) -> list[str]:
    return [each for each in said if not HARMLESS.match(each)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_look_at_a_host_that_is_as_wanted_says_nothing_that_changes_it(host: GovernedServer, way: str) -> None:
    witness = Witness(host)
    host.run(way)
    said = witness.said()
    assert changing(said) == []
    assert said, "the witness heard nothing at all"


def test_the_witness_hears_what_changes_something(host: GovernedServer) -> None:
    host.sql(
        "REVOKE INSERT ON analysis.* FROM user1@localhost",
        "ALTER USER user2@localhost ACCOUNT LOCK",
        "DROP USER user3@localhost",
    )
    witness = Witness(host)
    host.apply()
    found = changing(witness.said())
    assert {each.split()[0] for each in found} >= {"GRANT", "ALTER", "CREATE"}, found


def test_the_daemon_at_rest_says_nothing_that_changes_anything(host: GovernedServer) -> None:
    host.agent("apply")
    witness = Witness(host)
    host.run("systemd-run --quiet --unit=looks --property=Type=notify --property=WatchdogSec=4 agent daemon")
    try:
        wait_for(
            lambda: sum("mysql.db" in each or "global_priv" in each for each in witness.said()) >= 4,
            "several looks",
            60,
        )
        said = witness.said()
    finally:
        host.run("systemctl stop looks.service")
    assert changing(said) == []


def test_a_hundred_accounts_take_as_many_statements_as_five(host: GovernedServer) -> None:
    counts: dict[int, list[list[str]]] = {}
    for users in (100, 5):
        host.write_spec(spec(users))
        host.apply()
        host.agent("apply")
        counts[users] = []
        for way in ("agent apply", f"rm {EVIDENCE}; agent apply", "agent plan --json"):
            witness = Witness(host)
            host.run(way)
            counts[users].append(witness.said())
    for many, few in zip(counts[100], counts[5], strict=True):
        assert len(many) == len(few), (many, few)
        assert len(many) < 25, many
