"""Variables of real servers, by `agent apply`: what a running server takes is set at once, the rest by one restart, and both are there after a reboot."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from agent.host.database_variables import KNOWN, LIVE, Choice, Decimal, Switch, Variable, Whole, Words, same, size
from agent.sandbox.result import Result
from tests.system.database_hosts import SERVERS, DatabaseHost, database_host

SLEEPER = "SELECT SLEEP(1000)"
TAKEN_WITH_A_CATCH = {"innodb_buffer_pool_size", "max_user_connections", "character_set_server", "collation_server"}
"""Dynamic by the server's word, but not more than it was started with, not when it was started with 0, not as people mean it."""
MADE_OUT_AT_THE_START = {
    "thread_cache_size",
    "host_cache_size",
    "innodb_io_capacity_max",
    "table_definition_cache",
    # the distribution's option files have these
    "binlog_expire_logs_seconds",
    "key_buffer_size",
}
"""What a start gives them is not what DEFAULT means."""


class Settings(DatabaseHost):
    """A host whose spec has nothing but a server with variables."""

    @property
    def kind(self) -> str:
        return "mysql" if self.mysql else "mariadb"

    @property
    def folder(self) -> str:
        return f"/etc/mysql/{self.kind}.conf.d"

    def spec(self, settings: Mapping[str, str] = {}, extra: Mapping[str, str] = {}, **fields: object) -> None:
        section = {"server": self.kind, "settings": settings, "extra_settings": extra, **fields}
        text = json.dumps({"mysql": section})
        self.machine.run("umask 077; mkdir -p /etc/agent; cat >/etc/agent/spec.yaml", stdin=text)

    def agent(self, *words: str, status: int = 0) -> Result:
        done = self.machine.unit_run(["agent", *words], check=False, timeout=300)
        assert done.status == status, f"{done.stdout}\n{done.stderr}"
        return done

    def applied(self, settings: Mapping[str, str] = {}, extra: Mapping[str, str] = {}, **fields: object) -> str:
        self.spec(settings, extra, **fields)
        return self.agent("apply", "--yes").stdout

    def values(self) -> dict[str, str]:
        return dict(
            line.split("\t") for line in self.sql("SHOW GLOBAL VARIABLES").splitlines() if line.count("\t") == 1
        )

    def process(self) -> str:
        """Another one after every start."""
        return self.machine.run(["systemctl", "show", "-p", "ExecMainPID,InvocationID", self.unit]).stdout

    def starts(self) -> int:
        """How often the unit was started in this boot."""
        said = self.machine.run(["journalctl", "--boot", "--output=json", f"--unit={self.unit}", "JOB_TYPE=start"])
        again = self.machine.run(["journalctl", "--boot", "--output=json", f"--unit={self.unit}", "JOB_TYPE=restart"])
        return sum(json.loads(line).get("JOB_RESULT") == "done" for line in (said.stdout + again.stdout).splitlines())

    def listening(self) -> set[str]:
        lines = self.machine.run("ss -ltnH").stdout.splitlines()
        return {line.split()[3] for line in lines}


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[Settings]:
    with database_host(request.param) as booted:
        settings = Settings(booted.machine)
        settings.applied()
        yield settings


def other(variable: Variable, value: str) -> str:
    """A value of this variable that is not the one it has."""
    form = variable.form
    if isinstance(form, Switch):
        return "OFF" if value == "ON" else "ON"
    if isinstance(form, Choice):
        return next(word for word in form.words if word != form.read(value))
    if isinstance(form, Words):
        return form.words[-1] if form.words[-1] not in value else form.words[0]
    if isinstance(form, Decimal):
        return "7.5"
    if isinstance(form, Whole):
        number = size(form.read(value)) if value.isdigit() and form.least <= int(value) <= form.most else form.least
        return str(number + form.block if number + form.block <= form.most else number - form.block)
    return {"time_zone": "+05:00", "character_set_server": "latin1", "collation_server": "latin1_bin"}[variable.name]


def told(variable: Variable, wanted: str, values: Mapping[str, str]) -> str:
    """What the server says of a variable, in the form in which the spec's value is."""
    step = 1
    for name in variable.steps:
        step *= int(values.get(name, 0))
    return same(variable, wanted, values[variable.name], step if variable.steps else 0)


def test_every_variable_of_the_table_is_what_the_server_says_it_is(host: Settings) -> None:
    rows = host.sql(
        "SELECT VARIABLE_NAME, MIN_VALUE, MAX_VALUE, 0 FROM performance_schema.variables_info"
        if host.mysql
        else "SELECT LOWER(VARIABLE_NAME), NUMERIC_MIN_VALUE, NUMERIC_MAX_VALUE, NUMERIC_BLOCK_SIZE, READ_ONLY, ENUM_VALUE_LIST"
        " FROM information_schema.SYSTEM_VARIABLES"
    )
    said = {line.split("\t")[0]: line.split("\t")[1:] for line in rows.splitlines()}
    assert {name for name, each in KNOWN.items() if each.taken(host.kind)} == set(KNOWN) & set(said)
    for name in set(KNOWN) & set(said):
        form, (least, most, block, *more) = KNOWN[name].form, said[name]
        if isinstance(form, Whole | Decimal):
            assert float(least) <= form.least <= form.most <= float(most), name
        if isinstance(form, Whole) and block.isdigit() and int(block):
            assert form.block % int(block) == 0, name
        if more and name not in TAKEN_WITH_A_CATCH:
            assert (KNOWN[name].taken(host.kind) == LIVE) == (more[0] == "NO"), name
        if more and isinstance(form, Choice | Words):
            assert {word.upper() for word in form.words} <= set(more[1].upper().split(",")), name
    if host.mysql:
        for name, each in KNOWN.items():
            if taken := each.taken("mysql"):
                done = host.machine.run([host.client, "-e", f"SET GLOBAL {name} = @@GLOBAL.{name}"], check=False)
                assert name in TAKEN_WITH_A_CATCH or (taken == LIVE) != ("1238" in done.stderr), name


def test_all_that_can_be_set_live_is_and_returns_and_all_that_cannot_takes_one_restart(host: Settings) -> None:
    before = host.values()
    # what demands TLS makes a certificate, which is loaded by a restart
    known = {name: each for name, each in KNOWN.items() if each.taken(host.kind) and name != "require_secure_transport"}
    wanted = {name: each.form.read(other(each, before[name])) for name, each in known.items()}
    live = {name: value for name, value in wanted.items() if KNOWN[name].taken(host.kind) == LIVE}
    process = host.process()

    host.applied(live)
    assert host.process() == process
    values = host.values()
    assert {name: told(KNOWN[name], value, values) for name, value in live.items()} == live
    assert "No changes." in host.agent("plan").stdout

    host.applied(wanted)
    assert host.process() != process
    process, values = host.process(), host.values()
    assert {name: told(KNOWN[name], value, values) for name, value in wanted.items()} == wanted
    assert "No changes." in host.agent("plan").stdout

    host.machine.reboot()
    host.machine.wait_booted()
    values = host.values()
    assert {name: told(KNOWN[name], value, values) for name, value in wanted.items()} == wanted
    assert "No changes." in host.agent("plan").stdout

    fixed = {name: value for name, value in wanted.items() if name not in live}
    process = host.process()
    host.applied(fixed)
    assert host.process() == process
    back, returned = host.values(), live.keys() - MADE_OUT_AT_THE_START
    assert {name: back[name] for name in returned} == {name: before[name] for name in returned}
    host.applied()
    assert {name: host.values()[name] for name in known} == {name: before[name] for name in known}


def wait_for(look: Callable[[], str]) -> str:
    for _ in range(200):
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def test_a_session_survives_a_change_that_a_running_server_takes(host: Settings) -> None:
    host.applied({"max_connections": "60"})
    host.machine.run(["systemd-run", "--unit=sleeper", "--collect", host.client, "-e", SLEEPER])
    find = f"SELECT ID FROM information_schema.PROCESSLIST WHERE INFO = '{SLEEPER}'"  # noqa: S608  # a constant
    session = wait_for(lambda: host.sql(find))
    process = host.process()

    host.spec({"max_connections": "61"})
    assert "max_connections: 60 -> 61" in host.agent("plan").stdout
    host.applied({"max_connections": "61"})

    assert (host.sql("SELECT @@GLOBAL.max_connections"), host.process(), host.sql(find)) == ("61\n", process, session)
    host.machine.run("systemctl stop sleeper")


def test_drift_is_repaired_without_a_restart(host: Settings) -> None:
    host.applied({"max_connections": "60", "sql_mode": "ANSI_QUOTES,STRICT_ALL_TABLES", "long_query_time": "0.5"})
    process = host.process()
    host.sql("SET GLOBAL max_connections = 99; SET GLOBAL sql_mode = ''; SET GLOBAL local_infile = 1")

    plan = host.agent("plan").stdout
    assert "Drift" in plan
    for words in (
        "max_connections: 99 -> 60",
        "sql_mode: none -> ANSI_QUOTES,STRICT_ALL_TABLES",
        "local_infile: ON -> OFF",
    ):
        assert words in plan
    host.agent("apply", "--yes")
    assert host.sql("SELECT @@GLOBAL.max_connections, @@GLOBAL.local_infile") == "60\t0\n"
    assert host.process() == process
    host.sql("SET GLOBAL sql_mode = 'STRICT_ALL_TABLES,ANSI_QUOTES'")
    assert "No changes." in host.agent("plan").stdout, "the order of words is no difference"


def test_an_option_file_that_overrides_ours_is_named_and_what_it_did_is_undone_once_it_is_gone(host: Settings) -> None:
    host.applied({"max_connections": "60"})
    override = f"{host.folder}/zzz-somebody.cnf"
    host.machine.run(f"printf '[mysqld]\\nbind-address = 0.0.0.0\\nmax_connections = 33\\n' >{override}")
    host.machine.run(["systemctl", "restart", host.unit])
    assert "0.0.0.0:3306" in host.listening()
    process = host.process()

    done = host.agent("apply", "--yes", status=3)
    assert f"bind_address is 0.0.0.0, not 127.0.0.1 (another option file overrides it: {override})" in done.stdout
    assert host.sql("SELECT @@GLOBAL.max_connections") == "60\n", "what can be set is"
    host.agent("apply", "--yes", status=3)
    assert host.process() == process, "a restart would not help, so there is none"

    host.machine.run(["rm", override])
    assert f"Interrupts: {host.unit}" in host.agent("plan").stdout
    host.agent("apply", "--yes")
    assert host.process() != process
    assert host.listening() & {"0.0.0.0:3306", "127.0.0.1:3306"} == {"127.0.0.1:3306"}
    assert "No changes." in host.agent("plan").stdout


def test_after_a_reboot_only_the_declared_address_listens(host: Settings) -> None:
    host.applied()
    host.machine.reboot()
    host.machine.wait_booted()
    assert host.listening() == {"127.0.0.1:3306"}
    assert "No changes." in host.agent("plan").stdout

    host.applied(port=3377, bind_address="*")
    assert {each.rpartition(":")[2] for each in host.listening()} == {"3377"}
    assert "No changes." in host.agent("plan").stdout
    host.applied(bind_address="none")
    assert host.listening() == set()
    assert "No changes." in host.agent("plan").stdout
    host.machine.reboot()
    host.machine.wait_booted()
    assert host.listening() == set()
    assert host.sql("SELECT 1") == "1\n"
    host.applied()
    assert host.listening() == {"127.0.0.1:3306"}


def test_what_the_server_does_not_take_is_not_left_behind(host: Settings) -> None:
    host.applied()
    process = host.process()
    host.spec(extra={"no_such_option": "5"})
    done = host.agent("apply", "--yes", status=4)

    assert "no_such_option" not in host.machine.run(f"cat {host.folder}/*").stdout
    assert host.sql("SELECT 1") == "1\n"
    if not host.mysql:  # its program says so beforehand
        assert "no_such_option" in done.stdout
        assert host.process() == process
    host.applied()


def test_extra_settings_are_there_after_one_restart(host: Settings) -> None:
    host.applied()
    process = host.process()
    host.spec(extra={"ft_max_word_len": "50"})
    plan = host.agent("plan").stdout
    assert f"Interrupts: {host.unit}" in plan
    assert "1 restart." in plan
    host.agent("apply", "--yes")
    assert host.sql("SELECT @@GLOBAL.ft_max_word_len") == "50\n"
    assert host.process() != process
    process = host.process()
    host.agent("apply", "--yes")
    assert host.process() == process


def test_what_was_persisted_by_hand_does_not_come_back(host: Settings) -> None:
    if not host.mysql:
        assert "1064" in host.machine.run([host.client, "-e", "SET PERSIST max_connections = 5"], check=False).stderr
        return
    host.applied({"max_connections": "60"})
    host.sql("SET PERSIST max_connections = 44; SET PERSIST long_query_time = 3")

    plan = host.agent("plan").stdout
    assert re.search("persisted: max_connections -> none", plan)
    host.agent("apply", "--yes")
    assert host.sql("SELECT VARIABLE_NAME FROM performance_schema.persisted_variables") == "long_query_time\n", (
        "not ours"
    )
    host.machine.run(["systemctl", "restart", host.unit])
    assert host.sql("SELECT @@GLOBAL.max_connections") == "60\n"
    host.sql("RESET PERSIST")

    # what is for the start needs one more pass
    host.applied({"back_log": "90"})
    host.sql("SET PERSIST_ONLY back_log = 77")
    host.machine.run(["systemctl", "restart", host.unit])
    assert host.sql("SELECT @@GLOBAL.back_log") == "77\n"

    host.agent("apply", "--yes", status=3)
    host.agent("apply", "--yes")
    assert host.sql("SELECT @@GLOBAL.back_log") == "90\n"
    assert "No changes." in host.agent("plan").stdout
