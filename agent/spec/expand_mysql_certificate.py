"""The certificate of the database server as resources: whether it has one, where, and that the running server shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.served_certificate import ServedCertificate
from agent.resource import Ref, Resource
from agent.spec.expand_mysql_users import needs_tls
from agent.spec.expand_tls import expand_tls
from agent.spec.sections.mysql_certificate import ServerCertificate

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.kinds.certificate import Certificate
    from agent.spec.sections.mysql import Mysql

GROUP = "mysql"
"""Whose processes read the key."""


def certificate_of(mysql: Mysql | None) -> ServerCertificate | None:
    """What the spec says of it, or the defaults where an account requires TLS; None for a server without one of the agent's."""
    if mysql is None or mysql.server == "external":
        return None
    needed = any(needs_tls(account, user) for account, user in mysql.users.items())
    always = mysql.settings.get("require_secure_transport", "OFF").upper() in ("ON", "1", "TRUE")
    return mysql.certificate or (ServerCertificate() if needed or always else None)


def expand_certificate(mysql: Mysql, host: Host, package: Ref) -> Certificate | None:
    """The certificate, named like the server. What clients are given to verify it is ``trust.pem`` beside it (``trusted_by_clients``)."""
    section = certificate_of(mysql)
    return None if section is None else expand_tls(section, host, GROUP, mysql.server, (package,))


def trusted_by_clients(certificate: Certificate) -> str | None:
    """Path of what a client verifies the server by, readable by everybody; None for a certificate of one's own, which the system may trust."""
    return None if certificate.mode == "files" else f"{certificate.directory}/trust.pem"


def certificate_options(certificate: Certificate | None) -> dict[str, str]:
    """Lines of the server's option file. Clients' own certificates are believed when the same authority signed them."""
    if certificate is None:
        return {}
    named = {"ssl_cert": certificate.certificate, "ssl_key": certificate.key}
    return {**named, "ssl_ca": f"{certificate.directory}/trust.pem"} if certificate.mode == "host-ca" else named


def expand_served(mysql: Mysql, certificate: Certificate | None, socket: str, unit: Ref) -> Iterator[Resource]:
    if certificate is not None:
        yield ServedCertificate(mysql.server, socket, certificate.directory, after=(certificate.ref, unit))
