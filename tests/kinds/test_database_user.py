"""An account logs in as the spec says and in no other way, and its password is never part of what is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.host.database_facts import DatabaseAccount
from agent.kinds.database_user import RESERVED, DatabaseUser, DatabaseUserState
from agent.records import from_record, to_record
from agent.resource import Action, Change, differences
from agent.steps import PasswordHash, SecretRef, Sql

SOCKET = "/run/mysqld/mysqld.sock"
REF = SecretRef("stored", "mysql-alice")
WHO = ("alice", "localhost")


def alice(password: SecretRef | None = REF, require: str = "") -> DatabaseUser:
    return DatabaseUser("alice@localhost", SOCKET, "alice", password=password, require=require)


def host(account: DatabaseAccount | None, *, right: bool = True, mariadb: bool = True) -> Any:
    accounts = {(account.user, account.host.lower()): account} if account else {}
    return SimpleNamespace(
        databases=SimpleNamespace(
            accounts=lambda _: accounts,
            password_right=lambda _, ref: right and ref == REF,
            mariadb=lambda _: mariadb,
            server_wide=lambda _, each: frozenset(("SELECT", "GRANT OPTION") if each.server_wide else ()),
        )
    )


def account(*plugins: str, require: str = "", server_wide: bool = False, where: str = "localhost") -> DatabaseAccount:
    ways = tuple((plugin, b"") for plugin in plugins or ("mysql_native_password",))
    return DatabaseAccount("alice", where, ways, require, server_wide)


def update(user: DatabaseUser, current: DatabaseUserState | None) -> list[Any]:
    return list(user.steps(Change(user, Action.UPDATE, current, user.desired(), differences(user.desired(), current))))


@pytest.mark.parametrize(
    ("user", "on_mariadb", "on_mysql"),
    [
        (alice(), "mysql_native_password AS %s REQUIRE NONE", "caching_sha2_password AS %s REQUIRE NONE"),
        (alice(require="SSL"), "mysql_native_password AS %s REQUIRE SSL", "caching_sha2_password AS %s REQUIRE SSL"),
        (alice(password=None), "unix_socket REQUIRE NONE", "auth_socket REQUIRE NONE"),
    ],
    ids=["by password", "over TLS", "by socket"],
)
def test_it_is_made_in_one_statement(user: DatabaseUser, on_mariadb: str, on_mysql: str) -> None:
    assert user.read(host(None)) is None
    create = "CREATE USER %s@%s IDENTIFIED WITH "
    arguments = (*WHO, PasswordHash(REF)) if user.password else WHO
    change = Change(user, Action.CREATE, desired=user.desired())
    assert list(user.steps(change)) == [Sql(SOCKET, create + on_mariadb, arguments, on_mysql=create + on_mysql)]


@pytest.mark.parametrize(
    ("user", "plugin", "mariadb"),
    [
        (alice(), "mysql_native_password", True),
        (alice(), "caching_sha2_password", False),
        (alice(password=None), "unix_socket", True),
        (alice(password=None), "auth_socket", False),
    ],
)
def test_one_that_is_right_is_left_alone(user: DatabaseUser, plugin: str, mariadb: bool) -> None:
    assert differences(user.desired(), user.read(host(account(plugin), mariadb=mariadb))) == ()


def test_an_old_kind_of_password_on_mysql_is_a_difference() -> None:
    current = alice().read(host(account("mysql_native_password"), mariadb=False))
    assert [each.current for each in differences(alice().desired(), current)] == ["mysql_native_password"]


def test_host_names_have_no_case() -> None:
    user = DatabaseUser("alice@LocalHost", SOCKET, "alice", "LocalHost", password=REF)
    assert user.read(host(account(where="LOCALHOST"))) is not None


def test_a_wrong_password_is_replaced_and_the_demand_for_tls_kept() -> None:
    user = alice(require="SSL")
    current = user.read(host(account(require="SSL"), right=False))

    (step,) = update(user, current)
    assert step.statement == "ALTER USER %s@%s IDENTIFIED WITH mysql_native_password AS %s REQUIRE SSL"
    assert step.arguments == (*WHO, PasswordHash(REF))


def test_a_second_way_to_log_in_is_a_difference() -> None:
    user = alice()
    current = user.read(host(account("mysql_native_password", "unix_socket")))

    assert [each.field for each in differences(user.desired(), current)] == ["login"]
    assert len(update(user, current)) == 1


@pytest.mark.parametrize(
    ("wanted", "found", "clause"), [("SSL", "", "SSL"), ("", "X509", "NONE"), ("SSL", "X509", "SSL")]
)
def test_what_a_connection_must_have_is_changed_alone(wanted: str, found: str, clause: str) -> None:
    user = alice(require=wanted)
    current = user.read(host(account(require=found)))

    assert update(user, current) == [Sql(SOCKET, f"ALTER USER %s@%s REQUIRE {clause}", WHO)]


def test_privileges_on_everything_are_taken_away_by_name() -> None:
    user = alice()
    current = user.read(host(account(server_wide=True)))

    assert update(user, current) == [Sql(SOCKET, "REVOKE GRANT OPTION, SELECT ON *.* FROM %s@%s", WHO)]


@pytest.mark.parametrize(("kept", "wrong"), [(b"", False), (b"alice", False), (b"mallory", True)])
def test_a_socket_that_lets_somebody_else_in_is_a_difference(kept: bytes, wrong: bool) -> None:
    user = alice(password=None)
    found = DatabaseAccount("alice", "localhost", (("unix_socket", kept),), "", server_wide=False)

    assert bool(differences(user.desired(), user.read(host(found)))) is wrong


def test_it_is_dropped() -> None:
    user = alice()
    steps = list(user.steps(Change(user, Action.DELETE, user.read(host(account())))))
    assert steps == [Sql(SOCKET, "DROP USER %s@%s", WHO)]


@pytest.mark.parametrize("name", ["root", "", "mariadb.sys", "mysql.session", "debian-sys-maint"])
def test_the_servers_own_accounts_are_refused(name: str) -> None:
    assert name in RESERVED
    with pytest.raises(ValueError, match="choose another name"):
        DatabaseUser(f"{name}@localhost", SOCKET, name)


def test_what_is_required_is_part_of_a_statement_and_so_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="SSL or empty"):
        alice(require="NONE; DROP DATABASE x")


def test_it_can_be_written_down_and_read_back() -> None:
    user = alice(require="SSL")
    assert from_record(to_record(user)) == user
