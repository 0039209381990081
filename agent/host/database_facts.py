"""What database servers answer: the statements that ask, and the rows as facts. Pure: talks to no server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.host import passwords

DATABASES = (
    "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME"
    " FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME"
)
# mysql.user is a view of it, ten times as slow
ACCOUNTS_MARIADB = "SELECT User, Host, Priv FROM mysql.global_priv ORDER BY User, Host"
ACCOUNTS_MYSQL = "SELECT *, UNIX_TIMESTAMP(password_last_changed) AS changed FROM mysql.user ORDER BY User, Host"
PLUGINS = (
    "SELECT PLUGIN_NAME FROM information_schema.PLUGINS"
    " WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE' ORDER BY PLUGIN_NAME"
)
"""Ways to log in that the server knows."""
OWN_ACCOUNT = "SELECT CURRENT_USER()"
SHOWN_CERTIFICATE = "SHOW STATUS WHERE Variable_name IN ('Ssl_server_not_after', 'Ssl_server_not_before')"
LOCAL_INFILE = "SELECT @@GLOBAL.local_infile"
IN_TEST_DATABASE = (
    "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'test')"
    " + (SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'test')"
    " + (SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'test')"
)
"""How many things live in the database called test."""

_LIMITS = {
    "max_queries_per_hour": "max_questions",
    "max_updates_per_hour": "max_updates",
    "max_connections_per_hour": "max_connections",
    "max_user_connections": "max_user_connections",
}
"""The words of statements, and what both servers call them in their tables."""
_REQUIRE = {"0": "", "NONE": "", "": "", "1": "SSL", "ANY": "SSL", "2": "X509", "X509": "X509"}  # else it is specified

_NO_PASSWORD = {
    "": (b"",),
    passwords.NATIVE: (b"",),
    passwords.CACHING_SHA2: (b"",),
    "sha256_password": (b"",),
    passwords.ED25519: (b"", b"4LH+dBF+G5W2CKTyId8xR3SyDqZoQjUNUVNxx8aWbG4"),
}
"""What a plugin keeps of an empty password."""


@dataclass(frozen=True)
class DatabaseAccount:
    """An account of a database server."""

    user: str
    host: str
    ways: tuple[tuple[str, bytes], ...] = field(repr=False)
    """Each way to log in: the plugin, and what the server keeps of the password."""
    require: str
    """What a connection must have: nothing, ``SSL``, ``X509`` or ``SPECIFIED``."""
    old_password: bytes = field(default=b"", repr=False)
    """What MySQL keeps of the password before, while that is good as well."""
    password_expires: str = "default"  # noqa: S105  # when, not which
    """``default`` (the server's), ``never``, or days such as ``90d``."""
    password_expired: bool = False
    """Whether somebody said so; not that it has become too old."""
    password_changed: int = 0
    """When it was set, in seconds since the epoch; 0 where that is not known."""
    locked: bool = False
    max_queries_per_hour: int = 0
    max_updates_per_hour: int = 0
    max_connections_per_hour: int = 0
    max_user_connections: int = 0

    @property
    def plugin(self) -> str:
        """The plugins, joined with `` OR `` when there are several."""
        return " OR ".join(plugin for plugin, _ in self.ways)

    @property
    def passwordless(self) -> bool:
        """Whether anybody who can connect is let in."""
        return any(kept in _NO_PASSWORD.get(plugin, ()) for plugin, kept in self.ways)


@dataclass(frozen=True)
class DatabaseFacts:
    """The defaults of a database."""

    character_set: str
    collation: str


def mariadb_account(user: str, host: str, text: str) -> DatabaseAccount | None:
    """A row of mysql.global_priv; None for a role.

    With several ways to log in ``auth_or`` lists them all, where an empty one stands for the one outside the list.
    """
    priv = json.loads(text)
    if priv.get("is_role"):
        return None
    ways = tuple(
        (way.get("plugin", ""), way.get("authentication_string", "").encode(errors="surrogateescape"))
        for way in (each or priv for each in priv.get("auth_or") or [priv])
    )
    require = _REQUIRE.get(str(priv.get("ssl_type", 0)), "SPECIFIED")
    lifetime = priv.get("password_lifetime", -1)
    return DatabaseAccount(
        user, host, ways, require,
        password_expires=_expires(None if lifetime < 0 else lifetime),
        password_expired=priv.get("password_last_changed") == 0,
        password_changed=int(priv.get("password_last_changed", 0)),
        locked=bool(priv.get("account_locked")),
        **{name: priv.get(key, 0) for name, key in _LIMITS.items()},
    )  # fmt: skip


def mysql_account(record: Mapping[str, str]) -> DatabaseAccount:
    """A row of MySQL's mysql.user."""
    way = (record["plugin"], record["authentication_string"].encode(errors="surrogateescape"))
    require = _REQUIRE.get(record["ssl_type"], "SPECIFIED")
    attributes = json.loads(record.get("User_attributes") or "{}")
    lifetime = record.get("password_lifetime")
    return DatabaseAccount(
        record["User"], record["Host"], (way,), require,
        old_password=attributes.get("additional_password", "").encode(errors="surrogateescape"),
        password_expires=_expires(int(lifetime) if lifetime else None),
        password_expired=record.get("password_expired") == "Y",
        password_changed=int(float(record.get("changed") or 0)),
        locked=record.get("account_locked") == "Y",
        **{name: int(record.get(key) or 0) for name, key in _LIMITS.items()},
    )  # fmt: skip


def _expires(days: int | None) -> str:
    return "default" if days is None else f"{days}d" if days else "never"


def validity(rows: Iterable[tuple[str | None, ...]]) -> tuple[int, int] | None:
    """From when until when a certificate is good, in seconds since the epoch, from the rows of SHOWN_CERTIFICATE."""
    from ssl import cert_time_to_seconds

    told = {name: value for name, value in rows if name and value}
    if len(told) != 2:  # both ends
        return None
    return cert_time_to_seconds(told["Ssl_server_not_before"]), cert_time_to_seconds(told["Ssl_server_not_after"])
