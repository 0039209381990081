"""Accounts of a database server as resources: passwords, accounts, grants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.database_user import DatabaseUser
from agent.resource import Ref, Resource
from agent.spec.expand_mysql_grants import user_grants
from agent.spec.expand_secrets import secret_of, secret_ref

if TYPE_CHECKING:
    from agent.kinds.external_server import ExternalServer
    from agent.kinds.server import Server
    from agent.spec.sections.mysql_users import DatabaseUser as UserSection
    from agent.steps import SecretRef


def stored_name(account: str) -> str:
    """What the password of an account is kept under: ``mysql.analyst`` for analyst@localhost."""
    name = account.removesuffix("@localhost")
    return "mysql." + re.sub(r"[^A-Za-z0-9_.]", lambda found: f"-{ord(found.group()):02x}", name)


def required(account: str, user: UserSection) -> str:
    """``SSL``, ``X509`` or nothing. Left out: for every host but this one."""
    here = account.rpartition("@")[2] in ("localhost", "127.0.0.1", "::1")
    wanted = user.require_ssl if user.require_ssl is not None else not here
    return "X509" if wanted == "x509" else "SSL" if wanted else ""


def needs_tls(account: str, user: UserSection) -> bool:
    return bool(required(account, user))


def password_ref(account: str, user: UserSection) -> SecretRef | None:
    """Where the password of an account is; None for one that has none, or keeps its own."""
    if user.plugin == "socket" or user.password.keep:
        return None
    return secret_ref(user.password, stored_name(account))


def expand_user(account: str, section: UserSection, server: Server | ExternalServer) -> Iterator[Resource]:
    name, _, host = account.rpartition("@")
    at = password_ref(account, section)
    after = (server.ref,) if at is None else (server.ref, Ref("secret", stored_name(account)))
    if at is not None:
        yield secret_of(section.password, stored_name(account))
    user = DatabaseUser(
        account,
        server.server,
        name,
        host,
        at,
        require=required(account, section),
        after=after,
        plugin="" if section.plugin in (None, "socket") else section.plugin,
        keeps_password=bool(section.password.keep),
        password_expires=section.password_expires,
        locked=section.locked,
        **section.limits.model_dump(),
    )
    yield user
    yield user_grants(account, section, server)
