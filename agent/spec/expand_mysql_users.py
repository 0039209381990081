"""Accounts of a database server as resources: passwords, accounts, grants, and the notebook account's option file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.database_user import DatabaseUser
from agent.kinds.file import File
from agent.kinds.grant import ALL, Grant
from agent.render import render
from agent.resource import Ref, Resource
from agent.spec.expand_secrets import secret_of, secret_ref

if TYPE_CHECKING:
    from agent.kinds.external_server import ExternalServer
    from agent.kinds.server import Server
    from agent.spec.sections.mysql import Mysql
    from agent.spec.sections.mysql_users import DatabaseUser as UserSection
    from agent.spec.spec import Spec
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
    for target, privileges in section.grants.items():
        database, _, table = target.partition(".")
        wanted = frozenset(ALL if privilege == "ALL" else privilege for privilege in privileges)
        yield Grant(
            f"{account} on {database}.{table}",
            server.server,
            name,
            host,
            database,
            wanted,
            table,
            after=(user.ref, Ref("database", database)),
        )


def expand_client_file(spec: Spec, mysql: Mysql, socket: str) -> Iterator[Resource]:
    account, user = spec.client_account(), spec.user
    if account is None or user is None:
        return
    section = mysql.users[account]
    databases = {target.partition(".")[0] for target in section.grants}
    content = render(
        "my.cnf.j2",
        user=account.rpartition("@")[0],
        password=password_ref(account, section),
        socket=socket,
        database=mysql.client_file.database or (databases.pop() if len(databases) == 1 else None),
    )
    path = user.below_home(mysql.client_file.path)
    below = user.name if path.startswith(f"{user.directory}/") else None
    # a secret that is none of the spec's is taken as given
    needs = (Ref("user", user.name), Ref("group", user.name), Ref("secret", stored_name(account)))
    yield File(path, content, 0o600, user.name, user.name, below=below, after=needs)
