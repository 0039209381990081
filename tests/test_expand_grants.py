"""What `grants`, `roles` and `default_role` of the mysql section stand for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.host.database_privileges import ALL, GRANT_OPTION
from agent.kinds.grants import Given, GivenRole, Grants
from agent.kinds.server import Server
from agent.resource import Ref, Resource
from agent.spec.expand_mysql import expand_mysql
from agent.spec.expand_mysql_grants import expand_role, user_grants
from agent.spec.sections.mysql_grants import target_of
from agent.spec.source import Document, examine

SERVER = Server("mysql", "/run/mysqld/mysqld.sock")
WHOLE = """\
mysql:
  server: mysql
  databases: [analysis]
  roles:
    reader: {grants: {analysis: [select, show view]}}
    lead: {roles: {name: reader, admin: yes}, grants: {analysis.results: 'SELECT, INSERT ( id , Name )'}}
  users:
    ann:
      grants:
        '*': [process, backup_admin, REPLICA MONITOR]
        analysis: [all privileges, grant option]
        procedure analysis.Refresh: execute
        FUNCTION  analysis.area: [EXECUTE]
      roles: [lead, reader]
    ben: {roles: reader, default_role: none}
    cat@%: {roles: [lead, reader], default_role: lead}
    dan: {grants: {'*': [ALL]}}
    eve:
"""


def mysql(text: str) -> Any:
    examined = examine([Document("s.yaml", text.encode())])
    assert examined.problems == () and examined.spec and examined.spec.mysql
    return examined.spec.mysql


def grants(account: str, text: str = WHOLE) -> Grants:
    return user_grants(account, mysql(text).users[account], SERVER)


@pytest.mark.parametrize(
    ("text", "level", "database", "name"),
    [
        ("*", "global", "", ""),
        ("*.*", "global", "", ""),
        ("a", "database", "a", ""),
        ("a.*", "database", "a", ""),
        ("a.t", "table", "a", "t"),
        ("procedure a.p", "procedure", "a", "p"),
        ("Function   a.p", "function", "a", "p"),
        ("procedure", "database", "procedure", ""),
    ],
)
def test_a_target_is_what_its_text_says(text: str, level: str, database: str, name: str) -> None:
    assert target_of(text) == (level, database, name)


def test_rights_have_one_spelling() -> None:
    text = WHOLE.replace("REPLICA MONITOR", "super")
    assert grants("ann@localhost", text).given == (
        Given("global", privileges=("BACKUP_ADMIN", "PROCESS", "SUPER")),
        Given("database", "analysis", privileges=(ALL, GRANT_OPTION)),
        Given("procedure", "analysis", "refresh", ("EXECUTE",)),
        Given("function", "analysis", "area", ("EXECUTE",)),
    )
    assert grants("dan@localhost", text).given == (Given("global", privileges=(ALL,)),)


def test_a_privilege_of_the_other_server_is_found_by_any_of_its_names() -> None:
    (problem,) = examine([Document("s.yaml", WHOLE.encode())]).problems
    assert "is SLAVE MONITOR, which is MariaDB's" in problem.message


def test_who_has_nothing_is_looked_at_as_well() -> None:
    nothing = grants("eve@localhost", WHOLE.replace(", REPLICA MONITOR", ""))

    assert nothing.desired() is None
    assert Ref("database_user", "eve@localhost") in nothing.needs()


def test_default_roles_are_all_unless_said() -> None:
    text = WHOLE.replace(", REPLICA MONITOR", "")

    assert grants("ann@localhost", text).default_roles == ("ALL",)
    assert grants("ben@localhost", text).default_roles == ()
    assert grants("cat@%", text).default_roles == ("lead",)
    assert grants("eve@localhost", text).default_roles == ()


def test_a_role_is_made_before_its_rights_and_these_before_those_who_have_it() -> None:
    section = mysql(WHOLE.replace(", REPLICA MONITOR", ""))
    made: list[Resource] = [each for name, role in section.roles.items() for each in expand_role(name, role, SERVER)]

    assert [str(each.ref) for each in made] == [
        "database_role:reader",
        "grants:reader",
        "database_role:lead",
        "grants:lead",
    ]
    lead = made[3]
    assert isinstance(lead, Grants)
    assert lead.given == (Given("table", "analysis", "results", ("SELECT",), (("INSERT", "Name"), ("INSERT", "id"))),)
    assert lead.roles == (GivenRole("reader", admin=True),)
    assert set(lead.needs()) >= {Ref("database_role", "lead"), Ref("database_role", "reader"), Ref("grants", "reader")}
    ann = grants("ann@localhost", WHOLE.replace(", REPLICA MONITOR", ""))
    assert set(ann.needs()) >= {Ref("grants", "lead"), Ref("grants", "reader"), Ref("database", "analysis")}


@pytest.mark.parametrize(("server", "there"), [("mariadb", True), ("mysql", False), ("external, socket: /s", False)])
def test_what_everybody_may_do_is_looked_at_on_a_mariadb_of_our_own(server: str, there: bool) -> None:
    examined = examine([Document("s.yaml", f"mysql: {{server: {server}}}".encode())])
    host: Any = SimpleNamespace(databases=None)
    assert examined.spec
    refs = {each.ref for each in expand_mysql(examined.spec, host)}

    assert (Ref("grants", "PUBLIC") in refs) is there
