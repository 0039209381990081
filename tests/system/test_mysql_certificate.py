"""The database server's certificate by the host's authority: who gets in with it, and that a new one is shown without a session lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.database_hosts import SERVERS, DatabaseHost, database_host
from tests.system.roots import write_spec

SPEC = """
mysql:
  server: {server}
  certificate: {{mode: host-ca, lifetime: {lifetime}, renew_before: {renew_before}}}
  databases: [analysis]
  users:
    analyst:
      password: {{file: /etc/agent/analyst}}
      require_ssl: true
      grants: {{analysis: [SELECT]}}
    app@127.0.0.1:
      password: {{file: /etc/agent/analyst}}
      require_ssl: true
      grants: {{analysis: [SELECT]}}
"""
PASSWORD = "correct-horse"
WHO = "SELECT CURRENT_USER()"
SERIAL = "openssl s_client -starttls mysql -connect 127.0.0.1:3306 </dev/null 2>/dev/null | openssl x509 -noout -serial"


def spec(host: DatabaseHost, lifetime: str = "90d", renew_before: str = "1d") -> str:
    return SPEC.format(server="mysql" if host.mysql else "mariadb", lifetime=lifetime, renew_before=renew_before)


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[DatabaseHost]:
    with database_host(request.param) as booted:
        booted.machine.run(["sh", "-ec", "umask 077; mkdir -p /etc/agent; cat >/etc/agent/analyst"], stdin=PASSWORD)
        write_spec(booted.machine, spec(booted))
        booted.machine.unit_run(["agent", "apply", "--yes"], timeout=120)
        yield booted


def trust(host: DatabaseHost) -> str:
    return f"/etc/agent/tls/{'mysql' if host.mysql else 'mariadb'}/trust.pem"


def log_in(host: DatabaseHost, *options: str, statement: str = WHO) -> str:
    """Over the network, as anybody of the host may; what the server answers, or its error's number."""
    command = [
        *("runuser", "-u", "nobody", "--", "env", f"MYSQL_PWD={PASSWORD}", host.client, "--no-defaults", "-N"),
        *("-h", "127.0.0.1", "-u", "app", *options, "-e", statement),
    ]
    done = host.machine.run(command, check=False)
    return done.stdout.strip() if done.status == 0 else done.stderr.partition("ERROR ")[2].partition(" ")[0]


def verifying(host: DatabaseHost, authority: str) -> tuple[str, ...]:
    mode = "--ssl-mode=VERIFY_IDENTITY" if host.mysql else "--ssl-verify-server-cert"
    return (f"--ssl-ca={authority}", mode)


def test_a_client_that_knows_the_authority_verifies_the_server_and_gets_in(host: DatabaseHost) -> None:
    assert log_in(host, *verifying(host, trust(host))) == "app@127.0.0.1"


def test_a_client_that_knows_another_authority_does_not_talk_to_the_server(host: DatabaseHost) -> None:
    host.machine.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -out /srv/other.pem -days 2 -subj /CN=other; chmod 644 /srv/other.pem"
    )
    assert log_in(host, *verifying(host, "/srv/other.pem")) == "2026"


def test_an_account_that_requires_tls_is_refused_without(host: DatabaseHost) -> None:
    # without TLS MySQL's client wants the server's RSA key to send a password by, which it is given here: the account is what refuses
    plain = ("--ssl-mode=DISABLED", "--get-server-public-key") if host.mysql else ("--skip-ssl",)
    assert log_in(host, *plain) == "1045"


def shown(host: DatabaseHost) -> str:
    return host.machine.run(SERIAL).stdout


def test_a_renewed_certificate_is_shown_at_once_and_no_session_ends(host: DatabaseHost) -> None:
    machine = host.machine
    before, started = shown(host), machine.run(["systemctl", "show", "-P", "InvocationID", host.unit]).stdout
    client = f"{host.client} --no-defaults -N -h 127.0.0.1 -u app {' '.join(verifying(host, trust(host)))}"
    session = f"sleep 1; echo \"SELECT 'in'; SELECT SLEEP(6), {WHO[7:]}\" | MYSQL_PWD={PASSWORD} {client} -n >/srv/session 2>&1"
    machine.run(["systemd-run", "--quiet", "--unit=session", "sh", "-c", session])
    machine.run(
        "for i in $(seq 100); do grep -q in /srv/session 2>/dev/null && break; sleep 0.1; done; grep -q in /srv/session"
    )

    write_spec(machine, spec(host, "825d", "824d"))  # so that the one there is due
    planned = machine.run(["agent", "plan"], check=False).stdout
    applied = machine.unit_run(["agent", "apply", "--yes"], timeout=120)

    assert "served_certificate:" in planned
    assert ", 0 restarts" in planned
    assert "unit:" not in applied.stdout
    assert shown(host) not in ("", before)
    assert machine.run(["systemctl", "show", "-P", "InvocationID", host.unit]).stdout == started
    assert log_in(host, *verifying(host, trust(host))) == "app@127.0.0.1", "the authority is the same"
    machine.run("for i in $(seq 100); do grep -q app@ /srv/session && break; sleep 0.1; done")
    assert machine.run(["cat", "/srv/session"]).stdout.split() == ["in", "0", "app@127.0.0.1"]
    assert "No changes" in machine.run(["agent", "plan"]).stdout


def test_a_certificate_that_was_published_behind_its_back_is_taken_up(host: DatabaseHost) -> None:
    """As a pass that was killed before it told the server leaves it."""
    name = "mysql" if host.mysql else "mariadb"
    before = shown(host)
    issue = f"""
from agent.host.machine import Host
from agent.kinds.certificate import Certificate, Order
from agent.steps import IssueCertificate
order = Order("/etc/agent/tls/{name}", "host-ca", ("localhost",), ("127.0.0.1",), None, 80000000, "mysql", "/etc/agent/tls/host-ca")
Host().certificates.issue(IssueCertificate(order))
"""
    host.machine.run(["/opt/agent/bin/python3", "-c", issue])
    assert shown(host) == before

    planned = host.machine.run(["agent", "plan"], check=False).stdout
    host.machine.unit_run(["agent", "apply", "--yes"], timeout=120)
    assert f"served_certificate:{name}" in planned
    assert shown(host) not in ("", before)
    assert "No changes" in host.machine.run(["agent", "plan"]).stdout
