"""Servers are asked once and together; statements carry their arguments safely; a password stays here, whatever fails."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from agent.errors import HostError, TemporaryError
from agent.host import database_facts as facts
from agent.host import database_room, databases, passwords, sql
from agent.host.databases import Databases
from agent.host.looks import Looks
from agent.resource import NotYetReadable
from agent.steps import PasswordHash, SecretRef, Sql

SOCKET = "/run/mysqld/mysqld.sock"
PASSWORD = "s3cret ' \" \\ %s"
STORED = "*2A1BCA5AC1AE4BA8B8E7B0C0ABF7FDDE0E5BBD5D"
REF = SecretRef("file", "/root/password")


class MySQLError(Exception):
    """Stands for the library's own."""


class Library:
    """The part of mysqlclient's C extension that is used here, talking to a table of answers."""

    MySQLError = MySQLError

    def __init__(self) -> None:
        self.answers: dict[str, tuple[tuple[str, ...], tuple[sql.Row, ...]] | Exception] = {
            database_room.DIRECTORY: (("@@GLOBAL.datadir",), ((b"/no/such/place/",),))
        }
        self.refuse: Exception | None = None
        self.said: list[str] = []
        self.options: list[dict[str, Any]] = []
        self.version = "10.11.18-MariaDB"
        self.alive = True

    def connect(self, **options: Any) -> Library:
        if self.refuse is not None:
            raise self.refuse
        self.options.append(options)
        self.alive = True
        return self

    def set_character_set(self, name: str) -> None:
        assert name == "utf8mb4"

    def autocommit(self, on: bool) -> None:
        assert on

    def ping(self) -> None:
        if not self.alive:
            raise MySQLError(2006, "Server has gone away")

    def close(self) -> None:
        pass

    def get_server_info(self) -> str:
        return self.version

    def string_literal(self, text: bytes) -> bytes:
        return b"'" + text.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"

    def query(self, statement: bytes) -> None:
        if statement.decode() != database_room.DIRECTORY:
            self.said.append(statement.decode())
        self._result = self.answers.get(statement.decode())
        if isinstance(self._result, Exception):
            raise self._result

    def store_result(self) -> Library | None:
        return self if self._result else None

    def describe(self) -> tuple[tuple[str], ...]:
        assert isinstance(self._result, tuple)
        return tuple((name,) for name in self._result[0])

    def fetch_row(self, maxrows: int) -> tuple[sql.Row, ...]:
        assert maxrows == 0
        assert isinstance(self._result, tuple)
        return self._result[1]


class Secrets:
    def __init__(self, known: dict[SecretRef, str]) -> None:
        self.known = known

    def value(self, ref: SecretRef) -> str | None:
        return self.known.get(ref)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(databases, "_library", lambda: library)
    return library


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def servers(library: Library, looks: Looks) -> Databases:
    known: Any = Secrets({REF: PASSWORD})
    return Databases(looks, known)


def global_priv(*rows: tuple[str, str, dict[str, Any]]) -> tuple[tuple[str, ...], tuple[sql.Row, ...]]:
    return ("User", "Host", "Priv"), tuple(
        (user.encode(), host.encode(), json.dumps(priv).encode()) for user, host, priv in rows
    )


def test_all_that_is_read_together_is_asked_for_once(servers: Databases, library: Library) -> None:
    library.answers[facts.ACCOUNTS_MARIADB] = global_priv(("a", "LocalHost", {"plugin": "unix_socket"}))

    assert servers.accounts(SOCKET)["a", "localhost"].plugin == "unix_socket"
    assert servers.accounts(SOCKET) is servers.accounts(SOCKET)
    assert library.said.count(facts.ACCOUNTS_MARIADB) == 1
    servers.forget()
    servers.accounts(SOCKET)
    assert library.said.count(facts.ACCOUNTS_MARIADB) == 2
    assert len(library.options) == 1, "the connection is kept"


def test_what_was_read_is_noted_as_a_question_with_the_digest_of_the_short_way(
    servers: Databases, library: Library, looks: Looks
) -> None:
    rows: tuple[sql.Row, ...] = ((b"a\xff", None), (b"", b"b"))
    library.answers["SELECT x"] = (("x", "y"), rows)

    assert servers.rows(SOCKET, "SELECT x") == (("a\udcff", None), ("", "b"))
    assert looks.answers == {("rows", SOCKET, "SELECT x"): sql.digest(rows)}


def test_a_server_that_does_not_run_cannot_be_read_yet(servers: Databases, library: Library, looks: Looks) -> None:
    library.refuse = MySQLError(2002, f"Can't connect to local server through socket '{SOCKET}' (2)")

    with pytest.raises(NotYetReadable, match="2002"):
        servers.rows(SOCKET, "SELECT x")
    assert looks.answers == {("rows", SOCKET, "SELECT x"): None}
    with pytest.raises(TemporaryError, match="2002"):
        servers.perform(Sql(SOCKET, "DROP USER x"))


def test_a_server_that_does_not_let_root_in_is_an_error_with_a_way_out(servers: Databases, library: Library) -> None:
    library.refuse = MySQLError(1698, "Access denied for user 'root'@'localhost'")

    with pytest.raises(HostError, match="1698") as caught:
        servers.accounts(SOCKET)
    assert "unix_socket" in caught.value.hint


def test_a_connection_that_was_lost_is_made_anew(servers: Databases, library: Library) -> None:
    library.answers["SELECT x"] = (("x",), ((b"1",),))
    servers.rows(SOCKET, "SELECT x")
    library.alive = False
    servers.forget()

    assert servers.rows(SOCKET, "SELECT x") == (("1",),)
    assert len(library.options) == 2


def test_no_server_may_ask_for_files_or_run_two_statements_at_once(servers: Databases, library: Library) -> None:
    servers.perform(Sql(SOCKET, "DO 1"))

    assert library.options[0]["local_infile"] == 0
    assert not library.options[0].get("client_flag", 0) & 0x10000
    assert all(library.options[0][f"{what}_timeout"] > 0 for what in ("connect", "read", "write"))


def test_arguments_are_bound_and_percent_signs_are_kept(servers: Databases, library: Library) -> None:
    servers.perform(Sql(SOCKET, "GRANT SELECT ON `a%%b`.* TO %s@%s", ("it's", "%")))
    servers.perform(Sql(SOCKET, "DROP DATABASE `a%%b`"))
    servers.perform(Sql(SOCKET, "SET x = %s, y = %s", (None, 3)))

    assert library.said[-3:] == [
        "GRANT SELECT ON `a%b`.* TO 'it\\'s'@'%'",
        "DROP DATABASE `a%b`",
        "SET x = NULL, y = '3'",
    ]


def test_only_what_the_server_keeps_of_a_password_is_sent(servers: Databases, library: Library) -> None:
    step = Sql(SOCKET, "CREATE USER %s@%s IDENTIFIED WITH x AS %s", ("a", "b", PasswordHash(REF)))
    servers.perform(step)

    assert library.said[-1].startswith("CREATE USER 'a'@'b' IDENTIFIED WITH x AS '*")
    assert "s3cret" not in repr(step) + "".join(library.said)


def test_mysql_gets_its_own_statement_and_its_own_kind_of_hash(servers: Databases, library: Library) -> None:
    step = Sql(SOCKET, "CREATE USER a AS %s", (PasswordHash(REF),), on_mysql="CREATE USER a BY MYSQL %s")
    servers.perform(step)
    library.version = "9.7.4"
    servers.perform(step)

    assert library.said[-2].startswith("CREATE USER a AS '*")
    assert library.said[-1].startswith("CREATE USER a BY MYSQL '$A$005$")


def test_a_password_that_does_not_exist_yet_is_an_error(servers: Databases, library: Library) -> None:
    missing = SecretRef("stored", "not-made")

    with pytest.raises(HostError, match="stored:not-made does not exist"):
        servers.perform(Sql(SOCKET, "SET PASSWORD = %s", (PasswordHash(missing),)))
    assert library.said == [sql.SESSION]


@pytest.mark.parametrize(
    "words",
    [
        "You have an error in your SQL syntax; check the manual for the right syntax to use near '{0}' at line 1",
        "You have an error in your SQL syntax; check the manual for the right syntax to use near '{1}",
        "Column '{0}' cannot be that",
    ],
)
def test_an_error_repeats_nothing_that_is_kept_of_a_password(servers: Databases, library: Library, words: str) -> None:
    library.answers["SELECT 1"] = (("1",), ())
    step = Sql(SOCKET, "ALTER USER a AS %s", (PasswordHash(REF),))
    servers.perform(step)
    stored = library.said[-1].split("'")[1]
    library.answers[library.said[-1]] = MySQLError(1064, words.format(stored, stored[7:]))

    with pytest.raises(HostError, match="1064: ") as caught:
        servers.perform(step)
    assert stored[7:] not in str(caught.value)
    assert caught.value.__suppress_context__


def test_nothing_is_changed_while_the_servers_disk_is_full(
    servers: Databases, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.answers[database_room.DIRECTORY] = (("@@GLOBAL.datadir",), ((b"/",),))
    servers.perform(Sql(SOCKET, "DROP DATABASE one"))
    monkeypatch.setattr(database_room, "LEAST", 1 << 62)
    with pytest.raises(HostError, match="the disk with the server's data, /, is full") as caught:
        servers.perform(Sql(SOCKET, "DROP DATABASE other"))
    assert "make room" in caught.value.hint
    assert library.said[-1] == "DROP DATABASE one"


def test_a_server_that_did_not_answer_in_time_is_not_waited_for_by_every_resource(
    servers: Databases, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10_000, 9))
    monkeypatch.setattr(
        "agent.host.databases.time.monotonic", lambda: next(now) / 2
    )  # each look at the clock is 4.5 s later
    library.answers[facts.ACCOUNTS_MARIADB] = MySQLError(2013, "Lost connection to server during query")
    with pytest.raises(NotYetReadable, match="no answer within"):
        servers.accounts(SOCKET)
    library.alive, count = False, len(library.options)
    with pytest.raises(NotYetReadable, match="no answer within"):
        servers.accounts(SOCKET)
    assert len(library.options) == count, "nobody tried to connect"


def test_a_busy_server_is_a_temporary_failure(servers: Databases, library: Library) -> None:
    library.answers["DO 1"] = MySQLError(1205, "Lock wait timeout exceeded")

    with pytest.raises(TemporaryError, match="1205"):
        servers.perform(Sql(SOCKET, "DO 1"))


def test_rights_on_what_is_not_there_say_what_would_do(servers: Databases, library: Library) -> None:
    library.answers["GRANT SELECT ON `a`.`t` TO u"] = MySQLError(1146, "Table 'a.t' doesn't exist")

    with pytest.raises(HostError, match="1146") as caught:
        servers.perform(Sql(SOCKET, "GRANT SELECT ON `a`.`t` TO u"))
    assert "create it" in caught.value.hint


def test_every_way_to_log_in_of_an_account_is_seen(servers: Databases, library: Library) -> None:
    library.answers[facts.ACCOUNTS_MARIADB] = global_priv(
        (
            "root",
            "localhost",
            {
                "access": 7,
                "plugin": "mysql_native_password",
                "authentication_string": "invalid",
                "auth_or": [{}, {"plugin": "unix_socket"}],
            },
        ),
        ("open", "%", {"access": 0, "plugin": "mysql_native_password", "authentication_string": "", "ssl_type": 1}),
        ("x509", "%", {"plugin": "mysql_native_password", "authentication_string": STORED, "ssl_type": 2}),
        ("role", "", {"access": 0, "is_role": True}),
    )
    accounts = servers.accounts(SOCKET)

    root, open_to_all, x509 = accounts["root", "localhost"], accounts["open", "%"], accounts["x509", "%"]
    assert (root.plugin, root.passwordless) == ("mysql_native_password OR unix_socket", False)
    assert (open_to_all.require, open_to_all.passwordless) == ("SSL", True)
    assert (x509.require, x509.passwordless) == ("X509", False)
    assert STORED not in repr(x509)
    assert len(accounts) == 3


def test_accounts_of_mysql_come_from_its_own_tables(servers: Databases, library: Library) -> None:
    library.version = "9.7.4"
    names = ("Host", "User", "Select_priv", "plugin", "authentication_string", "ssl_type")
    library.answers[facts.ACCOUNTS_MYSQL] = (
        names,
        (
            (b"localhost", b"root", b"Y", b"auth_socket", b"", b""),
            (b"%", b"dyn", b"N", b"caching_sha2_password", b"$A$005$\x01'", b"ANY"),
            (b"%", b"plain", b"N", b"caching_sha2_password", None, b""),
        ),
    )
    accounts = servers.accounts(SOCKET)

    assert accounts["dyn", "%"].require == "SSL"
    assert [each.passwordless for each in accounts.values()] == [False, False, True]


def test_a_password_is_right_when_any_way_to_log_in_has_it(servers: Databases) -> None:
    right = passwords.stored_form(PASSWORD, "mysql_native_password").encode()

    def account(*ways: tuple[str, bytes]) -> facts.DatabaseAccount:
        return facts.DatabaseAccount("a", "b", ways, "")

    assert servers.password_right(account(("mysql_native_password", right)), REF)
    assert servers.password_right(account(("unix_socket", b""), ("mysql_native_password", right)), REF)
    assert not servers.password_right(account(("mysql_native_password", STORED.encode())), REF)
    assert not servers.password_right(account(("mysql_native_password", right)), SecretRef("stored", "not-made"))


def test_a_password_is_checked_once(servers: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = passwords.stored_form(PASSWORD, "caching_sha2_password").encode()
    account = facts.DatabaseAccount("a", "b", (("caching_sha2_password", stored),), "")
    assert servers.password_right(account, REF)

    def again(*_: Any) -> bool:
        raise AssertionError("this takes milliseconds for each account")

    monkeypatch.setattr(passwords, "matches", again)
    assert servers.password_right(account, REF)


def test_a_missing_client_library_is_named(monkeypatch: pytest.MonkeyPatch, looks: Looks) -> None:
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    monkeypatch.setitem(sys.modules, "pymysql", None)
    monkeypatch.delitem(sys.modules, "agent.host.pure_mysql", raising=False)
    monkeypatch.delattr(sys.modules["agent.host"], "pure_mysql", raising=False)
    nobody: Any = Secrets({})

    with pytest.raises(HostError, match="client library") as caught:
        Databases(looks, nobody).rows(SOCKET, "SELECT x")
    assert "python3-mysqldb" in caught.value.hint
