"""The notebook account's option file as a resource: who logs in to the database server, and by which way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from agent.kinds.file import File
from agent.render import render
from agent.resource import Ref, Resource
from agent.spec.expand_mysql_certificate import expand_certificate, trusted_by_clients
from agent.spec.expand_mysql_server import SOCKET
from agent.spec.expand_mysql_users import password_ref, required, stored_name
from agent.spec.sections.mysql_external import SYSTEM_AUTHORITIES
from agent.spec.sections.mysql_grants import target_of
from agent.spec.sections.mysql_settings import NOWHERE

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.kinds.certificate import Certificate
    from agent.spec.sections.mysql import Mysql
    from agent.spec.spec import Spec

_EVERYWHERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where a server listens, and how it is reached there


@dataclass(frozen=True)
class Way:
    """How a client reaches the server: by ``socket``, or by ``host`` and ``port``; with ``ca`` over TLS, the server verified by that file."""

    socket: str | None = None
    host: str | None = None
    port: int = 3306
    ca: str | None = None


def expand_client_file(spec: Spec, mysql: Mysql, host: Host) -> Iterator[Resource]:
    account, user = spec.client_account(), spec.user
    if account is None or user is None:
        return
    section = mysql.users[account]
    databases = {target_of(text).database for text in section.grants} - {""}
    content = render(
        "my.cnf.j2",
        server=mysql.server,
        user=account.rpartition("@")[0],
        password=password_ref(account, section),
        database=mysql.client_file.database or (databases.pop() if len(databases) == 1 else None),
        **asdict(_way(mysql, account, host)),
    )
    path = user.below_home(mysql.client_file.path)
    below = user.name if path.startswith(f"{user.directory}/") else None
    # a secret that is none of the spec's is taken as given
    needs = (Ref("user", user.name), Ref("group", user.name), Ref("secret", stored_name(account)))
    yield File(path, content, 0o600, user.name, user.name, below=below, after=needs)


def _way(mysql: Mysql, account: str, host: Host) -> Way:
    if mysql.server == "external":
        return Way(mysql.socket, mysql.host, mysql.port, mysql.authorities)
    encrypted = bool(required(account, mysql.users[account]))
    anywhere_else = account.rpartition("@")[2] not in ("localhost", "%")
    if mysql.bind_address == NOWHERE or not (encrypted or anywhere_else):
        return Way(SOCKET)
    listening = _EVERYWHERE.get(mysql.bind_address, mysql.bind_address)
    certificate = expand_certificate(mysql, host, Ref("package", f"{mysql.server}-server")) if encrypted else None
    if certificate is None:
        return Way(host=listening, port=mysql.port)
    ca = trusted_by_clients(certificate) or SYSTEM_AUTHORITIES
    return Way(host=_named(certificate, listening), port=mysql.port, ca=ca)


def _named(certificate: Certificate, listening: str) -> str:
    """What clients call the server, so that its certificate has that name: the address that it listens on, if it can be."""
    names = [name for name in (*certificate.names, *certificate.addresses) if name != "localhost"]
    return listening if listening in names or not names else names[0]
