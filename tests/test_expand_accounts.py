"""What the spec says of an account is what the account becomes, and its option file has no more than it needs."""

from __future__ import annotations

from typing import Any

import pytest

from agent.kinds.database_user import DatabaseUser
from agent.plan import by_ref
from agent.resource import Ref, Resource
from agent.spec.expand import expand
from agent.spec.source import Document, examine
from agent.steps import SecretRef, Slot

SOCKET = "/run/mysqld/mysqld.sock"


def expanded(text: str) -> dict[Ref, Resource]:
    examined = examine([Document("spec.yaml", text.encode())])
    assert examined.spec is not None, examined.problems
    host: Any = None
    return by_ref(expand(examined.spec, host, {}))


def account(text: str, name: str = "a@localhost") -> Any:
    spec = f"mysql: {{server: external, socket: {SOCKET}, users: {{{text}}}}}"
    return expanded(spec)[Ref("database_user", name)]


OWN = SecretRef("stored", "mysql.a")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {"password": OWN}),
        ("plugin: ed25519", {"password": OWN, "plugin": "ed25519"}),
        ("plugin: socket", {}),
        ("plugin: auth_socket", {}),
        ("plugin: unix_socket", {}),
        ("password: keep", {"keeps_password": True}),
        ("password: {keep: true}, locked: true", {"keeps_password": True, "locked": True}),
        ("password: {credential: x}", {"password": SecretRef("credential", "x")}),
        ("require_ssl: yes", {"password": OWN, "require": "SSL"}),
        ("require_ssl: X509", {"password": OWN, "require": "X509"}),
        ("limits: {max_user_connections: 3}", {"password": OWN, "max_user_connections": 3}),
        ("password_expires: never", {"password": OWN, "password_expires": "never"}),
        ("password_expires: 12w", {"password": OWN, "password_expires": "84d"}),
        ("password_expires: 1y", {"password": OWN, "password_expires": "365d"}),
    ],
)
def test_each_field_is_the_account_s(text: str, fields: dict[str, Any]) -> None:
    found = account(f"a: {{{text}}}")
    after = (Ref("server", "external"), *([Ref("secret", "mysql.a")] if found.password else []))
    assert found == DatabaseUser("a@localhost", SOCKET, "a", after=after, **fields)


@pytest.mark.parametrize(
    ("text", "name", "require"),
    [
        ("a@%: ", "a@%", "SSL"),
        ("a@%: {require_ssl: no}", "a@%", ""),
        ("a@%: {require_ssl: x509}", "a@%", "X509"),
        ("a@127.0.0.1: ", "a@127.0.0.1", ""),
    ],
)
def test_those_that_come_from_elsewhere_need_tls_unless_told_otherwise(text: str, name: str, require: str) -> None:
    assert account(text, name).require == require


def test_an_account_without_a_password_of_the_agent_s_has_no_secret() -> None:
    spec = f"mysql: {{server: external, socket: {SOCKET}, users: {{a: {{password: keep}}, b: {{plugin: socket}}}}}}"
    assert not [ref for ref in expanded(spec) if ref.kind == "secret"]


@pytest.mark.parametrize(("plugin", "loads"), [("", False), ("plugin: ed25519", True)])
def test_the_server_loads_ed25519_where_an_account_wants_it(plugin: str, loads: bool) -> None:
    spec = f"mysql: {{server: external, socket: {SOCKET}, users: {{a: {{{plugin}}}}}}}"
    server: Any = expanded(spec)[Ref("server", "external")]
    assert server.ed25519 is loads


CLIENT = "user: {{name: nb}}\nmysql: {{server: external, socket: /s, users: {{{users}}}}}"


@pytest.mark.parametrize(
    ("users", "secret"),
    [
        ("nb: {plugin: socket}", None),
        ("nb: {password: keep}, a: {}", "mysql.a"),
        ("a: {plugin: socket}, b: {}", "mysql.b"),
    ],
)
def test_the_option_file_is_for_an_account_that_lets_its_owner_in(users: str, secret: str | None) -> None:
    file: Any = expanded(CLIENT.format(users=users))[Ref("file", "/home/nb/.my.cnf")]
    assert {piece.secret.at for piece in file.content.pieces if isinstance(piece, Slot)} == (
        {secret} if secret else set()
    )
    text = "".join(piece for piece in file.content.pieces if isinstance(piece, str))
    assert ("password =" in text) is bool(secret)


def test_there_is_no_option_file_where_no_account_lets_its_owner_in() -> None:
    found = expanded(CLIENT.format(users="a: {password: keep}, b: {plugin: socket}"))
    assert Ref("file", "/home/nb/.my.cnf") not in found
