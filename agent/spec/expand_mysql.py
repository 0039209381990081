"""The `mysql` section as resources: server, databases, accounts, grants, and the notebook account's option file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.database import Database
from agent.kinds.external_server import ExternalServer
from agent.kinds.server import Server
from agent.resource import Ref, Resource
from agent.spec.expand_client_file import expand_client_file
from agent.spec.expand_mysql_external import external_server
from agent.spec.expand_mysql_grants import expand_role, public_grants
from agent.spec.expand_mysql_server import SOCKET, expand_server, service
from agent.spec.expand_mysql_users import expand_user

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.sections.mysql import Mysql
    from agent.spec.spec import Spec


def expand_mysql(spec: Spec, host: Host) -> Iterator[Resource]:
    """Databases and accounts wait until the server answers and is secured."""
    mysql = spec.mysql
    if mysql is None:
        return
    server: Server | ExternalServer
    if mysql.administrator is not None:
        password, server = external_server(mysql, mysql.administrator)
        yield password
    else:
        server = _server(mysql)
        if mysql.server != "external":
            yield from expand_server(mysql, host)
    yield server
    for name, section in mysql.databases.items():
        yield Database(name, server.server, section.charset, section.collates, after=(server.ref,))
    if mysql.server == "mariadb":
        yield public_grants(server)
    for name, role in mysql.roles.items():
        yield from expand_role(name, role, server)
    for account, user in mysql.users.items():
        yield from expand_user(account, user, server)
    yield from expand_client_file(spec, mysql, host)


def _server(mysql: Mysql) -> Server:
    """One that lets root in by its socket."""
    return Server(
        mysql.server,
        mysql.socket or SOCKET,
        keep_test_database="test" in mysql.databases,
        ed25519=any(user.plugin == "ed25519" for user in mysql.users.values()),
        declared=tuple(sorted(mysql.users)),
        closes_local_infile=mysql.server == "external",
        after=() if mysql.server == "external" else (Ref("unit", service(mysql)),),
    )
