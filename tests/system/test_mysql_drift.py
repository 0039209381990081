"""What people change by hand on a database server is seen as drift, and put right exactly: 200 seeded changes on each server."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.system.database_hosts import SERVERS
from tests.system.database_mutations import Mutations
from tests.system.governed_databases import GovernedServer, external, governed_server, unlike

SEED = int(os.environ.get("AGENT_TEST_SEED", "4"))
COUNT, BATCH = 200, 20
BEFORE = (
    "CREATE DATABASE shop_db CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    "CREATE TABLE shop_db.orders (id INT, price INT, note TEXT)",
    "CREATE TABLE shop_db.goods (id INT)",
    "CREATE PROCEDURE shop_db.total() SELECT 1",
    "CREATE DATABASE other",
    "CREATE DATABASE shopXdb",
    "CREATE TABLE other.t (x INT)",
)
SPEC = external("""
databases:
  analysis:
  shop_db:
  old_one: {charset: latin1}
roles:
  reader: {grants: {analysis: [SELECT, SHOW VIEW], shop_db: SELECT}}
  keeper: {grants: {analysis: ALL}, roles: [reader]}
users:
  alice:
    grants: {analysis: [ALL]}
    limits: {max_user_connections: 7, max_queries_per_hour: 1000}
    roles: [{name: reader, admin: true}]
  bob:
    grants:
      analysis: [SELECT, INSERT, UPDATE, DELETE]
      shop_db: [SELECT, SHOW VIEW, LOCK TABLES, EXECUTE, GRANT OPTION]
      shop_db.orders: [UPDATE, 'SELECT (id, note)']
    roles: [reader, keeper]
    default_role: keeper
  carol@10.0.0.%:
    password_expires: 90d
    grants:
      shop_db.orders: [SELECT, UPDATE (price), INSERT]
      shop_db.goods: [ALL]
      procedure shop_db.total: EXECUTE
  dave:
    plugin: socket
    grants: {'*': [PROCESS, SHOW DATABASES]}
  erin@%.example.org:
    require_ssl: false
    locked: true
    grants: {old_one: [ALL], analysis: SELECT}
  frank@10.1.0.0/255.255.0.0:
    require_ssl: x509
    password_expires: never
    grants: {shop_db: [CREATE TEMPORARY TABLES, CREATE ROUTINE, EVENT, TRIGGER]}
""")
USERS = (
    "alice@localhost",
    "bob@localhost",
    "carol@10.0.0.%",
    "dave@localhost",
    "erin@%.example.org",
    "frank@10.1.0.0/255.255.0.0",
)
ROLES = ("reader", "keeper")
DATABASES = ("analysis", "shop_db", "old_one")


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[GovernedServer]:
    with governed_server(request.param, *BEFORE, spec=SPEC) as host:
        yield host


def test_two_hundred_changes_by_hand_are_seen_and_put_right(host: GovernedServer) -> None:
    accounts = (*USERS, *(f"{role}@%" if host.mysql else f"role {role}" for role in ROLES))
    mutations = Mutations(random.Random(SEED), USERS, ROLES, DATABASES, mysql=host.mysql)
    before = host.snapshot()
    wanted, known = before.of(accounts, DATABASES), set(before.accounts)
    assert set(accounts) <= known
    done = 0
    while done < COUNT:
        batch = [mutations.one() for _ in range(BATCH)]
        errors = host.attempt(*(statement for one in batch for statement in one))
        told = f"AGENT_TEST_SEED={SEED}, after {done}: " + "".join(f"\n  {one}" for one in batch)
        told += "".join(f"\n  refused: {error}" for error in errors if error)
        done += sum(not error for error in errors)
        changed = host.snapshot().of(accounts, DATABASES)
        assert changed != wanted, told

        verified = host.machine.run(["agent", "verify"], check=False)
        assert verified.status == 2, f"verify exited {verified.status}: {verified.stdout}{verified.stderr}{told}"
        assert verified.stdout.startswith("Drift: "), told
        assert "Changes that the spec asks for" not in verified.stdout, verified.stdout + told
        applied = host.machine.run(["agent", "apply", "--yes"], check=False)
        assert applied.status == 0, f"{applied.stdout}{applied.stderr}{told}"

        after = host.snapshot()
        assert unlike(wanted, after.of(accounts, DATABASES)) == [], told
        assert host.machine.run("agent verify --quiet && agent apply", check=False).stdout.startswith("No changes."), (
            told
        )
        host.attempt(*mutations.farewell(after.accounts.keys() - known))
    users = ("alice", "bob")
    assert host.logins(*users) == {user: f"{user}@localhost" for user in users}
