from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host import certificates, look, x509
from agent.host.certificates import Certificates
from agent.host.looks import Looks
from agent.kinds.certificate import Order
from agent.steps import IssueCertificate

DAY = 86400
NAMES = ("nb.example.org", "localhost")
ADDRESSES = ("127.0.0.1", "::1", "192.0.2.10")


@pytest.fixture
def part() -> Certificates:
    return Certificates(Looks())


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(str(tmp_path / "tls/jupyter"), "self-signed", NAMES, ADDRESSES, None, 90 * DAY, "root")


@pytest.fixture
def authority(tmp_path: Path) -> Order:
    return Order(str(tmp_path / "tls/ca"), "authority", NAMES, ADDRESSES, None, 3650 * DAY, "root")


def openssl(*argv: str) -> str:
    done = subprocess.run(["openssl", *argv], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def issue(part: Certificates, order: Order) -> None:
    Path(order.directory).parent.mkdir(exist_ok=True)
    part.issue(IssueCertificate(order))


def test_a_self_signed_certificate_is_for_its_names_and_signs_nothing(part: Certificates, order: Order) -> None:
    issue(part, order)
    text = openssl("x509", "-noout", "-text", "-in", f"{order.directory}/cert.pem")
    assert "CA:FALSE" in text
    assert "TLS Web Server Authentication" in text
    assert "ASN1 OID: prime256v1" in text
    for name in ("DNS:nb.example.org", "DNS:localhost", "IP Address:127.0.0.1", "IP Address:192.0.2.10"):
        assert name in text
    facts = part.facts(order.directory)
    assert facts is not None
    assert (facts.names, facts.addresses) == (tuple(sorted(NAMES)), tuple(sorted(ADDRESSES)))
    assert (facts.key, facts.signer, facts.pair, facts.of_this_host) == ("P-256", "itself", True, True)
    assert abs(facts.not_after - time.time() - 90 * DAY) < 60
    assert [f"{mode:04o}" for mode, _, _ in facts.access] == ["0755", "0755", "0644", "0600"]


def test_openssl_strict_takes_the_certificate_for_its_names_only(part: Certificates, order: Order) -> None:
    issue(part, order)
    path = f"{order.directory}/cert.pem"
    verify = ("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", path)
    assert openssl(*verify, "-verify_hostname", "nb.example.org", path).endswith("OK\n")
    assert openssl(*verify, "-verify_ip", "192.0.2.10", path).endswith("OK\n")
    assert "hostname mismatch" in openssl(*verify, "-verify_hostname", "other.example.org", path).lower()


def test_a_key_of_rsa_has_the_length_that_is_asked_for(part: Certificates, order: Order) -> None:
    issue(part, replace(order, rsa_bits=2048))
    facts = part.facts(order.directory)
    assert facts is not None and facts.key == "RSA 2048"


def test_an_authority_signs_for_its_names_and_no_others(
    part: Certificates, order: Order, authority: Order, tmp_path: Path
) -> None:
    issue(part, authority)
    text = openssl("x509", "-noout", "-text", "-in", f"{authority.directory}/cert.pem")
    assert "CA:TRUE, pathlen:0" in text
    assert "X509v3 Name Constraints: critical" in text
    signed = replace(order, mode="host-ca", authority=authority.directory)
    issue(part, signed)
    facts = part.facts(order.directory, authority.directory)
    assert facts is not None and facts.signer == "authority"
    trust, path = f"{order.directory}/trust.pem", f"{order.directory}/cert.pem"
    verify = ("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", trust)
    assert openssl(*verify, "-verify_hostname", "nb.example.org", path).endswith("OK\n")
    issue(part, replace(signed, names=("elsewhere.example.net",), addresses=()))
    assert "permitted subtree violation" in openssl(*verify, path)
    issue(part, replace(signed, addresses=("203.0.113.1",)))
    assert "permitted subtree violation" in openssl(*verify, path)


def test_an_authority_without_addresses_cannot_sign_for_any(part: Certificates, order: Order, authority: Order) -> None:
    issue(part, replace(authority, addresses=()))
    issue(part, replace(order, mode="host-ca", authority=authority.directory, addresses=("203.0.113.1",)))
    said = openssl("verify", "-x509_strict", "-CAfile", f"{order.directory}/trust.pem", f"{order.directory}/cert.pem")
    assert "excluded subtree violation" in said


def test_a_leaf_of_an_authority_that_was_replaced_is_seen(part: Certificates, order: Order, authority: Order) -> None:
    issue(part, authority)
    issue(part, replace(order, mode="host-ca", authority=authority.directory))
    issue(part, authority)
    facts = part.facts(order.directory, authority.directory)
    assert facts is not None and facts.signer == "another"


def test_a_new_certificate_has_a_new_key_and_the_old_ones_go(part: Certificates, order: Order) -> None:
    seen = set()
    for _ in range(4):
        issue(part, order)
        seen.add(Path(order.directory, "key.pem").read_bytes())
    assert len(seen) == 4
    assert sorted(os.listdir(f"{order.directory}.d")) == ["3", "4"]
    assert os.readlink(order.directory) == "jupyter.d/4"


def test_a_failed_issue_leaves_what_was_published(part: Certificates, order: Order, tmp_path: Path) -> None:
    issue(part, order)
    before = Path(order.directory, "cert.pem").read_bytes()
    for bad in (
        replace(order, group="there-is-no-such-group"),
        replace(order, mode="host-ca", authority=str(tmp_path / "none")),
        replace(order, mode="files", given=("/there/is/no/cert.pem", "/there/is/no/key.pem")),
    ):
        with pytest.raises(HostError):
            issue(part, bad)
    assert Path(order.directory, "cert.pem").read_bytes() == before


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "machine"])
def test_damage_is_seen(part: Certificates, order: Order, name: str) -> None:
    issue(part, order)
    Path(order.directory, name).write_text("damaged\n")
    facts = part.facts(order.directory)
    assert facts is None or not (facts.pair and facts.of_this_host)


def test_a_directory_or_nothing_in_the_link_s_place_is_no_certificate(part: Certificates, order: Order) -> None:
    assert part.facts(order.directory) is None
    Path(order.directory).mkdir(parents=True)
    assert part.facts(order.directory) is None


def test_a_copied_disk_with_another_machine_id_is_seen(
    part: Certificates, order: Order, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    identity = tmp_path / "machine-id"
    identity.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(certificates, "MACHINE_ID", str(identity))
    issue(part, order)
    assert "0123456789abcdef" not in Path(order.directory, "machine").read_text()
    identity.write_text("fedcba9876543210fedcba9876543210\n")
    facts = part.facts(order.directory)
    assert facts is not None and not facts.of_this_host


def test_questions_cover_certificate_key_mode_link_and_machine(part: Certificates, order: Order) -> None:
    issue(part, order)
    looks = Looks()
    Certificates(looks).facts(order.directory)
    questions, answers = list(looks.answers), list(looks.answers.values())
    assert look.answer_all(questions) == answers
    Path(order.directory, "key.pem").chmod(0o644)
    assert look.answer_all(questions) != answers
    Path(order.directory, "key.pem").chmod(0o600)
    assert look.answer_all(questions) == answers
    issue(part, order)
    assert look.answer_all(questions) != answers


def own(tmp_path: Path, *, lifetime: int = 30 * DAY, bits: int | None = None) -> tuple[str, str]:
    key = x509.new_key(bits)
    made = x509.self_signed(key, ["own.example.org"], [], lifetime, int(time.time()))
    (tmp_path / "own.pem").write_bytes(x509.certificate_pem(made))
    (tmp_path / "own.key").write_bytes(x509.key_pem(key))
    return str(tmp_path / "own.pem"), str(tmp_path / "own.key")


def test_a_certificate_of_one_s_own_is_copied_through_root_s_links(
    part: Certificates, order: Order, tmp_path: Path
) -> None:
    own(tmp_path)
    (tmp_path / "live").mkdir()
    for name in ("own.pem", "own.key"):
        (tmp_path / "live" / name).symlink_to(f"../{name}")
    given = (str(tmp_path / "live/own.pem"), str(tmp_path / "live/own.key"))
    issue(part, replace(order, mode="files", given=given))
    facts = part.facts(order.directory, None, given)
    assert facts is not None and facts.as_given and facts.pair
    own(tmp_path)
    facts = part.facts(order.directory, None, given)
    assert facts is not None and not facts.as_given


def test_a_certificate_of_one_s_own_that_cannot_be_used_says_why(
    part: Certificates, order: Order, tmp_path: Path
) -> None:
    def refused(given: tuple[str, str], why: str) -> None:
        with pytest.raises(HostError, match=why):
            issue(part, replace(order, mode="files", given=given))

    certificate, key = own(tmp_path)
    (tmp_path / "other").mkdir()
    other = own(tmp_path / "other")
    refused((certificate, other[1]), "is not the key of")
    refused((certificate, "/there/is/none"), "does not exist")
    refused((key, certificate), "cannot be used")
    refused(own(tmp_path, lifetime=-60), "expired on 20")
    refused(own(tmp_path, bits=1024), "RSA below 2048")


def test_a_reader_never_sees_half_a_renewal(part: Certificates, order: Order) -> None:
    """What a generation holds is whole and a pair from the moment that the link leads to it."""
    issue(part, order)
    stop = threading.Event()
    wrong: list[ssl.SSLError] = []

    def read() -> None:
        while not stop.is_set():
            generation = os.path.realpath(order.directory)
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                    f"{generation}/cert.pem", f"{generation}/key.pem"
                )
            except FileNotFoundError:
                continue  # two renewals went by meanwhile
            except ssl.SSLError as error:
                wrong.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        issue(part, order)
    stop.set()
    reader.join()
    assert not wrong


def test_python_strict_connects_to_a_server_with_it(part: Certificates, order: Order, authority: Order) -> None:
    issue(part, authority)
    issue(part, replace(order, mode="host-ca", authority=authority.directory))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(f"{order.directory}/cert.pem", f"{order.directory}/key.pem")
    client = ssl.create_default_context(cafile=f"{authority.directory}/trust.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("localhost", "nb.example.org", "127.0.0.1", "192.0.2.10"):
        assert handshake(server, client, name) == ""
    assert "match" in handshake(server, client, "other.example.org")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name):
            return ""
    except ssl.SSLError as error:
        return str(error)
    finally:
        ours.close()
        thread.join()
