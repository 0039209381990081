"""A database server that is down, keeps its root out or has no room on its disk: what stands on it fails and says why, all else is applied, and the next
apply makes up for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.system.database_hosts import SERVERS, SOCKET
from tests.system.governed_databases import GovernedServer, Snapshot, external, governed_server, unlike

BESIDE = """
files:
  /etc/beside: {content: "VERSION\\n"}
"""
SPEC = external("""
databases: [analysis]
users:
  alice: {grants: {analysis: [SELECT]}}
""")
MORE = external("""
databases: {analysis: , archive: {charset: latin1}}
users:
  alice: {grants: {analysis: [SELECT, INSERT]}}
  bob: {grants: {archive: [ALL]}}
""")


@pytest.fixture(scope="module", params=SERVERS)
def governed(request: pytest.FixtureRequest) -> Iterator[GovernedServer]:
    with governed_server(request.param) as host:
        yield host


@pytest.fixture
def host(governed: GovernedServer) -> GovernedServer:
    """As the lesser spec wants it."""
    governed.write_spec(SPEC + BESIDE.replace("VERSION", "one"))
    governed.apply()
    governed.sql("DROP DATABASE IF EXISTS archive")
    return governed


def assert_unchanged(before: Snapshot, host: GovernedServer) -> None:
    """But for what a restart of the server forgets."""
    after = host.snapshot()
    assert unlike(before.accounts, after.accounts) == []
    assert unlike(before.databases, after.databases) == []


def test_while_the_server_is_down_all_else_is_applied(host: GovernedServer) -> None:
    before = host.snapshot()
    host.run(f"systemctl stop {host.unit}")
    host.write_spec(MORE + BESIDE.replace("VERSION", "two"))

    outcomes = {each["ref"]: each for each in host.apply(status=3)["outcomes"]}

    assert host.run("cat /etc/beside") == "two\n"
    assert outcomes["server:external"]["result"] == "failed"
    assert f"{SOCKET}: 200" in outcomes["server:external"]["message"]
    on_it = {
        ref: each["result"] for ref, each in outcomes.items() if not ref.startswith(("file:", "secret:", "server:"))
    }
    assert set(on_it.values()) == {"skipped"}, on_it
    assert {each["result"] for ref, each in outcomes.items() if ref.startswith(("file:", "secret:"))} <= {
        "changed",
        "unchanged",
    }
    assert "server:external" in host.agent("status", status=2)

    host.run(f"systemctl start {host.unit}")
    assert_unchanged(before, host)
    host.apply()
    assert "archive" in host.snapshot().databases
    assert "No changes. " in host.agent("apply")


@contextlib.contextmanager
def root_kept_out(host: GovernedServer) -> Iterator[None]:
    """Root has a password, and is no longer let in by the socket."""
    way_in = "auth_socket" if host.mysql else "unix_socket"
    plugin = "WITH caching_sha2_password" if host.mysql else ""
    host.sql(f"ALTER USER root@localhost IDENTIFIED {plugin} BY 'Kept-0ut'")
    try:
        yield
    finally:
        host.ask(user="root", password="Kept-0ut", statements=[f"ALTER USER root@localhost IDENTIFIED WITH {way_in}"])


def test_a_root_that_is_not_let_in_is_told_the_way_out(host: GovernedServer) -> None:
    host.write_spec(MORE + BESIDE.replace("VERSION", "three"))
    with root_kept_out(host):
        planned = host.machine.run(["agent", "plan"], check=False)
        outcomes = {each["ref"]: each for each in host.apply(status=3)["outcomes"]}
    refused = outcomes["server:external"]
    assert f"{SOCKET}: 1045: Access denied for user 'root'@'localhost'" in refused["message"]
    assert "socket" in refused["hint"]
    assert "IDENTIFIED" in refused["hint"]
    assert "1045" in planned.stdout
    assert host.run("cat /etc/beside") == "three\n"
    host.apply()
    assert "No changes. " in host.agent("apply")


@contextlib.contextmanager
def no_room(host: GovernedServer, directory: str, more: int) -> Iterator[None]:
    """The directory lies on a file system of its own, which is full; ``more`` is how many MiB it could hold beside what is there."""
    away = f"systemctl stop {host.unit}" if "mysql" in directory else "true"
    back = f"systemctl start {host.unit}" if "mysql" in directory else "true"
    host.run(
        f"{away}; mkdir -p /mnt/small; mount -t tmpfs -o size=$(($(du -sm {directory} | cut -f1) + {more}))m small /mnt/small;"
        f"chmod --reference={directory} /mnt/small; chown --reference={directory} /mnt/small; cp -a {directory}/. /mnt/small;"
        f"mount --bind /mnt/small {directory}; {back}; cat /dev/zero >{directory}/ballast || true"
    )
    try:
        yield
    finally:
        host.run(f"rm -f {directory}/ballast; {away}; cp -a {directory}/. /run/kept; umount {directory}; cp -a /run/kept/. {directory};"
                 f"rm -r /run/kept; umount /mnt/small; {back}")  # fmt: skip


def test_a_server_without_room_is_changed_in_nothing_and_the_message_names_the_disk(host: GovernedServer) -> None:
    before = host.snapshot()
    host.write_spec(MORE + BESIDE.replace("VERSION", "four"))
    with no_room(host, "/var/lib/mysql", 64):
        outcomes = {each["ref"]: each for each in host.apply(status=3)["outcomes"]}
        bad = {ref: each["message"] for ref, each in outcomes.items() if each["result"] == "failed"}
        assert bad, outcomes
        assert all(
            "the disk with the server's data, /var/lib/mysql/, is full" in message for message in bad.values()
        ), bad
        assert_unchanged(before, host)
        assert host.run("cat /etc/beside") == "four\n"
        host.run("rm /var/lib/mysql/ballast")
        host.apply()
        assert "No changes. " in host.agent("apply")


def test_an_agent_without_room_for_its_ledger_changes_nothing_that_it_could_not_write_down(
    host: GovernedServer,
) -> None:
    before = host.snapshot()
    host.write_spec(MORE + BESIDE.replace("VERSION", "five"))
    with no_room(host, "/var/lib/agent", 1):
        done = host.machine.run(["agent", "apply", "--yes"], check=False)
        assert done.status in (1, 3)
        said = done.stdout + done.stderr
        assert "No space left on device" in said
        assert "/var/lib/agent" in said
        assert "Traceback" not in said
        found = host.snapshot()
        assert "bob@localhost" not in found.accounts
        assert found.held_by("alice@localhost") >= before.held_by("alice@localhost")
        host.run("rm /var/lib/agent/ballast")
        host.apply()
        assert "No changes. " in host.agent("apply")
