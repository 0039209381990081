"""Whatever somebody changes by hand is shown as drift, with the exit status that says so, and repaired by the next apply, which starts anew only
those services that have loaded what was changed, or were stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.system.governed import Host, changes, governed

CONFIG = "/etc/agent/jupyter/jupyter_server_config.py"
KEY = "/etc/agent/tls/jupyter/key.pem"
KERNEL = "/etc/agent/jupyter/share/kernels/analysis"
MY_CNF = "/home/notebook/.my.cnf"
TOOLS = "/opt/conda/envs/tools"
DATABASE_OPTIONS = "/etc/mysql/mariadb.conf.d/90-agent.cnf"
SENSITIVE = "stat -c '%a %U %G %Y' /etc/shadow; cat /etc/shadow"


@dataclass(frozen=True)
class Drift:
    """What is done by hand; the changes that repair it, by ref; the services that these start anew."""

    by_hand: str
    repairs: Mapping[str, str]
    restarts: tuple[str, ...] = ()
    reloads: tuple[str, ...] = ()
    """Units whose files systemd reads again after that, which disturbs nobody."""
    seen: str = ""
    """A script that fails unless the repair is there, as whoever relies on it sees it."""


def update(*refs: str) -> dict[str, str]:
    return dict.fromkeys(refs, "update")


def create(*refs: str) -> dict[str, str]:
    return dict.fromkeys(refs, "create")


def sql(statements: str) -> str:
    return f'mariadb -e "{statements}"'


DRIFTS = {
    "config edited": Drift(
        f"echo 'c.ServerApp.port = 9999' >>{CONFIG}", update(f"file:{CONFIG}"), seen=f"! grep 9999 {CONFIG}"
    ),
    "config made writable": Drift(
        f"chmod 0666 {CONFIG}; chown notebook {CONFIG}",
        update(f"file:{CONFIG}"),
        seen=f"stat -c '%a %U:%G' {CONFIG} | grep -x '640 root:notebook'",
    ),
    "config replaced by a link": Drift(
        f"ln -sf /etc/shadow {CONFIG}", update(f"file:{CONFIG}"), seen=f"test ! -L {CONFIG}"
    ),
    "key opened": Drift(
        f"chmod 0644 {KEY}", update("certificate:jupyter"), seen=f"stat -Lc '%a %U:%G' {KEY} | grep -x '640 root:notebook'"
    ),
    "key deleted": Drift(
        f"rm $(readlink -f {KEY})", create("certificate:jupyter"), seen=f"openssl pkey -noout -in {KEY}"
    ),
    "certificate deleted": Drift(
        "rm -r /etc/agent/tls/jupyter /etc/agent/tls/jupyter.d",
        create("certificate:jupyter"),
        seen="openssl x509 -noout -in /etc/agent/tls/jupyter/cert.pem -checkhost localhost | grep 'does match'",
    ),
    "key of another pair": Drift(
        f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /root/k; cat /root/k >{KEY}",
        update("certificate:jupyter"),
        seen="cd /etc/agent/tls/jupyter; openssl pkey -in key.pem -pubout >/tmp/a; openssl x509 -in cert.pem -pubkey -noout | cmp - /tmp/a",
    ),
    "unit disabled": Drift(
        "systemctl disable jupyter.service",
        update("unit:jupyter.service"),
        seen="systemctl is-enabled jupyter.service",
    ),
    "unit stopped": Drift(
        "systemctl stop ticker.service",
        update("unit:ticker.service"),
        ("ticker.service",),
        seen="systemctl is-active ticker.service",
    ),
    "unit stopped and disabled": Drift(
        "systemctl disable --now ticker.service",
        create("unit:ticker.service"),
        ("ticker.service",),
        seen="systemctl is-active ticker.service; systemctl is-enabled ticker.service",
    ),
    "server stopped": Drift(
        "systemctl stop jupyter.service",
        update("unit:jupyter.service"),
        ("jupyter.service",),
        seen="curl --insecure --fail --silent https://127.0.0.1:8888/api",
    ),
    "unit masked": Drift(
        "systemctl mask mariadb.service",
        update("unit:mariadb.service"),
        seen="systemctl is-enabled mariadb.service",
    ),
    "unit masked and stopped": Drift(
        "systemctl mask --runtime --now mariadb.service",
        update("unit:mariadb.service"),
        ("mariadb.service",),
        seen="mariadb -e 'SELECT 1'",
    ),
    "unit file edited": Drift(
        "sed -i 's/infinity/1d/' /etc/systemd/system/ticker.service",
        update("file:/etc/systemd/system/ticker.service", "unit:ticker.service"),
        seen="systemctl show -p NeedDaemonReload --value ticker.service | grep -x no",
    ),
    "unit file edited and loaded": Drift(
        "sed -i 's/infinity/1d/' /etc/systemd/system/ticker.service; systemctl daemon-reload",
        update("file:/etc/systemd/system/ticker.service"),
        reloads=("unit:ticker.service",),
        seen="systemctl show -p ExecStart ticker.service | grep infinity",
    ),
    "unit file replaced by a mask": Drift(
        "ln -sf /dev/null /etc/systemd/system/ticker.service; systemctl daemon-reload",
        update("file:/etc/systemd/system/ticker.service", "unit:ticker.service"),
        seen="systemctl is-enabled ticker.service; systemctl is-active ticker.service",
    ),
    "kernelspec deleted": Drift(f"rm -r {KERNEL}", create("kernelspec:analysis"), seen=f"test -e {KERNEL}/kernel.json"),
    "kernelspec edited": Drift(
        f"sed -i s/3.11/3.12/ {KERNEL}/kernel.json", update("kernelspec:analysis"), seen=f"grep 'Python 3.11' {KERNEL}/kernel.json"
    ),
    "grant revoked": Drift(
        sql("REVOKE SELECT ON analysis.* FROM reader@localhost"),
        update("grants:reader@localhost"),
        seen="mariadb -e 'SHOW GRANTS FOR reader@localhost' | grep 'GRANT SELECT, SHOW VIEW ON `analysis`.*'",
    ),
    "every grant revoked": Drift(
        sql("REVOKE ALL ON analysis.* FROM reader@localhost"), create("grants:reader@localhost")
    ),
    "privilege added": Drift(
        sql("GRANT DROP ON analysis.* TO reader@localhost WITH GRANT OPTION"),
        update("grants:reader@localhost"),
        seen="! mariadb -e 'SHOW GRANTS FOR reader@localhost' | grep -e DROP -e 'GRANT OPTION'",
    ),
    "privilege on everything": Drift(
        sql("GRANT ALL ON *.* TO reader@localhost"),
        update("grants:reader@localhost"),
        seen="mariadb -e 'SHOW GRANTS FOR reader@localhost' | grep 'GRANT USAGE'",
    ),
    "database user's password changed": Drift(
        sql("ALTER USER reader@localhost IDENTIFIED BY 'guessed'"),
        update("database_user:reader@localhost"),
        seen="! mariadb -ureader -pguessed -e 'SELECT 1'; mariadb -ureader -p$(agent secret show mysql.reader) -e 'SELECT 1'",
    ),
    "database user's plugin changed": Drift(
        sql("ALTER USER reader@localhost IDENTIFIED VIA unix_socket"),
        update("database_user:reader@localhost"),
        seen="mariadb -ureader -p$(agent secret show mysql.reader) -e 'SELECT 1'",
    ),
    "database user dropped": Drift(
        sql("DROP USER reader@localhost"),
        create("database_user:reader@localhost", "grants:reader@localhost"),
    ),
    "database user without a name": Drift(
        sql("CREATE USER ''@localhost; GRANT ALL ON *.* TO ''@localhost"),
        update("server:mariadb"),
        seen="test -z \"$(mariadb -Ne \"SELECT Host FROM mysql.user WHERE User = ''\")\"",
    ),
    "database dropped": Drift(sql("DROP DATABASE analysis"), create("database:analysis")),
    "database's character set changed": Drift(
        sql("ALTER DATABASE analysis CHARACTER SET latin1"), update("database:analysis")
    ),
    "database's socket unit enabled": Drift(
        "systemctl enable mariadb.socket", {"unit:mariadb.socket": "delete"}, seen="! systemctl is-enabled mariadb.socket"
    ),
    "database options edited": Drift(
        f"printf '[mysqld]\\nbind-address = 0.0.0.0\\n' >{DATABASE_OPTIONS}", update(f"file:{DATABASE_OPTIONS}")
    ),
    "conda package's record and files deleted": Drift(
        f"rm -r {TOOLS}/conda-meta/six-*.json {TOOLS}/lib/python3.11/site-packages/six*",
        update("environment:tools"),
        seen=f"runuser -u notebook -- {TOOLS}/bin/python -c 'import six'",
    ),
    "conda package of the server's deleted": Drift(
        "rm /opt/conda/envs/jupyter/conda-meta/notebook-*.json",
        {**update("environment:jupyter"), "unit:jupyter.service": "restart"},
        ("jupyter.service",),  # it runs from the build that was spoiled
    ),
    "pip package removed": Drift(
        f"runuser -u notebook -- {TOOLS}/bin/python -m pip --quiet uninstall -y humanize",
        update("environment:tools"),
        seen=f"runuser -u notebook -- {TOOLS}/bin/python -c 'import humanize'",
    ),
    "interpreter deleted": Drift(
        f"rm {TOOLS}/conda-meta/python-3*.json {TOOLS}/bin/python*",
        update("environment:tools"),
        seen=f"runuser -u notebook -- {TOOLS}/bin/python -c 'import humanize, six'",
    ),
    "shell changed": Drift(
        "usermod -s /bin/sh notebook", update("user:notebook"), seen="getent passwd notebook | grep ':/bin/bash$'"
    ),
    "account taken out of a group": Drift(
        "gpasswd --delete notebook research", update("user:notebook"), seen="id -nG notebook | grep research"
    ),
    "account put into a group": Drift(
        "usermod -aG adm notebook", update("user:notebook"), seen="! id -nG notebook | grep adm"
    ),
    "group deleted": Drift(
        "groupdel research; groupadd thieves",
        create("group:research")
        | update("user:notebook", "directory:/srv/shared", "file:/etc/ticker.conf"),
        seen="test $(stat -c %G /srv/shared) = research; groupdel thieves",
    ),
    "home's owner changed": Drift(
        "chown root:root /home/notebook", update("user:notebook"), seen="test $(stat -c %U:%G /home/notebook) = notebook:notebook"
    ),
    "directory opened": Drift(
        "chmod 2777 /srv/shared", update("directory:/srv/shared"), seen="test $(stat -c %a /srv/shared) = 2770"
    ),
    "environments' directory given to root": Drift("chown root:root /opt/conda/envs", update("directory:/opt/conda/envs")),
    "file deleted": Drift("rm /etc/ticker.conf", create("file:/etc/ticker.conf")),
    "file replaced by a link": Drift("ln -sf /etc/shadow /etc/ticker.conf", update("file:/etc/ticker.conf")),
    "client file deleted": Drift(f"rm {MY_CNF}", create(f"file:{MY_CNF}"), seen="runuser -u notebook -- mariadb -e 'SELECT 1'"),
    "client file edited": Drift(f"echo '[mysqld]' >>{MY_CNF}", update(f"file:{MY_CNF}")),
    "client file opened": Drift(f"chmod 0644 {MY_CNF}", update(f"file:{MY_CNF}")),
    "client file linked": Drift(
        f"runuser -u notebook -- ln -sf /etc/shadow {MY_CNF}",
        update(f"file:{MY_CNF}"),
        seen=f"test ! -L {MY_CNF}; runuser -u notebook -- mariadb -e 'SELECT 1'",
    ),
    "own key added": Drift(
        "echo 'ssh-ed25519 AAAA' >>/home/notebook/.ssh/authorized_keys", update("file:/home/notebook/.ssh/authorized_keys")
    ),
    "secret opened": Drift(
        "chmod 0644 /var/lib/agent/secrets/mysql.reader",
        update("secret:mysql.reader"),
        seen="mariadb -ureader -p$(agent secret show mysql.reader) -e 'SELECT 1'",
    ),
    "password's hash deleted": Drift("rm /var/lib/agent/secrets/jupyter.password.hash", create("password_hash:jupyter.password.hash"), ("jupyter.service",)),
    "distribution package removed": Drift(
        "dpkg --remove tree", create("package:tree"), seen="tree --version"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> Iterator[Host]:
    with governed(network=True) as host:
        yield host


@pytest.fixture
def host(whole: Host) -> Iterator[Host]:
    """As the spec wants it; made so again after a test that failed half-way."""
    yield whole
    whole.machine.run(["agent", "apply", "--yes"], check=False)


@pytest.mark.parametrize("drift", DRIFTS.values(), ids=DRIFTS.keys())
def test_what_is_changed_by_hand_is_shown_as_drift_and_repaired(host: Host, drift: Drift) -> None:
    before, sensitive = host.invocations(), host.run(SENSITIVE)
    host.run(drift.by_hand)

    text = host.agent("verify", status=2)
    assert text.startswith("Drift: ")
    assert "Changes that the spec asks for" not in text
    assert all(f"! {mark} {ref}" in text for ref, mark in _marks(drift.repairs).items()), text
    planned = host.plan()
    assert {each["cause"] for each in planned["changes"]} == {"drift"}
    certain = {each["ref"]: each["action"] for each in planned["changes"] if "known_after" not in each}
    certain.pop("health:jupyter", None)  # it is ill as long as the certificate is, and well by itself after that
    assert certain == drift.repairs

    repaired = changes(host.apply())

    assert {ref: action for ref, action in repaired.items() if ref in certain} == certain
    unplanned = repaired.keys() - changes(planned).keys() - {"health:jupyter", *drift.reloads}
    assert not unplanned
    after = host.invocations()
    assert [name for name in after if after[name] != before[name]] == sorted(drift.restarts)
    if drift.seen:
        host.run(drift.seen)
    assert host.run(SENSITIVE) == sensitive
    host.assert_as_wanted()


def _marks(actions: Mapping[str, str]) -> dict[str, str]:
    return {
        ref: {"create": "+", "update": "~", "delete": "-", "restart": ">"}[action] for ref, action in actions.items()
    }


@dataclass(frozen=True)
class Loaded:
    """An input of a service that is changed, and loaded by a restart by hand."""

    by_hand: str
    ref: str
    service: str


LOADED = {
    "its configuration": Loaded(f"sed -i '/^# whole/i c.ServerApp.allow_origin = \"x\"' {CONFIG}", f"file:{CONFIG}", "jupyter.service"),
    "its environment": Loaded("rm /opt/conda/envs/jupyter/conda-meta/notebook-*.json", "environment:jupyter", "jupyter.service"),
    "its options": Loaded(f"echo max_connections = 9 >>{DATABASE_OPTIONS}", f"file:{DATABASE_OPTIONS}", "mariadb.service"),
    "a file it is restarted on": Loaded("echo rate = 9 >/etc/ticker.conf", "file:/etc/ticker.conf", "ticker.service"),
    "its unit file": Loaded(
        "sed -i s/infinity/1d/ /etc/systemd/system/ticker.service; systemctl daemon-reload",
        "file:/etc/systemd/system/ticker.service",
        "ticker.service",
    ),
}  # fmt: skip


@pytest.mark.parametrize("drift", LOADED.values(), ids=LOADED.keys())
def test_a_service_that_was_started_with_the_drift_is_started_anew_exactly_once(host: Host, drift: Loaded) -> None:
    unit = f"unit:{drift.service}"
    host.run(f"{drift.by_hand}; systemctl restart {drift.service}")
    before, starts = host.invocations(), host.starts(drift.service)

    text = host.agent("plan")
    planned = {each["ref"]: each for each in host.plan()["changes"]}
    assert f"! > {unit}  because of {drift.ref}" in text
    assert f"Interrupts: {drift.service}" in text
    assert (planned[unit]["cause"], planned[unit]["disruption"]) == ("drift", "restart")

    repaired = changes(host.apply())

    assert (repaired[drift.ref], repaired[unit]) == ("update", "restart")
    assert host.starts(drift.service) == starts + 1
    after = host.invocations()
    assert [name for name in after if after[name] != before[name]] == [drift.service]
    host.assert_as_wanted()


def test_a_service_that_was_started_by_hand_with_what_is_wanted_is_left_alone(host: Host) -> None:
    host.run("systemctl restart ticker.service mariadb.service")
    host.agent("verify", "--quiet")
    host.assert_as_wanted()


def test_a_directory_that_its_owner_made_a_link_is_refused_and_said(host: Host) -> None:
    look = "ls -lnd /root; ls -An /root"
    host.run("cd /home/notebook; mv .ssh .ssh.mine; runuser -u notebook -- ln -s /root .ssh")
    before = host.run(look)

    assert "! ~ directory:/home/notebook/.ssh" in host.agent("verify", status=2)
    outcomes = {each["ref"]: each for each in host.apply(status=3)["outcomes"]}

    assert outcomes["directory:/home/notebook/.ssh"]["result"] == "failed"
    assert outcomes["file:/home/notebook/.ssh/authorized_keys"]["result"] == "skipped"
    assert {each["result"] for ref, each in outcomes.items() if ".ssh" not in ref} == {"unchanged"}
    assert "directory:/home/notebook/.ssh: failed" in host.agent("status", status=2)
    assert host.run(look) == before
    host.run("cd /home/notebook; rm .ssh; mv .ssh.mine .ssh")
    host.apply()
    host.assert_as_wanted()


def test_an_account_that_was_deleted_comes_back_with_its_home_as_it_was(host: Host) -> None:
    host.run("systemctl stop jupyter.service; echo work >/home/notebook/work; userdel notebook")

    assert "! + user:notebook" in host.agent("verify", status=2)
    host.apply()

    assert (
        host.run("cat /home/notebook/work; stat -c %U /home/notebook /home/notebook/.my.cnf")
        == "work\nnotebook\nnotebook\n"
    )
    assert host.run("systemctl is-active jupyter.service") == "active\n"
    host.assert_as_wanted()
