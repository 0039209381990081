"""The `mysql` section as resources: server, its option file, databases, accounts, grants, and the notebook account's option file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.certificate import Certificate
from agent.kinds.database import Database
from agent.kinds.database_user import DatabaseUser
from agent.kinds.file import File
from agent.kinds.grant import ALL, Grant
from agent.kinds.package import Package
from agent.kinds.secret import Secret
from agent.kinds.server import Server
from agent.kinds.unit import Unit
from agent.render import render
from agent.resource import Ref, Resource
from agent.spec.expand_tls import default_addresses, default_names
from agent.steps import SecretRef

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.secrets import Secret as SecretSection
    from agent.spec.sections.mysql import DatabaseUser as UserSection
    from agent.spec.sections.mysql import Mysql
    from agent.spec.spec import Spec

SOCKET = "/run/mysqld/mysqld.sock"
_YEAR = 365 * 86400


def secret_ref(section: SecretSection, name: str) -> SecretRef:
    """Where a secret of the spec is; ``name`` is what a generated one is kept under."""
    if section.file is not None:
        return SecretRef("file", section.file)
    if section.credential is not None:
        return SecretRef("credential", section.credential)
    return SecretRef("stored", name)


def secret_of(section: SecretSection, name: str) -> Secret:
    """The secret as a resource."""
    length = section.generate.length if section.generate else 0
    return Secret(name, secret_ref(section, name), length)


def expand_mysql(spec: Spec, host: Host) -> Iterator[Resource]:
    """Databases and accounts wait until the server answers and is secured."""
    mysql = spec.mysql
    if mysql is None:
        return
    socket = mysql.socket or SOCKET
    server = Server(
        mysql.server,
        socket,
        keep_test_database="test" in mysql.databases,
        after=() if mysql.server == "external" else (Ref("unit", _service(mysql)),),
    )
    if mysql.server != "external":
        yield from _installed(mysql, host)
    yield server
    for name, section in mysql.databases.items():
        yield Database(name, socket, section.charset, section.collates, after=(server.ref,))
    for account, user in mysql.users.items():
        yield from _user(account, user, server)
    yield from _client_file(spec, mysql, socket)


def _service(mysql: Mysql) -> str:
    return f"{mysql.server}.service"


def _installed(mysql: Mysql, host: Host) -> Iterator[Resource]:
    package = Package(f"{mysql.server}-server")
    yield package
    certificate = None
    if any(_needs_tls(account, user) for account, user in mysql.users.items()):
        certificate = Certificate(
            mysql.server,
            mode="self-signed",
            names=default_names(host),
            addresses=default_addresses(host),
            lifetime=_YEAR,
            renew_before=_YEAR // 3,
            group="mysql",
            after=(package.ref,),
        )
        yield certificate
    folder = "mariadb.conf.d" if mysql.server == "mariadb" else "mysql.conf.d"
    content = render(
        "mariadb.cnf.j2",
        bind_address=mysql.bind_address,
        port=mysql.port,
        tls=certificate and {"certificate": certificate.certificate, "key": certificate.key},
        settings=dict(mysql.settings),
    )
    file = File(f"/etc/mysql/{folder}/90-agent.cnf", content, 0o644, after=(package.ref,))
    yield file
    if mysql.server == "mariadb":
        # Debian 12 enables it beside the service; from the second boot on it holds the port on all addresses, whatever bind-address says
        yield Unit("mariadb.socket", active=False, enabled=False, after=(package.ref,))
    after = [package.ref] + ([Ref("unit", "mariadb.socket")] if mysql.server == "mariadb" else [])
    after += [certificate.ref] if certificate else []
    yield Unit(_service(mysql), active=True, enabled=True, inputs=(file.ref,), after=tuple(after))


def _needs_tls(account: str, user: UserSection) -> bool:
    """Left out: for every host but this one."""
    here = account.rpartition("@")[2] in ("localhost", "127.0.0.1", "::1")
    return user.require_ssl if user.require_ssl is not None else not here


def stored_name(account: str) -> str:
    """What the password of an account is kept under: ``mysql.analyst`` for analyst@localhost."""
    name = account.removesuffix("@localhost")
    return "mysql." + re.sub(r"[^A-Za-z0-9_.]", lambda found: f"-{ord(found.group()):02x}", name)


def _user(account: str, section: UserSection, server: Server) -> Iterator[Resource]:
    name, _, host = account.rpartition("@")
    password = secret_of(section.password, stored_name(account))
    yield password
    user = DatabaseUser(
        account,
        server.socket,
        name,
        host,
        password.at,
        require="SSL" if _needs_tls(account, section) else "",
        after=(server.ref, password.ref),
    )
    yield user
    for target, privileges in section.grants.items():
        database, _, table = target.partition(".")
        wanted = frozenset(ALL if privilege == "ALL" else privilege for privilege in privileges)
        yield Grant(
            f"{account} on {database}.{table}",
            server.socket,
            name,
            host,
            database,
            wanted,
            table,
            after=(user.ref, Ref("database", database)),
        )


def _client_file(spec: Spec, mysql: Mysql, socket: str) -> Iterator[Resource]:
    account, user = spec.client_account(), spec.user
    if account is None or user is None:
        return
    section = mysql.users[account]
    databases = {target.partition(".")[0] for target in section.grants}
    content = render(
        "my.cnf.j2",
        user=account.rpartition("@")[0],
        password=secret_ref(section.password, stored_name(account)),
        socket=socket,
        database=mysql.client_file.database or (databases.pop() if len(databases) == 1 else None),
    )
    path = user.below_home(mysql.client_file.path)
    below = user.name if path.startswith(f"{user.directory}/") else None
    needs = (Ref("user", user.name), Ref("group", user.name), Ref("secret", stored_name(account)))
    yield File(path, content, 0o600, user.name, user.name, below=below, after=needs)
