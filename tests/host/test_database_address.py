"""A server's address says all that is needed to reach it, survives being written down, and never holds a secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.host import database_address
from agent.host.database_address import Address, parse, place

SECRET = ("file", "/etc/agent/secrets/db")
ADDRESSES = {
    "mysql://admin@db.example.org:3306?ca=/etc/ssl/db.pem&secret=file:/etc/agent/secrets/db": Address(
        "admin", SECRET, host="db.example.org", ca="/etc/ssl/db.pem"
    ),
    "mysql://admin@127.0.0.1:3307?secret=credential:mysql.admin": Address(
        "admin", ("credential", "mysql.admin"), host="127.0.0.1", port=3307
    ),
    "mysql://admin@[2001:db8::1]:3306?secret=file:/etc/agent/secrets/db": Address("admin", SECRET, host="2001:db8::1"),
    "unix://admin@/run/mysqld/mysqld.sock?secret=file:/etc/agent/secrets/db": Address(
        "admin", SECRET, socket="/run/mysqld/mysqld.sock"
    ),
    "mysql://admin%40team@db:3306?ca=/ca%3F%26%20%25%C3%A4.pem&secret=file:/s%3Dx": Address(
        "admin@team", ("file", "/s=x"), host="db", ca="/ca?& %ä.pem"
    ),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_reads_back_as_it_was_written(text: str) -> None:
    address = ADDRESSES[text]
    found = parse(text)

    assert str(address) == text
    assert found is not None
    assert [getattr(found, name) for name in Address.__slots__] == [
        getattr(address, name) for name in Address.__slots__
    ]


def test_the_path_of_a_socket_is_no_address() -> None:
    assert parse("/run/mysqld/mysqld.sock") is None
    assert place("/run/mysqld/mysqld.sock") == "/run/mysqld/mysqld.sock"


@pytest.mark.parametrize(
    "text", ["", "mysqld.sock", "mysql://admin@db:3306", "mysql://db:3306?secret=file:/x", "ftp://a@b:1?secret=file:/x"]
)
def test_nothing_else_names_a_server(text: str) -> None:
    with pytest.raises(ValueError, match="database server"):
        parse(text)


def test_in_messages_a_server_is_where_it_is() -> None:
    assert [place(text) for text in ADDRESSES] == [
        "db.example.org:3306", "127.0.0.1:3307", "[2001:db8::1]:3306", "/run/mysqld/mysqld.sock", "db:3306",
    ]  # fmt: skip


def test_it_imports_only_what_is_built_into_the_interpreter() -> None:
    program = (
        "import sys, __future__\n"
        "before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(Path(database_address.__file__).parent)!r})\n"
        "import database_address\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['database_address']"
