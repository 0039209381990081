"""What does not work is taken back: exit 4, the previous configuration in force, the old server answering. The spec that did it is remembered, so that
the next apply leaves the server alone, until there is another spec or somebody says --retry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent.sandbox import Machine
from tests.system import roots
from tests.system.governed import SPEC, Host

CONFIG = "/etc/agent/jupyter/jupyter_server_config.py"
DATABASE_OPTIONS = "/etc/mysql/mariadb.conf.d/90-agent.cnf"
JUPYTER, MARIADB, TICKER = "jupyter.service", "mariadb.service", "ticker.service"
ASKED = "  interface: lab\n"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    root = roots.applied_root("bookworm", SPEC)
    with Machine(root, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        yield machine


@pytest.fixture
def host(machine: Machine) -> Host:
    """As the spec wants it, in its first generation or a later one like it."""
    host = Host(machine)
    host.write_spec(SPEC)
    host.apply()
    host.assert_as_wanted()
    return host


@dataclass(frozen=True)
class Unhealthy:
    """An edit of the spec that does not work; what says so; the files and services it must leave as they were, or start again."""

    old: str
    new: str
    says: str
    keeps: tuple[str, ...]
    untouched: tuple[str, ...]
    """Services that are not started anew by any of it."""
    answers: str
    """A script that fails unless the old server answers with the old settings."""
    before: str = ""


SERVED = "curl -sS --fail --cacert /etc/agent/tls/jupyter/trust.pem https://localhost:8888/api"
UNHEALTHY = {
    "a trait of the wrong type": Unhealthy(
        ASKED, ASKED + '  settings: {ServerApp.max_body_size: "abc"}\n  memory_max: 3G\n',
        "expected an int", (CONFIG, "/etc/systemd/system/jupyter.service"), (JUPYTER, MARIADB, TICKER), SERVED,
    ),
    "a port that is taken": Unhealthy(
        ASKED, ASKED + "  port: 9999\n",
        "health:jupyter: not healthy", (CONFIG,), (MARIADB, TICKER), SERVED,
        before="systemd-run --quiet --unit=squatter /usr/bin/python3 -m http.server 9999",
    ),
    "an option that the database server does not know": Unhealthy(
        "mysql:\n", "mysql:\n  extra_settings: {innodb_buffer_pool_sizzle: 64M}\n",
        "unknown variable", (DATABASE_OPTIONS,), (JUPYTER, MARIADB, TICKER), 'mariadb -e "SELECT 1"',
    ),
    "a directory that the database server does not find": Unhealthy(
        "mysql:\n", "mysql:\n  extra_settings: {tmpdir: /nonexistent}\n",
        "systemctl restart mariadb.service", (DATABASE_OPTIONS,), (JUPYTER, TICKER), 'mariadb -e "SELECT 1"',
    ),
    "a unit that does not start": Unhealthy(
        "ExecStart=/bin/sleep infinity", "ExecStart=/bin/sleep forever",
        "ticker.service", ("/etc/systemd/system/ticker.service",), (JUPYTER, MARIADB), "systemctl is-active ticker.service",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNHEALTHY.values(), ids=list(UNHEALTHY))
def test_what_does_not_work_is_taken_back_and_stays_back(host: Host, case: Unhealthy) -> None:
    digest = f"sha256sum {' '.join(case.keeps)}"
    files, started, generation = host.run(digest), host.invocations(), host.status()["generation"]
    if case.before:
        host.run(case.before)
    # beside what does not work, something that does: it is applied all the same
    host.write_spec(SPEC.replace(case.old, case.new).replace("be kind", "be bold"))

    report = host.apply(status=4)

    assert case.says in report["rolled_back"]
    assert f"generation {generation} is restored" in report["rolled_back"]
    assert host.run(digest) == files
    host.run(case.answers)
    assert host.run("cat /srv/shared/rules") == "be bold\n"
    after = host.invocations()
    assert {name: after[name] for name in case.untouched} == {name: started[name] for name in case.untouched}

    # it is remembered: nothing is tried, nothing restarts, every verb says so
    again = host.apply(status=4)
    assert (again["outcomes"], host.invocations()) == ([], after)
    assert {each["result"] for each in again["restored"]} == {"unchanged"}
    assert "agent apply --retry" in host.agent("plan", "--detailed-exitcode", status=2)
    host.agent("verify", status=2)
    conditions = {each["type"]: each for each in host.status(status=2)["conditions"]}
    assert conditions["AsWanted"]["reason"] == "RolledBack"
    assert case.says in conditions["AsWanted"]["message"]
    assert (conditions["Healthy"]["status"], conditions["SpecValid"]["status"]) == (True, True)

    # a change by hand of what is in force is repaired meanwhile
    host.run(f"echo '# by hand' >>{case.keeps[0]}")
    host.apply(status=4)
    assert host.run(digest) == files

    if case.before:
        host.run("systemctl stop squatter")
        host.agent("apply", "--retry")
        host.assert_as_wanted()
    host.write_spec(SPEC)
    host.apply()
    host.assert_as_wanted()
    host.run(case.answers)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("renameat:signal=KILL:when=1", id="just-before-the-spec-is-marked"),
        # the first time it was synced for the removal of the evidence
        pytest.param("fsync:signal=KILL:when=2", id="just-after-it"),
    ],
)
def test_a_run_that_is_killed_before_it_goes_back_is_made_up_for(host: Host, moment: str) -> None:
    before = host.run(f"cat {DATABASE_OPTIONS}")
    host.write_spec(SPEC.replace("mysql:\n", "mysql:\n  extra_settings: {tmpdir: /nonexistent}\n"))

    kill = f"strace -f -qq -o /dev/null -P /var/lib/agent -e trace=fsync,renameat -e inject={moment} agent apply"
    killed = host.machine.run(kill, check=False)
    in_between = host.run(f"cat {DATABASE_OPTIONS}")
    report = host.apply(status=4)

    assert killed.status in (-9, 137), killed.stdout
    assert "/nonexistent" in in_between
    assert "systemctl" in report["rolled_back"]
    assert host.run(f"cat {DATABASE_OPTIONS}") == before
    host.run('mariadb -e "SELECT 1"')


def test_what_is_new_and_does_not_work_is_a_failure_of_its_own(host: Host) -> None:
    """There is nothing to go back to: it is left to be looked at, and the rest of the spec is applied."""
    new = '  broken.service: {content: "[Service]\\nExecStart=/bin/false\\nType=oneshot\\n", active: true}\n'
    host.write_spec(SPEC.replace("units:\n", "units:\n" + new).replace("be kind", "be bold"))

    report = host.apply(status=3)

    assert report["rolled_back"] == ""
    assert [each["ref"] for each in report["outcomes"] if each["result"] == "failed"] == ["unit:broken.service"]
    assert host.run("cat /srv/shared/rules") == "be bold\n"


def test_a_first_apply_with_a_configuration_that_is_refused_leaves_no_server_on_defaults(host: Host) -> None:
    host.run(
        f"systemctl disable --now jupyter.service; rm -r {CONFIG} /var/lib/agent/generations /var/lib/agent/evidence"
    )
    host.write_spec(SPEC.replace(ASKED, ASKED + '  settings: {ServerApp.max_body_size: "abc"}\n'))

    report = host.apply(status=3)

    assert report["rolled_back"] == ""
    assert host.machine.run(["systemctl", "is-active", JUPYTER], check=False).stdout == "inactive\n"
    assert host.machine.run(["curl", "-sk", "https://localhost:8888/api"], check=False).status != 0
    host.write_spec(SPEC)
    host.apply()
    host.assert_as_wanted()
