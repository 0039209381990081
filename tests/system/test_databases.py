"""Servers, databases, accounts and grants on a real MariaDB: made, left alone, repaired after drift by hand, removed.

What came of it is looked at with the server's own client.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from agent.kinds.database import Database
from agent.kinds.database_user import DatabaseUser
from agent.kinds.grants import Given, Grants
from agent.kinds.server import Server
from agent.kinds.sql_names import quoted
from agent.records import to_record
from agent.resource import Resource
from agent.steps import SecretRef
from tests.system.database_hosts import SERVERS, SOCKET, DatabaseHost, database_host

PASSWORD = "CANARY-pä'ß\"\\`%s; --"


class Databases(DatabaseHost):
    """A host on which resources of databases are made right."""

    def work(
        self,
        apply: Iterable[Resource] = (),
        *,
        remove: Iterable[Resource] = (),
        secrets: dict[str, str] | None = None,
        logins: Iterable[tuple[str, str]] = (),
    ) -> Any:
        asked = {
            "secrets": secrets or {"alice": PASSWORD},
            "apply": [to_record(each) for each in apply],
            "remove": [to_record(each) for each in remove],
            "logins": list(logins),
        }
        command = ["env", "PYTHONPATH=/checkout", "python3", "-B", "-m", "tests.system.inside_databases"]
        return json.loads(self.machine.run(command, stdin=json.dumps(asked)).stdout)


@pytest.fixture(params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[Databases]:
    with database_host(request.param) as booted:
        yield Databases(booted.machine)


SERVER = Server("mariadb", SOCKET, closes_local_infile=True)
DATABASE = Database("stu_db", SOCKET, collation="utf8mb4_unicode_ci")
ALICE = DatabaseUser("alice@localhost", SOCKET, "alice", password=SecretRef("file", "alice"))
NOTEBOOK = DatabaseUser("nb@localhost", SOCKET, "nb")
REMOTE = DatabaseUser("far@%", SOCKET, "far", "%", password=SecretRef("file", "alice"), require="SSL")
SOME = Grants(
    "alice@localhost",
    SOCKET,
    "alice",
    "localhost",
    (
        Given("database", "stu_db", privileges=("SELECT", "CREATE", "DROP")),
        Given("table", "stu_db", "t", ("ALL PRIVILEGES",)),
    ),
)
EVERYTHING = Grants(
    "nb@localhost", SOCKET, "nb", "localhost", (Given("database", "stu_db", privileges=("ALL PRIVILEGES",)),)
)
NOTHING = Grants("far@%", SOCKET, "far", "%")
WHOLE = (SERVER, DATABASE, ALICE, NOTEBOOK, REMOTE, SOME, EVERYTHING, NOTHING)
UNCHANGED = ["unchanged"] * len(WHOLE)


def secured(host: Databases) -> str:
    """What a server has to be told that was just installed or started."""
    return "unchanged" if host.mysql else "update local_infile"


def applied(host: Databases) -> None:
    host.sql("CREATE DATABASE stu_db COLLATE utf8mb4_unicode_ci; CREATE TABLE stu_db.t (x INT)")
    done = host.work(WHOLE)
    assert done["first"][2:] == ["create"] * 5 + ["unchanged"]
    assert done["second"] == UNCHANGED


def test_what_the_spec_says_is_made_left_alone_and_removed(host: Databases) -> None:
    host.machine.run("useradd nb")
    host.sql("CREATE DATABASE stu_db COLLATE utf8mb4_unicode_ci; CREATE TABLE stu_db.t (x INT)")
    made = host.work(
        [SERVER, DATABASE, ALICE, NOTEBOOK, REMOTE, SOME, EVERYTHING], logins=[("alice", PASSWORD), ("alice", "x")]
    )

    assert made["first"] == [secured(host), "unchanged", "create", "create", "create", "create", "create"]
    assert set(made["second"]) == {"unchanged"}
    assert made["alike"], "the short way sees the same"
    assert made["logins"] == ["alice@localhost", ""]
    assert host.sql("SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'stu_db'") == (
        "utf8mb4_unicode_ci\n"
    )
    assert "GRANT SELECT, CREATE, DROP ON `stu\\_db`.* TO `alice`@`localhost`\n" in host.sql(
        "SHOW GRANTS FOR alice@localhost"
    )
    assert "REQUIRE SSL" in host.sql("SHOW CREATE USER far@'%'")
    as_nb = host.machine.run(
        f"runuser -u nb -- {host.client} -N -e 'SELECT CURRENT_USER(); CREATE TABLE stu_db.mine (x INT)'"
    )
    assert as_nb.stdout == "nb@localhost\n"

    gone = host.work(remove=[EVERYTHING, SOME, REMOTE, NOTEBOOK, ALICE])
    assert gone["removed"] == ["delete"] * 5
    assert host.sql("SELECT User FROM mysql.user WHERE User IN ('alice', 'nb', 'far')") == ""
    assert host.sql("SELECT * FROM mysql.db WHERE User IN ('alice', 'nb', 'far')") == ""
    assert host.sql("SHOW TABLES IN stu_db") == "mine\nt\n", "people's work stays"


DRIFT = [
    ("ALTER USER alice@localhost IDENTIFIED BY 'other'", ALICE, "update password_right"),
    ("ALTER USER alice@localhost IDENTIFIED WITH unix_socket", ALICE, "update login password_right"),
    ("ALTER USER nb@localhost IDENTIFIED WITH mysql_native_password BY 'let-me-in'", NOTEBOOK, "update login"),
    ("ALTER USER far@'%' REQUIRE NONE", REMOTE, "update require"),
    ("ALTER USER nb@localhost IDENTIFIED WITH unix_socket AS 'daemon'", NOTEBOOK, "update login"),
    ("DROP USER far@'%'", REMOTE, "create"),
    ("REVOKE SELECT ON `stu\\_db`.* FROM alice@localhost", SOME, "update missing"),
    ("REVOKE SELECT, CREATE, DROP ON `stu\\_db`.* FROM alice@localhost", SOME, "update missing"),
    ("REVOKE ALL PRIVILEGES, GRANT OPTION FROM alice@localhost", SOME, "create"),
    ("GRANT DELETE ON `stu\\_db`.* TO alice@localhost", SOME, "update too_much"),
    ("GRANT SELECT ON `stu\\_db`.* TO alice@localhost WITH GRANT OPTION", SOME, "update too_much"),
    ("GRANT DELETE ON stu_db.* TO alice@localhost", SOME, "update too_much"),
    ("REVOKE INSERT ON `stu\\_db`.* FROM nb@localhost", EVERYTHING, "update missing"),
    ("REVOKE INSERT ON stu_db.t FROM alice@localhost", SOME, "update missing"),
    ("GRANT SELECT ON test.* TO far@'%'", NOTHING, "delete"),
    ("GRANT SELECT, PROCESS ON *.* TO alice@localhost WITH GRANT OPTION", SOME, "update too_much"),
    ("GRANT ALL PRIVILEGES ON *.* TO alice@localhost WITH GRANT OPTION", SOME, "update too_much"),
    ("ALTER DATABASE stu_db CHARACTER SET latin1", DATABASE, "update character_set collation"),
    ("SET GLOBAL local_infile = 1", SERVER, "update local_infile"),
]


def spelled(host: Databases, statement: str) -> str:
    """As MySQL has it: other plugins, and no option without a privilege that could be passed on."""
    if not host.mysql:
        return statement.replace("WITH mysql_native_password BY", "BY")
    return statement.replace("mysql_native_password", "caching_sha2_password").replace("unix_socket", "auth_socket")


def test_drift_by_hand_is_seen_and_repaired(host: Databases) -> None:
    applied(host)
    grants = host.sql("SHOW GRANTS FOR alice@localhost; SHOW GRANTS FOR nb@localhost")
    for statement, resource, seen in DRIFT:
        host.sql(spelled(host, statement))
        done = host.work(WHOLE)

        wanted = list(UNCHANGED)
        wanted[WHOLE.index(resource)] = seen
        assert done["first"] == wanted, statement
        assert done["second"] == UNCHANGED, statement
        assert done["alike"], statement
    assert host.sql("SHOW GRANTS FOR alice@localhost; SHOW GRANTS FOR nb@localhost") == grants
    assert host.work(logins=[("alice", PASSWORD), ("nb", "let-me-in"), ("alice", "other")])["logins"] == [
        "alice@localhost",
        "",
        "",
    ]


def test_a_server_that_is_open_to_everyone_is_closed(host: Databases) -> None:
    host.sql(
        "CREATE USER ''@localhost; CREATE USER ''@box; CREATE USER root@'%' IDENTIFIED BY 'x';"
        "CREATE DATABASE IF NOT EXISTS test; GRANT ALL ON test.* TO ''@localhost;"
        "INSERT INTO mysql.db (Host, Db, User, Select_priv) VALUES ('%', 'test\\\\_%', '', 'Y'); FLUSH PRIVILEGES"
    )
    host.sql(
        f"CREATE USER root@'127.0.0.1' {'IDENTIFIED WITH auth_socket' if host.mysql else ''};"
        f"ALTER USER root@localhost IDENTIFIED {'WITH caching_sha2_password' if host.mysql else ''} BY ''"
    )
    done = host.work([SERVER], logins=[("root", ""), ("anybody", "")])

    fields = "anonymous_users remote_root root_passwordless test_grants test_database"
    fields += "" if host.mysql else " local_infile"
    assert (done["first"], done["second"], done["alike"]) == ([f"update {fields}"], ["unchanged"], True)
    assert done["logins"] == ["root@localhost", ""]
    assert host.machine.run(f"runuser -u nobody -- {host.client} -uroot", check=False).status == 1
    assert host.sql("SELECT Host FROM mysql.user WHERE User IN ('', 'root') ORDER BY Host") == "127.0.0.1\nlocalhost\n"
    assert "test\n" not in host.sql("SHOW DATABASES")


def test_a_test_database_with_work_in_it_is_closed_but_kept(host: Databases) -> None:
    host.sql(
        "CREATE DATABASE IF NOT EXISTS test; CREATE TABLE test.work (x INT);"
        "INSERT INTO mysql.db (Host, Db, User, Select_priv) VALUES ('%', 'test', '', 'Y'); FLUSH PRIVILEGES"
    )
    fields = "test_grants" if host.mysql else "test_grants local_infile"
    assert host.work([SERVER])["first"] == [f"update {fields}"]
    assert host.sql("SHOW TABLES IN test") == "work\n"
    assert host.sql("SELECT Db FROM mysql.db WHERE Db LIKE 'test%'") == ""


def test_a_grant_opens_no_database_of_a_similar_name(host: Databases) -> None:
    for name in ("stuXdb", "stu-db", "100%", "100_per_cent"):
        host.sql(f"CREATE DATABASE `{name}`")
    both = tuple(Given("database", name, privileges=("SELECT",)) for name in ("100%", "stu_db"))
    percent = Grants("alice@localhost", SOCKET, "alice", "localhost", both)
    assert host.work([DATABASE, ALICE, percent])["second"] == ["unchanged"] * 3

    login = ["env", f"MYSQL_PWD={PASSWORD}", host.client, "-N", "-u", "alice", "-e", "SHOW DATABASES"]
    seen = set(host.machine.run(login).stdout.split()) - {"performance_schema"}
    assert seen == {"information_schema", "stu_db", "100%"}


def hostile(count: int, alphabet: str, longest: int) -> list[str]:
    chance = random.Random(7)
    return ["".join(chance.choice(alphabet) for _ in range(chance.randrange(1, longest))) for _ in range(count)]


QUOTES = "`'\"\\%_;-#/* \t()@.$=" + string.ascii_letters


def test_hostile_names_are_names_and_nothing_else(host: Databases) -> None:
    """Names that a spec could never hold: the kinds must not rest on that."""
    before = host.sql("SELECT COUNT(*) FROM mysql.user")
    longest = 27 if host.mysql else 40  # names of users are shorter there
    names = {f"d{index}{text}z": index for index, text in enumerate(hostile(120, QUOTES, longest))}
    apply: list[Resource] = []
    for name in names:
        user = f"u{name}"
        apply += [
            Database(name, SOCKET),
            DatabaseUser(f"{user}@localhost", SOCKET, user, password=SecretRef("file", "alice")),
            Grants(
                f"{user}@localhost",
                SOCKET,
                user,
                "localhost",
                (Given("database", name, privileges=("EVENT", "SELECT")),),
            ),
        ]
    done = host.work(apply, remove=[each for each in reversed(apply) if not each.holds_work])

    assert set(done["first"]) == {"create"}
    assert set(done["second"]) == {"unchanged"}
    assert done["alike"]
    assert set(done["removed"]) == {"delete"}
    assert host.sql("SELECT COUNT(*) FROM mysql.user") == before
    made = host.sql("SELECT HEX(SCHEMA_NAME) FROM information_schema.SCHEMATA").split()
    assert {name.encode().hex().upper() for name in names} <= set(made)
    host.sql("".join(f"DROP DATABASE {quoted(name).replace('%%', '%')};\n" for name in names))


def test_a_name_that_the_server_refuses_is_an_error_with_its_words(host: Databases) -> None:
    done = host.work([Database("x" * 65, SOCKET), Database("ends with a blank ", SOCKET)])

    codes = ["1059" if host.mysql else "1102", "1102"]
    assert [words.split(": ")[:3:2] for words in done["first"]] == [["HostError", code] for code in codes]


def test_hostile_passwords_log_in_and_are_never_told_to_the_server(host: Databases) -> None:
    passwords = [f"CANARY{text}" for text in hostile(150, QUOTES + "äß€🐧", 60)]
    users = {f"user{index}": password for index, password in enumerate(passwords)}
    apply = [DatabaseUser(f"{user}@localhost", SOCKET, user, password=SecretRef("file", user)) for user in users]
    changed = {user: f"{password}CANARY" for user, password in users.items()}

    done = host.work(apply, secrets=users, logins=[*users.items(), *changed.items()])
    assert set(done["first"]) == {"create"}
    assert done["logins"] == [f"{user}@localhost" for user in users] + [""] * len(users)

    done = host.work(apply, secrets=changed, logins=[*changed.items(), *users.items()])
    assert set(done["first"]) == {"update password_right"}
    assert set(done["second"]) == {"unchanged"}
    assert done["logins"] == [f"{user}@localhost" for user in users] + [""] * len(users)

    said = host.said()
    stored = "caching_sha2_password AS '$A$" if host.mysql else "mysql_native_password AS '*"
    assert said.count(stored) >= 2 * len(users), "this is where it would show"
    assert "CANARY" not in said


def test_a_server_that_is_down_cannot_be_read_yet_and_a_restarted_one_can(host: Databases) -> None:
    applied(host)
    host.machine.run(f"systemctl stop {host.unit}")
    down = host.work(WHOLE)
    assert {words.partition(":")[0] for words in down["first"]} == {"NotYetReadable"}
    assert "2002" in down["first"][0]
    assert down["alike"], "the short way has no answer either"

    host.machine.run(f"systemctl start {host.unit}")
    up = host.work(WHOLE)
    assert up["first"] == [secured(host), *UNCHANGED[1:]]


def test_root_that_is_not_let_in_is_told_the_way_out(host: Databases) -> None:
    plugin = "WITH caching_sha2_password" if host.mysql else ""
    host.sql(f"ALTER USER root@localhost IDENTIFIED {plugin} BY 'CANARY'")
    done = host.work([SERVER])

    assert done["first"][0].startswith(f"HostError: {SOCKET}: 1045: Access denied for user 'root'@'localhost'")
