"""No secret is in any argument, environment, journal, log, diff, output, status or state file, nor in a file that others can read."""

from __future__ import annotations

from agent.sandbox import Machine
from tests.system import roots
from tests.system.conftest import Boot

GIVEN = {"file": "canary-File-9f2c71d4", "credential": "canary-Cred-5be08a63"}
SPEC = """
user: {name: notebook}
jupyter: {password: {file: /etc/agent/secrets/jupyter}}
conda:
  environments:
    analysis: {packages: [python 3.11.*, ipykernel, pymysql], kernel: Python 3.11}
mysql:
  databases: [analysis]
  users:
    notebook: {grants: {analysis: [ALL]}}
    analyst: {password: {credential: mysql.analyst}, grants: {analysis: [SELECT]}}
"""
TRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-v", "-s", "65536", "-e", "trace=execve,execveat", "-o"]

# where each secret may be: root's own store, what was given, and the files that are made of it for those who need it
ALLOWED = (
    "/etc/agent/secrets/jupyter",
    "/etc/credstore/mysql.analyst",
    "/var/lib/agent/secrets/",
    "/home/notebook/.my.cnf",
    "/etc/agent/jupyter/jupyter_server_config.py",
    "/etc/agent/tls/",
    "/var/lib/mysql/",
    # the server tells its own account how it is reached, in a directory of mode 0700
    "/run/jupyter/jpserver-",
)


def secrets_of(machine: Machine) -> dict[str, str]:
    """Every secret there is on the host, by a name for the report."""
    stored = machine.run('cd /var/lib/agent/secrets; for name in *; do echo "$name $(cat $name)"; done').stdout
    found = dict(line.split(" ", 1) for line in stored.splitlines())
    key = machine.run("sed -n 2p /etc/agent/tls/jupyter/key.pem").stdout.strip()
    return {**GIVEN, **found, "TLS key": key}


def places_of(machine: Machine, secret: str) -> list[str]:
    """Files of the host that hold a secret; the searched-for text goes in by standard input."""
    search = "grep -rlaF -D skip -f /dev/stdin /etc /var /home /root /run /tmp /opt/agent 2>/dev/null || true"
    return machine.run(search, stdin=secret, timeout=300).stdout.split()


def test_canaries_are_where_they_belong_and_nowhere_else(bare: Boot) -> None:
    machine = bare()
    machine.run("mkdir -p -m 700 /etc/agent/secrets /etc/credstore")
    machine.run("umask 077; cat >/etc/agent/secrets/jupyter", stdin=GIVEN["file"] + "\n")
    machine.run("umask 077; cat >/etc/credstore/mysql.analyst", stdin=GIVEN["credential"] + "\n")
    roots.write_spec(machine, SPEC + roots.PINNED)
    said: list[str] = []

    # the whole main job from nothing, then a repair after drift, then failures, each process start recorded
    first = machine.unit_run([*TRACE, "/srv/trace-1", "agent", "apply", "--yes", "-v"], timeout=600)
    machine.run(
        "sed -i 's/port = 8888/port = 9999/' /etc/agent/jupyter/jupyter_server_config.py; echo x >>/home/notebook/.my.cnf"
    )
    machine.run("mariadb -e \"SET GLOBAL general_log=1; SET PASSWORD FOR analyst@localhost = PASSWORD('other')\"")
    for words in (
        "plan --diff",
        "plan --json",
        "verify",
        "render --path /home/notebook/.my.cnf",
        "apply --yes -v --json",
        "status --json",
    ):
        done = machine.unit_run(
            [*TRACE, f"/srv/trace-{len(said) + 2}", "agent", *words.split()], check=False, timeout=300
        )
        said += [done.stdout, done.stderr]
    machine.run("systemctl stop mariadb; rm /var/lib/agent/secrets/mysql.notebook; echo broken >/home/notebook/.my.cnf")
    machine.run("mv /etc/agent/secrets/jupyter /root/jupyter; chmod 600 /root/jupyter")
    failing = machine.unit_run([*TRACE, "/srv/trace-9", "agent", "apply", "--yes", "-v"], check=False, timeout=300)
    machine.run("mv /root/jupyter /etc/agent/secrets/jupyter")
    assert failing.status != 0
    machine.unit_run(["agent", "apply", "--yes"], timeout=300)
    said += [
        first.stdout,
        first.stderr,
        failing.stdout,
        failing.stderr,
        machine.journal(),
        machine.run("cat /srv/trace-*").stdout,
    ]

    secrets = secrets_of(machine)
    assert len(secrets) >= 6
    assert all(len(value) >= 12 for value in secrets.values())
    for name, value in secrets.items():
        assert [text[max(0, text.find(value) - 300) : text.find(value)] for text in said if value in text] == [], name
        elsewhere = [place for place in places_of(machine, value) if not place.startswith(ALLOWED)]
        assert elsewhere == [], name
        assert value not in machine.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true").stdout, (
            name
        )


def test_nobody_else_can_read_what_holds_a_secret(applied: Boot) -> None:
    machine = applied()
    held = {place for value in secrets_of_applied(machine) for place in places_of(machine, value)}
    machine.run("useradd nosy")

    for place in sorted(held):
        read = machine.run(["setpriv", "--reuid=nosy", "--regid=nosy", "--clear-groups", "cat", place], check=False)
        assert read.status != 0, place
    assert "/var/lib/agent/secrets/jupyter.password" in held


def secrets_of_applied(machine: Machine) -> list[str]:
    return machine.run("cat /var/lib/agent/secrets/*").stdout.split()
