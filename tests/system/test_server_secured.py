"""A server that everybody gets into, in every way at once, is closed by one `agent apply`: seen by trying to get in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.sandbox import Machine
from tests.system.database_hosts import SERVERS, DatabaseHost, database_host

SPEC = """
mysql:
  server: {kind}
  databases: [analysis]
  users:
    analyst: {{password: {{file: /etc/agent/analyst}}, grants: {{analysis: [SELECT]}}}}
"""
PASSWORD = "correct-horse"
FOR_ALL = """
CREATE USER ''@localhost; CREATE USER ''@box;
CREATE USER root@'%' IDENTIFIED BY 'x';
CREATE USER blank@'%'; GRANT ALL ON *.* TO blank@'%' WITH GRANT OPTION;
CREATE USER blank@localhost;
CREATE USER analyst@localhost;
CREATE USER locked@localhost ACCOUNT LOCK;
CREATE USER someone@localhost IDENTIFIED BY 'Some-one-1';
CREATE DATABASE IF NOT EXISTS test; CREATE DATABASE test_old; CREATE DATABASE tesX;
CREATE TABLE test_old.t (x INT, y INT);
INSERT INTO mysql.db (Host, Db, User, Select_priv, Insert_priv) VALUES
  ('%', 'test', '', 'Y', 'Y'), ('%', 'test\\\\_%', '', 'Y', 'Y'), ('%', 'tes_', '', 'Y', 'Y'), ('localhost', '%', '', 'Y', 'Y');
FLUSH PRIVILEGES;
GRANT SELECT (x) ON test_old.t TO ''@localhost;
"""
FOR_MARIADB = """
GRANT ALL ON test.* TO PUBLIC; GRANT SELECT ON test_old.t TO PUBLIC;
INSTALL SONAME 'auth_ed25519'; CREATE USER ed@localhost IDENTIFIED VIA ed25519 USING PASSWORD('');
CREATE USER root@'127.0.0.1';
ALTER USER root@localhost IDENTIFIED BY '';
"""
FOR_MYSQL = """
CREATE USER sha@localhost IDENTIFIED WITH sha256_password BY '';
CREATE USER root@'127.0.0.1';
ALTER USER root@localhost IDENTIFIED WITH caching_sha2_password BY '';
SET PERSIST local_infile = 1;
"""


@pytest.fixture(params=SERVERS)
def spoiled(request: pytest.FixtureRequest) -> Iterator[DatabaseHost]:
    with database_host(request.param) as host:
        folder = "/etc/mysql/mysql.conf.d" if host.mysql else "/etc/mysql/mariadb.conf.d"
        host.machine.run(f"printf '[mysqld]\\nlocal_infile = ON\\nbind-address = *\\n' >{folder}/80-spoiled.cnf")
        host.machine.run(f"sed -i 's/^bind-address.*/bind-address = */' {folder}/*.cnf")
        host.machine.run(["systemctl", "restart", host.unit])
        host.machine.run("useradd somebody; mkdir -p /etc/agent; umask 077; cat >/etc/agent/analyst", stdin=PASSWORD)
        host.machine.run(
            "umask 077; cat >/etc/agent/spec.yaml", stdin=SPEC.format(kind="mysql" if host.mysql else "mariadb")
        )
        host.sql(FOR_ALL + (FOR_MYSQL if host.mysql else FOR_MARIADB))
        yield host


def gets_in(host: DatabaseHost, account: str, *options: str) -> bool:
    command = ["runuser", "-u", "somebody", "--", host.client, f"--user={account}", *options, "--execute=SELECT 1"]
    return host.machine.run(command, check=False).status == 0


def doors(host: DatabaseHost) -> set[str]:
    """Who gets in without a password."""
    ways = {"socket": (), "network": ("--host=127.0.0.1", "--protocol=tcp")}
    accounts = ("nobody_at_all", "blank", "root", "analyst", "locked", "someone", "sha" if host.mysql else "ed")
    return {f"{account} by {way}" for account in accounts for way, how in ways.items() if gets_in(host, account, *how)}


def sends_files(host: DatabaseHost) -> bool:
    load = "CREATE TABLE tesX.lines (line TEXT); LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE tesX.lines"
    done = host.machine.run([host.client, "--local-infile=1", "--execute", load], check=False)
    host.sql("DROP TABLE IF EXISTS tesX.lines")
    return done.status == 0


def sees(host: DatabaseHost) -> set[str]:
    """The databases that an account without any grant of its own sees."""
    command = ["env", "MYSQL_PWD=Some-one-1", host.client, "--user=someone", "-N", "-e", "SHOW DATABASES"]
    return set(host.machine.run(command).stdout.split()) - {"information_schema", "performance_schema"}


def listening(machine: Machine) -> set[str]:
    return {line.split()[3] for line in machine.run("ss -ltnH").stdout.splitlines()}


def test_a_server_open_in_every_way_is_closed_and_stays_so(spoiled: DatabaseHost) -> None:
    machine, odd = spoiled.machine, "sha" if spoiled.mysql else "ed"
    assert {"blank by network", "nobody_at_all by socket", "root by socket", "analyst by socket"} <= doors(spoiled)
    assert sends_files(spoiled)
    assert {"test", "test_old", "tesX"} <= sees(spoiled)
    assert not listening(machine) & {"127.0.0.1:3306"}

    plan = machine.unit_run(["agent", "plan"]).stdout
    assert "anonymous_users: box, localhost -> none" in plan
    assert "blank@%, blank@localhost" in plan
    applied = machine.unit_run(["agent", "apply", "--yes"], check=False, timeout=300)
    assert applied.status == 0, applied.stdout + applied.stderr
    assert "No changes." in machine.unit_run(["agent", "plan"]).stdout

    for when in ("now", "after a reboot"):
        assert doors(spoiled) == set(), when
        assert gets_in(spoiled, "analyst", f"--password={PASSWORD}"), when
        assert not sends_files(spoiled), when
        assert sees(spoiled) == set(), when
        assert listening(machine) == {"127.0.0.1:3306"}, when
        assert spoiled.sql("SELECT User, Host FROM mysql.user WHERE User IN ('', 'root') ORDER BY 2") == (
            "root\t127.0.0.1\nroot\tlocalhost\n"
        ), when
        machine.reboot()
        machine.wait_booted()

    there = spoiled.sql("SELECT User FROM mysql.user; SHOW DATABASES").split()
    assert {"blank", "locked", "someone", odd, "test_old", "tesX"} <= set(there), "nothing of others is dropped"
    assert "test" not in there
    assert "No changes." in machine.unit_run(["agent", "plan"]).stdout
