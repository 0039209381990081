"""Which connections of a database server are an account's. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

SESSIONS = "SHOW PROCESSLIST"
"""Each connection: its number, whom it gave itself out to be, and where it comes from (a name or address with its port, or localhost)."""


def sessions_of(rows: Iterable[Sequence[str | None]], user: str, host: str, hosts: Iterable[str]) -> list[int]:
    """The numbers of the connections that logged in as ``user@host``. ``hosts`` are those of all accounts called ``user``.

    A server does not tell which account let a connection in. Where there are several of one name, it is one whose host fits and
    than which no other fits better: a host without wildcards before one with them. Between two of the same kind a connection counts for both.
    """
    others = [other for other in hosts if other.lower() != host.lower()]
    found = []
    for row in rows:
        number, name, origin = (value or "" for value in row[:3])
        if name != user:
            continue
        whence = origin if origin == "localhost" else origin.rpartition(":")[0] or origin
        exact = any(_fits(whence, other) and not _pattern(other) for other in others)
        if not others or (_fits(whence, host) and not (_pattern(host) and exact)):
            found.append(int(number))
    return found


def _pattern(host: str) -> bool:
    return any(character in host for character in "%_/")


def _fits(whence: str, host: str) -> bool:
    """Whether a client from there is let in by an account with this host: a name, an address, a LIKE pattern or a network with its mask."""
    if "/" in host:
        try:
            return ipaddress.ip_address(whence) in ipaddress.ip_network(host, strict=False)
        except ValueError:
            return False
    wild = "".join({"%": ".*", "_": "."}.get(character, re.escape(character)) for character in host)
    return re.fullmatch(wild, whence, re.IGNORECASE) is not None
