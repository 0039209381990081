"""What people made by hand on a server is printed as a spec; applied, that spec changes nothing of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system import elsewhere
from tests.system.database_hosts import SERVERS, SOCKET, DatabaseHost, database_host
from tests.system.roots import write_spec

COMMON = """
CREATE DATABASE my_data CHARACTER SET latin1 COLLATE latin1_german1_ci;
CREATE DATABASE `Work-2026` COLLATE utf8mb4_bin;
CREATE DATABASE plain COLLATE utf8mb4_unicode_ci;
CREATE DATABASE `with a blank`;
CREATE TABLE my_data.results (id INT, name VARCHAR(20), `order` INT);
CREATE PROCEDURE my_data.Refresh() SELECT 1;
CREATE FUNCTION my_data.area(x INT) RETURNS INT DETERMINISTIC RETURN x;
CREATE USER analyst@localhost IDENTIFIED BY 'CANARY-1';
GRANT SELECT, INSERT, CREATE TEMPORARY TABLES ON `my\\_data`.* TO analyst@localhost;
GRANT SELECT ON plain.* TO analyst@localhost WITH GRANT OPTION;
GRANT SELECT (id, name), UPDATE (name), DELETE ON my_data.results TO analyst@localhost;
GRANT EXECUTE ON PROCEDURE my_data.Refresh TO analyst@localhost;
GRANT EXECUTE, ALTER ROUTINE ON FUNCTION my_data.area TO analyst@localhost;
CREATE USER owner@'10.0.0.%' IDENTIFIED BY 'CANARY-2' REQUIRE SSL WITH MAX_USER_CONNECTIONS 7 MAX_QUERIES_PER_HOUR 900 PASSWORD EXPIRE INTERVAL 90 DAY;
GRANT ALL PRIVILEGES ON `my\\_data`.* TO owner@'10.0.0.%' WITH GRANT OPTION;
GRANT ALL PRIVILEGES ON `Work-2026`.* TO owner@'10.0.0.%';
CREATE USER open@'%' IDENTIFIED BY 'CANARY-3' REQUIRE NONE;
CREATE USER locked@'2001:db8::1' IDENTIFIED BY 'CANARY-4' REQUIRE X509 ACCOUNT LOCK PASSWORD EXPIRE NEVER;
CREATE USER `123`@'10.1.0.0/255.255.0.0' IDENTIFIED BY 'CANARY-5';
CREATE USER monitor@LOCALHOST IDENTIFIED BY 'CANARY-6';
GRANT PROCESS, REPLICATION CLIENT, SELECT ON *.* TO monitor@localhost;
CREATE USER boss@localhost IDENTIFIED BY 'CANARY-7';
GRANT ALL PRIVILEGES ON *.* TO boss@localhost WITH GRANT OPTION;
CREATE ROLE reader, writer, empty_role;
GRANT SELECT, SHOW VIEW ON `my\\_data`.* TO reader;
GRANT reader TO writer;
GRANT INSERT (name) ON my_data.results TO writer;
CREATE USER holder@localhost IDENTIFIED BY 'CANARY-8';
GRANT writer TO holder@localhost WITH ADMIN OPTION;
GRANT reader TO holder@localhost;
CREATE USER idle@localhost IDENTIFIED BY 'CANARY-9';
GRANT reader TO idle@localhost;
CREATE USER wild@localhost IDENTIFIED BY 'CANARY-10';
GRANT SELECT ON my_data.* TO wild@localhost;
CREATE USER ghost@localhost IDENTIFIED BY 'CANARY-11';
GRANT SELECT ON nowhere.* TO ghost@localhost;
CREATE USER meddler@localhost IDENTIFIED BY 'CANARY-12';
GRANT SELECT ON mysql.* TO meddler@localhost;
CREATE USER picky@'%' IDENTIFIED BY 'CANARY-13' REQUIRE ISSUER '/CN=x';
CREATE USER `o'brien`@localhost IDENTIFIED BY 'CANARY-14';
GRANT SELECT ON `with a blank`.* TO analyst@localhost;
REVOKE SELECT ON `with a blank`.* FROM analyst@localhost;
"""
MARIADB = """
SET DEFAULT ROLE writer FOR holder@localhost;
CREATE USER nb@localhost IDENTIFIED VIA unix_socket;
CREATE USER other_nb@localhost IDENTIFIED VIA unix_socket USING 'daemon';
CREATE USER twofold@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('CANARY-15');
CREATE USER free@localhost IDENTIFIED BY 'CANARY-17';
CREATE USER bare@localhost;
GRANT PROXY ON boss@localhost TO free@localhost;
"""
MYSQL = """
ALTER USER holder@localhost DEFAULT ROLE ALL;
INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';
CREATE USER nb@localhost IDENTIFIED WITH auth_socket;
CREATE USER other_nb@localhost IDENTIFIED WITH auth_socket AS 'daemon';
CREATE USER twofold@localhost IDENTIFIED BY 'CANARY-15';
ALTER USER twofold@localhost IDENTIFIED BY 'CANARY-16' RETAIN CURRENT PASSWORD;
GRANT BACKUP_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.* TO monitor@localhost;
GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO monitor@localhost;
CREATE USER free@localhost IDENTIFIED BY 'CANARY-17';
CREATE USER bare@localhost IDENTIFIED BY '';
GRANT PROXY ON boss@localhost TO free@localhost;
"""
LEFT_OUT = {"with a blank", "wild", "ghost", "meddler", "picky@%", "o'brien", "free"}
KINDS = ("database", "database_user", "database_role", "grants")


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[DatabaseHost]:
    with database_host(request.param) as host:
        host.sql("DROP DATABASE IF EXISTS test")
        mysql = MYSQL
        if host.mysql and host.sql("SELECT 1 FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'auth_socket'"):
            mysql = "".join(line for line in MYSQL.splitlines(keepends=True) if "INSTALL PLUGIN" not in line)
        host.sql(COMMON + (mysql if host.mysql else MARIADB))
        elsewhere.take_away(host)
        yield host


def imported(host: DatabaseHost, *options: str) -> str:
    done = host.machine.run(["agent", "import", "mysql", *options])
    assert f"{len(LEFT_OUT)} of " in done.stderr
    return done.stdout


def planned(host: DatabaseHost) -> list[str]:
    """The refs of databases, accounts, roles and grants that a plan would change, and of what it cannot read."""
    found: dict[str, Any] = json.loads(host.machine.run(["agent", "plan", "--json"], check=False).stdout)
    refs = [each["ref"] for name in ("changes", "removals", "unreadable") for each in found[name]]
    return [ref for ref in refs if ref.partition(":")[0] in KINDS]


def state(host: DatabaseHost) -> str:
    """All that the server keeps of accounts, rights and databases."""
    tables = ["user", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv"]
    tables += ["role_edges", "default_roles", "global_grants"] if host.mysql else ["roles_mapping", "global_priv"]
    asked = [f"SELECT * FROM mysql.{table} ORDER BY 1, 2, 3" for table in tables]  # noqa: S608  # from the list above
    return host.sql("; ".join([*asked, "SHOW DATABASES"]))


def test_the_spec_of_what_is_there_changes_nothing_of_it(host: DatabaseHost) -> None:
    spec = imported(host)
    assert f"socket: {SOCKET}\n" in spec
    write_spec(host.machine, spec)
    assert planned(host) == []

    before = state(host)
    assert host.machine.run(["agent", "apply", "--yes"]).status == 0
    assert state(host) == before
    assert host.machine.run(["agent", "plan", "--detailed-exitcode"], check=False).status == 0
    assert imported(host).partition("mysql:")[2] == spec.partition("mysql:")[2]


def test_so_does_that_of_a_server_elsewhere(host: DatabaseHost) -> None:
    there = ["--host", elsewhere.NAME, "--tls", elsewhere.AUTHORITY]
    spec = imported(host, *there, "--user", "admin", "--password-file", elsewhere.SECRET)
    write_spec(
        host.machine, re.sub(r"\n    boss:\n(      .*\n)+", "\n", re.sub(r"\n    monitor:\n(      .*\n)+", "\n", spec))
    )
    done = host.machine.run(["agent", "plan", "--detailed-exitcode"], check=False)
    assert done.status == 0, done.stdout
    assert "admin@%" in spec.partition("mysql:")[0]


def test_nothing_is_dropped_silently_and_no_secret_is_told(host: DatabaseHost) -> None:
    spec = imported(host)
    assert set(re.findall(r"# (.*) is left out: ", spec)) == LEFT_OUT
    for words in (
        "its grant on `my_data`.* is a pattern, which other databases match, too",
        "is a grant on the database 'nowhere', which is not declared",
        "must be a database of yours; this one belongs to the server",
        "it must come with a certificate of a certain issuer, subject or cipher",
        "it may act as another account (PROXY on",
        "must be a name such as",
        "must be the name of a database",
        "bare: it has no password: whoever can connect is let in",
    ):
        assert words in spec, words
    assert "CANARY" not in spec
    assert not re.search(r"\*[0-9A-F]{40}|\$A\$", spec)


def test_what_can_be_said_is_said_in_the_words_of_the_spec(host: DatabaseHost) -> None:
    import yaml

    found = yaml.safe_load(imported(host))["mysql"]
    assert found["databases"] == {
        "Work-2026": {"collation": "utf8mb4_bin"},
        "my_data": {"charset": "latin1", "collation": "latin1_german1_ci"},
        "plain": {},
    }
    assert found["roles"] == {
        "empty_role": {},
        "reader": {"grants": {"my_data": ["SELECT", "SHOW VIEW"]}},
        "writer": {"roles": ["reader"], "grants": {"my_data.results": ["INSERT (name)"]}},
    }
    assert found["users"]["analyst"] == {
        "password": "keep",
        "grants": {
            "my_data": ["CREATE TEMPORARY TABLES", "INSERT", "SELECT"],
            "plain": ["SELECT", "GRANT OPTION"],
            "my_data.results": ["DELETE", "SELECT (id, name)", "UPDATE (name)"],
            "procedure my_data.refresh": ["EXECUTE"],
            "function my_data.area": ["ALTER ROUTINE", "EXECUTE"],
        },
    }
    assert found["users"]["owner@10.0.0.%"] == {
        "password": "keep",
        "limits": {"max_queries_per_hour": 900, "max_user_connections": 7},
        "password_expires": "90d",
        "grants": {"my_data": ["ALL", "GRANT OPTION"], "Work-2026": ["ALL"]},
    }
    assert found["users"]["open@%"] == {"password": "keep", "require_ssl": False}
    assert found["users"]["locked@2001:db8::1"] == {
        "password": "keep", "require_ssl": "x509", "locked": True, "password_expires": "never",
    }  # fmt: skip
    assert found["users"]["boss"]["grants"] == {"*": ["ALL", "GRANT OPTION"]}
    assert found["users"]["nb"] == {"plugin": "socket"}
    assert found["users"]["other_nb"] == found["users"]["twofold"] == {"password": "keep"}
    held = [{"name": "writer", "admin": True}]
    default = {} if host.mysql else {"default_role": "writer"}
    assert found["users"]["holder"] == {"password": "keep", "roles": ["reader", *held], **default}
    assert found["users"]["idle"] == {"password": "keep", "roles": ["reader"], "default_role": "NONE"}
    assert "123@10.1.0.0/255.255.0.0" in found["users"]
