"""Other ways in than the quickstart's: an authority of the host's own, port 443, a path, an old password hash; changed on a running host."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from agent.sandbox import Machine
from tests.system import roots
from tests.system.notebooks import Notebooks

BASE = "https://localhost/lab-one/"
PASSWORD = "correct horse staple"
OLD_HASH = f"sha1:0123456789ab:{hashlib.sha1(f'{PASSWORD}0123456789ab'.encode()).hexdigest()}"  # noqa: S324 - what old walkthroughs made
TLS = "tls: {mode: host-ca, names: [notebooks.example.org, localhost], addresses: [127.0.0.1], lifetime: 90d}\n"
JUPYTER = f"""\
jupyter:
  interface: notebook
  port: 443
  base_url: /lab-one/
  restart: now
  password: {{hash: "{OLD_HASH}"}}
"""
SPEC = roots.QUICKSTART.replace(roots.PINNED, TLS).replace("jupyter:\n  interface: lab\n", JUPYTER)
STRICT = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT
print(urllib.request.urlopen(sys.argv[2], context=context, timeout=10).status)
"""
TRUST = "/etc/agent/tls/jupyter/trust.pem"


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    """The quickstart's host, whose owner then wanted all of this."""
    root = roots.applied_root()
    with Machine(root, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        roots.write_spec(machine, SPEC)
        applied = machine.unit_run(["agent", "apply"], timeout=300)
        assert " 0 failed, 0 skipped." in applied.stdout, applied.stdout
        machine.run(f"umask 077; echo '{PASSWORD}' >/root/password")
        yield machine


def test_clients_that_know_the_authority_take_the_certificate_and_others_do_not(host: Machine) -> None:
    with_it = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", TRUST]
    assert host.run([*with_it, f"{BASE}api"]).stdout == "200"
    assert host.run([*with_it, "--resolve", "notebooks.example.org:443:127.0.0.1", "https://notebooks.example.org/lab-one/api"]).stdout == "200"  # fmt: skip
    assert host.run(["python3", "-c", STRICT, TRUST, f"{BASE}api"]).stdout == "200\n"

    without = host.run(["curl", "-sS", f"{BASE}api"], check=False)
    assert "certificate" in without.stderr
    other = ["--resolve", "elsewhere.example.org:443:127.0.0.1", "https://elsewhere.example.org/lab-one/api"]
    assert host.run([*with_it, *other], check=False).status != 0


def test_the_authority_signs_for_this_host_alone_and_the_server_cannot_read_its_key(host: Machine) -> None:
    assert host.run(f"openssl verify -x509_strict -CAfile {TRUST} /etc/agent/tls/jupyter/cert.pem").status == 0
    text = host.run(f"openssl x509 -in {TRUST} -noout -text").stdout
    assert "CA:TRUE, pathlen:0" in text
    assert "X509v3 Name Constraints: critical" in text
    keys = host.run("grep -rl 'PRIVATE KEY' /etc/agent/tls").stdout.split()
    allowed = [
        key for key in keys if host.run(["runuser", "-u", "notebook", "--", "cat", key], check=False).status == 0
    ]
    assert {key.rpartition("/")[2] for key in allowed} == {"key.pem"}
    assert len(keys) > len(allowed)


def test_everything_is_below_the_path_on_port_443_and_nothing_where_it_was(host: Machine) -> None:
    code = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", TRUST]
    assert host.run([*code, "https://localhost/api"]).stdout == "404"
    assert host.run([*code, f"{BASE}api/status"]).stdout == "403"
    assert host.run("ss -Hltn 'sport = :8888'").stdout == ""
    assert "/lab-one/tree" in host.run([*code[:-2], "-k", "-w", "%{redirect_url}", BASE]).stdout


def test_an_old_hash_lets_its_password_in(host: Machine) -> None:
    notebooks = Notebooks(host, url="https://127.0.0.1/lab-one/", password="/root/password")
    assert notebooks.execute("analysis", "print(6 * 7)") == "42"
    assert host.run("agent plan --detailed-exitcode", check=False).status == 0


def test_another_certificate_is_served_without_a_restart_and_clients_notice_nothing(host: Machine) -> None:
    before = host.run(
        "systemctl show -P InvocationID jupyter; openssl x509 -in /etc/agent/tls/jupyter/cert.pem -noout -serial"
    ).stdout
    roots.write_spec(host, SPEC.replace("lifetime: 90d", "lifetime: 90d, key_type: rsa"))
    host.unit_run(["agent", "apply"])
    after = host.run(
        "systemctl show -P InvocationID jupyter; openssl x509 -in /etc/agent/tls/jupyter/cert.pem -noout -serial"
    ).stdout
    assert after.split()[0] == before.split()[0]
    assert after.split()[1] != before.split()[1]
    assert host.run(["python3", "-c", STRICT, TRUST, f"{BASE}api"]).stdout == "200\n"
    served = host.run(
        "openssl s_client -connect localhost:443 </dev/null 2>/dev/null | openssl x509 -noout -serial"
    ).stdout
    assert served.strip() == after.split()[1]
