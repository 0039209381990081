"""A database is made with its defaults and kept whatever happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.host.database_facts import DatabaseFacts
from agent.host.dumps import Contents
from agent.kinds.database import Database, DatabaseState
from agent.records import from_record, to_record
from agent.resource import Action, Change, Loss, differences
from agent.steps import Dump, Sql

SOCKET = "/run/mysqld/mysqld.sock"


def host(**found: DatabaseFacts) -> Any:
    return SimpleNamespace(databases=SimpleNamespace(databases=lambda server: found if server == SOCKET else {}))


def test_one_that_is_not_there_is_made_with_both_defaults() -> None:
    database = Database("stu_db", SOCKET, collation="utf8mb4_unicode_ci")

    assert database.read(host(other=DatabaseFacts("utf8mb4", "utf8mb4_general_ci"))) is None
    assert list(database.steps(Change(database, Action.CREATE, desired=database.desired()))) == [
        Sql(SOCKET, "CREATE DATABASE `stu_db` CHARACTER SET %s COLLATE %s", ("utf8mb4", "utf8mb4_unicode_ci"))
    ]


def test_a_collation_that_is_left_out_is_not_managed() -> None:
    database = Database("stu_db", SOCKET)
    current = database.read(host(stu_db=DatabaseFacts("utf8mb4", "utf8mb4_bin")))

    assert current == DatabaseState("utf8mb4", "utf8mb4_bin")
    assert differences(database.desired(), current) == ()


def test_other_defaults_are_altered() -> None:
    database = Database("stu_db", SOCKET)
    current = database.read(host(stu_db=DatabaseFacts("latin1", "latin1_bin")))
    found = differences(database.desired(), current)

    assert [each.field for each in found] == ["character_set"]
    change = Change(database, Action.UPDATE, current, database.desired(), found)
    assert list(database.steps(change)) == [Sql(SOCKET, "ALTER DATABASE `stu_db` CHARACTER SET %s", ("utf8mb4",))]


def test_it_is_dropped_by_no_means_but_an_allowed_loss() -> None:
    database = Database("stu_db", SOCKET)

    assert Database.holds_work
    assert list(database.steps(Change(database, Action.DELETE, DatabaseState("utf8mb4", "x")))) == []
    drop = Sql(SOCKET, "DROP DATABASE `stu_db`")
    assert list(database.steps(Change(database, Action.DELETE, loss=Loss.DUMPED))) == [Dump(SOCKET, "stu_db"), drop]
    assert list(database.steps(Change(database, Action.DELETE, loss=Loss.UNDUMPED))) == [drop]


def test_what_is_lost_is_said_in_so_many_words() -> None:
    dumps = SimpleNamespace(
        contents=lambda _server, name: Contents(1 if name == "one" else 3, 49152),
        place=lambda name: f"/var/lib/agent/dumps/{name}",
        way_back=lambda _server, name: "zcat 'x.sql.gz' | mariadb" if name == "one" else "",
    )
    host: Any = SimpleNamespace(dumps=dumps)

    assert Database("one", SOCKET).loses(host, Loss.DUMPED) == (
        "1 table, 48.0 KiB; a dump goes to /var/lib/agent/dumps/one/ first"
    )
    assert Database("three", SOCKET).loses(host, Loss.UNDUMPED) == "3 tables, 48.0 KiB, for ever: WITHOUT A DUMP"
    assert Database("one", SOCKET).way_back(host) == "the dump is kept; to get it back: zcat 'x.sql.gz' | mariadb"
    assert Database("three", SOCKET).way_back(host) == ""


@pytest.mark.parametrize(
    ("name", "written"),
    [("a`b", "`a``b`"), ("100%s", "`100%%s`"), ("a; DROP DATABASE b", "`a; DROP DATABASE b`"), ("``", "``````")],
)
def test_a_hostile_name_stays_one_name(name: str, written: str) -> None:
    database = Database(name, SOCKET)

    (step,) = database.steps(Change(database, Action.CREATE, desired=database.desired()))
    assert isinstance(step, Sql)
    assert step.statement == f"CREATE DATABASE {written} CHARACTER SET %s"


def test_it_can_be_written_down_and_read_back() -> None:
    database = Database("stu_db", SOCKET, collation="utf8mb4_bin")
    assert from_record(to_record(database)) == database
