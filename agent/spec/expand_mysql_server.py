"""The database server of this host as resources: package, certificate, option file, units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agent.host.database_variables import ALL, LIVE
from agent.kinds.file import File
from agent.kinds.package import Package
from agent.kinds.server_settings import KnownSettings, ServerSettings, Values
from agent.kinds.unit import Unit
from agent.render import render
from agent.resource import Ref, Resource
from agent.spec.expand_mysql_certificate import certificate_options, expand_certificate, expand_served
from agent.spec.expand_mysql_repository import expand_repository
from agent.spec.sections.mysql_settings import NOWHERE
from agent.steps import Check

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.sections.mysql import Mysql

SOCKET = "/run/mysqld/mysqld.sock"
_MARIADBD = "/usr/sbin/mariadbd"


def service(mysql: Mysql) -> str:
    return f"{mysql.server}.service"


def expand_server(mysql: Mysql, host: Host) -> Iterator[Resource]:
    sources = tuple(expand_repository(mysql.repository, host)) if mysql.repository else ()
    yield from sources
    package = Package(f"{mysql.server}-server", tuple(source.ref for source in sources))
    yield package
    certificate = expand_certificate(mysql, host, package.ref)
    if certificate is not None:
        yield certificate
    settings = _settings(mysql, package.ref)
    known = KnownSettings(
        mysql.server, settings.server, tuple(name for name, _ in (*settings.live, *settings.fixed)), (package.ref,)
    )
    yield known
    start, live = settings.files
    read_at_start = {
        **_own_options(mysql),
        **_options(settings.fixed),
        **certificate_options(certificate),
        **mysql.extra_settings,
    }
    file = _option_file(start, mysql, read_at_start, known.ref)
    live_file = _option_file(live, mysql, _options(settings.live), known.ref, live=True)
    yield from (file, live_file)
    if mysql.server == "mariadb":
        # Debian 12 enables it beside the service; from the second boot on it holds the port on all addresses, whatever bind-address says
        yield Unit("mariadb.socket", active=False, enabled=False, after=(package.ref,))
    after = [package.ref] + ([Ref("unit", "mariadb.socket")] if mysql.server == "mariadb" else [])
    after += [certificate.ref] if certificate else []
    after += [live_file.ref]
    yield Unit(
        service(mysql),
        active=True,
        enabled=True,
        inputs=(file.ref,),
        after=tuple(after),
        told_by=(settings.ref,),
    )
    yield settings
    yield from expand_served(mysql, certificate, SOCKET, Ref("unit", service(mysql)))


def _settings(mysql: Mysql, package: Ref) -> ServerSettings:
    """What the spec says of variables, and what the agent adds: no files of clients, and where to listen."""
    given = {"local_infile": "OFF", **mysql.settings}
    values = {name: variable.form.read(given[name]) for name, variable in ALL.items() if name in given}
    live = {name: value for name, value in values.items() if ALL[name].taken(mysql.server) == LIVE}
    fixed = {name: value for name, value in values.items() if name not in live}
    if mysql.bind_address == NOWHERE:
        listening = {"skip_networking": "ON"}
    else:
        listening = {"bind_address": mysql.bind_address, "port": str(mysql.port), "skip_networking": "OFF"}
    return ServerSettings(
        mysql.server,
        SOCKET,
        service(mysql),
        live=tuple(live.items()),
        fixed=tuple({**listening, **fixed}.items()),
        files=(_path(mysql, ""), _path(mysql, "-live")),
        after=(package,),
    )


def _path(mysql: Mysql, suffix: str) -> str:
    """The last of those that the distribution brings: option files are read in the order of their names, and on MySQL one is called mysqld.cnf."""
    name = "mariadb.conf.d/90-agent" if mysql.server == "mariadb" else "mysql.conf.d/zz-agent"
    return f"/etc/mysql/{name}{suffix}.cnf"


def _own_options(mysql: Mysql) -> dict[str, str]:
    """What is no variable: MySQL's other protocol, which has a port of its own, is off unless somebody wants it."""
    return {"mysqlx": "OFF"} if mysql.server == "mysql" else {}


def _options(values: Values) -> dict[str, str]:
    return {ALL[name].written: value for name, value in values}


def _option_file(path: str, mysql: Mysql, options: Mapping[str, str], after: Ref, **more: object) -> File:
    content = render("mariadb.cnf.j2", settings=options, **{"live": False, **more})
    # MySQL's program has such an option, too, but is often kept (by AppArmor) from reading files that are not its own
    check = Check((_MARIADBD, "--defaults-file={file}", "--help", "--verbose"), "agent.cnf", "mysql")
    return File(path, content, 0o644, check=check if mysql.server == "mariadb" else None, after=(after,))
