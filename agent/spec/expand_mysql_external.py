"""A database server that runs already as a resource: its address, and what the agent must be allowed to do there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.host.database_address import Address
from agent.host.database_rights import ALL, Need
from agent.kinds.external_server import ExternalServer
from agent.spec.expand_secrets import secret_of

if TYPE_CHECKING:
    from agent.kinds.secret import Secret
    from agent.spec.sections.mysql import Mysql
    from agent.spec.sections.mysql_external import Administrator

ADMINISTRATOR = "mysql.administrator"
"""What the administrator's password is called."""


def address(mysql: Mysql, administrator: Administrator) -> Address:
    """How the agent reaches the server."""
    at = secret_of(administrator.password, ADMINISTRATOR).at
    secret = (at.source, at.at)
    if mysql.host is None:
        return Address(administrator.user, secret, socket=mysql.socket or "")
    return Address(administrator.user, secret, host=mysql.host, port=mysql.port, ca=mysql.authorities or "")


def external_server(mysql: Mysql, administrator: Administrator) -> tuple[Secret, ExternalServer]:
    """The administrator's password and the server, which needs it."""
    password = secret_of(administrator.password, ADMINISTRATOR)
    reached = address(mysql, administrator)
    needs = tuple((need.privilege, need.database, need.to_pass_on) for need in sorted(set(_needs(mysql))))
    return password, ExternalServer(reached.place, str(reached), needs, after=(password.ref,))


def _needs(mysql: Mysql) -> Iterator[Need]:
    yield Need("SELECT", "mysql")
    if mysql.users:
        yield Need("CREATE USER")
    for database in mysql.databases:
        yield Need("CREATE", database)
        yield Need("ALTER", database)
    for user in mysql.users.values():
        for target, privileges in user.grants.items():
            for privilege in privileges:
                yield Need(ALL if privilege == "ALL" else privilege, target.partition(".")[0], to_pass_on=True)
