"""What to do when a database server refuses: a way out for each of its error codes. Pure."""

from __future__ import annotations

from agent.host import database_address
from agent.host.database_address import Address

_NOT_LET_IN = (1045, 1698, 1130)
_LACKING = (1044, 1142, 1143, 1227, 1370, 1410)
_NOT_THERE = "what rights are given on must be there: create it, and the next pass gives them; or give them on the whole database"
_ANYWHERE = {
    **dict.fromkeys((1054, 1146, 1305), _NOT_THERE),
    1290: "the server was started with an option that forbids this, such as skip-grant-tables or read-only",
    1129: "the server has seen too many broken connections from this host: FLUSH HOSTS, or mariadb-admin flush-hosts",
}
_ROOT = "let root in by the socket: ALTER USER root@localhost IDENTIFIED VIA unix_socket (MySQL: WITH auth_socket)"


def way_out(server: str, code: int, words: str) -> str:
    """What would do, for an error code and the words that came with it; empty where nobody knows.

    Codes: MariaDB's and MySQL's manuals of error messages; from 2000 on they are the client library's.
    """
    if code in _ANYWHERE:
        return _ANYWHERE[code]
    address = database_address.parse(server)
    if address is None:
        return _ROOT if code in _NOT_LET_IN else ""
    if code == 2026:
        return _about_tls(address, words)
    if code in _NOT_LET_IN:
        return (
            f"look whether {':'.join(address.secret)} holds the password of {address.user}, "
            "and whether that account may come from this host and in this way (host pattern, REQUIRE)"
        )
    if code in _LACKING:
        return f"the administrator {address.user} lacks a privilege; what it needs is under 'A server elsewhere' in README.md"
    if code in (2058, 2059):
        return (
            f"the client library has no such way to log in; give {address.user} a password of the server's usual kind"
        )
    return ""


def _about_tls(address: Address, words: str) -> str:
    """The library's words for OpenSSL and for GnuTLS."""
    said = words.lower()
    if "ssl is required" in said:
        return "have the server offer TLS; without it the agent goes to this very host only, and only with 'tls: false'"
    if "no such file" in said or "error while reading file" in said:
        return f"{address.ca} must hold the certificates of the authorities, in PEM form (mysql.tls)"
    if "host" in said or "validation of" in said:
        return f"the server's certificate is not for {address.host}: use a name that is in it as mysql.host"
    return f"the server's certificate is from no authority in {address.ca}: name the file that has it as mysql.tls"
