"""What a server keeps of an account is understood: rows as MariaDB 10.11, 11.8 and MySQL 9.7 gave them."""

from __future__ import annotations

from typing import Any

import pytest

from agent.host import database_facts as facts
from agent.host.database_facts import DatabaseAccount

USUAL = {
    "password_expires": "default",
    "password_expired": False,
    "locked": False,
    "max_queries_per_hour": 0,
    "max_updates_per_hour": 0,
    "max_connections_per_hour": 0,
    "max_user_connections": 0,
}


def told(account: DatabaseAccount | None) -> dict[str, Any]:
    assert account is not None
    return {name: getattr(account, name) for name, usual in USUAL.items() if getattr(account, name) != usual}


LIMITED = '"max_questions":5,"max_updates":6,"max_connections":7,"max_user_connections":8'
LIMITS = {
    "max_queries_per_hour": 5,
    "max_updates_per_hour": 6,
    "max_connections_per_hour": 7,
    "max_user_connections": 8,
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('"plugin":"unix_socket","authentication_string":""', {}),
        (f'{LIMITED},"password_last_changed":1795407620', LIMITS),
        ('"password_last_changed":1795407620,"account_locked":true', {"locked": True}),
        ('"password_last_changed":0,"account_locked":false,"password_lifetime":-1', {"password_expired": True}),
        ('"password_last_changed":1795407620,"password_lifetime":0', {"password_expires": "never"}),
        ('"password_last_changed":1795407620,"password_lifetime":90', {"password_expires": "90d"}),
    ],
)
def test_an_account_of_mariadb(text: str, wanted: dict[str, Any]) -> None:
    assert told(facts.mariadb_account("a", "localhost", f'{{"access":0,"version_id":101119,{text}}}')) == wanted


ROW = {
    "Host": "localhost",
    "User": "a",
    "Select_priv": "N",
    "ssl_type": "",
    "max_questions": "0",
    "max_updates": "0",
    "max_connections": "0",
    "max_user_connections": "0",
    "plugin": "caching_sha2_password",
    "authentication_string": "$A$005$",
    "password_expired": "N",
    "password_last_changed": "2026-11-23 04:25:10",
    "password_lifetime": "",
    "account_locked": "N",
    "User_attributes": "",
}


@pytest.mark.parametrize(
    ("differs", "wanted"),
    [
        ({}, {}),
        ({"max_questions": "5", "max_updates": "6", "max_connections": "7", "max_user_connections": "8"}, LIMITS),
        ({"account_locked": "Y"}, {"locked": True}),
        ({"password_expired": "Y"}, {"password_expired": True}),
        ({"password_lifetime": "0"}, {"password_expires": "never"}),
        ({"password_lifetime": "90"}, {"password_expires": "90d"}),
    ],
)
def test_an_account_of_mysql(differs: dict[str, str], wanted: dict[str, Any]) -> None:
    account = facts.mysql_account({**ROW, **differs})

    assert told(account) == wanted
    assert account.old_password == b""


def test_when_a_password_was_set_is_known_of_both() -> None:
    mariadb = facts.mariadb_account("a", "localhost", '{"password_last_changed":1795407620}')
    mysql = facts.mysql_account({**ROW, "changed": "1795407620"})

    assert mariadb is not None
    assert mariadb.password_changed == mysql.password_changed == 1795407620


def test_a_second_password_of_mysql_is_seen_and_not_shown() -> None:
    kept = r"$A$00A$\u0015yC,A.k!)Z`\u0014\u0006\u0005L1/RmPs5K0IkIPRbKP3vK4sCjrzFRwEQqi3JkZwHlngPV2bK1"
    account = facts.mysql_account({**ROW, "User_attributes": f'{{"additional_password": "{kept}"}}'})

    assert len(account.old_password) == 70
    assert account.plugin == "caching_sha2_password"
    assert "IPRbKP3" not in repr(account)
