"""Variables of a server are set where it runs; what it reads at its start only makes its unit restart, once, and only where that helps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from agent.errors import HostError
from agent.host.units import Start, UnitFacts
from agent.kinds.server_settings import KnownSettings, ServerSettings
from agent.kinds.unit import Unit, UnitState
from agent.records import from_record, to_record
from agent.resource import Action, Change, NotYetReadable, Ref, Resource, differences
from agent.steps import Remember, Sql

SOCKET = "/run/mysqld/mysqld.sock"
OURS, LIVE_FILE, THEIRS = "/etc/mysql/90-agent.cnf", "/etc/mysql/90-agent-live.cnf", "/etc/mysql/zz.cnf"
SETTINGS = ServerSettings(
    "mariadb",
    SOCKET,
    "mariadb.service",
    live=(("local_infile", "OFF"), ("max_connections", "60"), ("sql_mode", "ANSI_QUOTES,STRICT_ALL_TABLES")),
    fixed=(("bind_address", "127.0.0.1"), ("port", "3306")),
    files=(OURS, LIVE_FILE),
)
RIGHT = {
    "local_infile": "0",
    "max_connections": "60",
    "sql_mode": "STRICT_ALL_TABLES,ANSI_QUOTES",
    "bind_address": "127.0.0.1",
    "port": "3306",
}
NOTED = "local_infile max_connections sql_mode"
RUNNING = UnitFacts("loaded", "active", "running", "enabled", "a" * 32, needs_reload=False)


@dataclass
class Host:
    """What this kind sees of a host. ``origins``: name, source and path; ``started``: by whom the unit was started last."""

    values: dict[str, str] = field(default_factory=lambda: dict(RIGHT))
    noted: str | None = NOTED
    origins: tuple[tuple[str, str, str | None], ...] = ()
    contents: dict[str, str] = field(default_factory=dict)
    started_by_agent: bool = True
    mysql: bool = False
    persisted: tuple[str, ...] = ()
    down: bool = False
    unknown: str = ""
    stale: bool = False

    def __post_init__(self) -> None:
        self.memory = self.databases = self.units = self.files = self
        self.desired: dict[Ref, Resource] = {Ref("unit", "mariadb.service"): _Unit(stale=self.stale)}

    def get(self, key: str) -> str | None:
        assert key == "settings.mariadb"
        return self.noted

    def mariadb(self, _server: str) -> bool:
        return not self.mysql

    def rows(self, _server: str, statement: str) -> tuple[tuple[str | None, ...], ...]:
        if self.down:
            raise NotYetReadable("2002")
        if "persisted_variables" in statement:
            return tuple((name,) for name in self.persisted)
        if "SYSTEM_VARIABLES" in statement or "variables_info" in statement:
            return self.origins
        names = [name.removeprefix("@@GLOBAL.") for name in statement.removeprefix("SELECT ").split(", ")]
        if self.unknown in names:
            raise HostError(f"{SOCKET}: 1193: Unknown system variable '{self.unknown}'")
        return (tuple(self.values[name] for name in names),)

    def started(self, _unit: str) -> Start:
        return Start("inputs", "b" * 32, RUNNING.invocation if self.started_by_agent else "c" * 32)

    def show(self, _unit: str) -> UnitFacts:
        return RUNNING

    def content(self, path: str) -> bytes | None:
        return self.contents[path].encode() if path in self.contents else None


@dataclass(frozen=True)
class _Unit(Unit):
    name: str = "mariadb.service"
    stale: bool = False

    def read(self, _host: Any) -> UnitState:
        return UnitState(active=True, enabled=True, masked=False, loaded=True, stale=self.stale)


def change(host: Any, settings: ServerSettings = SETTINGS) -> Change:
    current = settings.read(host)
    found = differences(settings.desired(), current)
    return Change(settings, Action.UPDATE, current, settings.desired(), found)


def steps(host: Any, settings: ServerSettings = SETTINGS) -> list[Any]:
    made = change(host, settings)
    return list(settings.steps(made)) if made.differences else []


def with_values(**values: str) -> Host:
    return Host({**RIGHT, **values})


def test_one_that_has_what_is_wanted_is_left_alone() -> None:
    assert steps(Host()) == []


def test_what_differs_is_named_and_set_in_the_order_of_the_table() -> None:
    host = with_values(max_connections="151", sql_mode="", local_infile="1")
    assert {each.field: (each.current, each.desired) for each in change(host).differences} == {
        "local_infile": ("ON", "OFF"),
        "max_connections": ("151", "60"),
        "sql_mode": ("", "ANSI_QUOTES,STRICT_ALL_TABLES"),
    }
    assert steps(host) == [
        Sql(SOCKET, "SET GLOBAL local_infile = OFF"),
        Sql(SOCKET, "SET GLOBAL max_connections = 60"),
        Sql(SOCKET, "SET GLOBAL sql_mode = %s", ("ANSI_QUOTES,STRICT_ALL_TABLES",)),
    ]


def test_what_will_be_set_is_noted_before_it_is() -> None:
    host = Host({**RIGHT, "max_connections": "151"}, noted=None)
    assert steps(host) == [Remember("settings.mariadb", NOTED), Sql(SOCKET, "SET GLOBAL max_connections = 60")]


def test_what_left_the_spec_gets_the_server_s_own_value() -> None:
    host = Host(noted=f"{NOTED} time_zone wait_timeout no_longer_in_the_table")
    assert steps(host) == [
        Sql(SOCKET, "SET GLOBAL time_zone = 'SYSTEM'"),
        Sql(SOCKET, "SET GLOBAL wait_timeout = DEFAULT"),
        Remember("settings.mariadb", NOTED),
    ]


def test_what_was_persisted_by_hand_is_forgotten_by_the_server_if_it_is_ours() -> None:
    host = Host(mysql=True, persisted=("max_connections", "wait_timeout"))
    assert steps(host) == [Sql(SOCKET, "RESET PERSIST IF EXISTS max_connections")]


def test_while_a_restart_is_to_come_nothing_is_set_that_it_brings() -> None:
    assert steps(Host({**RIGHT, "max_connections": "151", "port": "3307"}, stale=True)) == []


@pytest.mark.parametrize(
    ("host", "helps"),
    [
        (Host(), False),
        (Host({**RIGHT, "port": "3307"}, (NOTED), (("port", "COMPILE-TIME", None),)), False),
        (Host({**RIGHT, "port": "3307"}, NOTED, (("port", "CONFIG", OURS),), started_by_agent=False), True),
        (Host({**RIGHT, "port": "3307"}, NOTED, (("port", "CONFIG", THEIRS),)), True),
        (Host({**RIGHT, "port": "3307"}, NOTED, (("port", "CONFIG", THEIRS),), {THEIRS: "[mysqld]\nport=1\n"}), False),
        (Host({**RIGHT, "port": "3307"}, NOTED, (("port", "CONFIG", THEIRS),), {THEIRS: "#port=1\nreport=1"}), True),
        (
            Host(
                {**RIGHT, "bind_address": "*"},
                NOTED,
                (("bind_address", "CONFIG", THEIRS),),
                {THEIRS: "Bind-Address : *"},
            ),
            False,
        ),
        (Host({**RIGHT, "max_connections": "151"}, started_by_agent=False), False),
        (Host({**RIGHT, "port": "3307"}, down=True, started_by_agent=False), False),
    ],
    ids=[
        "all is right",
        "the agent itself started it so",
        "somebody else started it while our file said something else",
        "the file that said so is gone",
        "a file still says so",
        "a file that said so does no longer",
        "a file still says so in another spelling",
        "only what can be set differs",
        "it does not run",
    ],
)
def test_a_restart_is_made_where_it_helps(host: Host, *, helps: bool) -> None:
    seen: Any = host
    assert SETTINGS.outdated(seen) is helps


def test_what_a_restart_would_not_help_is_told_with_the_file() -> None:
    host: Any = Host({**RIGHT, "port": "3307"}, NOTED, (("port", "CONFIG", THEIRS),), {THEIRS: "port = 3307"})
    with pytest.raises(HostError, match=f"port is 3307, not 3306 .another option file overrides it: {THEIRS}"):
        SETTINGS.read(host)


def test_what_was_persisted_for_the_start_is_reset_and_the_next_pass_restarts() -> None:
    persisted = Host(
        {**RIGHT, "port": "3307"}, NOTED, (("port", "PERSISTED", THEIRS),), mysql=True, persisted=("port",)
    )
    before: Any = persisted
    assert not SETTINGS.outdated(before)
    assert steps(persisted) == [Sql(SOCKET, "RESET PERSIST IF EXISTS port")]
    after: Any = Host({**RIGHT, "port": "3307"}, NOTED, persisted.origins, {THEIRS: "{}"}, mysql=True)
    with pytest.raises(HostError) as caught:
        SETTINGS.read(after)
    assert "once more" in caught.value.hint
    assert SETTINGS.outdated(after)


def test_what_can_be_set_is_set_first() -> None:
    host = Host({**RIGHT, "port": "3307", "max_connections": "5"}, NOTED, (("port", "CONFIG", THEIRS),))
    assert steps(host) == [Sql(SOCKET, "SET GLOBAL max_connections = 60")]


def test_a_variable_that_the_server_does_not_know_is_an_error_before_an_option_file_names_it() -> None:
    known = KnownSettings("mariadb", SOCKET, ("local_infile", "max_connections"))
    hosts: list[Any] = [Host(), Host(down=True), Host(unknown="max_connections")]

    assert [known.read(host) for host in hosts[:2]] == [known.desired()] * 2
    with pytest.raises(HostError, match="1193") as caught:
        known.read(hosts[2])
    assert "mysql.settings" in caught.value.hint


@pytest.mark.parametrize("resource", [SETTINGS, KnownSettings("mariadb", SOCKET, ("port",))])
def test_it_can_be_written_down_and_read_back(resource: Resource) -> None:
    assert from_record(to_record(resource)) == resource
