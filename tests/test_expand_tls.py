from __future__ import annotations

from typing import Any

import pytest

from agent.kinds.certificate import Authority, Certificate
from agent.resource import Resource
from agent.spec.expand_tls import default_addresses, default_names, expand_authority, expand_tls
from agent.spec.sections.tls import Tls

DAY = 86400


class Host:
    """What a host calls itself, and where its packets leave from."""

    def __init__(self, name: str = "nb1.example.org", *addresses: str) -> None:
        self.looks = self
        self._answers: dict[str, object] = {"hostname": name, "address": addresses}

    def ask(self, what: str) -> object:
        return self._answers[what]


def expanded(tls: dict[str, Any]) -> list[Resource]:
    host: Any = Host()
    section = Tls.model_validate(tls)
    return [*expand_authority(host, section, None), expand_tls(section, host, "alice")]


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("nb1.example.org", ("localhost", "nb1.example.org", "nb1")),
        ("NB1", ("localhost", "nb1")),
        ("localhost", ("localhost",)),
        ("ip-10-0-0-1.ec2.internal", ("localhost", "ip-10-0-0-1.ec2.internal", "ip-10-0-0-1")),
        ("my_host", ("localhost",)),
        ("(none)", ("localhost",)),
        ("", ("localhost",)),
    ],
)
def test_a_host_has_its_names_unless_they_are_none(name: str, names: tuple[str, ...]) -> None:
    host: Any = Host(name)
    assert default_names(host) == names


def test_addresses_are_the_loopback_s_and_those_to_elsewhere() -> None:
    host: Any = Host("x", "192.0.2.7", "2001:db8::7", "fe80::1", "127.0.0.1")
    assert default_addresses(host) == ("127.0.0.1", "::1", "192.0.2.7", "2001:db8::7")


def test_self_signed_is_one_certificate_for_a_year() -> None:
    (certificate,) = expanded({})
    assert isinstance(certificate, Certificate)
    assert (certificate.mode, certificate.group, certificate.rsa_bits) == ("self-signed", "alice", None)
    assert (certificate.lifetime, certificate.renew_before) == (365 * DAY, 365 * DAY // 3)


def test_host_ca_is_an_authority_that_outlives_what_it_signs() -> None:
    authority, certificate = expanded(
        {"mode": "host-ca", "lifetime": "800d", "names": ["a.example.org"], "key_type": "rsa"}
    )
    assert isinstance(authority, Authority)
    assert isinstance(certificate, Certificate)
    assert authority.renew_before >= certificate.lifetime == 800 * DAY
    assert authority.names == certificate.names == ("a.example.org",)
    assert certificate.rsa_bits == 2048
    assert authority.ref in certificate.needs()


def test_a_certificate_of_one_s_own_is_taken_from_where_it_is() -> None:
    (certificate,) = expanded({"mode": "files", "certificate": "/etc/ssl/a.pem", "key": "/etc/ssl/a.key"})
    assert isinstance(certificate, Certificate)
    assert certificate.given == ("/etc/ssl/a.pem", "/etc/ssl/a.key")
    assert certificate.desired().names is None


def test_one_authority_signs_for_all_and_outlives_the_longest() -> None:
    host: Any = Host()
    own = Tls.model_validate({"mode": "host-ca", "names": ["a.example.org"], "addresses": ["192.0.2.7"]})
    other = Tls.model_validate({"mode": "host-ca", "names": ["b.example.org"], "lifetime": "800d"})
    (authority,) = expand_authority(host, own, other)

    assert authority.names == ("a.example.org", "b.example.org")
    assert set(authority.addresses) == {"192.0.2.7", "127.0.0.1", "::1"}
    assert authority.renew_before == 800 * DAY
