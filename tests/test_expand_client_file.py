"""By which way the notebook account's option file leads to the server, and how the server is known."""

from __future__ import annotations

from typing import Any

import pytest

from agent.kinds.file import File
from agent.spec.expand_client_file import expand_client_file
from agent.spec.spec import Spec
from agent.steps import Slot

TRUST = "/etc/agent/tls/mariadb/trust.pem"
SOCKET = 'socket = "/run/mysqld/mysqld.sock"'
ADMINISTRATOR = {"user": "admin", "password": {"file": "/etc/agent/secrets/db"}}


class Host:
    looks: Any

    def __init__(self) -> None:
        self.looks = self

    def ask(self, what: str) -> object:
        return {"hostname": "nb1.example.org", "address": ("192.0.2.7",)}[what]


def written(account: str = "nb", user: dict[str, Any] | None = None, **mysql: Any) -> str:
    """The file's text, secrets as their quoting, or nothing."""
    section = {"users": {account: {"grants": {"a": ["ALL"]}, **(user or {})}}, "databases": ["a"], **mysql}
    spec = Spec.model_validate({"user": {"name": "nb"}, "mysql": section})
    host: Any = Host()
    assert spec.mysql is not None
    files = [each for each in expand_client_file(spec, spec.mysql, host) if isinstance(each, File)]
    pieces = files[0].content.pieces if files else ()
    return "".join(f"<{piece.quoting}>" if isinstance(piece, Slot) else piece for piece in pieces)


@pytest.mark.parametrize("account", ["nb", "nb@localhost"])
def test_an_account_of_this_host_goes_by_the_socket(account: str) -> None:
    text = written(account)

    assert SOCKET in text
    assert "host" not in text
    assert "ssl" not in text


@pytest.mark.parametrize(
    ("account", "user", "mysql", "host"),
    [
        ("nb@%", {}, {}, "127.0.0.1"),
        ("nb", {"require_ssl": True}, {}, "127.0.0.1"),
        ("nb@%", {}, {"bind_address": "*"}, "127.0.0.1"),
        ("nb@%", {}, {"bind_address": "192.0.2.7"}, "192.0.2.7"),
        ("nb@%", {}, {"certificate": {"names": ["db.example.org"], "addresses": []}}, "db.example.org"),
    ],
)
def test_one_that_requires_tls_goes_by_a_name_that_the_certificate_has(
    account: str, user: dict[str, Any], mysql: dict[str, Any], host: str
) -> None:
    text = written(account, user, **mysql)

    assert f'host = "{host}"\nport = 3306\nssl-ca = "{TRUST}"\n' in text
    assert "ssl-verify-server-cert = 1\n" in text
    assert f'ssl_ca = "{TRUST}"\nssl_verify_cert = True\nssl_verify_identity = True\n' in text
    assert "socket" not in text


def test_each_maker_s_client_is_told_in_its_own_words_to_verify_the_name() -> None:
    assert "ssl-mode" not in written("nb@%")
    assert "\nssl-mode = VERIFY_IDENTITY\n" in written("nb@%", server="mysql").partition("[client-mariadb]")[0]
    elsewhere = written(server="external", host="db.example.org", administrator=ADMINISTRATOR)
    assert "\nloose-ssl-mode = VERIFY_IDENTITY\n" in elsewhere.partition("[mysql]")[2]
    assert 'ssl-ca = "/etc/ssl/certs/ca-certificates.crt"\n' in elsewhere


def test_a_server_elsewhere_is_reached_as_the_agent_reaches_it() -> None:
    text = written(
        server="external", host="db.example.org", port=3307, tls="/etc/ssl/db.pem", administrator=ADMINISTRATOR
    )
    assert 'host = "db.example.org"\nport = 3307\nssl-ca = "/etc/ssl/db.pem"\n' in text
    clear = written(server="external", host="127.0.0.1", tls=False, administrator=ADMINISTRATOR)
    assert 'host = "127.0.0.1"' in clear
    assert "ssl-verify-server-cert = 0\n" in clear
    assert "ssl-ca" not in clear
    assert 'socket = "/run/other.sock"' in written(server="external", socket="/run/other.sock")


def test_an_account_of_an_address_goes_there_and_a_server_without_a_port_by_the_socket() -> None:
    assert 'host = "127.0.0.1"\nport = 3307\n' in written("nb@127.0.0.1", port=3307)
    assert "ssl-ca" not in written("nb@127.0.0.1")
    assert SOCKET in written("nb@127.0.0.1", bind_address="none")


def test_the_password_ends_its_section_as_it_may_begin_another() -> None:
    text = written("nb@%", server="mysql")

    assert "password = <client>\n\n" in text
    assert "[connector_python]\npassword = <line>\n" in text
