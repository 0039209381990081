"""A role is there and nobody logs in as it; on MySQL it is an account that must not be one of somebody's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.errors import HostError
from agent.host.database_facts import DatabaseAccount
from agent.kinds.database_role import DatabaseRole, DatabaseRoleState
from agent.records import from_record, to_record
from agent.resource import Action, Change, differences
from agent.steps import Sql

SOCKET = "/run/mysqld/mysqld.sock"
READER = DatabaseRole("reader", SOCKET)


def host(*roles: str, account: DatabaseAccount | None = None, mariadb: bool = True) -> Any:
    return SimpleNamespace(
        databases=SimpleNamespace(
            mariadb=lambda _: mariadb,
            granted=lambda _: SimpleNamespace(roles=frozenset(roles)),
            accounts=lambda _: {(account.user, account.host): account} if account else {},
        )
    )


def account(*, locked: bool, kept: bytes = b"") -> DatabaseAccount:
    return DatabaseAccount("reader", "%", (("caching_sha2_password", kept),), "", locked=locked)


def steps(action: Action, current: DatabaseRoleState | None = None) -> list[Any]:
    desired = None if action is Action.DELETE else READER.desired()
    found = differences(desired, current) if desired and current else ()
    return list(READER.steps(Change(READER, action, current, desired, found)))


def test_it_is_made_and_dropped() -> None:
    assert READER.read(host()) is None
    assert steps(Action.CREATE) == [Sql(SOCKET, "CREATE ROLE %s", ("reader",))]
    assert READER.read(host("reader")) == READER.desired()
    assert steps(Action.DELETE, READER.desired()) == [Sql(SOCKET, "DROP ROLE %s", ("reader",))]


def test_an_account_of_mariadb_is_no_role() -> None:
    assert READER.read(host(account=account(locked=True))) is None


def test_on_mysql_it_is_locked() -> None:
    assert READER.read(host(mariadb=False)) is None
    assert READER.read(host(account=account(locked=True), mariadb=False)) == READER.desired()
    unlocked = READER.read(host(account=account(locked=False), mariadb=False))
    assert unlocked == DatabaseRoleState(locked=False)
    assert steps(Action.UPDATE, unlocked) == [Sql(SOCKET, "ALTER USER %s ACCOUNT LOCK", ("reader",))]


def test_an_account_that_people_log_in_with_is_not_made_a_role() -> None:
    with pytest.raises(HostError, match="people log in") as caught:
        READER.read(host(account=account(locked=False, kept=b"$A$005$x"), mariadb=False))
    assert "another name" in caught.value.hint


@pytest.mark.parametrize("name", ["root", "PUBLIC", "none", "all", "mysql.sys", ""])
def test_a_name_that_means_something_to_the_server_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="another name"):
        DatabaseRole(name, SOCKET)


def test_it_can_be_written_down_and_read_back() -> None:
    assert from_record(to_record(READER)) == READER
