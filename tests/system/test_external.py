"""A server that runs elsewhere: reached over TLS that is verified, as an administrator who may not do everything, and given up in time.

What came of it is looked at on the server itself, and in its general log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agent.sandbox import Result
from tests.system import elsewhere
from tests.system.database_hosts import SERVERS, DatabaseHost, database_host
from tests.system.roots import write_spec

SPEC = f"""
mysql:
  server: external
  host: {elsewhere.NAME}
  tls: {elsewhere.AUTHORITY}
  administrator: {{user: admin, password: {{file: {elsewhere.SECRET}}}}}
  databases: [my_data]
  users:
    reader@127.0.0.%:
      require_ssl: true
      grants: {{my_data: [SELECT]}}
    writer@%:
      grants: {{my_data: [ALL]}}
  client_file: false
files:
  /etc/beside: {{content: "one\\n"}}
"""
RESOURCES = 10


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[DatabaseHost]:
    with database_host(request.param) as host:
        elsewhere.take_away(host)
        yield host


@pytest.fixture
def applied(host: DatabaseHost) -> DatabaseHost:
    elsewhere.keep(host, elsewhere.PASSWORD)
    write_spec(host.machine, SPEC)
    host.machine.run("agent apply --yes")
    return host


def agent(host: DatabaseHost, *words: str) -> Result:
    return host.machine.run(["agent", *words], check=False, timeout=60)


def unreadable(host: DatabaseHost) -> dict[str, str]:
    """What a plan could not read, and why."""
    found: dict[str, Any] = json.loads(agent(host, "plan", "--json").stdout)
    return {each["ref"]: each["reason"] for each in found["unreadable"]}


def test_what_the_spec_says_is_made_there_and_then_left_alone(host: DatabaseHost) -> None:
    own = host.sql("SHOW GRANTS FOR admin@'%'; SHOW CREATE USER admin@'%'")
    write_spec(host.machine, SPEC)
    first = agent(host, "apply", "--yes")
    assert first.status == 0, first.stdout + first.stderr
    assert host.sql("SELECT User, Host FROM mysql.user WHERE User IN ('reader', 'writer') ORDER BY User") == (
        "reader\t127.0.0.%\nwriter\t%\n"
    )
    assert "GRANT SELECT ON `my\\_data`.* TO" in host.sql("SHOW GRANTS FOR reader@'127.0.0.%'")
    assert "GRANT ALL PRIVILEGES ON `my\\_data`.* TO" in host.sql("SHOW GRANTS FOR writer@'%'")

    said = len(host.said())
    again = agent(host, "apply", "--yes")
    assert (again.status, again.stdout) == (0, f"No changes. {RESOURCES} resources are as the spec wants them.\n")
    told = host.said()[said:]
    assert "SELECT" in told
    statements = re.findall(r" Query\t(\w+) +(\w+)", told)
    assert {one.upper() for one, _ in statements} == {"SELECT", "SHOW", "SET"}
    assert "GLOBAL" not in {other.upper() for _, other in statements}
    assert host.sql("SHOW GRANTS FOR admin@'%'; SHOW CREATE USER admin@'%'") == own
    assert "CANARY" not in told
    assert (
        "CANARY"
        not in host.machine.run("cat /var/lib/agent/evidence /var/lib/agent/status.json; journalctl -o cat").stdout
    )


def test_the_short_way_is_gone_there_too(applied: DatabaseHost) -> None:
    applied.machine.run("strace -f -qq -e trace=openat -o /tmp/trace agent apply")
    opened = applied.machine.run("cat /tmp/trace").stdout
    assert re.search("/_mysql|/pymysql/", opened), "it asked the server"
    assert "pydantic" not in opened, "it made no full pass"


def test_drift_there_is_seen_by_the_short_way_and_repaired(applied: DatabaseHost) -> None:
    for statement in (
        "DROP USER writer@'%'",
        "GRANT INSERT ON `my\\_data`.* TO reader@'127.0.0.%'",
        "ALTER USER reader@'127.0.0.%' REQUIRE NONE",
        "DROP DATABASE my_data",
    ):
        applied.sql(statement)
        assert agent(applied, "verify").status == 2, statement
        assert agent(applied, "apply", "--yes").status == 0, statement
        assert agent(applied, "verify").status == 0, statement


def test_the_account_that_the_agent_logs_in_as_cannot_be_declared(applied: DatabaseHost) -> None:
    write_spec(applied.machine, SPEC.replace("writer@%:", "admin@10.0.0.%:"))
    done = agent(applied, "plan")
    assert done.status == 65
    assert "is the account that the agent logs in as" in done.stderr


def test_an_administrator_that_the_agent_once_made_is_not_dropped_by_itself(applied: DatabaseHost) -> None:
    """It left the spec because it became the administrator."""
    second = "/etc/agent/secrets/second"
    elsewhere.keep(applied, "CANARY-second-password", second)
    declared = SPEC.replace("    writer@%:", f"    second@%: {{password: {{file: {second}}}}}\n    writer@%:")
    write_spec(applied.machine, declared)
    assert agent(applied, "apply", "--yes").status == 0
    applied.sql(f"GRANT {elsewhere.may(applied)} ON *.* TO second@'%' WITH GRANT OPTION")
    write_spec(applied.machine, SPEC.replace("user: admin", "user: second").replace(elsewhere.SECRET, second))
    done = agent(applied, "apply", "--yes")
    assert "is the account that the agent logs in as" in done.stdout, done.stdout
    assert applied.sql("SELECT COUNT(*) FROM mysql.user WHERE User = 'second'") == "1\n"

    write_spec(applied.machine, SPEC)
    assert agent(applied, "apply", "--yes").status == 0
    assert applied.sql("SELECT COUNT(*) FROM mysql.user WHERE User = 'second'") == "0\n"


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        (elsewhere.AUTHORITY, elsewhere.OTHER_AUTHORITY, "is from no authority in /etc/elsewhere/other.pem"),
        (elsewhere.AUTHORITY, "/etc/elsewhere/missing.pem", "/etc/elsewhere/missing.pem must hold the certificates"),
        ("user: admin", "user: nobody", "look whether file:/etc/agent/secrets/db-admin holds the password of nobody"),
        (f"tls: {elsewhere.AUTHORITY}", "port: 3399", "db.example.org:3399"),
    ],
    ids=["wrong-authority", "no-authority", "wrong-account", "wrong-port"],
)
def test_what_stands_in_the_way_is_told_by_the_plan(applied: DatabaseHost, was: str, becomes: str, words: str) -> None:
    write_spec(applied.machine, SPEC.replace(was, becomes))
    found = unreadable(applied)
    server = next(ref for ref in found if ref.startswith("external_server:"))
    assert words in found[server]


def test_a_certificate_for_another_name_is_not_believed(applied: DatabaseHost) -> None:
    elsewhere.present(applied, "stranger")
    try:
        assert "is not for db.example.org" in unreadable(applied)["external_server:db.example.org:3306"]
    finally:
        elsewhere.present(applied, "good")


def test_a_server_without_tls_hears_no_password(applied: DatabaseHost) -> None:
    elsewhere.present(applied, "")
    try:
        said = len(applied.said())
        assert "have the server offer TLS" in unreadable(applied)["external_server:db.example.org:3306"]
        assert "admin@" not in applied.said()[said:]
    finally:
        elsewhere.present(applied, "good")


def test_without_encryption_the_agent_goes_to_this_host_when_it_is_told_to(applied: DatabaseHost) -> None:
    applied.sql("ALTER USER admin@'%' REQUIRE NONE")
    try:
        plain = SPEC.replace(f"tls: {elsewhere.AUTHORITY}", "tls: false").replace(elsewhere.NAME, "127.0.0.1")
        write_spec(applied.machine, plain)
        assert agent(applied, "verify").status == 0
        write_spec(applied.machine, plain.replace("127.0.0.1", "10.0.0.1"))
        assert agent(applied, "verify").status == 65
    finally:
        applied.sql("ALTER USER admin@'%' REQUIRE SSL")


def test_an_administrator_by_password_may_come_over_the_socket(applied: DatabaseHost) -> None:
    local = SPEC.replace(
        f"  host: {elsewhere.NAME}\n  tls: {elsewhere.AUTHORITY}\n", "  socket: /run/mysqld/mysqld.sock\n"
    )
    applied.sql("ALTER USER admin@'%' REQUIRE NONE")
    try:
        write_spec(applied.machine, local)
        done = agent(applied, "verify")
        assert done.status == 0, done.stdout
    finally:
        applied.sql("ALTER USER admin@'%' REQUIRE SSL")


def test_a_privilege_that_is_missing_is_named_before_anything_is_done(applied: DatabaseHost) -> None:
    applied.sql("REVOKE CREATE USER, EVENT ON *.* FROM admin@'%'")
    try:
        found = unreadable(applied)["external_server:db.example.org:3306"]
        assert "lacks ALL PRIVILEGES ON my_data.* WITH GRANT OPTION; CREATE USER ON *.*" in found
        assert "GRANT that TO 'admin'@'%'" in found
    finally:
        applied.sql("GRANT CREATE USER, EVENT ON *.* TO admin@'%'")
    assert agent(applied, "verify").status == 0


def test_while_it_is_down_all_else_is_applied_and_nothing_hangs(applied: DatabaseHost) -> None:
    """Down at first; then it takes connections and says nothing."""
    machine = applied.machine
    machine.run(["systemctl", "stop", applied.unit])
    try:
        write_spec(machine, SPEC.replace("one", "two"))
        done = agent(applied, "apply", "--yes")
        assert done.status in (3, 75), done.stdout
        assert machine.run("cat /etc/beside").stdout == "two\n"
        assert "needs external_server:db.example.org:3306, which failed" in done.stdout

        silent = "import socket, time; s = socket.create_server(('127.0.0.1', 3306)); time.sleep(60)"
        machine.run(["systemd-run", "--quiet", "--unit=silent", "python3", "-c", silent])
        time.sleep(0.5)
        begun = time.monotonic()
        found = unreadable(applied)
        assert time.monotonic() - begun < 10
        assert "no answer within" in found["external_server:db.example.org:3306"]
    finally:
        machine.run("systemctl stop silent", check=False)
        machine.run(["systemctl", "start", applied.unit])
        applied.log_all()


def test_passwords_are_rotated_and_databases_dumped_there_too(applied: DatabaseHost) -> None:
    before = agent(applied, "secret", "show", "mysql.writer-40-25").stdout
    done = agent(applied, "secret", "rotate", "writer@%")
    assert done.status == 0, done.stderr
    assert agent(applied, "secret", "show", "mysql.writer-40-25").stdout != before
    assert agent(applied, "verify").status == 0

    without = SPEC.replace("[my_data]", "[]")
    for privilege in ("SELECT", "ALL"):
        without = without.replace(f"grants: {{my_data: [{privilege}]}}", "grants: {}")
    write_spec(applied.machine, without)
    done = agent(applied, "apply", "--yes", "--allow-data-loss")
    assert done.status == 0, done.stdout
    assert "my_data" not in applied.sql("SHOW DATABASES")
    dump = applied.machine.run("zcat /var/lib/agent/dumps/my_data/*").stdout
    assert "my_data" in dump
    assert "CANARY" not in dump + done.stdout + done.stderr
