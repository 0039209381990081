"""The short way to a database server reads what the server sends, whatever that is, and never hangs, raises or gives anything away."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.host import sql

Wire = Callable[["Peer"], None]
HELLO = b"\x0a10.11.18-MariaDB\0" + bytes(60)
OK = b"\x00\x00\x00\x02\x00\x00\x00"
EOF = b"\xfe\x00\x00\x02\x00"
REFUSED = b"\xff\x7a\x04#42S02no such table"


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.sequence = 0

    def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.connection.sendall(len(payload).to_bytes(3, "little") + bytes((self.sequence,)) + payload)
            self.sequence = (self.sequence + 1) & 0xFF

    def receive(self) -> bytes:
        head = self._exactly(4)
        self.sequence = (head[3] + 1) & 0xFF
        return self._exactly(int.from_bytes(head[:3], "little"))

    def let_in(self) -> bytes:
        self.send(HELLO)
        login = self.receive()
        self.send(OK)
        assert self.receive() == b"\x03" + sql.SESSION.encode()
        self.send(OK)
        return login

    def send_rows(self, rows: list[sql.Row]) -> None:
        width = len(rows[0]) if rows else 1
        columns = [b"\x03defcolumn"] * width
        payloads = [b"".join(b"\xfb" if value is None else lenenc(value) for value in row) for row in rows]
        self.send(bytes((width,)), *columns, EOF, *payloads, EOF)

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.connection.recv(count - len(found))
            if not part:
                raise EOFError
            found += part
        return found


def lenenc(value: bytes) -> bytes:
    """A length-encoded string, as the protocol's documentation has it."""
    size = len(value)
    if size <= 250:
        return bytes((size,)) + value
    return (b"\xfc" + size.to_bytes(2, "little") if size <= 0xFFFF else b"\xfd" + size.to_bytes(3, "little")) + value


class Server:
    """Plays ``wire`` to each client that comes."""

    def __init__(self, path: str, wire: Wire) -> None:
        self.path = path
        self.clients = 0
        self.failed: list[BaseException] = []
        self._wire = wire
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.clients += 1
            with connection, contextlib.suppress(EOFError, OSError):
                try:
                    self._wire(Peer(connection))
                except AssertionError as error:
                    self.failed.append(error)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(timeout=5)
        assert not self.failed, self.failed


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Wire], Server]]:
    servers: list[Server] = []

    def serve(wire: Wire) -> Server:
        servers.append(Server(str(tmp_path / f"{len(servers)}.sock"), wire))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


ROWS: list[sql.Row] = [
    (b"", None, b"plain"),
    (b"\x00\xff\xfe", b"x" * 250, b"x" * 251),
    (None, b"y" * 0xFFFF, b"z" * 0x10000),
    (b"\xfe", None, None),
]


def test_the_digest_is_that_of_the_rows_that_were_sent(serve: Callable[[Wire], Server]) -> None:
    def wire(peer: Peer) -> None:
        peer.let_in()
        assert peer.receive() == b"\x03SELECT all"
        peer.send_rows(ROWS)
        assert peer.receive() == b"\x03SELECT none"
        peer.send_rows([])

    server = serve(wire)
    asked = [(server.path, "SELECT all"), (server.path, "SELECT none")]
    assert sql.digests(asked) == [sql.digest(ROWS), sql.digest([])]
    assert server.clients == 1, "one connection is enough for all that is asked of one server"


def test_a_null_an_empty_text_and_a_shifted_value_differ() -> None:
    alike: list[list[sql.Row]] = [[(None,)], [(b"",)], [(b"NULL",)], [(b"ab", b"c")], [(b"a", b"bc")], [(b"", b"abc")]]
    assert len({sql.digest(rows) for rows in alike}) == len(alike)


def test_it_logs_in_as_root_without_a_password_and_without_offering_files(serve: Callable[[Wire], Server]) -> None:
    logins = []

    def wire(peer: Peer) -> None:
        logins.append(peer.let_in())

    sql.digests([(serve(wire).path, "SELECT 1")])
    capabilities = int.from_bytes(logins[0][:4], "little")
    assert not capabilities & 0x80, "CLIENT_LOCAL_FILES"
    assert not capabilities & 0x10000, "CLIENT_MULTI_STATEMENTS"
    assert logins[0][32:].startswith(b"root\0\0")


def test_another_way_to_log_in_is_answered_with_nothing(serve: Callable[[Wire], Server]) -> None:
    def wire(peer: Peer) -> None:
        peer.send(HELLO)
        peer.receive()
        peer.send(b"\xfecaching_sha2_password\0" + b"salt" * 5 + b"\0")
        assert peer.receive() == b""
        peer.send(OK)
        peer.receive()
        peer.send(OK)
        peer.receive()
        peer.send_rows([(b"1",)])

    assert sql.digests([(serve(wire).path, "SELECT 1")]) == [sql.digest([(b"1",)])]


def test_a_refused_statement_has_no_digest_and_the_next_one_has(serve: Callable[[Wire], Server]) -> None:
    def wire(peer: Peer) -> None:
        peer.let_in()
        peer.receive()
        peer.send(REFUSED)
        peer.receive()
        peer.send_rows([(b"1",)])

    path = serve(wire).path
    assert sql.digests([(path, "SELECT nothing"), (path, "SELECT 1")]) == [None, sql.digest([(b"1",)])]


def test_a_failure_among_the_rows_is_no_digest(serve: Callable[[Wire], Server]) -> None:
    def wire(peer: Peer) -> None:
        peer.let_in()
        peer.receive()
        peer.send(b"\x01", b"\x03defcolumn", EOF, b"\x011", REFUSED)

    assert sql.digests([(serve(wire).path, "SELECT 1")]) == [None]


def test_a_server_that_is_not_there_leaves_the_others_alone(serve: Callable[[Wire], Server], tmp_path: Path) -> None:
    def wire(peer: Peer) -> None:
        peer.let_in()
        peer.receive()
        peer.send_rows([(b"1",)])

    dead = tmp_path / "dead.sock"
    dead.write_text("")
    asked = [(str(tmp_path / "no.sock"), "SELECT 1"), (serve(wire).path, "SELECT 1"), (str(dead), "SELECT 1")]
    assert sql.digests(asked) == [None, sql.digest([(b"1",)]), None]


def test_a_server_that_wants_a_file_of_the_clients_gets_none(serve: Callable[[Wire], Server]) -> None:
    got = []

    def wire(peer: Peer) -> None:
        peer.let_in()
        peer.receive()
        peer.send(b"\xfb/etc/shadow")
        with contextlib.suppress(EOFError):
            got.append(peer.receive())

    assert sql.digests([(serve(wire).path, "SELECT 1")]) == [None]
    assert got == []


@pytest.mark.parametrize("silent_after", ["nothing", "hello", "login", "query"])
def test_a_server_that_falls_silent_is_given_up(
    serve: Callable[[Wire], Server], monkeypatch: pytest.MonkeyPatch, silent_after: str
) -> None:
    over = threading.Event()

    def wire(peer: Peer) -> None:
        if silent_after == "hello":
            peer.send(HELLO)
        elif silent_after in ("login", "query"):
            peer.let_in()
        if silent_after == "query":
            peer.receive()
        over.wait(10)

    monkeypatch.setattr(sql, "TIMEOUT", 0.2)
    began = time.monotonic()
    assert sql.digests([(serve(wire).path, "SELECT 1")]) == [None]
    over.set()
    assert time.monotonic() - began < 5


def test_a_server_that_drips_is_given_up_as_well(
    serve: Callable[[Wire], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wire(peer: Peer) -> None:
        peer.let_in()
        peer.receive()
        peer.send(b"\x01", b"\x03defcolumn", EOF)
        for _ in range(200):
            peer.send(b"\x011")
            time.sleep(0.05)

    monkeypatch.setattr(sql, "TIMEOUT", 0.3)
    began = time.monotonic()
    assert sql.digests([(serve(wire).path, "SELECT 1")]) == [None]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("seed", range(8))
def test_nonsense_is_no_answer(serve: Callable[[Wire], Server], monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)

    def wire(peer: Peer) -> None:
        if chance.random() < 0.7:
            peer.let_in()
            peer.receive()
        for _ in range(chance.randrange(1, 6)):
            if chance.random() < 0.5:
                peer.send(chance.randbytes(chance.randrange(0, 40)))
            else:
                peer.connection.sendall(chance.randbytes(chance.randrange(1, 400)))

    monkeypatch.setattr(sql, "TIMEOUT", 0.5)
    path = serve(wire).path
    for _ in range(25):
        (digest,) = sql.digests([(path, "SELECT 1")])
        assert digest is None or len(digest) == 16


def test_it_imports_only_what_is_built_into_the_interpreter() -> None:
    program = (
        "import sys, time, __future__, _socket, _blake2\n"
        "before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(Path(sql.__file__).parent)!r})\n"
        "import sql\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['sql']"
