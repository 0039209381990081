"""A user has exactly the privileges of the spec, on exactly the database that is named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.host.database_facts import Held
from agent.kinds.grant import ALL, DATABASE_PRIVILEGES, TABLE_PRIVILEGES, Grant, GrantState
from agent.kinds.sql_names import pattern
from agent.records import from_record, to_record
from agent.resource import Action, Change, Ref, differences
from agent.steps import Sql

SOCKET = "/run/mysqld/mysqld.sock"
WHO = ("alice", "localhost")
EVERYTHING = DATABASE_PRIVILEGES - {ALL}


def grant(*privileges: str, database: str = "stu_db", table: str = "*") -> Grant:
    return Grant(f"alice@localhost on {database}.{table}", SOCKET, *WHO, database, frozenset(privileges), table)


def held(*privileges: str, everything: bool = False, grant_option: bool = False) -> Held:
    return Held(frozenset(privileges), everything, grant_option)


def host(grants: dict[str, Held] | None = None, tables: dict[tuple[str, str], Held] | None = None) -> Any:
    on_databases = {(*WHO, name): each for name, each in (grants or {}).items()}
    on_tables = {(*WHO, *name): each for name, each in (tables or {}).items()}
    return SimpleNamespace(databases=SimpleNamespace(grants=lambda _: on_databases, table_grants=lambda _: on_tables))


def statements(wanted: Grant, on: Any, *, delete: bool = False) -> list[str]:
    current = wanted.read(on)
    if delete:
        change = Change(wanted, Action.DELETE, current)
    elif current is None:
        change = Change(wanted, Action.CREATE, None, wanted.desired())
    else:
        found = differences(wanted.desired(), current)
        if not found:
            return []
        change = Change(wanted, Action.UPDATE, current, wanted.desired(), found)
    steps = [step for step in wanted.steps(change) if isinstance(step, Sql)]
    assert all(step.arguments == WHO for step in steps)
    return [step.statement for step in steps]


def test_it_is_made_on_the_escaped_name() -> None:
    assert statements(grant("SELECT", "INSERT"), host()) == ["GRANT INSERT, SELECT ON `stu\\_db`.* TO %s@%s"]


def test_one_that_is_right_is_left_alone() -> None:
    assert statements(grant("SELECT"), host({"stu\\_db": held("SELECT")})) == []
    assert statements(grant(ALL), host({"stu\\_db": held(*EVERYTHING, everything=True)})) == []
    assert statements(grant(*EVERYTHING), host({"stu\\_db": held(*EVERYTHING, everything=True)})) == []


def test_what_is_missing_is_granted_and_what_is_too_much_revoked_without_a_gap() -> None:
    assert statements(grant("SELECT", "INSERT"), host({"stu\\_db": held("SELECT", "DROP", "DELETE")})) == [
        "GRANT INSERT ON `stu\\_db`.* TO %s@%s",
        "REVOKE DELETE, DROP ON `stu\\_db`.* FROM %s@%s",
    ]


def test_all_privileges_that_lost_one_are_granted_again() -> None:
    assert statements(grant(ALL), host({"stu\\_db": held(*(EVERYTHING - {"SELECT"}))})) == [
        "GRANT ALL PRIVILEGES ON `stu\\_db`.* TO %s@%s"
    ]


def test_all_privileges_where_one_is_wanted_are_revoked_one_by_one() -> None:
    (revoke,) = statements(grant("SELECT"), host({"stu\\_db": held(*EVERYTHING, everything=True)}))

    listed = revoke.removeprefix("REVOKE ").partition(" ON ")[0].split(", ")
    assert set(listed) == EVERYTHING - {"SELECT"}


def test_passing_privileges_on_is_taken_away() -> None:
    assert statements(grant("SELECT"), host({"stu\\_db": held("SELECT", grant_option=True)})) == [
        "REVOKE GRANT OPTION ON `stu\\_db`.* FROM %s@%s"
    ]


def test_a_grant_that_somebody_made_on_the_bare_name_opens_other_databases_and_is_revoked() -> None:
    by_hand = {"stu\\_db": held("SELECT"), "stu_db": held("DELETE", grant_option=True)}
    assert statements(grant("SELECT"), host(by_hand)) == ["REVOKE DELETE, GRANT OPTION ON `stu_db`.* FROM %s@%s"]


def test_only_the_grant_on_the_bare_name_is_there() -> None:
    assert statements(grant("SELECT"), host({"stu_db": held("SELECT")})) == [
        "GRANT SELECT ON `stu\\_db`.* TO %s@%s",
        "REVOKE SELECT ON `stu_db`.* FROM %s@%s",
    ]


def test_a_name_without_wildcards_has_no_second_form() -> None:
    wanted = grant("SELECT", database="plain")

    assert wanted.read(host({"plain": held("SELECT")})) == GrantState(frozenset({"SELECT"}), False, frozenset())
    assert statements(wanted, host({"plain": held("SELECT")})) == []


@pytest.mark.parametrize(
    ("on", "wanted"),
    [
        ({"stu\\_db": held("SELECT")}, ["REVOKE SELECT ON `stu\\_db`.* FROM %s@%s"]),
        (
            {"stu\\_db": held(*EVERYTHING, everything=True, grant_option=True)},
            ["REVOKE GRANT OPTION ON `stu\\_db`.* FROM %s@%s", "REVOKE ALL PRIVILEGES ON `stu\\_db`.* FROM %s@%s"],
        ),
        ({"stu_db": held("DROP")}, ["REVOKE DROP ON `stu_db`.* FROM %s@%s"]),
    ],
    ids=["one", "all and more", "on the bare name"],
)
def test_it_is_revoked_whole(on: dict[str, Held], wanted: list[str]) -> None:
    privileges = (ALL,) if len(wanted) > 1 else ("SELECT",)
    assert statements(grant(*privileges), host(on), delete=True) == wanted


def test_on_a_table_names_are_no_patterns() -> None:
    wanted = grant("SELECT", table="t%_1")

    assert statements(wanted, host()) == ["GRANT SELECT ON `stu_db`.`t%%_1` TO %s@%s"]
    assert statements(wanted, host(tables={("stu_db", "t%_1"): held("SELECT")})) == []
    assert wanted.read(host({"stu_db": held("SELECT")})) is None


@pytest.mark.parametrize(
    ("name", "escaped"), [("a_b", "a\\_b"), ("50%", "50\\%"), ("a\\b", "a\\\\b"), ("plain-1", "plain-1")]
)
def test_a_pattern_matches_only_the_name_it_was_made_from(name: str, escaped: str) -> None:
    assert pattern(name) == escaped


@pytest.mark.parametrize(
    ("privileges", "table"),
    [
        ({"SELECT; DROP DATABASE x"}, "*"),
        ({"select"}, "*"),
        ({"GRANT OPTION"}, "*"),
        ({"SUPER"}, "*"),
        ({"EVENT"}, "t"),
        (set(), "*"),
    ],
)
def test_a_privilege_is_part_of_a_statement_and_so_one_that_is_known(privileges: set[str], table: str) -> None:
    with pytest.raises(ValueError, match="privilege"):
        grant(*privileges, table=table)


@pytest.mark.parametrize("database", ["*", ""])
def test_a_grant_on_everything_is_refused(database: str) -> None:
    with pytest.raises(ValueError, match="needs a database"):
        grant("SELECT", database=database)


def test_it_needs_its_user_and_its_database() -> None:
    assert set(grant("SELECT").needs()) == {Ref("database", "stu_db"), Ref("database_user", "alice@localhost")}


def test_it_can_be_written_down_and_read_back() -> None:
    wanted = grant(*TABLE_PRIVILEGES, table="t")
    assert from_record(to_record(wanted)) == wanted
