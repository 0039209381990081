"""A server of others is looked at and never changed; what the agent may not do there is said before anything is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.errors import HostError
from agent.host import database_rights
from agent.kinds.external_server import ExternalServer
from agent.plan import compare
from agent.resource import Action, Change
from agent.steps import Remember, Sql

ADDRESS = "mysql://admin@db:3306?ca=/ca.pem&secret=file:/s"
SERVER = ExternalServer("db:3306", ADDRESS, (("SELECT", "mysql", False), ("CREATE USER", "*", False)))


def host(*grants: str) -> Any:
    answers = {database_rights.OWN_GRANTS: tuple((line,) for line in grants), database_rights.KNOWN: ()}
    databases = SimpleNamespace(rows=lambda _server, asked: answers[asked], own_account=lambda _server: ("admin", "%"))
    return SimpleNamespace(databases=databases, memory=SimpleNamespace(below=lambda _: []))


def test_a_server_that_lets_the_agent_do_its_work_is_as_wanted() -> None:
    found = SERVER.read(host("GRANT SELECT, CREATE USER ON *.* TO `admin`@`%`"))

    assert compare(SERVER, found) is None


def test_what_is_lacking_is_named_with_whom_to_ask() -> None:
    with pytest.raises(HostError, match=r"db:3306: admin@%, .* lacks CREATE USER ON \*\.\*$") as caught:
        SERVER.read(host("GRANT SELECT ON *.* TO `admin`@`%`"))
    assert "TO 'admin'@'%'" in caught.value.hint


@pytest.mark.parametrize("action", [each for each in Action if each is not Action.UPDATE])
def test_nothing_is_done_to_it(action: Action) -> None:
    assert not list(SERVER.steps(Change(SERVER, action)))


def test_but_what_the_agent_wrote_it_is_made_to_read() -> None:
    on = host("GRANT SELECT, CREATE USER ON *.* TO `admin`@`%`")
    on.memory.below = lambda prefix: [f"{prefix}alice@%"]
    change = compare(SERVER, SERVER.read(on))

    assert change is not None
    assert list(SERVER.steps(change)) == [Sql(SERVER.server, "FLUSH PRIVILEGES"), Remember("flush.alice@%", None)]
