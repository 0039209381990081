"""What a rotation touches, and what it does when something is in the way: on a host that is a table."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import AgentError
from agent.kinds.database_user import DatabaseUser
from agent.kinds.directory import Directory
from agent.kinds.file import File
from agent.kinds.health import Health
from agent.kinds.password_hash import PasswordHash
from agent.kinds.secret import Secret
from agent.kinds.unit import Unit
from agent.plan import by_ref
from agent.resource import Ref
from agent.rotation import dependants, rotatable
from agent.steps import Content, Probe, SecretRef, Slot

SOCKET = "/run/mysqld/mysqld.sock"
OWN = SecretRef("stored", "mysql.a")
FAR = SecretRef("stored", "mysql.a-40-25")
JUPYTER = SecretRef("stored", "jupyter.password")
HASH = SecretRef("stored", "jupyter.password.hash")
GIVEN = SecretRef("file", "/etc/agent/secrets/given")
PROBE = Probe("127.0.0.1", 8888, "/", "/cert.pem", SecretRef("stored", "jupyter.token"), "jupyter.service")


def holding(path: str, *secrets: SecretRef) -> File:
    return File(path, Content(("x", *(Slot(secret) for secret in secrets))))


RESOURCES = by_ref(
    [
        Secret("mysql.a", OWN),
        Secret("mysql.a-40-25", FAR),
        Secret("mysql.given", GIVEN),
        Secret("jupyter.password", JUPYTER),
        DatabaseUser("a@localhost", SOCKET, "a", password=OWN),
        DatabaseUser("a@%", SOCKET, "a", "%", password=FAR),
        DatabaseUser("given@localhost", SOCKET, "given", password=GIVEN),
        DatabaseUser("sock@localhost", SOCKET, "sock"),
        holding("/home/nb/.my.cnf", OWN),
        holding("/etc/other"),
        Directory("/home/nb", 0o700),
        PasswordHash(HASH.at, JUPYTER, Ref("secret", "jupyter.password")),
        holding("/etc/jupyter.py", HASH),
        Unit("jupyter.service", active=True, inputs=(Ref("file", "/etc/jupyter.py"), Ref("file", "/etc/other"))),
        Unit("other.service", active=True, inputs=(Ref("file", "/etc/other"),)),
        Health("jupyter", PROBE),
    ]
)


@pytest.mark.parametrize(
    ("secret", "refs"),
    [
        (OWN, ["database_user:a@localhost", "file:/home/nb/.my.cnf"]),
        (FAR, ["database_user:a@%"]),
        (
            JUPYTER,
            ["file:/etc/jupyter.py", "health:jupyter", "password_hash:jupyter.password.hash", "unit:jupyter.service"],
        ),
    ],
)
def test_what_depends_on_a_secret_is_all_that_changes_with_it(secret: SecretRef, refs: list[str]) -> None:
    assert [str(ref) for ref in dependants(secret, RESOURCES).refs] == refs


@pytest.mark.parametrize(
    ("name", "secret"),
    [("mysql.a", OWN), ("a", OWN), ("a@localhost", OWN), ("a@%", FAR), ("jupyter.password", JUPYTER)],
)
def test_it_is_named_as_in_the_list_or_by_its_account(name: str, secret: SecretRef) -> None:
    assert rotatable(name, RESOURCES).at == secret


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("given", "not the agent's to rotate: it comes from file:/etc/agent/secrets/given", "write the new one to"),
        ("mysql.given", "not the agent's to rotate", "sudo agent apply"),
        ("sock", "sock@localhost has no password that the agent knows", ""),
        ("root", "nothing in the spec has a secret called root", "agent secret list"),
        ("no such name", "nothing in the spec has a secret called no such name", "agent secret list"),
    ],
)
def test_what_the_agent_did_not_make_up_is_told_with_the_way_out(name: str, message: str, hint: str) -> None:
    with pytest.raises(AgentError, match=message) as refused:
        rotatable(name, RESOURCES)
    assert hint in refused.value.hint


def test_a_secret_of_another_source_with_the_same_name_is_another_one() -> None:
    other: Any = SecretRef("file", "mysql.a")
    assert dependants(other, RESOURCES).refs == []
