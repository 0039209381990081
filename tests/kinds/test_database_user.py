"""An account logs in as the spec says and in no other way, and its password is never part of what is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.errors import HostError
from agent.host.database_facts import DatabaseAccount
from agent.kinds.database_user import RESERVED, DatabaseUser, DatabaseUserState
from agent.records import from_record, to_record
from agent.resource import Action, Change, differences
from agent.steps import PasswordHash, SecretRef, Sql

SOCKET = "/run/mysqld/mysqld.sock"
REF = SecretRef("stored", "mysql-alice")
WHO = ("alice", "localhost")


def alice(password: SecretRef | None = REF, **fields: Any) -> DatabaseUser:
    return DatabaseUser("alice@localhost", SOCKET, "alice", password=password, **fields)


def host(account: DatabaseAccount | None, *, right: bool = True, mariadb: bool = True) -> Any:
    accounts = {(account.user, account.host.lower()): account} if account else {}
    return SimpleNamespace(
        databases=SimpleNamespace(
            accounts=lambda _: accounts,
            password_right=lambda _, ref: right and ref == REF,
            mariadb=lambda _: mariadb,
            plugins=lambda _: frozenset(("mysql_native_password", "ed25519") if mariadb else ("auth_socket",)),
        )
    )


def account(*plugins: str, require: str = "", where: str = "localhost", **fields: Any) -> DatabaseAccount:
    ways = tuple((plugin, b"") for plugin in plugins or ("mysql_native_password",))
    return DatabaseAccount("alice", where, ways, require, **fields)


def update(user: DatabaseUser, current: DatabaseUserState | None) -> list[Any]:
    return list(user.steps(Change(user, Action.UPDATE, current, user.desired(), differences(user.desired(), current))))


FULL: dict[str, Any] = {
    "require": "X509",
    "max_queries_per_hour": 100,
    "max_user_connections": 3,
    "password_expires": "90d",
    "locked": True,
}
LIMITED = (
    " REQUIRE X509 WITH MAX_QUERIES_PER_HOUR 100 MAX_USER_CONNECTIONS 3 PASSWORD EXPIRE INTERVAL 90 DAY ACCOUNT LOCK"
)


@pytest.mark.parametrize(
    ("user", "on_mariadb", "on_mysql"),
    [
        (alice(), "mysql_native_password AS %s", "caching_sha2_password AS %s"),
        (alice(require="SSL"), "mysql_native_password AS %s REQUIRE SSL", "caching_sha2_password AS %s REQUIRE SSL"),
        (alice(password=None), "unix_socket", "auth_socket"),
        (alice(plugin="ed25519"), "ed25519 AS %s", "ed25519 AS %s"),
        (alice(**FULL), f"mysql_native_password AS %s{LIMITED}", f"caching_sha2_password AS %s{LIMITED}"),
        (
            alice(password_expires="never"),
            "mysql_native_password AS %s PASSWORD EXPIRE NEVER",
            "caching_sha2_password AS %s PASSWORD EXPIRE NEVER",
        ),
    ],
    ids=["by password", "over TLS", "by socket", "by ed25519", "with everything", "for ever"],
)
def test_it_is_made_in_one_statement(user: DatabaseUser, on_mariadb: str, on_mysql: str) -> None:
    assert user.read(host(None)) is None
    create = "CREATE USER %s@%s IDENTIFIED WITH "
    arguments = (*WHO, PasswordHash(REF, user.plugin)) if user.password else WHO
    change = Change(user, Action.CREATE, desired=user.desired())
    assert list(user.steps(change)) == [Sql(SOCKET, create + on_mariadb, arguments, on_mysql=create + on_mysql)]


@pytest.mark.parametrize(
    ("user", "plugin", "mariadb"),
    [
        (alice(), "mysql_native_password", True),
        (alice(), "caching_sha2_password", False),
        (alice(password=None), "unix_socket", True),
        (alice(password=None), "auth_socket", False),
        (alice(plugin="ed25519"), "ed25519", True),
        (alice(plugin="caching_sha2_password"), "caching_sha2_password", False),
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
    assert step.statement == "ALTER USER %s@%s IDENTIFIED WITH mysql_native_password AS %s"
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


@pytest.mark.parametrize(
    ("field", "found", "clause"),
    [
        ("max_queries_per_hour", 7, "WITH MAX_QUERIES_PER_HOUR 0"),
        ("max_updates_per_hour", 7, "WITH MAX_UPDATES_PER_HOUR 0"),
        ("max_connections_per_hour", 7, "WITH MAX_CONNECTIONS_PER_HOUR 0"),
        ("max_user_connections", 7, "WITH MAX_USER_CONNECTIONS 0"),
        ("password_expires", "never", "PASSWORD EXPIRE DEFAULT"),
        ("locked", True, "ACCOUNT UNLOCK"),
    ],
)
def test_what_the_spec_leaves_out_is_as_usual_and_changed_alone(field: str, found: Any, clause: str) -> None:
    user = alice()
    current = user.read(host(account(**{field: found})))

    assert [each.field for each in differences(user.desired(), current)] == [field]
    assert update(user, current) == [Sql(SOCKET, f"ALTER USER %s@%s {clause}", WHO)]


def test_days_until_a_password_expires_are_taken_away_over_never() -> None:
    user = alice()
    current = user.read(host(account(password_expires="7d")))

    assert [step.statement.removeprefix("ALTER USER %s@%s ") for step in update(user, current)] == [
        "PASSWORD EXPIRE NEVER",
        "PASSWORD EXPIRE DEFAULT",
    ]


def test_everything_that_differs_is_repaired_by_one_statement() -> None:
    user = alice(**FULL)
    current = user.read(host(account("unix_socket"), right=False))

    (step,) = update(user, current)
    assert step.statement == f"ALTER USER %s@%s IDENTIFIED WITH mysql_native_password AS %s{LIMITED}"


def test_a_password_that_was_expired_by_hand_is_set_anew() -> None:
    user = alice()
    current = user.read(host(account(password_expired=True)))

    (step,) = update(user, current)
    assert step.statement == "ALTER USER %s@%s IDENTIFIED WITH mysql_native_password AS %s"


def test_an_old_password_that_is_good_as_well_is_discarded() -> None:
    user = alice()
    current = user.read(host(account("caching_sha2_password", old_password=b"$A$"), mariadb=False))

    assert update(user, current) == [Sql(SOCKET, "ALTER USER %s@%s DISCARD OLD PASSWORD", WHO)]


def test_a_password_that_is_kept_is_not_looked_at() -> None:
    user = alice(password=None, keeps_password=True, locked=True)
    found = account("pam", old_password=b"$A$", password_expired=True)

    assert update(user, user.read(host(found))) == [Sql(SOCKET, "ALTER USER %s@%s ACCOUNT LOCK", WHO)]


def test_an_account_that_keeps_its_password_must_be_there_but_need_not_to_be_removed() -> None:
    user = alice(password=None, keeps_password=True)

    with pytest.raises(HostError, match="no account alice@localhost") as refused:
        user.read(host(None))
    assert "create it" in refused.value.hint
    assert user.stub().read(host(None)) is None


@pytest.mark.parametrize(
    ("user", "age", "words"),
    [
        (alice(password_expires="90d"), 91, "agent secret rotate alice@localhost"),
        (alice(SecretRef("file", "/x"), password_expires="90d"), 91, "a new one where the spec takes it from"),
        (alice(None, keeps_password=True, password_expires="90d"), 91, "a new one by hand"),
        (alice(password_expires="90d"), 89, ""),
        (alice(password_expires="never"), 9999, ""),
        (alice(), 9999, ""),
    ],
)
def test_a_password_that_became_too_old_is_said_and_no_difference(user: DatabaseUser, age: int, words: str) -> None:
    now = 2_000_000_000
    there = host(account(password_expires=user.password_expires, password_changed=now - age * 86400), right=True)
    there.clock = SimpleNamespace(before=lambda moment: now < moment)

    assert "".join(user.notes(there)).rpartition(": ")[2] == words
    assert not [each for each in differences(user.desired(), user.read(there)) if each.field != "password_right"]


@pytest.mark.parametrize(
    ("user", "mariadb", "plugin"),
    [
        (alice(plugin="ed25519"), False, "ed25519"),
        (alice(plugin="mysql_native_password"), False, "mysql_native_password"),
        (alice(plugin="caching_sha2_password"), True, "caching_sha2_password"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_plugin_that_the_server_has_not_is_told_before_anything_changes(
    user: DatabaseUser, mariadb: bool, plugin: str, there: bool
) -> None:
    with pytest.raises(HostError, match=f"no plugin {plugin}") as refused:
        user.read(host(account() if there else None, mariadb=mariadb))
    assert "leave out 'plugin'" in refused.value.hint


def test_a_rotation_lets_both_passwords_in() -> None:
    new = SecretRef("stored", "mysql-alice.next")

    assert alice(plugin="ed25519").overlap(new, mariadb=True) == Sql(
        SOCKET,
        "ALTER USER %s@%s IDENTIFIED VIA ed25519 USING %s OR ed25519 USING %s",
        (*WHO, PasswordHash(new, "ed25519"), PasswordHash(REF, "ed25519")),
    )
    assert alice().overlap(new, mariadb=False) == Sql(
        SOCKET,
        "ALTER USER %s@%s IDENTIFIED WITH caching_sha2_password AS %s RETAIN CURRENT PASSWORD",
        (*WHO, PasswordHash(new)),
    )


@pytest.mark.parametrize(("kept", "wrong"), [(b"", False), (b"alice", False), (b"mallory", True)])
def test_a_socket_that_lets_somebody_else_in_is_a_difference(kept: bytes, wrong: bool) -> None:
    user = alice(password=None)
    found = DatabaseAccount("alice", "localhost", (("unix_socket", kept),), "")

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


@pytest.mark.parametrize(
    "fields",
    [
        {"require": "NONE; DROP DATABASE x"},
        {"plugin": "pam"},
        {"password_expires": "1 DAY"},
        {"max_user_connections": "3; DROP DATABASE x"},
        {"max_user_connections": -1},
        {"max_user_connections": True},
    ],
)
def test_what_becomes_part_of_a_statement_is_one_of_a_few_words_or_a_number(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        alice(**fields)


def test_it_can_be_written_down_and_read_back() -> None:
    for user in (alice(**FULL), alice(plugin="ed25519"), alice(password=None, keeps_password=True)):
        assert from_record(to_record(user)) == user
