"""A database server that runs already as a resource: its address, and what the agent must be allowed to do there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.host.database_address import Address
from agent.host.database_privileges import ALL, GRANT_OPTION
from agent.host.database_rights import EVERYTHING, ROLE_ADMIN, Need
from agent.kinds.external_server import ExternalServer
from agent.spec.expand_secrets import secret_of
from agent.spec.sections.mysql_grants import privilege_of, target_of

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
    ed25519 = any(user.plugin == "ed25519" for user in mysql.users.values())
    return password, ExternalServer(reached.place, str(reached), needs, ed25519, after=(password.ref,))


def _needs(mysql: Mysql) -> Iterator[Need]:
    yield Need("SELECT", "mysql")
    if mysql.users or mysql.roles:
        yield Need("CREATE USER")
    if mysql.roles:
        yield Need(ROLE_ADMIN)
    for database in mysql.databases:
        yield Need("CREATE", database)
        yield Need("ALTER", database)
    held = [user.grants for user in mysql.users.values()] + [role.grants for role in mysql.roles.values()]
    for grants in held:
        for text, privileges in grants.items():
            for privilege in {privilege_of(each)[0] for each in privileges} - {GRANT_OPTION}:
                database = target_of(text).database or EVERYTHING
                yield Need(ALL if privilege == "ALL" else privilege, database, to_pass_on=True)
