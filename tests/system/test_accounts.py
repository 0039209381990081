"""Accounts of database servers on real ones: how they log in, their limits, what became of them by hand, and the rotation of their passwords."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from agent.kinds.database_user import DatabaseUser
from agent.kinds.server import Server
from agent.steps import SecretRef
from tests.system.database_hosts import SERVERS, SOCKET, database_host
from tests.system.test_databases import PASSWORD, Databases

ALICE = DatabaseUser("alice@localhost", SOCKET, "alice", password=SecretRef("file", "alice"))
SERVER = Server("database", SOCKET)


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[Databases]:
    with database_host(request.param) as booted:
        found = Databases(booted.machine)
        found.work([SERVER])
        yield found


def logged_in(host: Databases, user: str, *options: str, system: str = "root") -> str:
    """As whom the server's own client is let in; or what it says."""
    words = ["runuser", "-u", system, "--", host.client, "-N", "-u", user, *options, "-e", "SELECT CURRENT_USER()"]
    done = host.machine.run(words, check=False)
    return (done.stdout or done.stderr).strip()


def created(host: Databases, account: str) -> str:
    return host.sql(f"SHOW CREATE USER {account}")


FULL = {
    "require": "X509",
    "password_expires": "30d",
    "locked": True,
    "max_queries_per_hour": 1,
    "max_updates_per_hour": 2,
    "max_connections_per_hour": 3,
    "max_user_connections": 4,
}
SAID = (
    "REQUIRE X509",
    "MAX_QUERIES_PER_HOUR 1 MAX_UPDATES_PER_HOUR 2 MAX_CONNECTIONS_PER_HOUR 3 MAX_USER_CONNECTIONS 4",
    "PASSWORD EXPIRE INTERVAL 30 DAY",
    "ACCOUNT LOCK",
)


def test_every_field_is_made_and_made_again_and_as_usual_once_it_is_left_out(host: Databases) -> None:
    full = dataclasses.replace(ALICE, **FULL)  # type: ignore[arg-type]
    for start in ("DROP USER IF EXISTS alice@localhost", "ALTER USER alice@localhost IDENTIFIED BY 'x'"):
        host.sql(start)
        done = host.work([full])
        assert (done["second"], done["alike"]) == (["unchanged"], True)
        assert all(words in created(host, "alice@localhost") for words in SAID)

    done = host.work([ALICE], logins=[("alice", PASSWORD)])
    assert done["first"] == [f"update {' '.join(FULL)}"]
    assert (done["second"], done["logins"]) == (["unchanged"], ["alice@localhost"])
    assert not any(words in created(host, "alice@localhost") for words in SAID)


DRIFT = {
    "password_expired": "PASSWORD EXPIRE",
    "password_expires": "PASSWORD EXPIRE NEVER",
    "locked": "ACCOUNT LOCK",
    "require": "REQUIRE X509",
    "max_queries_per_hour": "WITH MAX_QUERIES_PER_HOUR 9",
    "max_updates_per_hour": "WITH MAX_UPDATES_PER_HOUR 9",
    "max_connections_per_hour": "WITH MAX_CONNECTIONS_PER_HOUR 9",
    "max_user_connections": "WITH MAX_USER_CONNECTIONS 9",
}


def test_what_was_changed_by_hand_is_seen_alone_and_repaired(host: Databases) -> None:
    host.work([ALICE])
    usual = created(host, "alice@localhost") if not host.mysql else ""
    for field, clause in DRIFT.items():
        host.sql(f"ALTER USER alice@localhost {clause}")
        done = host.work([ALICE], logins=[("alice", PASSWORD)])

        assert (done["first"], done["second"]) == ([f"update {field}"], ["unchanged"]), clause
        assert done["logins"] == ["alice@localhost"], clause
        assert host.mysql or created(host, "alice@localhost") == usual


def test_a_locked_account_is_not_let_in(host: Databases) -> None:
    host.work([dataclasses.replace(ALICE, locked=True)])
    assert "locked" in logged_in(host, "alice", f"--password={PASSWORD}")
    host.work([ALICE])
    assert logged_in(host, "alice", f"--password={PASSWORD}") == "alice@localhost"


def test_an_account_of_the_socket_is_for_the_system_s_account_alone(host: Databases) -> None:
    host.machine.run("id sock 2>/dev/null || useradd sock; id other 2>/dev/null || useradd other")
    sock = DatabaseUser("sock@localhost", SOCKET, "sock")
    for start in ("DROP USER IF EXISTS sock@localhost", "ALTER USER sock@localhost IDENTIFIED BY 'x'"):
        host.sql(start)
        assert host.work([sock])["second"] == ["unchanged"]
        assert logged_in(host, "sock", system="sock") == "sock@localhost"
        assert "denied" in logged_in(host, "sock", system="other")


def test_an_account_with_ed25519(host: Databases) -> None:
    ed = dataclasses.replace(ALICE, name="ed@localhost", user="ed", plugin="ed25519")
    if host.mysql:
        told = host.work([Server("s", SOCKET, ed25519=True), ed])["first"]
        assert told == ["unchanged", f"HostError: {SOCKET}: ed@localhost: the server has no plugin ed25519"]
        return
    loading = dataclasses.replace(SERVER, ed25519=True)
    host.sql("CREATE USER IF NOT EXISTS ed@localhost IDENTIFIED BY 'x'")

    assert host.work([loading, ed])["first"] == ["update ed25519", "update login password_right"]
    assert host.work([loading, ed])["first"] == ["unchanged", "unchanged"]
    assert logged_in(host, "ed", f"--password={PASSWORD}") == "ed@localhost"
    assert "denied" in logged_in(host, "ed", "--password=x")
    host.machine.run(["systemctl", "restart", host.unit])
    host.log_all()
    assert host.work([loading, ed])["first"] == ["unchanged", "unchanged"], "the server loads it by itself"
    host.sql("UNINSTALL SONAME 'auth_ed25519'")
    assert host.work([ed])["first"] == [f"HostError: {SOCKET}: ed@localhost: the server has no plugin ed25519"]
    assert host.work([loading, ed])["first"] == ["update ed25519", "unchanged"]
    assert logged_in(host, "ed", f"--password={PASSWORD}") == "ed@localhost"


@pytest.mark.parametrize("way", ["plugin", "overlap"])
def test_a_second_way_in_is_closed(host: Databases, way: str) -> None:
    host.work([ALICE])
    both = {
        ("plugin", False): "VIA mysql_native_password USING PASSWORD('x') OR unix_socket",
        (
            "overlap",
            False,
        ): "VIA mysql_native_password USING PASSWORD('x') OR mysql_native_password USING PASSWORD('y')",
        ("plugin", True): "WITH auth_socket",
        ("overlap", True): "BY 'y' RETAIN CURRENT PASSWORD",
    }
    host.sql(f"ALTER USER alice@localhost IDENTIFIED {both[way, host.mysql]}")
    done = host.work([ALICE], logins=[("alice", PASSWORD), ("alice", "x"), ("alice", "y")])

    assert done["second"] == ["unchanged"]
    assert done["logins"] == ["alice@localhost", "", ""]
    assert not host.mysql or "additional" not in host.sql("SELECT User_attributes FROM mysql.user WHERE User = 'alice'")


def test_two_hundred_accounts_are_made_and_checked_in_seconds(host: Databases) -> None:
    users = {f"many{number}": f"CANARY{number}" for number in range(200)}
    apply = [DatabaseUser(f"{user}@localhost", SOCKET, user, password=SecretRef("file", user)) for user in users]
    done = host.work(apply, secrets=users, logins=[("many7", "CANARY7")])

    assert (set(done["first"]), set(done["second"])) == ({"create"}, {"unchanged"})
    assert done["logins"] == ["many7@localhost"]
    assert "CANARY" not in host.said()
    host.work(remove=apply)


def test_an_account_that_keeps_its_password_is_looked_after_but_for_that(host: Databases) -> None:
    kept = DatabaseUser("kept@localhost", SOCKET, "kept", keeps_password=True, max_user_connections=5)
    missing = host.work([kept])["first"]
    assert missing == [f"HostError: {SOCKET}: there is no account kept@localhost, and 'password: keep' makes none"]

    host.sql("CREATE USER kept@localhost IDENTIFIED BY 'its own'")
    done = host.work([kept], logins=[("kept", "its own")])
    assert (done["first"], done["second"]) == (["update max_user_connections"], ["unchanged"])
    host.sql("ALTER USER kept@localhost IDENTIFIED BY 'another'")
    assert host.work([kept], logins=[("kept", "another")])["first"] == ["unchanged"]
