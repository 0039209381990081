"""A secret is rotated in one go: whoever uses the files that it is in notices nothing, and where it fails nothing has changed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from agent.errors import Exit, HostError
from agent.sandbox import Result
from tests.system.conftest import Boot
from tests.system.database_hosts import SERVERS, SOCKET, DatabaseHost, database_host
from tests.system.notebooks import Notebooks

SPEC = f"""
user: {{name: nb}}
mysql:
  server: external
  socket: {SOCKET}
  databases: [work]
  users:
    nb: {{grants: {{work: [ALL]}}}}
    far@%: {{require_ssl: false, password_expires: 90d}}
    given: {{password: {{file: /etc/agent/secrets/given}}}}
    sock: {{plugin: socket}}
"""
STORE = "/var/lib/agent/secrets/mysql.nb"


class Rotating(DatabaseHost):
    def agent(self, *words: str, check: bool = True) -> Result:
        return self.machine.unit_run(["agent", *words], check=check)

    def secret(self, name: str = "mysql.nb") -> str:
        return self.machine.run(["cat", f"/var/lib/agent/secrets/{name}"]).stdout.strip()

    def login(self) -> str:
        """As whom the notebook account is let in with what its option file says; or why not."""
        done = self.machine.run(["runuser", "-u", "nb", "--", *self.query("SELECT CURRENT_USER()")], check=False)
        return (done.stdout or done.stderr).strip()

    def query(self, statement: str) -> list[str]:
        return [self.client, "--defaults-file=/home/nb/.my.cnf", "-N", "-e", statement]

    def gets_in(self, password: str, user: str = "nb") -> bool:
        words = [self.client, "--no-defaults", "-N", f"--user={user}", f"--password={password}", "-e", "SELECT 1"]
        return self.machine.run(words, check=False).status == 0

    def ways(self) -> str:
        """How many passwords the account is let in by, as the server has it."""
        if self.mysql:
            return self.sql(
                "SELECT 1 + COUNT(User_attributes->'$.additional_password') FROM mysql.user WHERE User = 'nb'"
            )
        return self.sql("SELECT COALESCE(JSON_LENGTH(Priv, '$.auth_or'), 1) FROM mysql.global_priv WHERE User = 'nb'")

    def background(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.machine.argv(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[Rotating]:
    with database_host(request.param) as booted:
        found = Rotating(booted.machine)
        found.machine.run("mkdir -p -m 700 /etc/agent/secrets; useradd sock")
        found.machine.run("umask 077; cat >/etc/agent/secrets/given", stdin="given-by-a-person\n")
        found.machine.run("cat >/etc/agent/spec.yaml", stdin=SPEC)
        found.agent("apply", "--yes")
        yield found


def as_it_should_be(host: Rotating) -> None:
    """The spec is met, the option file lets in, and by one password alone."""
    assert host.agent("verify", check=False).status == Exit.OK
    assert host.login() == "nb@localhost"
    assert host.ways() == "1\n"
    assert host.machine.run(["ls", "/var/lib/agent/secrets"]).stdout.split() == ["mysql.far-40-25", "mysql.nb"]


LOOP = """
for number in $(seq 100000); do
    [ -e /run/enough ] && break
    {client} --defaults-file=/home/nb/.my.cnf -N -e 'SELECT 1' >/dev/null || echo refused $number
done
echo $number
"""


def test_whoever_logs_in_by_the_option_file_meanwhile_is_never_refused(host: Rotating) -> None:
    old = host.secret()
    host.machine.run("rm -f /run/enough")
    loop = host.background("runuser", "-u", "nb", "--", "sh", "-c", LOOP.format(client=host.client))
    try:
        for name in ("mysql.nb", "nb", "nb@localhost"):
            before = host.secret()
            done = host.agent("secret", "rotate", name)
            assert "database_user:nb@localhost" in done.stdout
            assert "file:/home/nb/.my.cnf" in done.stdout
            assert host.secret() not in (before, old)
    finally:
        host.machine.run("touch /run/enough")
    said, _ = loop.communicate(timeout=60)
    assert said.split()[:-1] == []
    assert int(said) > 10
    assert not host.gets_in(old)
    as_it_should_be(host)
    assert old not in host.said()
    assert host.secret() not in host.said()


def test_its_sessions_are_ended_when_asked(host: Rotating) -> None:
    mine = host.background("runuser", "-u", "nb", "--", *host.query("SELECT SLEEP(300)"))
    waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'nb'"
    while host.sql(waiting) != "1\n":
        time.sleep(0.1)
    host.agent("secret", "rotate", "nb")
    assert host.sql(waiting) == "1\n", "not unasked"

    done = host.agent("secret", "rotate", "nb", "--disconnect")
    assert done.stdout.splitlines()[-1] == "1 session ended"
    assert mine.wait(timeout=20) != 0
    as_it_should_be(host)


def test_a_server_that_is_down_leaves_everything_as_it_was(host: Rotating) -> None:
    old = host.secret()
    host.machine.run(["systemctl", "stop", host.unit])
    done = host.agent("secret", "rotate", "nb", check=False)
    host.machine.run(["systemctl", "start", host.unit])
    host.log_all()
    host.sql("SET GLOBAL local_infile = 0")

    assert done.status == Exit.TEMPORARY
    assert "nothing was changed" in done.stderr
    assert host.secret() == old
    as_it_should_be(host)


def test_a_file_that_cannot_be_replaced_leaves_the_old_secret_in_force(host: Rotating) -> None:
    old = host.secret()
    host.machine.run("mv /home/nb/.my.cnf /root/kept; mkdir -p /home/nb/.my.cnf/in-the-way")
    done = host.agent("secret", "rotate", "nb", check=False)

    assert done.status == Exit.FAILED
    assert "mysql.nb could not be rotated: file:/home/nb/.my.cnf: " in done.stderr
    assert (host.secret(), host.ways()) == (old, "1\n")
    host.machine.run("rm -r /home/nb/.my.cnf; mv /root/kept /home/nb/.my.cnf")
    as_it_should_be(host)


def test_a_rotation_that_was_killed_is_made_up_for(host: Rotating) -> None:
    old = host.secret()
    running = host.background("agent", "secret", "rotate", "nb")
    while host.secret() == old:
        time.sleep(0.02)
    time.sleep(0.3)  # the file is replaced; the account has both for a second
    host.machine.run("kill -9 $(sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p' /var/lib/agent/lock)")
    running.wait(timeout=20)

    assert host.secret() != old
    assert host.ways() == "2\n", "it was in the middle"
    host.agent("apply", "--yes")
    assert not host.gets_in(old)
    as_it_should_be(host)


def test_an_account_without_a_file_is_rotated_as_well(host: Rotating) -> None:
    old = host.secret("mysql.far-40-25")
    host.agent("secret", "rotate", "far@%", "--disconnect")

    assert not host.gets_in(old, "far")
    assert host.gets_in(host.secret("mysql.far-40-25"), "far")
    as_it_should_be(host)


def test_a_password_that_became_too_old_is_told_and_rotated(host: Rotating) -> None:
    long_ago = (
        "UPDATE mysql.user SET password_last_changed = FROM_UNIXTIME(1700000000) WHERE User = 'far'"
        if host.mysql
        else "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.password_last_changed', 1700000000) WHERE User = 'far'"
    )
    host.sql(f"{long_ago}; FLUSH PRIVILEGES")
    told = host.agent("plan").stdout
    assert "nobody work with it any more: agent secret rotate far@%" in told
    assert not host.gets_in(host.secret("mysql.far-40-25"), "far")

    host.agent("secret", "rotate", "far@%")
    assert host.gets_in(host.secret("mysql.far-40-25"), "far")
    assert "older than" not in host.agent("plan").stdout
    as_it_should_be(host)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("given", "write the new one to /etc/agent/secrets/given (mode 0600), then: sudo agent apply"),
        ("sock", "there is nothing to rotate"),
        ("nobody", "nothing in the spec has a secret called nobody"),
    ],
)
def test_what_is_not_the_agent_s_to_rotate_is_told_with_the_way_out(host: Rotating, name: str, told: str) -> None:
    done = host.agent("secret", "rotate", name, check=False)
    assert done.status == Exit.ERROR
    assert told in done.stderr


def test_jupyter_takes_up_its_new_password(applied: Boot) -> None:
    machine = applied()
    machine.run("cp /var/lib/agent/secrets/jupyter.password /root/old")
    done = machine.unit_run(["agent", "secret", "rotate", "jupyter.password"], timeout=300)

    assert "unit:jupyter.service" in done.stdout
    assert Notebooks(machine).execute("python3", "print(2)") == "2"
    with pytest.raises(HostError):
        Notebooks(machine, password="/root/old").execute("python3", "print(2)")
    assert machine.unit_run(["agent", "verify"], check=False).status == Exit.OK
    no_account = machine.unit_run(["agent", "secret", "rotate", "jupyter.password", "--disconnect"], check=False)
    assert "it has no sessions to end" in no_account.stderr
