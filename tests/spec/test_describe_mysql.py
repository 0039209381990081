"""Facts of a server become entries of the spec, or say why they cannot; none is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.adoption import Adoption, text
from agent.host.database_facts import DatabaseAccount, DatabaseFacts
from agent.host.database_grants import EVERYTHING, Granted, Role, ServerGrants, Target
from agent.host.database_privileges import PROXY
from agent.spec import describe_mysql
from agent.spec.describe_mysql import Entry

EVERYTHING_THERE = {
    "global": frozenset({"SELECT", "PROCESS"}),
    "database": frozenset({"SELECT", "INSERT"}),
    "table": frozenset({"SELECT"}),
}
STORED = "*2A1BCA5AC1AE4BA8B8E7B0C0ABF7FDDE0E5BBD5D"
ANALYST = DatabaseAccount("analyst", "localhost", (("mysql_native_password", STORED.encode()),), "")


def granted(held: Granted | None = None, *, mariadb: bool = True, roles: frozenset[str] = frozenset()) -> ServerGrants:
    accounts = {("analyst", "localhost"): held or Granted()}
    return ServerGrants(mariadb, accounts, EVERYTHING_THERE, False, roles)


def user(account: DatabaseAccount = ANALYST, held: Granted | None = None, **more: Any) -> Entry:
    (entry,) = describe_mysql.users([account], frozenset(), granted(held, **more))
    entry.check()
    return entry


def test_databases_of_the_server_are_left_out_and_defaults_unsaid() -> None:
    found = {
        "mysql": DatabaseFacts("utf8mb4", "utf8mb4_general_ci"),
        "b": DatabaseFacts("latin1", "latin1_bin"),
        "a": DatabaseFacts("utf8mb4", "utf8mb4_unicode_ci"),
    }
    assert [(entry.name, entry.settings) for entry in describe_mysql.databases(found)] == [
        ("a", {}),
        ("b", {"charset": "latin1", "collation": "latin1_bin"}),
    ]


def test_a_password_is_kept_and_never_told() -> None:
    entry = user()

    assert (entry.name, entry.written, entry.settings, entry.reasons, entry.notes) == (
        "analyst@localhost", "analyst", {"password": "keep"}, [], [],
    )  # fmt: skip
    assert STORED not in repr(entry)


@pytest.mark.parametrize(
    ("changed", "settings"),
    [
        ({"require": "SSL"}, {"require_ssl": True}),
        ({"require": "X509"}, {"require_ssl": "x509"}),
        ({"locked": True}, {"locked": True}),
        ({"password_expires": "never"}, {"password_expires": "never"}),
        ({"max_user_connections": 7}, {"limits": {"max_user_connections": 7}}),
    ],
)
def test_what_is_not_usual_is_said(changed: dict[str, Any], settings: dict[str, Any]) -> None:
    assert user(replace(ANALYST, **changed)).settings == {"password": "keep", **settings}


def test_elsewhere_it_is_usual_to_require_tls() -> None:
    def entry(require: str) -> Entry:
        (found,) = describe_mysql.users([replace(ANALYST, host="%", require=require)], frozenset(), granted())
        return found

    assert entry("SSL").settings == {"password": "keep"}
    assert entry("").settings == {"password": "keep", "require_ssl": False}


@pytest.mark.parametrize(
    ("ways", "host", "settings"),
    [
        ((("unix_socket", b""),), "localhost", {"plugin": "socket"}),
        ((("auth_socket", b"analyst"),), "localhost", {"plugin": "socket"}),
        ((("unix_socket", b"daemon"),), "localhost", {"password": "keep"}),
        ((("unix_socket", b""), ("mysql_native_password", b"*X")), "localhost", {"password": "keep"}),
        ((("unix_socket", b""),), "127.0.0.1", {"password": "keep"}),
    ],
)
def test_the_socket_is_said_where_it_is_all_there_is(ways: Any, host: str, settings: dict[str, Any]) -> None:
    (entry,) = describe_mysql.users([replace(ANALYST, ways=ways, host=host)], frozenset(), granted())
    assert entry.settings == settings


def test_rights_are_said_by_target() -> None:
    held = Granted(
        {
            EVERYTHING: frozenset({"PROCESS"}),
            Target("database", "my\\_data"): frozenset({"SELECT", "INSERT", "GRANT OPTION"}),
            Target("table", "my_data", "t"): frozenset({"DELETE", "SELECT (`a`)", "SELECT (`b``c`)"}),
            Target("procedure", "my_data", "p"): frozenset({"EXECUTE"}),
        }
    )
    assert user(held=held).settings["grants"] == {
        "my_data": ["ALL", "GRANT OPTION"],
        "*": ["PROCESS"],
        "procedure my_data.p": ["EXECUTE"],
        "my_data.t": ["DELETE", "SELECT (a, b`c)"],
    }


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (Granted({Target("database", "my_data"): frozenset({"SELECT"})}), "is a pattern"),
        (Granted({Target("database", "my\\_data%"): frozenset({"SELECT"})}), "is a pattern"),
        (Granted({Target("database", "mysql"): frozenset({"SELECT"})}), "must be a database of yours"),
        (Granted({Target("table", "a", "b c"): frozenset({"SELECT"})}), "must be '*' for everything"),
        (Granted({Target(PROXY, "root", "localhost"): frozenset({"PROXY"})}), "PROXY"),
        (Granted({EVERYTHING: frozenset({"SELECT"})}, withheld=frozenset({"SELECT"})), "partial revokes"),
        (Granted({EVERYTHING: frozenset({"GRANT OPTION"})}, passes_all_on=False), "and others not"),
        (
            Granted({EVERYTHING: frozenset({"SOME_PLUGIN_ADMIN"})}),
            "must be a privilege such as SELECT, INSERT or ALL, not SOME_PLUGIN_ADMIN",
        ),
        (Granted(roles={Role("r", "10.0.0.1"): False}), "is not from everywhere"),
    ],
)
def test_what_the_spec_cannot_say_has_a_reason(held: Granted, reason: str) -> None:
    assert any(reason in each for each in user(held=held).reasons), user(held=held).reasons


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        (replace(ANALYST, require="SPECIFIED"), "REQUIRE"),
        (replace(ANALYST, user="o'brien"), "must be a name such as"),
        (replace(ANALYST, host="10.0._.%"), "must have a host"),
        (replace(ANALYST, user=""), "it has no name"),
    ],
)
def test_an_account_that_the_spec_cannot_have_has_a_reason(account: DatabaseAccount, reason: str) -> None:
    assert any(reason in each for each in user(account).reasons)


def test_default_roles_are_said_where_they_are_not_all() -> None:
    roles = {Role("r"): False, Role("s"): True}
    both = ["r", {"name": "s", "admin": True}]
    assert user(held=Granted(roles=roles)).settings == {"password": "keep", "roles": both, "default_role": "NONE"}
    one = Granted(roles=roles, default_roles=frozenset({Role("s")}))
    assert user(held=one).settings["default_role"] == "s"
    all_of_them = Granted(roles=roles, default_roles=frozenset(roles))
    assert "default_role" not in user(held=all_of_them).settings


def test_roles_of_mysql_are_found_among_its_accounts() -> None:
    role = replace(ANALYST, user="reader", host="%", ways=(("caching_sha2_password", b""),), locked=True)
    names = describe_mysql.role_names([role, ANALYST], granted(mariadb=False))
    assert names == {"reader"}
    assert [each.name for each in describe_mysql.users([role, ANALYST], names, granted(mariadb=False))] == [
        "analyst@localhost"
    ]
    assert describe_mysql.role_names([role], granted(roles=frozenset({"r", "PUBLIC"}))) == {"r"}


def test_accounts_of_the_server_and_of_services_are_left_out() -> None:
    accounts = [replace(ANALYST, user=name) for name in ("root", "mysql.sys", "rdsadmin")]
    assert not list(describe_mysql.users(accounts, frozenset(), granted()))


def test_no_name_ends_the_comment_that_it_stands_in() -> None:
    evil = "x\n  bind_address: 0.0.0.0 #\u2028y"
    entry = Entry("users", f"{evil}@localhost", {"password": "keep"}, notes=[evil], reasons=[evil])
    found = list(text(Adoption({"server": "external", "socket": "/s"}, [entry], evil, [evil])))

    assert all(line.isprintable() for line in found)
    assert [line for line in found if not line.lstrip().startswith("#")] == [
        "mysql:",
        "  server: external",
        "  socket: /s",
    ]
