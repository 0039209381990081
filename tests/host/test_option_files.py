"""Passwords in option files: one form where it is right for every client, else one for each kind."""

from __future__ import annotations

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host.option_files import password_of_client, quoted_for_c

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)


def by_pymysql(text: str) -> bytes:
    """The password that PyMySQL sends (pymysql.optionfile, pymysql.connections)."""
    parser = configparser.RawConfigParser(allow_no_value=True)
    parser.read_string(text)
    value = parser.get("client", "password")
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return value.encode("latin-1")


def by_c(text: str) -> str:
    """The password that a client in C reads: the last one of the group, without quotes and backslashes (my_default.c)."""
    line = [line for line in text.splitlines() if line.startswith("password = ")][-1].removeprefix("password = ")
    assert line[0] == line[-1]
    inner, found = iter(line[1:-1]), ""
    for letter in inner:
        found += next(inner) if letter == "\\" else letter
    return found


@given(PRINTABLE)
def test_every_client_reads_the_same_password(password: str) -> None:
    text = f"[client]\nuser = x\npassword = {password_of_client(password)}\n\n[mysql]\n"

    assert by_pymysql(text) == password.encode()
    assert by_c(text) == password


@pytest.mark.parametrize(
    ("password", "written"), [("plain", '"plain"'), ("quo'te #1", '"quo\'te #1"'), ('dou"ble', "'dou\"ble'")]
)
def test_one_form_is_enough_for_most(password: str, written: str) -> None:
    assert password_of_client(password) == written


def test_other_values_are_written_for_the_clients_in_c() -> None:
    assert quoted_for_c('a\\b"c') == '"a\\\\b\\"c"'
