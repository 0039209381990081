"""Reads rows from a MariaDB or MySQL server over its local socket and digests them. Changes nothing: agent.host.databases does.

It is the short way of a pass that finds nothing to do, so it imports only what is built into the interpreter. Whole
processes with `/usr/bin/python3 -I -S` (Debian 12, median of 30) that ask for databases, accounts and grants: 11.6 ms with
this module, 15.6 ms with the C extension of mysqlclient alone, 16.1 ms with mysqlclient as it is meant to be imported; the
bare interpreter is 8.6 ms of each. Most of the library's share is the loading of libssl and libcrypto.

What it speaks: protocol version 10, one login as root by the socket's own credentials (unix_socket, auth_socket),
COM_QUERY, text rows. Servers that are reached in another way are left to agent.host.database_connection. Sources:
"Client/Server Protocol" in the MariaDB knowledge base and in MySQL's source documentation.
"""

from __future__ import annotations

import _socket
from time import monotonic

try:
    from _blake2 import blake2b
except ImportError:  # an interpreter built without it
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Row = tuple[bytes | None, ...]

ACCOUNT = b"root"
"""The server account that the system's root is let in as over the socket."""

SESSION = (
    "SET SESSION sql_mode = /*M!100100 CONCAT('NO_AUTO_CREATE_USER,', */ 'STRICT_ALL_TABLES' /*M!100100 ) */"
    "/*M! , max_statement_time = 0 */ /*!80000 , max_execution_time = 0 */"
)
"""Makes a session read and quote alike whatever the server's own default is: PAD_CHAR_TO_FULL_LENGTH, ANSI_QUOTES ... In MariaDB, where
alone it exists, it also keeps GRANT from making an account that is not there, without a password. No limit cuts a question short; MariaDB
does not read the last comment, which is for versions of MySQL that it never was."""

TIMEOUT = 5.0
"""Seconds that everything asked of one server may take together."""

_CAPABILITIES = (
    0x200 | 0x8000 | 0x80000
)  # PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH; not LOCAL_FILES: no server may ask for a file
_UTF8MB4 = 45
_LARGEST_PACKET = 0xFFFFFF
_OK, _SWITCH, _EOF, _ERROR, _NULL = 0x00, 0xFE, 0xFE, 0xFF, b"\xfb"
_MOST_COLUMNS = (
    0xFA  # above it the first byte means something else: a file is asked for, a number of several bytes follows
)


class NoAnswer(Exception):
    """The server refused or said something that this reader does not know."""


def digests(asked: list[tuple[str, str]]) -> list[bytes | None]:
    """For each (server, statement) the digest of its rows; None when the server does not answer. One connection a server."""
    found: list[bytes | None] = [None] * len(asked)
    for path in {socket for socket, _ in asked}:
        if path[:1] != "/":
            from agent.host.database_connection import digests as by_library

            at = [index for index, (server, _) in enumerate(asked) if server == path]
            for index, digest in zip(at, by_library(path, [asked[index][1] for index in at]), strict=True):
                found[index] = digest
            continue
        try:
            reader = _Reader(path)
        except (OSError, NoAnswer):
            continue
        try:
            for index, (socket, statement) in enumerate(asked):
                if socket == path:
                    found[index] = reader.digest(statement)
        except (OSError, NoAnswer):
            pass
        finally:
            reader.close()
    return found


def digest(rows: Iterable[Row]) -> bytes:
    """The digest that ``digests`` gives for these rows: of each value as the server sends it, length first."""
    # in one piece: a pass that makes many accounts does this again and again
    parts = [_NULL if value is None else _length(len(value)) + value for row in rows for value in row]
    return blake2b(b"".join(parts), digest_size=16).digest()


_SHORT = tuple(bytes((number,)) for number in range(0xFB))


def _length(number: int) -> bytes:
    if number < 0xFB:
        return _SHORT[number]
    if number < 1 << 16:
        return b"\xfc" + number.to_bytes(2, "little")
    return b"\xfd" + number.to_bytes(3, "little")


class _Reader:
    """One connection, logged in. Raises OSError (a time-out too) and NoAnswer."""

    def __init__(self, path: str) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._received = b""
        self._at = 0
        self._sequence = 0
        self._deadline = monotonic() + TIMEOUT
        try:
            self._socket.settimeout(TIMEOUT)
            self._socket.connect(path)
            self._log_in()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def digest(self, statement: str) -> bytes | None:
        """The digest of the rows; None when the server refuses the statement."""
        head = self._ask(statement)
        if head[0] == _ERROR:
            return None
        if not 0 < head[0] <= _MOST_COLUMNS:
            raise NoAnswer("not rows")
        for _column in range(head[0]):
            self._packet()
        self._packet()  # the end of the columns
        whole = blake2b(digest_size=16)
        while True:
            row = self._packet()
            if row[0] == _EOF and len(row) < 9:
                return whole.digest()
            if row[0] == _ERROR:
                return None
            whole.update(row)

    def _log_in(self) -> None:
        if self._packet()[0] != 10:
            raise NoAnswer("not protocol 10")
        hello = (
            _CAPABILITIES.to_bytes(4, "little") + _LARGEST_PACKET.to_bytes(4, "little") + bytes((_UTF8MB4,)) + bytes(23)
        )
        self._send(hello + ACCOUNT + b"\0" + b"\0" + b"unix_socket\0")
        while (answer := self._packet())[0] == _SWITCH:
            self._send(b"")  # there is no password: the socket says who is asking
        if answer[0] != _OK or self._ask(SESSION)[0] != _OK:
            raise NoAnswer("not let in")

    def _ask(self, statement: str) -> bytes:
        self._sequence = 0
        self._send(b"\x03" + statement.encode())
        return self._packet()

    def _send(self, payload: bytes) -> None:
        self._socket.sendall(len(payload).to_bytes(3, "little") + bytes((self._sequence,)) + payload)
        self._sequence = (self._sequence + 1) & 0xFF

    def _packet(self) -> bytes:
        head = self._take(4)
        self._sequence = (head[3] + 1) & 0xFF
        length = int.from_bytes(head[:3], "little")
        if not 0 < length < _LARGEST_PACKET:  # a longer one would come in several
            raise NoAnswer("a packet of unforeseen length")
        return self._take(length)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._received):
            parts = [self._received[self._at :]]
            missing = end - len(self._received)
            while missing > 0:
                self._socket.settimeout(max(0.001, self._deadline - monotonic()))
                part = self._socket.recv(max(missing, 1 << 16))
                if not part:
                    raise NoAnswer("the server hung up")
                parts.append(part)
                missing -= len(part)
            self._received, self._at, end = b"".join(parts), 0, count
        taken = self._received[self._at : end]
        self._at = end
        return taken
