"""A server lets nobody in who was not let in by name, and what a person keeps in it is not dropped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.host.database_facts import DatabaseAccount, DatabaseFacts
from agent.kinds.server import Server
from agent.records import from_record, to_record
from agent.resource import Action, Change, differences

SOCKET = "/run/mysqld/mysqld.sock"
LOCAL_ROOT = DatabaseAccount("root", "localhost", (("mysql_native_password", b"invalid"), ("unix_socket", b"")), "")


def account(user: str, where: str, kept: bytes = b"*HASH") -> DatabaseAccount:
    return DatabaseAccount(user, where, (("mysql_native_password", kept),), "")


def host(
    *accounts: DatabaseAccount,
    grants: tuple[tuple[str, str], ...] = (),
    test: bool | None = None,
    local_infile: bool = False,
) -> Any:
    """``test``: whether the database called test is empty; None when there is none."""
    everybody = (LOCAL_ROOT, account("alice", "%"), *accounts)
    return SimpleNamespace(
        databases=SimpleNamespace(
            accounts=lambda _: {(each.user, each.host): each for each in everybody},
            grants=lambda _: {(user, "%", name): None for user, name in (("alice", "test"), *grants)},
            databases=lambda _: {} if test is None else {"test": DatabaseFacts("utf8mb4", "x")},
            test_is_empty=lambda _: test,
            local_infile=lambda _: local_infile,
        )
    )


def steps(on: Any, server: Server | None = None) -> list[Any]:
    server = server or Server("mariadb", SOCKET)
    current = server.read(on)
    found = differences(server.desired(), current)
    return list(server.steps(Change(server, Action.UPDATE, current, server.desired(), found))) if found else []


def test_a_fresh_debian_installation_needs_nothing() -> None:
    assert steps(host()) == []


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
            host(grants=(("", "test"), ("", "test\\_%"))),
            [("DELETE FROM mysql.db WHERE User = '' AND Db IN (%s, %s)", "test", "test\\_%"), ("FLUSH PRIVILEGES",)],
        ),
        (host(grants=(("", "public_data"),)), []),
        (host(test=True), [("DROP DATABASE test",)]),
        (host(test=False), []),
        (host(local_infile=True), [("SET GLOBAL local_infile = 0",)]),
    ],
    ids=[
        "anonymous users",
        "root from elsewhere",
        "root without a password",
        "root with a password",
        "grants to everyone on the test database",
        "grants to everyone on another database",
        "empty test database",
        "test database with something in it",
        "files of clients",
    ],
)
def test_what_is_open_is_closed(on: Any, wanted: list[tuple[str, ...]]) -> None:
    assert [(step.statement, *step.arguments) for step in steps(on)] == wanted


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
    server = Server("mariadb", SOCKET)
    assert from_record(to_record(server)) == server
