"""An account has exactly the rights of the spec, wherever they are, and never less than both the old and the new ones on the way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.errors import HostError
from agent.host.database_grants import EVERYTHING, Granted, Role, ServerGrants, Target
from agent.host.database_privileges import ALL, GRANT_OPTION, KNOWN, MARIADB_ONLY, MYSQL_ONLY
from agent.kinds.grants import Given, GivenRole, Grants
from agent.kinds.sql_names import pattern
from agent.records import from_record, to_record
from agent.resource import Action, Change, Ref, differences
from agent.steps import Sql

SOCKET = "/run/mysqld/mysqld.sock"
WHO = ("alice", "localhost")
ESCAPED, BARE, TABLE = Target("database", "stu\\_db"), Target("database", "stu_db"), Target("table", "stu_db", "t")
ON_DATABASE = KNOWN["database"]


def alice(*given: Given, **more: Any) -> Grants:
    return Grants("alice@localhost", SOCKET, *WHO, given, **more)


def on_database(*privileges: str, database: str = "stu_db") -> Given:
    return Given("database", database, privileges=privileges)


def on_table(*privileges: str, columns: tuple[tuple[str, str], ...] = ()) -> Given:
    return Given("table", "stu_db", "t", privileges, columns)


def everywhere(*privileges: str) -> Given:
    return Given("global", privileges=privileges)


def host(
    rights: dict[Target, set[str]] | None = None,
    *,
    mariadb: bool = True,
    literal: bool = False,
    role: bool = False,
    **more: Any,
) -> Any:
    """``rights`` are those of alice, or of the role reader."""
    held = Granted({target: frozenset(names) for target, names in (rights or {}).items()}, **more)
    key = ("reader", "" if mariadb else "%") if role else WHO
    others = frozenset(MYSQL_ONLY if mariadb else MARIADB_ONLY)
    known = {level: names - others for level, names in KNOWN.items()}
    server = ServerGrants(mariadb, {key: held}, known, literal, frozenset())
    return SimpleNamespace(databases=SimpleNamespace(granted=lambda _: server))


def steps(wanted: Grants, on: Any) -> list[Sql]:
    desired, current = wanted.desired(), wanted.read(on)
    if desired is None:
        change = Change(wanted, Action.DELETE, current)
        return [] if current is None else [step for step in wanted.steps(change) if isinstance(step, Sql)]
    if current is None:
        change = Change(wanted, Action.CREATE, None, desired)
    else:
        found = differences(desired, current)
        if not found:
            return []
        change = Change(wanted, Action.UPDATE, current, desired, found)
    return [step for step in wanted.steps(change) if isinstance(step, Sql)]


def statements(wanted: Grants, on: Any) -> list[str]:
    """Without whom they are for, which is checked here."""
    found = steps(wanted, on)
    whom = WHO if wanted.host else (wanted.user,)
    assert all(step.arguments[-len(whom) :] == whom for step in found if " %s" in step.statement)
    ends = (f" {word} {'@'.join(['%s'] * len(whom))}" for word in ("TO", "FROM", "FOR"))
    said = [step.statement for step in found]
    for end in ends:
        said = [each.replace(end, "") for each in said]
    return said


def test_it_is_made_on_the_escaped_name() -> None:
    assert statements(alice(on_database("SELECT", "INSERT")), host()) == ["GRANT INSERT, SELECT ON `stu\\_db`.*"]


def test_what_is_right_is_left_alone() -> None:
    for wanted, held in (
        (alice(on_database("SELECT")), {ESCAPED: {"SELECT"}}),
        (alice(on_database(ALL)), {ESCAPED: set(ON_DATABASE)}),
        (alice(on_database(*ON_DATABASE)), {ESCAPED: set(ON_DATABASE)}),
        (alice(on_table("INSERT", columns=(("SELECT", "Id"),))), {TABLE: {"INSERT", "SELECT (`id`)"}}),
        (alice(everywhere("SUPER", GRANT_OPTION)), {EVERYTHING: {"SUPER", GRANT_OPTION}}),
        (alice(Given("procedure", "d", "Refresh", ("EXECUTE",))), {Target("procedure", "d", "refresh"): {"EXECUTE"}}),
    ):
        assert statements(wanted, host(held)) == []
    assert statements(alice(), host()) == []


def test_everything_that_is_missing_is_granted_before_anything_is_revoked() -> None:
    wanted = alice(on_table("SELECT"), everywhere("PROCESS"), roles=(GivenRole("reader"),))
    held = {ESCAPED: {"SELECT", "DROP"}, Target("database", "elsewhere"): {"SELECT"}, EVERYTHING: {"SUPER"}}

    assert statements(wanted, host(held)) == [
        "GRANT PROCESS ON *.*",
        "GRANT %s",
        "GRANT SELECT ON `stu_db`.`t`",
        "REVOKE SUPER ON *.*",
        "REVOKE SELECT ON `elsewhere`.*",
        "REVOKE DROP, SELECT ON `stu\\_db`.*",
    ]


def test_a_grant_that_somebody_made_on_the_bare_name_opens_other_databases_and_is_revoked() -> None:
    assert statements(alice(on_database("SELECT")), host({BARE: {"SELECT"}})) == [
        "GRANT SELECT ON `stu\\_db`.*",
        "REVOKE SELECT ON `stu_db`.*",
    ]


def test_what_differs_is_said_as_sql() -> None:
    held = {ESCAPED: {"DROP"}, TABLE: {"SELECT (`id`)"}}
    read = alice(on_database("SELECT"), roles=(GivenRole("reader", admin=True),)).read(host(held))

    assert read is not None
    assert sorted(map(str, read.missing)) == ["ADMIN OPTION FOR reader", "ROLE reader", "SELECT ON `stu\\_db`.*"]
    assert sorted(map(str, read.too_much)) == ["DROP ON `stu\\_db`.*", "SELECT (`id`) ON `stu_db`.`t`"]


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (ON_DATABASE - {"SELECT"}, ["GRANT ALL PRIVILEGES ON `stu\\_db`.*"]),
        (ON_DATABASE | {GRANT_OPTION}, ["REVOKE GRANT OPTION ON `stu\\_db`.*"]),
    ],
    ids=["one lost", "option too much"],
)
def test_all_privileges_are_all_that_the_server_knows(held: set[str], said: list[str]) -> None:
    assert statements(alice(on_database(ALL)), host({ESCAPED: held})) == said


def test_all_privileges_where_one_is_wanted_are_revoked_one_by_one_and_elsewhere_at_once() -> None:
    whole = set(ON_DATABASE | {GRANT_OPTION})
    on_it, elsewhere = (
        statements(alice(on_database("SELECT", GRANT_OPTION)), host({ESCAPED: whole})),
        statements(alice(on_table("SELECT")), host({ESCAPED: whole, TABLE: {"SELECT"}})),
    )

    (revoke,) = on_it
    assert set(revoke.removeprefix("REVOKE ").partition(" ON ")[0].split(", ")) == ON_DATABASE - {"SELECT"}
    assert elsewhere == ["REVOKE GRANT OPTION ON `stu\\_db`.*", "REVOKE ALL PRIVILEGES ON `stu\\_db`.*"]


def test_the_option_alone_is_given_without_a_privilege() -> None:
    assert statements(alice(on_database("SELECT", GRANT_OPTION)), host({ESCAPED: {"SELECT"}})) == [
        "GRANT USAGE ON `stu\\_db`.* WITH GRANT OPTION"
    ]


def test_a_privilege_stays_on_columns_while_their_table_loses_it() -> None:
    wanted = alice(on_table("INSERT", columns=(("SELECT", "id"),)))
    said = steps(wanted, host({TABLE: {"SELECT", "INSERT", "DELETE", "UPDATE (`id`)"}}))

    assert [step.statement for step in said] == [
        "GRANT SELECT (`id`) ON `stu_db`.`t` TO %s@%s",
        "REVOKE UPDATE (`id`) ON `stu_db`.`t` FROM %s@%s",
        "REVOKE DELETE ON `stu_db`.`t` FROM %s@%s",
        "UPDATE mysql.tables_priv SET Table_priv = Table_priv & ~CAST(%s AS UNSIGNED)"
        " WHERE User = %s AND Host IN (%s, %s) AND Db = %s AND Table_name = %s",
        "FLUSH PRIVILEGES",
    ]
    assert said[3].arguments == (1, "alice", "localhost", "localhost", "stu_db", "t")


def test_in_mysql_everything_is_never_revoked_in_one_statement() -> None:
    """It would take the grants on databases as well."""
    everything = set(KNOWN["global"] - set(MARIADB_ONLY))
    wanted, held = alice(on_database("SELECT")), {ESCAPED: {"SELECT"}, EVERYTHING: {*everything, GRANT_OPTION}}
    said = statements(wanted, host(held, mariadb=False))

    assert said[0] == "REVOKE GRANT OPTION ON *.*"
    revoked = [set(each.removeprefix("REVOKE ").partition(" ON ")[0].split(", ")) for each in said if "REVOKE" in each][
        1:
    ]
    assert set.union(*revoked) == everything
    assert all(len(each) < 2 / 3 * len(everything) for each in revoked)
    assert said.count("DO 0") == 2
    assert {step.on_mysql for step in steps(wanted, host(held, mariadb=False)) if step.statement == "DO 0"} == {
        "FLUSH PRIVILEGES"
    }
    assert statements(wanted, host({**held, EVERYTHING: set(KNOWN["global"] - set(MYSQL_ONLY))})) == [
        "REVOKE ALL PRIVILEGES ON *.*"
    ]


def test_in_mysql_the_option_is_given_for_every_privilege_again() -> None:
    held = {EVERYTHING: {"SELECT", "BACKUP_ADMIN", GRANT_OPTION}}
    wanted = alice(everywhere("SELECT", "BACKUP_ADMIN", GRANT_OPTION))

    assert statements(wanted, host(held, mariadb=False)) == []
    assert statements(wanted, host(held, mariadb=False, passes_all_on=False)) == [
        "GRANT BACKUP_ADMIN, SELECT ON *.* WITH GRANT OPTION"
    ]
    assert statements(alice(everywhere("SELECT", "BACKUP_ADMIN")), host(held, mariadb=False, passes_all_on=False)) == [
        "REVOKE GRANT OPTION ON *.*",
        "DO 0",
    ]


def test_what_was_partly_revoked_is_granted_again() -> None:
    held = host({EVERYTHING: {"SELECT", "DROP"}}, mariadb=False, withheld=frozenset({"SELECT"}))

    assert statements(alice(everywhere("SELECT", "DROP")), held) == ["GRANT SELECT ON *.*"]
    assert statements(alice(everywhere("DROP")), held) == ["REVOKE SELECT ON *.*"]


def test_with_partial_revokes_a_name_is_no_pattern() -> None:
    wanted = alice(on_database("SELECT"))

    assert statements(wanted, host(mariadb=False, literal=True)) == ["GRANT SELECT ON `stu_db`.*"]
    assert statements(wanted, host({BARE: {"SELECT"}}, mariadb=False, literal=True)) == []
    assert statements(wanted, host({ESCAPED: {"SELECT"}}, mariadb=False, literal=True)) == [
        "GRANT SELECT ON `stu_db`.*",
        "REVOKE SELECT ON `stu\\_db`.*",
    ]
    removed = wanted.stub()
    assert removed.read(host(mariadb=False, literal=True)) is None


READER, ADMIN = (GivenRole("reader"),), (GivenRole("reader", admin=True),)


def test_roles_are_given_and_taken() -> None:
    held = {Role("reader"): False}

    (given,) = steps(alice(roles=ADMIN), host(roles=held))
    assert (given.statement, given.arguments) == ("GRANT %s TO %s@%s WITH ADMIN OPTION", ("reader", *WHO))
    (taken,) = steps(alice(on_database("SELECT")), host({ESCAPED: {"SELECT"}}, roles=held))
    assert (taken.statement, taken.arguments) == ("REVOKE %s FROM %s@%s", ("reader", *WHO))
    (root,) = steps(
        alice(on_database("SELECT")),
        host({ESCAPED: {"SELECT"}}, mariadb=False, roles={Role("root", "localhost"): False}),
    )
    assert (root.statement, root.arguments) == ("REVOKE %s@%s FROM %s@%s", ("root", "localhost", *WHO))


def test_giving_a_role_away_is_taken_without_taking_the_role() -> None:
    held = {Role("reader"): True}
    (on_mariadb,) = steps(alice(roles=READER), host(roles=held))
    on_mysql = steps(alice(roles=READER), host(roles=held, mariadb=False))

    assert on_mariadb.statement == "REVOKE ADMIN OPTION FOR %s FROM %s@%s"
    assert [step.on_mysql or step.statement for step in on_mysql] == [
        "UPDATE mysql.role_edges SET WITH_ADMIN_OPTION = 'N'"
        " WHERE FROM_USER = %s AND FROM_HOST = %s AND TO_USER = %s AND TO_HOST = %s",
        "FLUSH PRIVILEGES",
    ]
    assert on_mysql[0].arguments == ("reader", "%", *WHO)


def test_default_roles_are_set_once_the_account_has_them_and_before_others_go() -> None:
    wanted = alice(roles=READER, default_roles=("ALL",))
    said = steps(wanted, host(roles={Role("old"): False}, default_roles=frozenset({Role("old")})))

    assert [step.statement for step in said] == [
        "GRANT %s TO %s@%s",
        "SET DEFAULT ROLE %s FOR %s@%s",
        "REVOKE %s FROM %s@%s",
    ]
    assert said[1].on_mysql == "SET DEFAULT ROLE %s TO %s@%s"
    (none,) = steps(alice(roles=READER), host(roles={Role("reader"): False}, default_roles=frozenset({Role("reader")})))
    assert (none.statement, none.arguments) == ("SET DEFAULT ROLE NONE FOR %s@%s", WHO)


def test_a_role_has_rights_as_an_account_has() -> None:
    reader = Grants("reader", SOCKET, "reader", given=(on_database("SELECT"),))

    assert statements(reader, host(role=True)) == ["GRANT SELECT ON `stu\\_db`.*"]
    assert steps(reader, host({ESCAPED: {"SELECT", "DROP"}}, role=True, mariadb=False)) == [
        Sql(SOCKET, "REVOKE DROP ON `stu\\_db`.* FROM %s", ("reader",))
    ]
    columns = Grants("reader", SOCKET, "reader", given=(on_table(columns=(("SELECT", "id"),)),))
    update = steps(columns, host({TABLE: {"SELECT", "SELECT (`id`)"}}, role=True))[0]
    assert update.arguments == (1, "reader", "", "%", "stu_db", "t")


def test_somebody_who_shall_have_nothing_loses_everything() -> None:
    held = {EVERYTHING: {"SUPER"}, Target("PROXY", "root", "localhost"): {"PROXY"}}
    said = steps(alice(), host(held, roles={Role("reader"): True}, default_roles=frozenset({Role("reader")})))

    assert [(step.statement, step.arguments) for step in said] == [
        ("SET DEFAULT ROLE NONE FOR %s@%s", WHO),
        ("REVOKE %s FROM %s@%s", ("reader", *WHO)),
        ("REVOKE PROXY ON %s@%s FROM %s@%s", ("root", "localhost", *WHO)),
        ("REVOKE ALL PRIVILEGES, GRANT OPTION FROM %s@%s", WHO),
    ]


@pytest.mark.parametrize(
    ("wanted", "mariadb", "said"),
    [
        (alice(everywhere("BACKUP_ADMIN")), True, "MariaDB server knows no privilege BACKUP_ADMIN on a global"),
        (alice(everywhere("BINLOG ADMIN")), False, "MySQL server knows no privilege BINLOG ADMIN on a global"),
        (alice(on_database("SHOW CREATE ROUTINE")), False, "knows no privilege SHOW CREATE ROUTINE on a database"),
        (alice(roles=(GivenRole("a"), GivenRole("b")), default_roles=("ALL",)), True, "activates one role at login"),
    ],
    ids=["of MySQL", "of MariaDB", "on a database", "roles"],
)
def test_what_the_server_cannot_do_is_an_error_of_the_plan(wanted: Grants, mariadb: bool, said: str) -> None:
    with pytest.raises(HostError, match=said) as caught:
        wanted.read(host(mariadb=mariadb))
    assert caught.value.hint
    assert wanted.read(host(mariadb=not mariadb)) is None


def test_a_name_that_cannot_be_escaped_is_an_error_of_the_plan() -> None:
    name = "a" * 63 + "_"
    with pytest.raises(HostError, match="64 characters") as caught:
        alice(on_database("SELECT", database=name)).read(host())
    assert "tables" in caught.value.hint
    assert statements(alice(Given("table", name, "t", ("SELECT",))), host()) == [f"GRANT SELECT ON `{name}`.`t`"]
    assert statements(alice(on_database("SELECT", database=name)), host(literal=True, mariadb=False))


@pytest.mark.parametrize(
    "given",
    [
        on_database("SELECT; DROP DATABASE x"),
        on_database("select"),
        on_database("SUPER"),
        on_database(),
        on_database("SELECT", database=""),
        on_table("EVENT"),
        on_table(columns=(("DELETE", "id"),)),
        Given("database", "d", privileges=("SELECT",), on_columns=(("SELECT", "id"),)),
        Given("procedure", "d", "p", ("SELECT",)),
        Given("global", "d", privileges=("SELECT",)),
        Given("tables", "d", "t", ("SELECT",)),
    ],
)
def test_a_privilege_is_part_of_a_statement_and_so_one_that_is_known(given: Given) -> None:
    with pytest.raises(ValueError, match="privilege"):
        alice(given)


def test_names_are_quoted_wherever_they_stand() -> None:
    hostile = "a` TO x; -- %s"
    given = Given("table", hostile, hostile, (), (("SELECT", hostile),))
    quoted = "`" + hostile.replace("`", "``").replace("%", "%%") + "`"

    assert statements(alice(given), host()) == [f"GRANT SELECT ({quoted.lower()}) ON {quoted}.{quoted}"]
    held = {Target("table", hostile, hostile): {"DROP"}}
    assert statements(alice(everywhere("PROCESS")), host(held))[1] == f"REVOKE DROP ON {quoted}.{quoted}"


@pytest.mark.parametrize(
    ("name", "escaped"), [("a_b", "a\\_b"), ("50%", "50\\%"), ("a\\b", "a\\\\b"), ("plain-1", "plain-1")]
)
def test_a_pattern_matches_only_the_name_it_was_made_from(name: str, escaped: str) -> None:
    assert pattern(name) == escaped


def test_it_needs_its_account_its_databases_and_its_roles() -> None:
    wanted = alice(on_database("SELECT"), on_table("INSERT"), roles=READER, after=(Ref("grants", "reader"),))

    assert set(wanted.needs()) == {
        Ref("database_user", "alice@localhost"),
        Ref("database", "stu_db"),
        Ref("database_role", "reader"),
        Ref("grants", "reader"),
    }
    assert Ref("database_role", "reader") in Grants("reader", SOCKET, "reader").needs()
    assert wanted.stub().needs() == wanted.needs()


def test_it_can_be_written_down_and_read_back() -> None:
    wanted = alice(
        on_table("INSERT", columns=(("SELECT", "id"),)), everywhere("PROCESS"), roles=ADMIN, default_roles=("reader",)
    )
    again = from_record(to_record(wanted))

    assert again == wanted
    assert isinstance(again, Grants)
    assert statements(again, host()) == statements(wanted, host())
