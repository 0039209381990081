"""A server lets nobody in who was not let in by name, and what a person keeps in it is not dropped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.host.database_facts import DatabaseAccount, DatabaseFacts
from agent.host.passwords import ED25519, stored_form
from agent.kinds.server import Server, opens_test
from agent.records import from_record, to_record
from agent.resource import Action, Change, differences
from agent.steps import Remember, Sql

SOCKET = "/run/mysqld/mysqld.sock"
SERVER = Server("mariadb", SOCKET, declared=("Declared@localhost", "elsewhere@Box"))
LOCAL_ROOT = DatabaseAccount("root", "localhost", (("mysql_native_password", b"invalid"), ("unix_socket", b"")), "")


EMPTY = stored_form("", ED25519).encode()
DELETE = "DELETE FROM mysql.{} WHERE Host = %s AND User = %s AND Db = %s"


def account(
    user: str, where: str, kept: bytes = b"*HASH", plugin: str = "mysql_native_password", **more: Any
) -> DatabaseAccount:
    return DatabaseAccount(user, where, ((plugin, kept),), "", **more)


def host(
    *accounts: DatabaseAccount,
    grants: tuple[tuple[str, str, str, str], ...] = (),
    test: bool | None = None,
    local_infile: bool = False,
    own: tuple[str, str] = ("root", "localhost"),
    owed: tuple[str, ...] = (),
) -> Any:
    """``grants``: table, host, user, database. ``test``: whether the database called test is empty; None when there is none."""
    everybody = (LOCAL_ROOT, account("alice", "%"), *accounts)
    return SimpleNamespace(
        databases=SimpleNamespace(
            accounts=lambda _: {(each.user, each.host.lower()): each for each in everybody},
            own_account=lambda _: own,
            mariadb=lambda _: True,
            rows=lambda _, statement: grants if "mysql.tables_priv" in statement else (),
            databases=lambda _: {} if test is None else {"test": DatabaseFacts("utf8mb4", "x")},
            test_is_empty=lambda _: test,
            local_infile=lambda _: local_infile,
        ),
        memory=SimpleNamespace(below=lambda prefix: [f"{prefix}{each}" for each in owed]),
    )


def steps(on: Any, server: Server | None = None) -> list[Any]:
    server = server or SERVER
    current = server.read(on)
    found = differences(server.desired(), current)
    return list(server.steps(Change(server, Action.UPDATE, current, server.desired(), found))) if found else []


def test_a_fresh_debian_installation_needs_nothing() -> None:
    assert steps(host()) == []


def test_a_server_that_was_to_read_its_tables_again_is_made_to_by_the_next_pass() -> None:
    flush, *forgotten = steps(host(owed=("alice@%", "bob@%")))

    assert flush == Sql("/run/mysqld/mysqld.sock", "FLUSH PRIVILEGES")
    assert forgotten == [Remember("flush.alice@%", None), Remember("flush.bob@%", None)]


def test_that_it_must_is_known_before_a_row_is_taken_and_until_it_did() -> None:
    first, *_, flush, last = steps(host(grants=(("db", "%", "", "test"),)))

    assert (first, last) == (Remember(f"flush.{SERVER.name}", "owed"), Remember(f"flush.{SERVER.name}", None))
    assert flush.statement == "FLUSH PRIVILEGES"


@pytest.mark.parametrize(
    ("on", "wanted"),
    [
        (
            host(account("", "localhost"), account("", "box")),
            [("DROP USER ''@%s", "localhost"), ("DROP USER ''@%s", "box")],
        ),
        (host(account("root", "%")), [("DROP USER 'root'@%s", "%")]),
        (host(account("root", "::1", b"")), [("ALTER USER 'root'@%s IDENTIFIED WITH unix_socket", "::1")]),
        (host(account("root", "::1")), []),
        (
            host(grants=(("db", "%", "", "test\\_%"), ("tables_priv", "", "PUBLIC", "test"))),
            [
                (f"{DELETE.format('db')}", "%", "", "test\\_%"),
                (f"{DELETE.format('tables_priv')}", "", "PUBLIC", "test"),
                ("FLUSH PRIVILEGES",),
            ],
        ),
        (host(grants=(("db", "%", "", "public_data"),)), []),
        (host(account("bob", "%", b"")), [("ALTER USER %s@%s ACCOUNT LOCK", "bob", "%")]),
        (host(account("bob", "%", b"", locked=True)), []),
        (host(account("bob", "%", b""), own=("bob", "%")), []),
        (host(account("Declared", "LocalHost", b""), account("elsewhere", "box", b"")), []),
        (host(account("declared", "localhost", b"")), [("ALTER USER %s@%s ACCOUNT LOCK", "declared", "localhost")]),
        (host(account("bob", "%", b"", "unix_socket")), []),
        (host(account("bob", "%", EMPTY, "ed25519")), [("ALTER USER %s@%s ACCOUNT LOCK", "bob", "%")]),
        (host(account("root", "%"), own=("root", "%")), []),
        (host(account("root", "::1", b"", locked=True)), []),
        (host(test=True), [("DROP DATABASE test",)]),
        (host(test=False), []),
        (host(local_infile=True), []),
    ],
    ids=[
        "anonymous users",
        "root from elsewhere",
        "root without a password",
        "root with a password",
        "grants to everyone on the test database",
        "grants to everyone on another database",
        "an account without a password",
        "a locked one",
        "the one that the agent is logged in as",
        "those of the spec, whatever the case of their hosts",
        "one whose name differs by the case of a letter",
        "one that comes by the socket as itself",
        "one with the hash of an empty password",
        "root from elsewhere as whom the agent is logged in",
        "root without a password who is locked",
        "empty test database",
        "test database with something in it",
        "files of clients, where another resource looks after variables",
    ],
)
def test_what_is_open_is_closed(on: Any, wanted: list[tuple[str, ...]]) -> None:
    assert [(step.statement, *step.arguments) for step in steps(on) if isinstance(step, Sql)] == wanted


def test_files_of_clients_are_closed_where_nobody_else_looks_after_variables() -> None:
    assert [
        step.statement for step in steps(host(local_infile=True), Server("external", SOCKET, closes_local_infile=True))
    ] == ["SET GLOBAL local_infile = 0"]


@pytest.mark.parametrize(
    "name", ["test", "test\\_%", "test_%", "test%", "t%", "%", "te_t", "test\\_data", "tes_", "test_x"]
)
def test_these_patterns_open_the_test_database(name: str) -> None:
    assert opens_test(name, is_pattern=True)


@pytest.mark.parametrize("name", ["testing", "contest", "te\\_t", "public%", "TEST", "test\\%", "a_%"])
def test_these_do_not(name: str) -> None:
    assert not opens_test(name, is_pattern=True)


def test_the_name_of_a_table_s_database_is_no_pattern() -> None:
    assert not opens_test("te_t", is_pattern=False)
    assert opens_test("test_x", is_pattern=False)


def test_root_without_a_password_is_the_first_to_be_closed() -> None:
    on = host(account("", "localhost"), account("root", "%"), account("root", "127.0.0.1", b""))
    assert steps(on)[0].statement.startswith("ALTER USER 'root'")


def test_on_mysql_root_comes_by_its_own_plugin() -> None:
    on = host(account("root", "::1", b""))
    assert steps(on)[0].on_mysql == "ALTER USER 'root'@%s IDENTIFIED WITH auth_socket"


def test_a_database_called_test_may_be_wanted() -> None:
    assert steps(host(test=True), Server("mariadb", SOCKET, keep_test_database=True)) == []


def test_nothing_is_undone_when_it_leaves_the_spec() -> None:
    server = Server("mariadb", SOCKET)
    assert list(server.steps(Change(server, Action.DELETE, server.read(host(test=True))))) == []


def test_it_can_be_written_down_and_read_back() -> None:
    server = Server("mariadb", SOCKET, keep_test_database=True, declared=("alice@localhost",))
    assert from_record(to_record(server)) == server
