"""What left the spec goes if the agent made it; what people made stays and is reported; what stood there before comes back. The same spec again brings
everything back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.governed import SPEC, Host, changes, governed

BEFORE = "stat -c '%n %a %U:%G %F' {0}; cat {0}"
THEIRS = """
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
STAYS = "left the spec and stays: it may hold someone's work."


@pytest.fixture(scope="module")
def whole() -> Iterator[Host]:
    with governed(network=True) as host:
        yield host


@pytest.fixture
def host(whole: Host) -> Iterator[Host]:
    """As the spec wants it, before the test; and after it, when the same spec brings everything back."""
    yield whole
    whole.write_spec(SPEC)
    whole.apply()
    whole.assert_as_wanted()


def without(*parts: str) -> str:
    """The spec without these parts of its text."""
    text = SPEC
    for part in parts:
        assert part in text
        text = text.replace(part, "")
    return text


def section(name: str) -> str:
    """A section of the spec, whole."""
    start = SPEC.index(f"\n{name}:") + 1
    rest = SPEC[start:].splitlines(keepends=True)
    inner = next((index for index, line in enumerate(rest[1:], 1) if not line.startswith(" ")), len(rest))
    return "".join(rest[:inner])


def assert_planned_done_and_settled(host: Host, removed: set[str], orphans: set[str]) -> None:
    """These are shown as removals, go, and are not heard of again; the orphans are named each time."""
    planned = host.plan()
    assert set(planned["removals"]) == removed
    assert "Removals: these left the spec\n" in host.agent("verify", status=2)

    done = host.apply()

    assert {ref for ref, action in changes(done).items() if action == "delete"} == removed
    assert set(done["orphans"]) == orphans
    assert set(host.status()["orphans"]) == orphans
    for verb in ("plan", "apply", "status"):
        text = host.agent(verb)
        assert [ref for ref in orphans if f"{ref} {STAYS}" not in text] == []
    assert host.plan(status=0)["removals"] == []
    host.assert_as_wanted()


def test_what_the_agent_made_goes_and_nothing_else_is_disturbed(host: Host) -> None:
    before = host.invocations()
    reader, tools = (
        "    reader:\n      grants: {analysis: [SELECT, SHOW VIEW]}\n",
        "    tools:\n      packages: [python 3.11.*, pip, six]\n      pip: [humanize]\n",
    )
    host.write_spec(
        without(reader, tools, section("packages"), section("files"), section("units")).replace(
            "kernel: Python 3.11", "kernel: false"
        )
    )
    assert "Interrupts: ticker.service\n" in host.agent("plan")

    assert_planned_done_and_settled(
        host,
        {
            "kernelspec:analysis",
            "directory:/etc/agent/jupyter/share/kernels",
            "directory:/etc/agent/jupyter/share",
            "grants:reader@localhost",
            "database_user:reader@localhost",
            "secret:mysql.reader",
            "environment:tools",
            "package:tree",
            "file:/etc/ticker.conf",
            "file:/srv/shared/rules",
            "directory:/srv/shared",
            "file:/etc/systemd/system/ticker.service",
            "unit:ticker.service",
        },
        set(),
    )  # fmt: skip

    for path in (
        "/etc/agent/jupyter/share",
        "/opt/conda/envs/tools",
        "/usr/bin/tree",
        "/srv/shared",
        "/etc/ticker.conf",
    ):
        host.run(f"test ! -e {path}")
    assert host.run("mariadb -Ne \"SELECT User FROM mysql.user WHERE User = 'reader'\"") == ""
    assert host.run("systemctl is-active ticker.service || true") == "inactive\n"
    assert host.run("systemctl list-unit-files ticker.service --no-legend || true") == ""
    after = host.invocations()
    assert [name for name in after if after[name] != before[name]] == ["ticker.service"]


def test_what_people_put_there_stays_and_is_named_until_it_is_gone(host: Host) -> None:
    host.run(
        "echo mine >/srv/shared/mine; echo mine >/opt/conda/envs/tools/mine; echo mine >/home/notebook/mine;"
        "mariadb -e 'CREATE TABLE analysis.mine (x INT); INSERT INTO analysis.mine VALUES (7)'"
    )
    tools = "    tools:\n      packages: [python 3.11.*, pip, six]\n      pip: [humanize]\n"
    host.write_spec(
        without(tools, section("files"), '    restart_on: ["file:/etc/ticker.conf"]\n')
        .replace("groups: [research]", "groups: []")
        .replace("[analysis]", "[other]")
        .replace("{analysis: ", "{other: ")
    )  # fmt: skip
    planned = host.plan()
    assert planned["orphans"] == ["database:analysis", "group:research"]
    assert changes(planned)["database:other"] == "create"

    done = host.apply()

    stay = {"database:analysis", "group:research", "directory:/srv/shared", "environment:tools"}
    assert set(done["orphans"]) == stay
    assert (
        host.run("find /srv/shared /opt/conda/envs/tools -type f") == "/srv/shared/mine\n/opt/conda/envs/tools/mine\n"
    )
    assert host.run("mariadb -N -e 'SELECT x FROM analysis.mine'; stat -c %G /srv/shared") == "7\nresearch\n"
    assert "analysis" not in host.run("mariadb -N -e 'SHOW GRANTS FOR notebook@localhost'")
    assert set(host.status()["orphans"]) == stay
    assert all(f"{ref} {STAYS}" in host.agent("status") for ref in stay)

    host.run("rm -r /srv/shared/mine /opt/conda/envs/tools")
    assert_planned_done_and_settled(
        host, {"directory:/srv/shared", "environment:tools"}, {"database:analysis", "group:research"}
    )
    host.write_spec(SPEC)
    host.apply()
    assert host.run("mariadb -N -e 'SELECT x FROM analysis.mine; DROP TABLE analysis.mine'") == "7\n"
    assert host.plan(status=0)["orphans"] == ["database:other"]
    host.run("mariadb -e 'DROP DATABASE other'")


def test_what_stood_there_before_comes_back_with_owner_and_mode(host: Host) -> None:
    files = ("/etc/old.conf", "/etc/linked.conf", "/home/notebook/old")
    host.run(
        "echo old >/etc/old.conf; chown notebook:research /etc/old.conf; chmod 0604 /etc/old.conf;"
        "ln -s /etc/hostname /etc/linked.conf; echo old >/home/notebook/old; chown notebook:notebook /home/notebook/old"
    )
    look = "; ".join(BEFORE.format(path) for path in files)
    before, hostname = host.run(look), host.run("cat /etc/hostname")
    for content in ("new", "newer"):
        added = "".join(f'  {path}: {{content: "{content}\\n", mode: "0600"}}\n' for path in files)
        host.write_spec(SPEC.replace("files:\n", f"files:\n{added}"))
        host.apply()
    assert host.run(look).count("newer\n") == 3
    assert host.run("cat /etc/hostname") == hostname
    host.write_spec(SPEC)
    assert "  - file:/etc/old.conf  (what stood there before comes back)\n" in host.agent("plan")

    assert_planned_done_and_settled(host, {f"file:{path}" for path in files}, set())

    assert host.run(look) == before
    host.run(f"rm {' '.join(files)}")
    host.assert_as_wanted()


def test_what_was_right_before_the_agent_came_stays(host: Host) -> None:
    host.run(
        "mkdir -m 0755 /etc/theirs; echo same >/etc/theirs/file;"
        f"printf '%s' '{THEIRS}' | tee /etc/systemd/system/running.service >/etc/systemd/system/resting.service;"
        "systemctl daemon-reload; systemctl enable --now running.service"
    )
    theirs = '  /etc/theirs: {directory: true}\n  /etc/theirs/file: {content: "same\\n"}\n'
    units = "".join(f"  {name}.service: {{enabled: true, active: true}}\n" for name in ("running", "resting"))
    host.write_spec(
        SPEC.replace("files:\n", f"files:\n{theirs}")
        .replace("units:\n", f"units:\n{units}")
        .replace("[tree]", "[tree, grep]")
    )
    assert changes(host.apply()) == {"unit:resting.service": "create"}
    host.run("echo changed >/etc/theirs/file; chmod 0700 /etc/theirs; systemctl disable --now running.service")
    host.apply()
    host.write_spec(SPEC)

    assert_planned_done_and_settled(host, {"unit:resting.service"}, set())

    assert host.run("cat /etc/theirs/file; stat -c %a /etc/theirs; grep --version | head -1").startswith(
        "same\n755\ngrep "
    )
    state = "systemctl is-enabled {0}.service || true; systemctl is-active {0}.service || true"
    assert host.run(state.format("running")) == "enabled\nactive\n"
    assert host.run(state.format("resting")) == "disabled\ninactive\n"
    host.run(
        "rm -r /etc/theirs; systemctl disable --now running; rm /etc/systemd/system/running.service /etc/systemd/system/resting.service"
    )
    host.assert_as_wanted()


def test_without_the_jupyter_section_the_server_goes_and_the_notebooks_stay(host: Host) -> None:
    host.run("echo '{}' >/home/notebook/notebooks/mine.ipynb")
    before = host.invocations()
    host.write_spec(without(section("jupyter"), section("tls")))
    assert "Interrupts: jupyter.service" in host.agent("plan")

    config = {f"/etc/agent/jupyter/{name}" for name in ("migrated", "openssl.cnf", "preflight.py")}
    config |= {f"/etc/agent/jupyter/jupyter_{name}_config.py" for name in ("server", "notebook")}
    assert_planned_done_and_settled(
        host,
        {f"file:{path}" for path in (*config, "/etc/systemd/system/jupyter.service")}
        | {"unit:jupyter.service", "certificate:jupyter", "environment:jupyter", "password_hash:jupyter.password.hash"}
        | {"secret:jupyter.password", "secret:jupyter.token"},
        {"notebooks:/home/notebook/notebooks"},
    )

    assert "8888" not in host.run("ss -Hltn")
    assert host.run("pgrep -u notebook -f jupyter || true") == ""
    assert host.run("systemctl list-units --all --no-legend jupyter.service") == ""
    assert host.run("ls /etc/agent/tls") == ""
    assert host.run("ls -A /etc/agent/jupyter") == "in-environment\nshare\n", "kernels are the environments' affair"
    assert host.run("cat /home/notebook/notebooks/mine.ipynb") == "{}\n"
    after = host.invocations()
    assert [name for name in after if after[name] != before[name]] == ["jupyter.service"]

    host.write_spec(SPEC)
    host.apply()
    assert host.run("cat /home/notebook/notebooks/mine.ipynb; curl -ks https://127.0.0.1:8888/api").startswith("{}\n{")


def test_without_the_mysql_section_the_server_goes_and_the_databases_come_back_with_it(host: Host) -> None:
    host.run("mariadb -e 'CREATE TABLE analysis.mine (x INT); INSERT INTO analysis.mine VALUES (7)'")
    host.write_spec(without(section("mysql")))

    assert_planned_done_and_settled(
        host,
        {f"grants:{name}@localhost" for name in ("notebook", "reader")}
        | {f"database_user:{name}@localhost" for name in ("notebook", "reader")}
        | {f"secret:mysql.{name}" for name in ("notebook", "reader")}
        | {"file:/home/notebook/.my.cnf", "file:/etc/mysql/mariadb.conf.d/90-agent.cnf", "package:mariadb-server"}
        | {"file:/etc/mysql/mariadb.conf.d/90-agent-live.cnf"},
        {"database:analysis"},
    )

    assert host.run("pgrep mariadbd || true") == ""
    host.write_spec(SPEC)
    host.apply()
    assert host.run("runuser -u notebook -- mariadb -N analysis -e 'SELECT x FROM mine; DROP TABLE mine'") == "7\n"


def test_a_loss_that_is_allowed_is_dumped_before_the_server_goes(host: Host) -> None:
    host.run("mariadb -e 'CREATE OR REPLACE TABLE analysis.mine (x INT); INSERT INTO analysis.mine VALUES (7)'")
    host.write_spec(without(section("mysql")))

    done = host.apply("--allow-data-loss")

    assert {"database:analysis", "package:mariadb-server"} <= changes(done).keys()
    assert done["orphans"] == []
    assert host.run("pgrep mariadbd || true") == ""
    host.assert_as_wanted()
    dump = host.run("ls /var/lib/agent/dumps/analysis/*.sql.gz").strip()
    host.write_spec(SPEC)
    host.apply()
    host.run(f"zcat {dump} | mariadb")
    assert host.run("runuser -u notebook -- mariadb -N analysis -e 'SELECT x FROM mine; DROP TABLE mine'") == "7\n"


def test_what_cannot_be_removed_is_said_and_removed_once_it_can_be(host: Host) -> None:
    reader = "    reader:\n      grants: {analysis: [SELECT, SHOW VIEW]}\n"
    host.write_spec(without(section("files"), '    restart_on: ["file:/etc/ticker.conf"]\n', reader))
    host.run("touch /run/ticker; mount --bind /run/ticker /etc/ticker.conf")

    done = host.apply(status=3)

    failed = {each["ref"]: each for each in done["outcomes"] if each["result"] == "failed"}
    assert failed.keys() == {"file:/etc/ticker.conf"}
    assert "mounted there" in failed["file:/etc/ticker.conf"]["hint"]
    assert changes(done)["database_user:reader@localhost"] == "delete"
    assert "file:/etc/ticker.conf: failed" in host.agent("status", status=2)
    host.run("umount /etc/ticker.conf")
    assert_planned_done_and_settled(host, {*failed}, set())
