"""A reading client of D-Bus, as much as it takes to ask systemd about units: no more than interpreter built-ins are imported.

Wire format and authentication are those of the D-Bus Specification (https://dbus.freedesktop.org/doc/dbus-specification.html); the
methods those of org.freedesktop.systemd1(5). Everything that arrives is checked against the length that arrived, and everything
waits only so long. Where the system bus does not answer, systemd's private socket is tried, which root may use.
"""

from __future__ import annotations

import _socket
import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Value = bool | int | str | bytes | tuple["Value", ...]

SYSTEM_BUS = "/run/dbus/system_bus_socket"
PRIVATE = "/run/systemd/private"
PATIENCE = 5.0
"""Seconds for a whole exchange."""

_SYSTEMD = "org.freedesktop.systemd1"
_MANAGER = "/org/freedesktop/systemd1"
_LARGEST = 16 << 20
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")
_SUFFIXES = (
    *(".service", ".socket", ".device", ".mount", ".automount", ".swap"),
    *(".target", ".path", ".timer", ".slice", ".scope"),
)
_CALL, _RETURN = 1, 2
_AT_ONCE = 64
"""Calls that are sent before their replies are read, so that neither side has to wait for the other to read."""
_NO_START = 2
"""Flag of a call: do not start who is not there."""


class Unanswered(Exception):
    """Nobody answered, or not in a way that can be understood."""


def unit_states(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Load, active and sub state of each unit, in one call. Empty when systemd does not answer."""
    asked = [name for name in names if is_unit_name(name)]
    if not asked:
        return {}
    call = (_MANAGER, f"{_SYSTEMD}.Manager", "ListUnitsByNames", "as", _strings(asked))
    try:
        (reply,) = _exchange([call])
        (units,) = _Reader(reply).values("a(ssssssouso)") if reply is not None else ((),)
    except (Unanswered, OSError):
        return {}
    if not isinstance(units, tuple) or len(units) != len(asked):
        return {}
    found = {}
    for name, unit in zip(asked, units, strict=True):  # in this order: an alias is answered under its unit's own name
        _, _, load, active, sub = unit[:5]  # type: ignore[index,str-unpack]  # ListUnitsByNames answers a(ssssssouso)
        found[name] = (load, active, sub)
    return found  # type: ignore[return-value]  # the same


def properties(names: Sequence[str], wanted: Sequence[str], interface: str = "Unit") -> dict[str, dict[str, Value]]:
    """These properties of each unit, in one exchange; ``interface`` is one of those below org.freedesktop.systemd1.

    Text, numbers, booleans, bytes, and tuples of them; one that a unit does not have is left out. Empty when systemd does not answer.
    """
    asked = [name for name in names if is_unit_name(name)]
    calls = []
    for name in asked:
        for each in wanted:
            body = _pad(_string(f"{_SYSTEMD}.{interface}"), 4) + _string(each)
            calls.append((unit_path(name), "org.freedesktop.DBus.Properties", "Get", "ss", body))
    try:
        replies = _exchange(calls)
        found: dict[str, dict[str, Value]] = {name: {} for name in asked}
        for index, reply in enumerate(replies):
            if reply is not None:
                (value,) = _Reader(reply).values("v")
                found[asked[index // len(wanted)]][wanted[index % len(wanted)]] = value
    except (Unanswered, OSError):
        return {}
    return found


def is_unit_name(name: str) -> bool:
    """Whether systemd would take it for the name of a unit (systemd.unit(5)): another one would be refused by the whole call."""
    return len(name) < 256 and name.endswith(_SUFFIXES) and name[0] != "." and _NAME_CHARACTERS.issuperset(name)


def unit_path(name: str) -> str:
    """The object of a unit: all but letters and digits is escaped, and a digit in front."""
    escaped = []
    for index, byte in enumerate(name.encode()):
        plain = 97 <= byte <= 122 or 65 <= byte <= 90 or (48 <= byte <= 57 and index > 0)
        escaped.append(chr(byte) if plain else f"_{byte:02x}")
    return f"{_MANAGER}/unit/{''.join(escaped)}"


def _exchange(calls: list[tuple[str, str, str, str, bytes]]) -> list[bytes | None]:
    """The bodies of the replies in the order of the calls, None for an error. Raises Unanswered."""
    for path, hello in ((SYSTEM_BUS, True), (PRIVATE, False)):
        connection = _Connection(PATIENCE)
        try:
            connection.open(path)
            return connection.call(calls, hello=hello)
        except (OSError, Unanswered):
            continue
        finally:
            connection.close()
    raise Unanswered


class _Connection:
    """One connection, for one exchange."""

    def __init__(self, patience: float) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._deadline = time.monotonic() + patience
        self._received = b""

    def open(self, path: str) -> None:
        self._wait()
        self._socket.connect(path)
        identity = str(posix.geteuid()).encode().hex().encode()
        self._socket.sendall(b"\0AUTH EXTERNAL " + identity + b"\r\n")
        while b"\r\n" not in self._received:  # systemd hangs when a call comes before its answer was read
            self._receive()
            if len(self._received) > 4096:
                raise Unanswered
        line, _, self._received = self._received.partition(b"\r\n")
        if not line.startswith(b"OK "):
            raise Unanswered
        self._socket.sendall(b"BEGIN\r\n")

    def call(self, calls: list[tuple[str, str, str, str, bytes]], *, hello: bool) -> list[bytes | None]:
        first = 1
        messages = b""
        if hello:
            bus = "org.freedesktop.DBus"
            messages = _message(1, bus, ("/org/freedesktop/DBus", bus, "Hello", "", b""))
            first = 2
        replies: list[bytes | None] = [None] * len(calls)
        for start in range(0, len(calls), _AT_ONCE):
            serials = range(start + first, min(start + _AT_ONCE, len(calls)) + first)
            for serial in serials:
                messages += _message(serial, _SYSTEMD, calls[serial - first])
            self._send(messages)
            messages, missing = b"", set(serials)
            while missing:
                kind, answered, body = self._message()
                if answered in missing:
                    missing.discard(answered)
                    replies[answered - first] = body if kind == _RETURN else None
        return replies

    def close(self) -> None:
        self._socket.close()

    def _send(self, messages: bytes) -> None:
        self._wait()
        self._socket.sendall(messages)

    def _message(self) -> tuple[int, int, bytes]:
        """Type, the serial that it answers (0 for none), and body of the next message."""
        header = self._take(16)
        if header[0] != 108 or header[3] != 1:  # "l", little-endian: on one machine nobody writes as others read
            raise Unanswered
        size, fields = int.from_bytes(header[4:8], "little"), int.from_bytes(header[12:16], "little")
        if size + fields > _LARGEST:
            raise Unanswered
        rest = self._take(_aligned(fields, 8) + size)
        reader, answered = _Reader(rest[:fields]), 0
        while not reader.at_end():
            reader.align(8)
            code, value = reader.byte(), reader.variant()
            if code == 5 and isinstance(value, int):
                answered = value
        return header[1], answered, rest[_aligned(fields, 8) :]

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._receive()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _receive(self) -> None:
        self._wait()
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise Unanswered
        self._received += piece

    def _wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Unanswered
        self._socket.settimeout(left)


class _Reader:
    """Reads little-endian values that begin at a multiple of 8 bytes. Raises Unanswered where they do not fit."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def at_end(self) -> bool:
        return self._at >= len(self._content)

    def align(self, to: int) -> None:
        self._at = _aligned(self._at, to)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._content):
            raise Unanswered
        taken, self._at = self._content[self._at : end], end
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self, size: int, *, signed: bool = False) -> int:
        self.align(size)
        return int.from_bytes(self.take(size), "little", signed=signed)

    def text(self, length: int) -> str:
        found = self.take(length).decode(errors="surrogateescape")
        self.take(1)
        return found

    def variant(self, depth: int = 0) -> Value:
        values = self.values(self.text(self.byte()), depth + 1)
        if len(values) != 1:
            raise Unanswered
        return values[0]

    def values(self, signature: str, depth: int = 0) -> tuple[Value, ...]:
        """The values that a signature names, one after the other."""
        found = []
        if depth > 16:
            raise Unanswered
        while signature:
            kind, signature = _split(signature)
            found.append(self._value(kind, depth))
        return tuple(found)

    def _value(self, kind: str, depth: int) -> Value:
        first = kind[0]
        if first in "sog":
            return self.text(self.byte() if first == "g" else self.number(4))
        if first in _NUMBERS:
            size, signed = _NUMBERS[first]
            return self.number(size, signed=signed)
        if first == "b":
            return self.number(4) != 0
        if first == "v":
            return self.variant(depth)
        if first == "a":
            return self._array(kind[1:], depth)
        if first == "(":
            self.align(8)
            return self.values(kind[1:-1], depth + 1)
        raise Unanswered

    def _array(self, kind: str, depth: int) -> Value:
        length = self.number(4)
        if kind == "y":
            return self.take(length)
        self.align(8 if kind[0] in "(xtd" else 4)
        end, found = self._at + length, []
        if end > len(self._content):
            raise Unanswered
        while self._at < end:
            found.append(self._value(kind, depth + 1))
        return tuple(found)


_NUMBERS = {
    "y": (1, False),
    "n": (2, True),
    "q": (2, False),
    "i": (4, True),
    "u": (4, False),
    "x": (8, True),
    "t": (8, False),
}


def _split(signature: str) -> tuple[str, str]:
    """The first complete type of a signature, and the rest."""
    end = 0
    while end < len(signature) and signature[end] == "a":
        end += 1
    depth = 0
    while end < len(signature):
        depth += {"(": 1, ")": -1}.get(signature[end], 0)
        end += 1
        if depth <= 0:
            return signature[:end], signature[end:]
    raise Unanswered


def _message(serial: int, destination: str, call: tuple[str, str, str, str, bytes]) -> bytes:
    path, interface, member, signature, body = call
    fields = b""
    for code, kind, value in ((1, "o", path), (6, "s", destination), (2, "s", interface), (3, "s", member)):
        fields = _pad(fields, 8) + bytes((code, 1)) + kind.encode() + b"\0" + _string(value)
    if signature:
        fields = _pad(fields, 8) + b"\x08\x01g\0" + bytes((len(signature),)) + signature.encode() + b"\0"
    numbers = len(body), serial, len(fields)
    header = b"l" + bytes((_CALL, _NO_START, 1)) + b"".join(number.to_bytes(4, "little") for number in numbers)
    return _pad(header + fields, 8) + body


def _strings(values: list[str]) -> bytes:
    found = b""
    for value in values:
        found = _pad(found, 4) + _string(value)
    return len(found).to_bytes(4, "little") + found


def _string(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(4, "little") + encoded + b"\0"


def _pad(content: bytes, to: int) -> bytes:
    return content + b"\0" * (-len(content) % to)


def _aligned(at: int, to: int) -> int:
    return at + -at % to
