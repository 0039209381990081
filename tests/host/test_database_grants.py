"""Rows of a server's own tables become what each account may do, whoever wrote them and however many there are."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from agent.host.database_grants import EVERYTHING, Collected, Granted, Role, ServerGrants, Target, on_column
from agent.host.database_privileges import ALL, GRANT_OPTION, KNOWN, MARIADB_ONLY, MYSQL_ONLY, of_access

KNOWN_ROWS = tuple(
    (name,) for name in ("Select", "Insert", "Event", "Execute", "Usage", "Proxy", "Grant option", "Binlog monitor")
)
DB_COLUMNS = ("Host", "Db", "User", "Select_priv", "Insert_priv", "Grant_priv", "Create_tmp_table_priv", "Event_priv")


def collected(*, mariadb: bool = True, literal: bool = False) -> Collected:
    return Collected(KNOWN_ROWS, mariadb=mariadb, literal=literal)


def account(user: str, priv: dict[str, Any], host: str = "localhost") -> tuple[str, str, str]:
    return user, host, json.dumps(priv, separators=(",", ":"))


def test_what_the_server_knows_is_what_all_stands_for() -> None:
    found = collected().whole().everything

    assert found["global"] == {"SELECT", "INSERT", "EVENT", "EXECUTE", "REPLICATION CLIENT"}
    assert found["database"] == {"SELECT", "INSERT", "EVENT", "EXECUTE"}
    assert found["table"] == {"SELECT", "INSERT"}
    assert found["procedure"] == found["function"] == {"EXECUTE"}


def test_rights_on_everything_are_bits_in_mariadb() -> None:
    found = collected()
    found.mariadb_accounts([
        account("none", {"access": 0, "version_id": 101119, "plugin": ""}),
        account("some", {"access": 0b1_0000_0000_0101, "version_id": 101119}),
        account("ROOT", {"access": 2**64 - 1}, "LocalHost"),
        account("old", {"access": 1 << 15, "version_id": 100427}),
    ])  # fmt: skip
    whole = found.whole()

    assert whole.of("none", "localhost").nothing
    assert whole.of("some", "localhost").rights == {EVERYTHING: {"SELECT", "UPDATE", "INDEX"}}
    assert whole.of("ROOT", "LOCALHOST").rights[EVERYTHING] >= {"SUPER", GRANT_OPTION, "SHOW CREATE ROUTINE"}
    assert whole.of("old", "localhost").rights[EVERYTHING] >= {"SUPER", "SET USER", "SLAVE MONITOR"}, (
        "as the server reads it"
    )
    assert of_access(1 << 15, 101119) == {"SUPER"}


def test_roles_of_mariadb_are_apart_and_a_default_role_is_with_its_account() -> None:
    found = collected()
    found.mariadb_accounts([
        account("reader", {"access": 0, "is_role": True}, ""),
        account("ann", {"access": 0, "default_role": "reader"}),
        account("ben", {"access": 0, "default_role": ""}),
    ])  # fmt: skip
    found.role_edges([("localhost", "ann", "reader", "", "N"), ("", "reader", "inner", "", "Y")])
    whole = found.whole()

    assert whole.roles == {"reader"}
    assert whole.of("ann", "localhost") == Granted(
        roles={Role("reader"): False}, default_roles=frozenset({Role("reader")})
    )
    assert whole.of("ben", "localhost").nothing
    assert whole.of("reader", None).roles == {Role("inner"): True}


def mysql(*accounts: tuple[str, str, str, str, str | None], dynamic: tuple[tuple[str, ...], ...] = ()) -> ServerGrants:
    found = collected(mariadb=False)
    found.mysql_accounts(("Host", "User", "Select_priv", "Grant_priv", "User_attributes"), accounts)
    found.dynamic(dynamic)
    return found.whole()


def test_the_option_counts_in_mysql_for_each_dynamic_privilege() -> None:
    whole = mysql(
        ("h", "static", "Y", "Y", None),
        ("h", "part", "Y", "Y", None),
        ("h", "other", "Y", "N", None),
        dynamic=(
            ("h", "part", "BACKUP_ADMIN", "N"),
            ("h", "other", "BACKUP_ADMIN", "Y"),
            ("h", "only", "CLONE_ADMIN", "Y"),
        ),
    )
    found = {name: whole.of(name, "h") for name in ("static", "part", "other", "only")}

    assert {name: each.passes_all_on for name, each in found.items()} == {
        "static": True,
        "part": False,
        "other": False,
        "only": True,
    }
    assert all(GRANT_OPTION in each.rights[EVERYTHING] for each in found.values())
    assert found["only"].rights == {EVERYTHING: {"CLONE_ADMIN", GRANT_OPTION}}


def test_what_is_revoked_in_some_database_is_withheld() -> None:
    restrictions = '{"Restrictions": [{"Database": "a", "Privileges": ["SELECT", "DROP"]}]}'
    whole = mysql(("h", "u", "Y", "N", restrictions), ("h", "plain", "Y", "N", '{"metadata": {}}'))

    assert whole.of("u", "h").withheld == {"SELECT", "DROP"}
    assert not whole.of("plain", "h").withheld


def test_roles_of_mysql_are_accounts_from_everywhere() -> None:
    found = collected(mariadb=False)
    found.role_edges([("h", "u", "r", "%", "Y"), ("%", "r", "root", "localhost", "N")])
    found.default_roles([("h", "u", "r", "%"), ("h", "u", "s", "%")])
    whole = found.whole()

    assert whole.of("u", "H").roles == {Role("r"): True}
    assert whole.of("u", "h").default_roles == {Role("r"), Role("s")}
    assert whole.of("r", None).roles == {Role("root", "localhost"): False}
    assert [str(role) for role in (Role("r"), Role("root", "localhost"))] == ["r", "root@localhost"]


def test_rights_on_databases_tables_columns_and_routines_are_by_target() -> None:
    found = collected()
    found.databases(DB_COLUMNS, [("LOCALHOST", "a\\_b", "u", "Y", "N", "Y", "Y", "N"), ("h", "none", "u", *"NNNNN")])
    found.tables(
        [("localhost", "u", "a_b", "t", "Select,Grant,Delete versioning rows"), ("localhost", "u", "a_b", "t2", "")]
    )
    found.columns(
        [("localhost", "u", "a_b", "t", "Id", "Select,References"), ("localhost", "u", "a_b", "t2", "x`y", "Update")]
    )
    found.routines([("localhost", "u", "a_b", "PROCEDURE", "Refresh", "Execute,Alter Routine,Grant")])
    found.proxies([("localhost", "u", "root", "localhost")])

    assert found.whole().of("u", "localhost").rights == {
        Target("database", "a\\_b"): {"SELECT", GRANT_OPTION, "CREATE TEMPORARY TABLES"},
        Target("table", "a_b", "t"): {"SELECT", GRANT_OPTION, "DELETE HISTORY", "SELECT (`id`)", "REFERENCES (`id`)"},
        Target("table", "a_b", "t2"): {"UPDATE (`x``y`)"},
        Target("procedure", "a_b", "refresh"): {"EXECUTE", "ALTER ROUTINE", GRANT_OPTION},
        Target("PROXY", "root", "localhost"): {"PROXY"},
    }
    assert found.whole().of("u", "h").nothing, "a row without a right is none"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (EVERYTHING, "*.*"),
        (Target("database", "a\\_b"), "`a\\_b`.*"),
        (Target("table", "a.b", "c`d"), "`a.b`.`c``d`"),
        (Target("function", "a", "f"), "FUNCTION `a`.`f`"),
        (Target("package body", "a", "f"), "PACKAGE BODY `a`.`f`"),
    ],
)
def test_a_target_is_written_as_sql_has_it(target: Target, text: str) -> None:
    assert str(target) == text


def test_columns_have_no_case() -> None:
    assert on_column("SELECT", "Id") == on_column("SELECT", "ID") == "SELECT (`id`)"


def test_no_privilege_is_of_one_server_on_one_level_and_of_the_other_on_another() -> None:
    assert not set(MARIADB_ONLY) & set(MYSQL_ONLY)
    assert all(known <= KNOWN["global"] and ALL not in known and GRANT_OPTION not in known for known in KNOWN.values())


def test_thousands_of_accounts_take_microseconds_each() -> None:
    count = 4000
    accounts = [account(f"u{each}", {"access": 0, "version_id": 101119, "plugin": "p"}) for each in range(count)]
    on_databases = [("localhost", f"d{each}", f"u{each}", *"YYNYY") for each in range(count)]
    begun = time.perf_counter()
    found = collected()
    found.mariadb_accounts(accounts)
    found.databases(DB_COLUMNS, on_databases)
    whole = found.whole()
    seconds = time.perf_counter() - begun

    assert whole.of("u7", "localhost").rights.keys() == {Target("database", "d7")}
    assert seconds / count < 100e-6, "it is about 3 microseconds; a query or a JSON text for each would be more"
