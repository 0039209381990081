"""Opens connections to database servers by the client library: over the local socket as root, or where an address says.

It is part of the short way of a pass for servers that are not reached by agent.host.sql, so it imports only what is built into
the interpreter, and the library when it is needed.
"""

from __future__ import annotations

import _thread
import posix
import stat
import sys

from agent.host import database_address, sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

CONNECT_TIMEOUT = 5
"""Seconds until a server must have let the agent in."""
STATEMENT_TIMEOUT = 60
"""Seconds that one statement may take."""
READ_TIMEOUT = 5
"""Seconds that a server elsewhere may take for a query: it may be gone without a word."""
SHORT_WAY = 4.0
"""Seconds for all that the short way asks of a server elsewhere. With what the full pass then takes to see that it is down, it is below ten."""
CREDENTIALS = ("/run/credstore", "/etc/credstore", "/usr/lib/credstore")

_VERIFIED = b"[agent]\nssl=1\nssl-verify-server-cert=1\n"
"""What makes the library (MariaDB Connector/C) refuse a server without TLS, and one whose certificate is not from the authority or has another
name. It takes this from an option file alone: without it, an authority that is given is neither insisted on nor, in version 3.4, believed in."""
_LONGEST_SECRET = 4096


def library() -> Any:
    """The C part of mysqlclient, or what stands in for it where there is none. Raises ImportError."""
    if sys.flags.no_site and "site" not in sys.modules:  # the launcher leaves it out
        import site

        site.main()
    try:
        from MySQLdb import _mysql
    except ImportError:
        from agent.host import pure_mysql

        return pure_mysql
    return _mysql


def connect(library: Any, server: str, password: str | None = None, *, patience: float = STATEMENT_TIMEOUT) -> Any:
    """A new connection that is logged in; the only place that opens one. ``patience``: seconds that one statement may take.

    The library's own connection, without its DB-API cursors: those allow several statements in one string. Raises the library's
    errors; TimeoutError when a server elsewhere took too long, whatever for: its name, its several addresses, its silence.
    """
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": int(patience),
        "write_timeout": int(patience),
        "local_infile": 0,  # a server must not be able to ask root for a file
        "conv": {},
    }
    address = database_address.parse(server)
    if address is None:
        return _prepared(library.connect(user=sql.ACCOUNT.decode(), unix_socket=server, **options))
    options.update(user=address.user, passwd=password or "")
    if address.socket:
        options.update(unix_socket=address.socket)
    else:
        options.update(host=address.host, port=address.port)
    if address.ca:
        options.update(ssl={"ca": address.ca})
    return within(CONNECT_TIMEOUT, lambda: _opened(library, options), late=lambda opened: opened.close())


def _opened(library: Any, options: dict[str, Any]) -> Any:
    """Also for somebody who has given up waiting: the option file must not be gone before the library has read it."""
    if "ssl" not in options:
        return _prepared(library.connect(**options))
    file = posix.memfd_create("agent", posix.MFD_CLOEXEC)
    try:
        posix.fchmod(file, 0o600)
        posix.write(file, _VERIFIED)
        return _prepared(
            library.connect(**options, read_default_file=f"/proc/self/fd/{file}", read_default_group="agent")
        )
    finally:
        posix.close(file)


def ask_encrypted(library: Any, server: str, statement: str) -> list[tuple[str | None, ...]]:
    """The rows of a query by a local socket in a session of its own, encrypted if the server can do that.

    The server's certificate is not verified: it is what is asked for. Raises the library's errors.
    """
    connection = library.connect(
        user=sql.ACCOUNT.decode(), unix_socket=server, connect_timeout=CONNECT_TIMEOUT, local_infile=0, conv={},
        ssl={"cipher": "HIGH"},
    )  # fmt: skip
    try:
        connection.query(statement.encode())
        rows = connection.store_result().fetch_row(maxrows=0)
        return [tuple(None if value is None else value.decode() for value in row) for row in rows]
    finally:
        connection.close()


def _prepared(connection: Any) -> Any:
    connection.set_character_set("utf8mb4")
    connection.autocommit(True)
    connection.query(sql.SESSION.encode())
    return connection


def within(seconds: float, work: Callable[[], T], *, late: Callable[[T], None] = lambda _result: None) -> T:
    """What ``work`` returns or raises. Raises TimeoutError when that takes longer: it then goes on by itself, and ``late`` gets its result."""
    lock, done = _thread.allocate_lock(), _thread.allocate_lock()
    done.acquire()
    results: list[T] = []
    errors: list[BaseException] = []
    given_up: list[bool] = []

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # raised where it is waited for
            errors.append(error)
        else:
            with lock:
                if not given_up:
                    results.append(result)
            if given_up:
                late(result)
        done.release()

    _thread.start_new_thread(run, ())
    if not done.acquire(timeout=seconds):
        with lock:
            if not results:
                given_up.append(True)
                raise TimeoutError(f"no answer within {seconds:g} seconds")
    if errors:
        raise errors[0]
    return results[0]


def digests(server: str, statements: list[str]) -> list[bytes | None]:
    """What agent.host.sql.digests gives, of a server that is not reached by its reader. Never raises."""
    found: list[bytes | None] = [None] * len(statements)

    def ask() -> None:
        address = database_address.parse(server)
        connection = connect(
            library(), server, None if address is None else _secret(*address.secret), patience=SHORT_WAY
        )
        for index, statement in enumerate(statements):
            connection.query(statement.encode())
            found[index] = sql.digest(connection.store_result().fetch_row(maxrows=0))

    try:
        within(SHORT_WAY, ask)
    except Exception:  # the full pass will see what it is, and say so
        return [None] * len(statements)
    return found


def _secret(source: str, at: str) -> str:
    """The administrator's password. Who else may read it was looked at by the last full pass; an encrypted one is left to that."""
    passed = posix.environ.get(b"CREDENTIALS_DIRECTORY")
    directories = (*([passed.decode()] if passed else []), *CREDENTIALS)
    paths = [at] if source == "file" else [f"{directory}/{at}" for directory in directories]
    for path in paths:
        try:
            descriptor = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            status = posix.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_uid == posix.geteuid() and not status.st_mode & 0o077:
                return posix.read(descriptor, _LONGEST_SECRET).decode().removesuffix("\n").removesuffix("\r")
        finally:
            posix.close(descriptor)
    raise OSError("no such secret")
