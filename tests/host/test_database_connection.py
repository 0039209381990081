"""A connection elsewhere is encrypted and verified or not made, and nobody waits for it for longer than was said."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent.host import database_connection as connection
from agent.host import sql
from agent.host.database_address import Address

ADDRESS = Address("admin", ("file", "/nowhere"), host="db.example.org", ca="/ca.pem")
SOCKET = "/run/mysqld/mysqld.sock"


class Library:
    """Stands for mysqlclient's C part."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.option_file = ""
        self.said: list[bytes] = []
        self.closed = threading.Event()
        self.waits = 0.0

    def connect(self, **options: Any) -> Library:
        self.options = options
        time.sleep(self.waits)
        if path := options.get("read_default_file"):
            self.option_file = Path(path).read_text()
        return self

    def set_character_set(self, _name: str) -> None:
        pass

    def autocommit(self, _on: bool) -> None:
        pass

    def query(self, statement: bytes) -> None:
        self.said.append(statement)

    def store_result(self) -> Library:
        return self

    def fetch_row(self, maxrows: int) -> tuple[sql.Row, ...]:
        assert maxrows == 0
        return ((self.said[-1],),)

    def close(self) -> None:
        self.closed.set()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_library_is_told_to_verify_in_the_only_way_that_it_heeds() -> None:
    library, before = Library(), open_files()
    connection.connect(library, str(ADDRESS), "pä'ss")

    assert library.option_file == "[agent]\nssl=1\nssl-verify-server-cert=1\n"
    assert library.options["read_default_group"] == "agent"
    assert library.options["ssl"] == {"ca": "/ca.pem"}
    assert (library.options["user"], library.options["passwd"]) == ("admin", "pä'ss")
    assert (library.options["host"], library.options["port"]) == ("db.example.org", 3306)
    assert library.options["local_infile"] == 0
    assert library.said == [sql.SESSION.encode()]
    assert open_files() == before


def test_a_socket_lets_root_in_without_a_password_and_without_an_option_file() -> None:
    library = Library()
    connection.connect(library, SOCKET)

    assert (library.options["user"], library.options["unix_socket"]) == ("root", SOCKET)
    assert not {"passwd", "ssl", "read_default_file"} & library.options.keys()


def test_an_administrator_comes_over_a_socket_too() -> None:
    library = Library()
    connection.connect(library, str(Address("admin", ("file", "/x"), socket=SOCKET)), "secret")

    assert library.options["unix_socket"] == SOCKET
    assert (library.options["user"], library.options["passwd"]) == ("admin", "secret")


def test_who_takes_too_long_is_given_up_and_closed_when_it_comes_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.05)
    library = Library()
    library.waits = 0.3
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 seconds"):
        connection.connect(library, str(ADDRESS), "x")
    assert time.monotonic() - begun < 0.25
    assert library.closed.wait(5)
    assert "verify" in library.option_file, "it was verified although nobody waited any more"


def test_what_goes_wrong_in_time_is_raised() -> None:
    def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        connection.within(5, fail)
    assert connection.within(5, lambda: 3) == 3


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text("word\n")
    return path


def test_the_short_way_digests_as_for_a_socket(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    library = Library()
    monkeypatch.setattr(connection, "library", lambda: library)
    server = str(Address("admin", ("file", str(secret)), host="db"))

    assert sql.digests([(server, "SELECT 1"), ("/none.sock", "SELECT 1"), (server, "SELECT 2")]) == [
        sql.digest([(b"SELECT 1",)]),
        None,
        sql.digest([(b"SELECT 2",)]),
    ]
    assert library.options["passwd"] == "word"


@pytest.mark.parametrize("spoil", ["mode", "link", "gone", "directory"])
def test_a_secret_that_others_may_have_put_there_opens_nothing(
    monkeypatch: pytest.MonkeyPatch, secret: Path, spoil: str
) -> None:
    library = Library()
    monkeypatch.setattr(connection, "library", lambda: library)
    if spoil == "mode":
        secret.chmod(0o640)
    elif spoil == "link":
        secret.rename(secret.with_name("other"))
        secret.symlink_to("other")
    else:
        secret.unlink()
        if spoil == "directory":
            secret.mkdir()
    assert sql.digests([(str(Address("admin", ("file", str(secret)), host="db")), "SELECT 1")]) == [None]
    assert not library.options


def test_a_credential_is_found_where_systemd_passes_it(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    library = Library()
    monkeypatch.setattr(connection, "library", lambda: library)
    monkeypatch.setattr(connection, "CREDENTIALS", ("/nowhere", str(secret.parent)))
    assert sql.digests([(str(Address("admin", ("credential", "secret"), host="db")), "SELECT 1")]) != [None]
    assert library.options["passwd"] == "word"


def test_the_short_way_gives_a_silent_server_up(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    library = Library()
    library.waits = 0.4
    monkeypatch.setattr(connection, "library", lambda: library)
    monkeypatch.setattr(connection, "SHORT_WAY", 0.05)
    begun = time.monotonic()
    assert connection.digests(str(Address("admin", ("file", str(secret)), host="db")), ["SELECT 1"]) == [None]
    assert time.monotonic() - begun < 0.35
