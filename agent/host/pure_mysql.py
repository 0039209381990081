"""What the agent uses of mysqlclient's C part, spoken by PyMySQL: for hosts where mysqlclient cannot be, such as a Debian whose own
mysql-server refuses the libraries that python3-mysqldb needs. Slower to load, otherwise the same.
"""

from __future__ import annotations

from ssl import CERT_NONE, VERIFY_X509_STRICT, SSLContext, create_default_context
from typing import Any

from pymysql import err
from pymysql.connections import Connection
from pymysql.constants import CR
from pymysql.converters import encoders

MySQLError = err.MySQLError


class _Connection:
    """A connection that answers in bytes."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def query(self, statement: bytes) -> None:
        self._connection.query(statement)

    def store_result(self) -> _Result | None:
        result = self._connection._result  # only its cursors have a public way
        return None if result.description is None else _Result(result)

    def ping(self) -> None:
        self._connection.ping()

    def close(self) -> None:
        self._connection.close()

    def set_character_set(self, name: str) -> None:
        self._connection.set_character_set(name)

    def autocommit(self, on: bool) -> None:
        self._connection.autocommit(on)

    def get_server_info(self) -> str:
        return str(self._connection.get_server_info())

    def string_literal(self, text: bytes) -> bytes:
        """As a literal in a statement, with its quotes."""
        return str(self._connection.escape(text.decode())).encode()


class _Result:
    def __init__(self, result: Any) -> None:
        self._result = result

    def describe(self) -> tuple[tuple[Any, ...], ...]:
        return tuple(self._result.description)

    def fetch_row(self, maxrows: int = 1) -> tuple[tuple[bytes | None, ...], ...]:
        """All rows, with ``maxrows`` 0."""
        rows = tuple(self._result.rows)
        return rows[:maxrows] if maxrows else rows


def connect(
    *,
    user: str,
    conv: dict[int, Any],
    passwd: str = "",
    ssl: dict[str, str] | None = None,
    read_default_file: str = "",
    read_default_group: str = "",  # noqa: ARG001  # it is the agent's own
    **options: Any,
) -> _Connection:
    """As mysqlclient's. ``ssl`` has the file of the authority, which is insisted on then; an option file without it asks for TLS, not verified."""
    if ssl or read_default_file:
        options["ssl"] = _context((ssl or {}).get("ca"))
    else:
        options["ssl_disabled"] = True  # else it tries, which takes fifty times as long
    return _Connection(
        Connection(
            user=user,
            password=passwd.encode(),
            conv=encoders | conv,
            use_unicode=False,
            charset="utf8mb4",
            autocommit=True,
            **options,
        )
    )


def _context(authority: str | None) -> SSLContext:
    try:
        context = create_default_context(cafile=authority)
    except OSError as error:
        raise err.OperationalError(CR.CR_SSL_CONNECTION_ERROR, f"{authority}: {error.strerror or error}") from error
    context.verify_flags &= ~VERIFY_X509_STRICT  # the authorities that MySQL makes for itself are not strict
    if authority is None:
        context.check_hostname = False
        context.verify_mode = CERT_NONE
    return context
