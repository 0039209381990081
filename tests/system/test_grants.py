"""Rights on every level, and roles, on real servers: seen with the server's own client, and by being let or not let as that user."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from agent.host.database_grants import identifier
from agent.kinds.database_role import DatabaseRole
from agent.kinds.database_user import DatabaseUser
from agent.kinds.grants import Given, GivenRole, Grants
from agent.records import to_record
from agent.resource import Resource
from agent.steps import SecretRef
from tests.system.database_hosts import SERVERS, SOCKET, DatabaseHost, database_host

PASSWORD = "let me in"
SETUP = """
CREATE DATABASE my_db; CREATE TABLE my_db.results (id INT, name VARCHAR(9), secret INT); INSERT INTO my_db.results VALUES (1, 'a', 7);
CREATE DATABASE myXdb; CREATE TABLE myXdb.results (id INT);
CREATE DATABASE other; CREATE TABLE other.t (x INT); CREATE TABLE other.log (id INT, note VARCHAR(9));
CREATE PROCEDURE other.Refresh() SELECT 42; CREATE FUNCTION other.area() RETURNS INT DETERMINISTIC RETURN 43;
"""
LOOP = """
import os, sys
from MySQLdb import _mysql
user, password, path, anew = sys.argv[1:]
def connect():
    return _mysql.connect(user=user, passwd=password, unix_socket=path)
def ask(session):
    session.query("SELECT id FROM my_db.results")
    session.store_result()
session, asked, refused = connect(), 0, []
open("/run/asking", "w").close()
while os.path.exists("/run/asking") and asked < 10**6:
    try:
        try:
            ask(session)
        except _mysql.MySQLError:
            if anew == "False":
                raise
            session.close()
            session = connect()
            ask(session)
    except _mysql.MySQLError as error:
        refused.append(str(error))
    asked += 1
with open("/run/asked.new", "w") as file:
    file.write(f"{asked} {len(refused)} {refused[:3]}")
os.rename("/run/asked.new", "/run/asked")
"""
UNTIL = "for i in $(seq 200); do test -e {} && exit; sleep 0.1; done; cat /run/loop.log; exit 1"


class GrantsHost(DatabaseHost):
    """A host on which resources of databases are made right, and whose users say what they are let do."""

    def work(self, apply: Iterable[Resource] = (), *, remove: Iterable[Resource] = ()) -> Any:
        asked = {
            "secrets": {"users": PASSWORD},
            "apply": [to_record(each) for each in apply],
            "remove": [to_record(each.stub()) for each in remove],
        }
        command = ["env", "PYTHONPATH=/checkout", "python3", "-B", "-m", "tests.system.inside_databases"]
        return json.loads(self.machine.run(command, stdin=json.dumps(asked)).stdout)

    def right(self, apply: Iterable[Resource]) -> list[str]:
        """What was done, and it is right then, and seen to be so the short way."""
        done = self.work(apply)
        assert set(done["second"]) == {"unchanged"}, done
        assert done["alike"]
        return list(done["first"])

    def may(self, user: str, statement: str) -> bool:
        """Whether the user is let do this."""
        login = ["env", f"MYSQL_PWD={PASSWORD}", self.client, "--batch", "-N", "-u", user, "-e", statement]
        done = self.machine.run(login, check=False)
        assert done.status == 0 or "denied" in done.stderr, done.stderr
        return done.status == 0

    def grants(self, *users: str) -> str:
        """As the server lists them, in an order of ours and without what it keeps of passwords."""
        shown = "".join(self.sql(f"SHOW GRANTS FOR {user}") for user in users)
        return "\n".join(sorted(re.sub(r" IDENTIFIED BY PASSWORD '.*?'", "", line) for line in shown.splitlines()))


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[GrantsHost]:
    with database_host(request.param) as booted:
        made = GrantsHost(booted.machine)
        made.sql(SETUP)
        yield made


def user(name: str) -> DatabaseUser:
    return DatabaseUser(f"{name}@localhost", SOCKET, name, password=SecretRef("file", "users"))


def grants(name: str, *given: Given, **more: Any) -> Grants:
    return Grants(f"{name}@localhost", SOCKET, name, "localhost", given, **more)


def everywhere(host: GrantsHost) -> list[Resource]:
    """An account with rights on every level, and one with roles."""
    dynamic = "BACKUP_ADMIN" if host.mysql else "BINLOG ADMIN"
    ann = grants(
        "ann",
        Given("global", privileges=("PROCESS", dynamic)),
        Given("database", "my_db", privileges=("SELECT", "INSERT", "GRANT OPTION")),
        Given("table", "other", "t", ("ALL PRIVILEGES",)),
        Given("table", "other", "log", ("INSERT",), (("SELECT", "id"), ("UPDATE", "note"))),
        Given("procedure", "other", "Refresh", ("EXECUTE",)),
        Given("function", "other", "area", ("EXECUTE", "ALTER ROUTINE", "GRANT OPTION")),
    )
    head = (GivenRole("head", admin=True),)
    return [
        DatabaseRole("reader", SOCKET),
        DatabaseRole("head", SOCKET),
        Grants("reader", SOCKET, "reader", None, (Given("database", "my_db", privileges=("SELECT",)),)),
        Grants("head", SOCKET, "head", None, (Given("table", "other", "t", ("SELECT",)),), (GivenRole("reader"),)),
        user("ann"),
        ann,
        user("ben"),
        grants("ben", roles=head, default_roles=("ALL",)),
        user("dan"),
        grants("dan"),
    ]


def test_what_every_level_gives_is_given_and_no_more(host: GrantsHost) -> None:
    done = host.right(everywhere(host))

    assert done == ["create"] * 9 + ["unchanged"]
    assert host.may("ann", "SELECT * FROM my_db.results; SHOW PROCESSLIST; SELECT * FROM other.t; DROP TABLE other.t")
    host.sql("CREATE TABLE other.t (x INT)")
    assert host.may(
        "ann", "SELECT id FROM other.log; INSERT INTO other.log VALUES (1, 'x'); UPDATE other.log SET note = 'y'"
    )
    assert host.may("ann", "CALL other.refresh(); SELECT other.area()")
    for refused in (
        "SELECT * FROM myXdb.results",
        "DELETE FROM my_db.results",
        "SELECT note FROM other.log",
        "UPDATE other.log SET id = 2",
        "DROP PROCEDURE other.refresh",
        "CREATE TABLE my_db.mine (x INT)",
    ):
        assert not host.may("ann", refused), refused
    assert host.may("ben", "SELECT * FROM my_db.results; SELECT * FROM other.t"), "by a role in a role, from login on"
    assert not host.may("ben", "INSERT INTO my_db.results VALUES (1, 'a', 7)")
    assert not host.may("dan", "SELECT * FROM my_db.results")


def test_drift_on_every_level_is_repaired(host: GrantsHost) -> None:
    host.right(everywhere(host))
    before = host.grants("ann@localhost", "ben@localhost", "reader", "head", "dan@localhost")
    who = "ann@localhost"
    ends_role = (
        "UPDATE mysql.role_edges SET WITH_ADMIN_OPTION = 'Y'; FLUSH PRIVILEGES"
        if host.mysql
        else "GRANT reader TO head WITH ADMIN OPTION"
    )
    default = "TO" if host.mysql else "FOR"
    too_much = f"""
        GRANT SELECT, SUPER ON *.* TO {who} WITH GRANT OPTION; GRANT ALL ON my_db.* TO {who}; GRANT SELECT ON `%`.* TO {who};
        GRANT DROP ON `my\\_db`.* TO {who}; GRANT ALL ON myXdb.* TO {who} WITH GRANT OPTION; GRANT SELECT ON myXdb.results TO {who};
        GRANT SELECT, DELETE ON other.log TO {who} WITH GRANT OPTION; GRANT INSERT (note) ON other.log TO {who};
        GRANT ALTER ROUTINE ON PROCEDURE other.refresh TO {who} WITH GRANT OPTION; GRANT PROXY ON root@localhost TO {who};
        GRANT reader TO {who} WITH ADMIN OPTION; {ends_role}; GRANT DELETE ON my_db.* TO reader; GRANT head TO dan@localhost;
        SET DEFAULT ROLE head {default} dan@localhost; GRANT SELECT ON mysql.* TO dan@localhost;
    """
    host.sql(too_much)
    assert host.may("dan", "SELECT * FROM mysql.db")
    done = host.right(everywhere(host))
    assert done[2:] == [
        "update too_much",
        "update too_much",
        "unchanged",
        "update too_much",
        "unchanged",
        "unchanged",
        "unchanged",
        "delete",
    ]
    assert host.grants("ann@localhost", "ben@localhost", "reader", "head", "dan@localhost") == before
    assert not host.may("dan", "SELECT * FROM mysql.db")

    missing = f"""
        REVOKE PROCESS ON *.* FROM {who}; REVOKE INSERT, GRANT OPTION ON `my\\_db`.* FROM {who}; REVOKE DROP ON other.t FROM {who};
        REVOKE UPDATE (note) ON other.log FROM {who}; REVOKE EXECUTE ON FUNCTION other.area FROM {who};
        REVOKE EXECUTE ON PROCEDURE other.refresh FROM {who}; REVOKE SELECT ON `my\\_db`.* FROM reader; REVOKE reader FROM head;
        SET DEFAULT ROLE NONE {default} ben@localhost;
    """  # noqa: S608
    host.sql(missing)
    done = host.right(everywhere(host))
    assert done[2:] == [
        "create",
        "update missing",
        "unchanged",
        "update missing",
        "unchanged",
        "update missing",
        "unchanged",
        "unchanged",
    ]
    assert host.grants("ann@localhost", "ben@localhost", "reader", "head", "dan@localhost") == before

    host.sql("GRANT ALL ON *.* TO ann@localhost WITH GRANT OPTION; GRANT ALL ON *.* TO dan@localhost")
    done = host.right(everywhere(host))
    assert (done[5], done[9]) == ("update too_much", "delete")
    assert host.grants("ann@localhost", "ben@localhost", "reader", "head", "dan@localhost") == before


def test_everything_is_what_the_server_calls_all_privileges(host: GrantsHost) -> None:
    root = grants("eve", Given("global", privileges=("ALL PRIVILEGES", "GRANT OPTION")))
    assert host.right([user("eve"), root]) == ["create", "create"]
    asked = host.grants("eve@localhost")
    host.sql("CREATE USER all_of_it@localhost; GRANT ALL ON *.* TO all_of_it@localhost WITH GRANT OPTION")
    assert asked.replace("eve", "all_of_it") == host.grants("all_of_it@localhost")

    host.sql("REVOKE RELOAD, GRANT OPTION ON *.* FROM eve@localhost")
    assert host.right([user("eve"), root]) == ["unchanged", "update missing"]
    assert host.grants("eve@localhost") == asked

    some = grants("eve", Given("global", privileges=("PROCESS",)), Given("database", "other", privileges=("SELECT",)))
    assert host.right([user("eve"), some]) == ["unchanged", "update missing too_much"]
    shown = host.grants("eve@localhost").replace("'", "`")
    assert shown == "GRANT PROCESS ON *.* TO `eve`@`localhost`\nGRANT SELECT ON `other`.* TO `eve`@`localhost`"
    assert host.may("eve", "SELECT * FROM other.t") and not host.may("eve", "SELECT * FROM my_db.results")
    assert host.work(remove=[some, user("eve")])["removed"] == ["delete", "delete"]


SELECT = ("SELECT",)
IN_ONE_SESSION = (
    (Given("database", "my_db", privileges=SELECT),),
    (Given("table", "my_db", "results", SELECT),),
    (Given("table", "my_db", "results", (), (("SELECT", "id"),)),),
    (Given("database", "my_db", privileges=("ALL PRIVILEGES", "GRANT OPTION")),),
    (Given("table", "my_db", "results", ("SELECT", "INSERT"), (("UPDATE", "id"),)),),
    (Given("table", "my_db", "results", ("INSERT",), (("SELECT", "id"), ("SELECT", "name"))),),
    (Given("table", "my_db", "results", ("ALL PRIVILEGES",)),),
    (Given("database", "my_db", privileges=SELECT),),
)
WITH_EVERYTHING = (
    (Given("database", "my_db", privileges=SELECT),),
    (Given("global", privileges=SELECT),),
    (Given("table", "my_db", "results", SELECT),),
    (Given("global", privileges=("ALL PRIVILEGES",)),),
    (Given("database", "my_db", privileges=SELECT),),
)
"""Ways to let the same account read the same table. What is given on everything counts for who logs in after that: so the servers have it, and
whoever is refused logs in again."""


@pytest.mark.parametrize(
    ("ways", "anew"), [(IN_ONE_SESSION, False), (WITH_EVERYTHING, True)], ids=["session", "logins"]
)
def test_rights_that_move_between_levels_are_there_all_the_time(
    host: GrantsHost, ways: tuple[tuple[Given, ...], ...], anew: bool
) -> None:
    resources = [grants("cat", *given) for given in ways]
    host.right([user("cat"), resources[0]])
    host.machine.run(["sh", "-c", "rm -f /run/asking /run/asked; cat >/run/loop.py"], stdin=LOOP)
    loop = f"setsid python3 /run/loop.py cat '{PASSWORD}' {SOCKET} {anew} >/run/loop.log 2>&1 &"
    host.machine.run(["sh", "-c", loop + UNTIL.format("/run/asking")])
    done = host.work(resources)
    host.machine.run(["sh", "-c", "rm /run/asking;" + UNTIL.format("/run/asked")])

    assert [each.split()[0] for each in done["first"]] == ["unchanged"] + ["update"] * (len(ways) - 1), done["first"]
    asked, refused, words = host.machine.run(["cat", "/run/asked"]).stdout.split(" ", 2)
    assert int(asked) > 50
    assert refused == "0", words
    assert host.work(remove=[resources[0], user("cat")])["removed"] == ["delete", "delete"]


HOSTILE = [
    "a`b",
    "it's",
    'say "x"',
    "50%_off",
    "back\\slash",
    "a.b",
    "x ON `y`.* TO root",
    "semi;colon -- ",
    "%s%s",
    "(a, b)",
]


def test_hostile_names_are_names_and_nothing_else(host: GrantsHost) -> None:
    """Names that a spec could never hold: the kinds must not rest on that."""
    names = [name + "z" for name in HOSTILE]
    host.sql("".join(
        f"CREATE DATABASE {identifier(name)}; CREATE TABLE {identifier(name)}.{identifier(name)} ({identifier(name)} INT);\n"
        f"CREATE PROCEDURE {identifier(name)}.{identifier(name)}() SELECT 1;\n"
        for name in names
    ))  # fmt: skip
    resources: list[Resource] = []
    for name in names:
        account = DatabaseUser(f"u{name}@localhost", SOCKET, f"u{name}", password=SecretRef("file", "users"))
        given = (
            Given("database", name, privileges=("SELECT",)),
            Given("table", name, name, ("INSERT",), (("UPDATE", name), ("SELECT", name))),
            Given("procedure", name, name, ("EXECUTE",)),
        )
        rights = Grants(
            f"u{name}@localhost", SOCKET, f"u{name}", "localhost", given, (GivenRole(f"r{name}"),), (f"r{name}",)
        )
        resources += [DatabaseRole(f"r{name}", SOCKET), account, rights]
    assert set(host.right(resources)) == {"create"}
    assert host.may(f"u{names[3]}", f"USE {identifier(names[3])}")

    host.sql(
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'ua.bz'@localhost; GRANT SELECT ON `50%_offz`.* TO 'ua.bz'@localhost"
    )
    assert [each for each in host.right(resources) if each != "unchanged"] == ["update missing too_much"]
    removed = host.work(remove=reversed(resources))["removed"]
    assert set(removed) == {"delete"}
    assert host.sql("SELECT User FROM mysql.user WHERE User LIKE 'u%z' OR User LIKE 'r%z'") == ""
    host.sql("".join(f"DROP DATABASE {identifier(name)};\n" for name in names))


def test_a_role_leaves_and_what_it_gave_with_it(host: GrantsHost) -> None:
    role, rights = (
        DatabaseRole("temp", SOCKET),
        Grants("temp", SOCKET, "temp", None, (Given("database", "other", privileges=("SELECT",)),)),
    )
    with_role = grants("fay", roles=(GivenRole("temp"),), default_roles=("temp",))
    host.right([role, rights, user("fay"), with_role])
    assert host.may("fay", "SELECT * FROM other.t")

    assert host.right([grants("fay")]) == ["delete"]
    assert not host.may("fay", "SELECT * FROM other.t")
    assert host.work(remove=[rights, role, user("fay")])["removed"] == ["delete"] * 3
    assert host.sql("SELECT User FROM mysql.user WHERE User = 'temp'") == ""


def test_what_everybody_may_do_is_nothing(host: GrantsHost) -> None:
    public, nobody = Grants("PUBLIC", SOCKET, "PUBLIC"), grants("ian")
    assert host.right([public, user("ian"), nobody]) == ["unchanged", "create", "unchanged"]
    if not host.mysql:  # which has no such thing
        host.sql(
            "GRANT SELECT ON other.* TO PUBLIC; GRANT PROCESS ON *.* TO PUBLIC; GRANT INSERT (x) ON other.t TO PUBLIC"
        )
        assert host.may("ian", "SELECT * FROM other.t")
        assert host.right([public]) == ["delete"]
    assert not host.may("ian", "SELECT * FROM other.t")


def test_what_the_server_does_not_know_is_said_before_anything_is_done(host: GrantsHost) -> None:
    foreign = "BINLOG ADMIN" if host.mysql else "BACKUP_ADMIN"
    (said,) = host.work([grants("gus", Given("global", privileges=(foreign, "PROCESS")))])["first"]
    assert said.startswith(
        f"HostError: this {'MySQL' if host.mysql else 'MariaDB'} server knows no privilege {foreign} on a global"
    )

    (said,) = host.work([grants("gus", Given("table", "other", "nowhere", ("SELECT",)))])["first"]
    assert "1146" in said
    assert host.sql("SELECT User FROM mysql.user WHERE User = 'gus'") == "", "GRANT makes no account"


def test_with_partial_revokes_names_are_no_patterns(host: GrantsHost) -> None:
    if not host.mysql:
        assert (
            host.sql("SELECT COUNT(*) FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = 'PARTIAL_REVOKES'")
            == "0\n"
        )
        return
    host.sql("SET GLOBAL partial_revokes = ON")
    resources = [user("hal"), grants("hal", Given("database", "my_db", privileges=("SELECT",)))]
    assert host.right(resources) == ["create", "update missing"]
    assert host.may("hal", "SELECT * FROM my_db.results") and not host.may("hal", "SELECT * FROM myXdb.results")

    wide = [user("hal"), grants("hal", Given("global", privileges=("SELECT",)))]
    host.right(wide)
    host.sql("REVOKE SELECT ON other.* FROM hal@localhost")
    assert not host.may("hal", "SELECT * FROM other.t")
    assert host.right(wide) == ["unchanged", "update missing"]
    assert host.may("hal", "SELECT * FROM other.t")
    assert host.work(remove=[wide[1], wide[0]])["removed"] == ["delete", "delete"]
    host.sql("SET GLOBAL partial_revokes = OFF")
