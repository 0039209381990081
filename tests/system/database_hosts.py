"""Hosts with a database server, for the tests of what the agent does with one: MariaDB old and new, and MySQL.

    with database_host("mysql-9.7") as host:
        host.sql("SELECT VERSION()")

A module has its own for each server with a fixture that is ``scope="module", params=SERVERS`` and yields that host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.sandbox import Bind, Machine, Root, base_root, layer
from agent.sandbox.installed import agent_root

CHECKOUT = Path(__file__).resolve().parents[2]
SOCKET = "/run/mysqld/mysqld.sock"
GENERAL_LOG = "/var/lib/mysql/general.log"


@dataclass(frozen=True)
class Made:
    """What a server is made of: the Debian that has it, its package, unit and client."""

    suite: str
    package: str
    unit: str
    client: str


MADE = {
    "mariadb-10.11": Made("bookworm", "mariadb-server", "mariadb.service", "mariadb"),
    "mariadb-11.8": Made("trixie", "mariadb-server", "mariadb.service", "mariadb"),
    "mysql-9.7": Made("sid", "mysql-server", "mysql.service", "mysql"),
}
SERVERS = tuple(MADE)
_BESIDE_MYSQL = """cd /tmp
apt-get -qq download python3-mysqldb libmariadb3
for package in *.deb; do dpkg-deb -x $package /; done
rm *.deb
ldconfig
"""
"""Debian's client library for Python wants a package that its mysql-server refuses: here its files lie there without their packages."""


def server_root(server: str) -> Root:
    """The server installed and nothing of the agent."""
    made = MADE[server]
    packages = [made.package, *(["python3-mysqldb"] if made.client == "mariadb" else [])]
    install = (
        "apt-get -qq update\n"
        f"DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {' '.join(packages)}\n"
        f"{_BESIDE_MYSQL if made.client == 'mysql' else ''}"
        "apt-get clean"
    )
    return layer(base_root(made.suite), install, made.package.partition("-")[0])


def database_root(server: str) -> Root:
    """The server, python3-mysqldb and the agent installed; nothing applied. The server starts with the host."""
    return agent_root(MADE[server].suite, lower=server_root(server))


def client(machine: Machine) -> str:
    """The name of the program that runs SQL as root there: ``mysql`` or ``mariadb``."""
    return next(made.client for made in MADE.values() if made.suite == machine.suite)


def is_mysql(machine: Machine) -> bool:
    """Whether its server is MySQL, else MariaDB."""
    return client(machine) == "mysql"


def unit(machine: Machine) -> str:
    """The server's service."""
    return next(made.unit for made in MADE.values() if made.suite == machine.suite)


def sql(machine: Machine, statements: str) -> str:
    """What the statements, given as the server's root, answer: columns by tabs, no names, nothing escaped."""
    return machine.run([client(machine), "--batch", "--skip-column-names", "--raw"], stdin=statements).stdout


class DatabaseHost:
    """A booted host with a server whose general log is on: what is in it is what a server was told."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.mysql = is_mysql(machine)
        self.client = client(machine)
        self.unit = unit(machine)
        self.log_all()

    def log_all(self) -> None:
        """Switches the general log on; a restart of the server switches it off."""
        self.sql(f"SET GLOBAL general_log_file = '{GENERAL_LOG}'; SET GLOBAL general_log = 1")

    def sql(self, statements: str) -> str:
        return sql(self.machine, statements)

    def said(self) -> str:
        """The general log: every statement that a client sent."""
        return self.machine.run(["cat", GENERAL_LOG]).stdout


@contextlib.contextmanager
def database_host(server: str, **options: Any) -> Iterator[DatabaseHost]:
    """A host whose server answers; the checkout is seen at /checkout, read-only. ``options`` as for Machine."""
    binds = [Bind(CHECKOUT, Path("/checkout")), *options.pop("binds", ())]
    with Machine(database_root(server), binds=binds, **options) as machine:
        machine.run(["systemctl", "start", unit(machine)])
        yield DatabaseHost(machine)
