from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.host.certificates import Certificates
from agent.host.clock import Clock
from agent.host.looks import Looks
from agent.kinds.certificate import Authority, Certificate
from agent.plan import compare
from agent.records import from_record, to_record
from agent.resource import Action
from agent.steps import IssueCertificate, Remove, SetAccess

DAY = 86400


class Names:
    """Whoever runs the tests counts as root."""

    def user_name(self, _uid: int) -> str:
        return "root"

    group_name = user_name


class Host:
    def __init__(self) -> None:
        self.looks = Looks()
        self.clock = Clock(self.looks)
        self.certificates = Certificates(self.looks)
        self.accounts = Names()


@pytest.fixture
def host() -> Any:
    return Host()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(
        "jupyter",
        "self-signed",
        ("b.example.org", "localhost"),
        ("127.0.0.1",),
        lifetime=90 * DAY,
        renew_before=30 * DAY,
        under=str(tmp_path / "tls"),
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority("ca", ("b.example.org", "localhost"), ("127.0.0.1",), 3650 * DAY, 365 * DAY, str(tmp_path / "tls"))


def apply(resource: Certificate | Authority, host: Any) -> Any:
    """One change; returns it after it was seen to be right."""
    change = compare(resource, resource.read(host))
    if change is not None:
        for step in resource.steps(change):
            assert isinstance(step, IssueCertificate)
            host.certificates.issue(step)
    assert compare(resource, resource.read(host)) is None
    return change


def differing(resource: Certificate | Authority, host: Any) -> set[str]:
    change = compare(resource, resource.read(host))
    return {each.field for each in change.differences} if change else set()


def test_a_good_certificate_is_never_made_again(certificate: Certificate, host: Any) -> None:
    assert apply(certificate, host).action is Action.CREATE
    before = Path(certificate.key).read_bytes()
    assert apply(certificate, host) is None
    assert apply(replace(certificate, names=tuple(reversed(certificate.names))), host) is None
    assert Path(certificate.key).read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"names": ("c.example.org",)}, "names"),
        ({"addresses": ("127.0.0.1", "192.0.2.1")}, "addresses"),
        ({"rsa_bits": 2048}, "key"),
        ({"renew_before": 91 * DAY}, "due"),
        ({"mode": "host-ca", "authority": "ca"}, "signer"),
    ],
)
def test_what_it_is_for_decides_whether_it_is_made_anew(
    certificate: Certificate, authority: Authority, host: Any, changed: dict[str, Any], field: str
) -> None:
    apply(authority, host)
    apply(certificate, host)
    other = replace(certificate, **changed)
    assert differing(other, host) == {field}
    (step,) = other.steps(compare(other, other.read(host)))  # type: ignore[arg-type]
    assert isinstance(step, IssueCertificate)


def test_it_is_due_when_its_time_comes_and_a_question_says_so(
    certificate: Certificate, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(certificate, host)
    moments = [question[1] for question in host.looks.answers if question[0] == "before"]
    assert any(abs(moment - time.time() - 60 * DAY) < 60 for moment in moments)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 59 * DAY)
    assert differing(certificate, host) == set()
    monkeypatch.setattr(time, "time", lambda: now + 61 * DAY)
    assert differing(certificate, host) == {"due"}
    apply(certificate, host)


def test_an_opened_key_is_closed_and_not_made_anew(certificate: Certificate, host: Any) -> None:
    apply(certificate, host)
    Path(certificate.key).chmod(0o644)
    change = compare(certificate, certificate.read(host))
    assert change is not None
    steps = list(certificate.steps(change))
    assert all(isinstance(step, SetAccess) for step in steps)
    assert SetAccess(f"{certificate.directory}.d/1/key.pem", 0o600, "root", "root") in steps


def test_a_key_for_a_group_is_readable_by_it(certificate: Certificate) -> None:
    assert replace(certificate, group="alice").desired().access[-1] == "root:alice 0640"
    assert certificate.desired().access[-1] == "root:root 0600"


def test_removal_takes_the_link_and_all_generations(certificate: Certificate, host: Any) -> None:
    apply(certificate, host)
    change = compare(certificate, certificate.read(host)) or replace_action(certificate)
    assert list(certificate.steps(change)) == [
        Remove(certificate.directory),
        Remove(f"{certificate.directory}.d", tree=True),
    ]


def replace_action(certificate: Certificate) -> Any:
    from agent.resource import Change

    return Change(certificate, Action.DELETE)


def test_an_authority_lasts_while_it_covers_what_is_asked_for(authority: Authority, host: Any) -> None:
    apply(authority, host)
    trust = Path(authority.trust).read_bytes()
    for names in (("localhost",), ("b.example.org",), ("sub.b.example.org", "*.b.example.org")):
        assert apply(replace(authority, names=names), host) is None
    assert Path(authority.trust).read_bytes() == trust
    assert differing(replace(authority, names=("ab.example.org",)), host) == {"covers"}
    assert differing(replace(authority, addresses=("127.0.0.1", "192.0.2.1")), host) == {"covers"}


def test_a_certificate_is_signed_anew_when_its_authority_is(
    certificate: Certificate, authority: Authority, host: Any
) -> None:
    signed = replace(certificate, mode="host-ca", authority="ca")
    apply(authority, host)
    apply(signed, host)
    Path(authority.directory, "key.pem").unlink()
    apply(authority, host)
    assert differing(signed, host) == {"signer"}
    apply(signed, host)


def test_both_can_be_written_down_and_read_back(certificate: Certificate, authority: Authority) -> None:
    own = replace(certificate, mode="files", given=("/a.pem", "/a.key"))
    for each in (certificate, authority, own):
        assert from_record(to_record(each)) == each
