"""The database server of this host as resources: package, certificate, option file, units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.certificate import Certificate
from agent.kinds.file import File
from agent.kinds.package import Package
from agent.kinds.unit import Unit
from agent.render import render
from agent.resource import Ref, Resource
from agent.spec.expand_mysql_users import needs_tls
from agent.spec.expand_tls import default_addresses, default_names

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.sections.mysql import Mysql

_YEAR = 365 * 86400


def service(mysql: Mysql) -> str:
    return f"{mysql.server}.service"


def expand_server(mysql: Mysql, host: Host) -> Iterator[Resource]:
    package = Package(f"{mysql.server}-server")
    yield package
    certificate = None
    if any(needs_tls(account, user) for account, user in mysql.users.items()):
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
    yield Unit(service(mysql), active=True, enabled=True, inputs=(file.ref,), after=tuple(after))
