"""Database servers by one text: the path of a local socket that lets root in, or an address for all others.

    mysql://admin@db.example.org:3306?ca=/etc/ssl/db.pem&secret=file:/etc/agent/secrets/db     over TLS
    mysql://admin@127.0.0.1:3306?secret=file:/etc/agent/secrets/db                             in clear, to this host alone
    unix://admin@/run/mysqld/mysqld.sock?secret=credential:mysql.admin                         over a socket, by password

An address says where the administrator's password is and never what it is. The short way of a pass reads it, so this module
imports only what is built into the interpreter.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.$-/:")


class Address:
    """How to reach a server and as whom. Either ``socket`` is given or ``host`` and ``port``."""

    __slots__ = ("ca", "host", "port", "secret", "socket", "user")

    def __init__(
        self,
        user: str,
        secret: tuple[str, str],
        *,
        socket: str = "",
        host: str = "",
        port: int = 3306,
        ca: str = "",
    ) -> None:
        self.user = user
        self.secret = secret
        """Source and place of the administrator's password, as in steps.SecretRef."""
        self.socket = socket
        self.host = host
        self.port = port
        self.ca = ca
        """The file of authorities that the server's certificate must be from; empty: no encryption."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self.socket or f"{_bracketed(self.host)}:{self.port}"

    def __str__(self) -> str:
        secret = f"secret={_escaped(':'.join(self.secret))}"
        if self.socket:
            return f"unix://{_escaped(self.user)}@{_escaped(self.socket)}?{secret}"
        ca = f"ca={_escaped(self.ca)}&" if self.ca else ""
        return f"mysql://{_escaped(self.user)}@{_bracketed(self.host)}:{self.port}?{ca}{secret}"


def parse(server: str) -> Address | None:
    """What a text names a server by; None for the path of a socket that lets root in. Raises ValueError for anything else."""
    if server.startswith("/"):
        return None
    scheme, found, rest = server.partition("://")
    login, _, query = rest.partition("?")
    user, at, place = login.partition("@")
    options = dict(part.partition("=")[::2] for part in query.split("&"))
    source, colon, where = _unescaped(options.get("secret", "")).partition(":")
    if not (found and at and colon):
        raise ValueError("a database server is named by the path of its socket or an address with a user and a secret")
    if scheme == "unix":
        return Address(_unescaped(user), (source, where), socket=_unescaped(place))
    host, _, port = place.rpartition(":")
    if scheme != "mysql" or not host or not port.isdigit():
        raise ValueError("an address of a database server must be mysql://USER@HOST:PORT?... or unix://USER@PATH?...")
    ca = _unescaped(options.get("ca", ""))
    return Address(_unescaped(user), (source, where), host=host.strip("[]"), port=int(port), ca=ca)


def place(server: str) -> str:
    """Where a server is, for messages: its socket, or its host and port."""
    address = parse(server)
    return server if address is None else address.place


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _escaped(text: str) -> str:
    return "".join(
        letter if letter in _PLAIN else "".join(f"%{byte:02X}" for byte in letter.encode()) for letter in text
    )


def _unescaped(text: str) -> str:
    return b"".join(_bytes(text)).decode()


def _bytes(text: str) -> Iterator[bytes]:
    first, *rest = text.split("%")
    yield first.encode()
    for part in rest:
        yield bytes.fromhex(part[:2]) + part[2:].encode()
