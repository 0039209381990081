"""A server elsewhere that is down is asked once; what stands in the way is told with a way out; the agent never locks itself out."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from agent.errors import HostError, TemporaryError
from agent.host import databases
from agent.host.database_address import Address
from agent.host.databases import Databases
from agent.host.looks import Looks
from agent.resource import NotYetReadable
from agent.steps import SecretRef, Sql
from tests.host.test_databases import Library, MySQLError, Secrets

AT = ("file", "/etc/agent/secrets/db")
SERVER = str(Address("admin", AT, host="db.example.org", ca="/ca.pem"))
BEFORE = str(Address("other", AT, host="db.example.org", ca="/ca.pem"))


class Elsewhere(Library):
    """Logs in as whoever is asked for, from anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = 0

    def connect(self, **options: Any) -> Library:
        self.tried += 1
        super().connect(**options)
        session = copy.copy(self)
        who = f"{options['user']}@%".encode()
        session.answers = {**self.answers, "SELECT CURRENT_USER()": (("who",), ((who,),))}
        return session


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    library = Elsewhere()
    library.answers["SELECT x"] = (("x",), ((b"1",),))
    monkeypatch.setattr(databases, "_library", lambda: library)
    return library


@pytest.fixture
def servers(library: Elsewhere) -> Databases:
    known: Any = Secrets({SecretRef(*AT): "word"})
    return Databases(Looks(), known)


def test_the_password_comes_from_where_the_address_says(servers: Databases, library: Elsewhere) -> None:
    assert servers.rows(SERVER, "SELECT x") == (("1",),)
    assert (library.options[0]["user"], library.options[0]["passwd"]) == ("admin", "word")


def test_without_the_password_nobody_tries(library: Elsewhere) -> None:
    nothing: Any = Secrets({})
    with pytest.raises(HostError, match="administrator's password, file:/etc/agent/secrets/db, does not exist"):
        Databases(Looks(), nothing).rows(SERVER, "SELECT x")
    assert not library.options


def test_a_server_that_is_down_is_tried_once_for_many_resources(servers: Databases, library: Elsewhere) -> None:
    library.refuse = MySQLError(2002, "Can't connect to server")
    for _ in range(5):
        servers.forget()
        with pytest.raises(NotYetReadable, match=r"db\.example\.org:3306: 2002"):
            servers.rows(SERVER, "SELECT x")
    with pytest.raises(TemporaryError, match="2002"):
        servers.perform(Sql(SERVER, "DO 1"))
    assert library.tried == 1


@pytest.mark.parametrize(
    ("code", "words", "way_out"),
    [
        (1045, "Access denied for user 'admin'@'here'", "file:/etc/agent/secrets/db holds the password of admin"),
        (1227, "Access denied; you need (at least one of) the SUPER privilege(s)", "admin lacks a privilege"),
        (2026, "TLS/SSL error: SSL is required, but the server does not support it", "have the server offer TLS"),
        (2026, "SSL is required but the server doesn't support it", "have the server offer TLS"),
        (2026, "TLS/SSL error: self-signed certificate in certificate chain", "from no authority in /ca.pem"),
        (2026, "TLS/SSL error: Validation of SSL server certificate failed", "is not for db.example.org"),
        (2026, "TLS/SSL error: Hostname verification failed", "is not for db.example.org"),
        (2026, "TLS/SSL error: No such file or directory (2)", "/ca.pem must hold the certificates"),
        (
            2003,
            "Can't connect ([SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate)",
            "from no authority in /ca.pem",
        ),
    ],
)
def test_what_stands_in_the_way_is_told_with_a_way_out(
    servers: Databases, library: Elsewhere, code: int, words: str, way_out: str
) -> None:
    library.refuse = MySQLError(code, words)
    with pytest.raises(HostError) as caught:
        servers.rows(SERVER, "SELECT x")
    assert way_out in caught.value.hint
    assert "secret=" not in str(caught.value)


@pytest.mark.parametrize("who", [("admin", "%"), ("role", "admin", "%")])
def test_the_account_that_the_agent_is_logged_in_as_is_never_changed(
    servers: Databases, library: Elsewhere, who: tuple[str, ...]
) -> None:
    with pytest.raises(HostError, match="admin@% is the account that the agent logs in as"):
        servers.perform(Sql(SERVER, "DROP USER %s@%s", who))
    servers.perform(Sql(SERVER, "DROP USER %s@%s", ("admin", "10.0.0.1")))
    assert library.said[-1] == "DROP USER 'admin'@'10.0.0.1'"


def test_nor_is_it_by_who_was_the_administrator_before(servers: Databases) -> None:
    servers.rows(SERVER, "SELECT x")
    with pytest.raises(HostError, match="admin@% is the account that the agent logs in as"):
        servers.perform(Sql(BEFORE, "DROP USER %s@%s", ("admin", "%")))


def test_a_statement_may_take_longer_than_a_query(servers: Databases, library: Elsewhere) -> None:
    servers.rows(SERVER, "SELECT x")
    servers.perform(Sql(SERVER, "DO 1"))
    reading, changing = (options["read_timeout"] for options in library.options)
    assert reading < 10 <= changing
