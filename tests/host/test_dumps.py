"""A dump is whole and on the disk, or there is none and its reason is said; nothing secret is where others can see it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.errors import HostError, TemporaryError
from agent.host import dumps
from agent.host.database_address import Address
from agent.host.dumps import Contents, Dumps
from agent.host.programs import ENVIRONMENT, Programs
from agent.steps import Dump

SOCKET = "/run/mysqld/mysqld.sock"
WELL = 'echo "-- the dump of $*"; echo "-- Dump completed on a day"'


class Server:
    """A server without sessions, unless it is told of some."""

    def __init__(self, *, mariadb: bool = True) -> None:
        self.is_mariadb = mariadb
        self.sessions: list[tuple[str, str, str]] = []

    def forget(self) -> None:
        pass

    def perform(self, step: Any) -> None:
        pass

    def mariadb(self, server: str) -> bool:
        return self.is_mariadb

    def rows(self, server: str, statement: str) -> list[tuple[str, str, str]]:
        return self.sessions if "PROCESSLIST" in statement else [("a", "1", "16384"), ("work", "12", "3500000.0")]


class Site:
    """A directory for dumps, and programs that dump: each a shell script."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top, self.server = top, Server()
        surroundings = {**ENVIRONMENT, "PATH": f"{top}/bin:/usr/bin:/bin"}
        monkeypatch.setattr(dumps, "ENVIRONMENT", {**surroundings, "PATH": f"{top}/bin"})
        monkeypatch.setattr("agent.host.programs.ENVIRONMENT", surroundings)
        self.secrets = SimpleNamespace(value=lambda _ref: "CANARY'\"\\#")
        self.dumps = Dumps(f"{top}/dumps", self.server, self.secrets, Programs(f"{top}/logs"))  # type: ignore[arg-type]

    def tool(self, body: str, *, name: str = "mariadb-dump", version: str = "10.11-MariaDB") -> None:
        path = self.top / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f"#!/bin/sh\nPATH=/usr/bin:/bin\nif [ $1 = --version ]; then echo {version}; exit; fi\n{body}\n"
        )
        path.chmod(0o755)

    def made(self) -> list[Path]:
        return sorted(path for path in (self.top / "dumps").rglob("*") if path.is_file())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_a_dump_is_packed_private_and_named_by_its_moment(site: Site) -> None:
    site.tool(WELL)
    site.dumps.perform(Dump(SOCKET, "work"))
    site.dumps.perform(Dump(SOCKET, "work"))

    first, second = site.made()
    assert [path.stat().st_mode & 0o777 for path in (first, first.parent, first.parent.parent)] == [
        0o600,
        0o700,
        0o700,
    ]
    assert first.parent == site.top / "dumps/work"
    said = gzip.decompress(first.read_bytes()).decode()
    assert said.startswith("-- the dump of --no-defaults --protocol=socket --socket=/run/mysqld/mysqld.sock")
    assert {"--single-transaction", "--routines", "--events", "--triggers", "--dump-history"} < set(said.split())
    assert "--databases -- work\n" in said
    assert site.dumps.way_back(SOCKET, "work") in {f"zcat '{path}' | mariadb" for path in (first, second)}
    assert dumps.kept(str(site.top / "dumps")) == (2, first.stat().st_size + second.stat().st_size)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo half; echo 'Got error: 1049' >&2; exit 2", "mariadb-dump exited 2: Got error: 1049"),
        (f"{WELL}; exit 3", "mariadb-dump exited 3: it said nothing"),
        ("echo half", "it does not end as a complete one does"),
        (f"{WELL}; echo more", "it does not end as a complete one does"),
        (f"{WELL}; kill -9 $$", "mariadb-dump was killed by SIGKILL"),
    ],
)
def test_a_dump_that_is_not_whole_is_none(site: Site, body: str, reason: str) -> None:
    site.tool(body)

    with pytest.raises(HostError, match="so nothing was dropped") as failure:
        site.dumps.perform(Dump(SOCKET, "work"))

    assert reason in str(failure.value)
    assert "--no-dump" in failure.value.hint
    assert site.made() == []
    assert site.dumps.way_back(SOCKET, "work") == ""


def test_without_the_program_that_dumps_the_package_is_named(site: Site) -> None:
    with pytest.raises(HostError, match="there is no program mariadb-dump") as failure:
        site.dumps.perform(Dump(SOCKET, "work"))

    assert failure.value.hint.startswith("install mariadb-client, ")


def test_what_a_killed_run_left_is_taken_away_by_the_next(site: Site) -> None:
    site.tool(WELL)
    (site.top / "dumps/work").mkdir(parents=True)
    (site.top / "dumps/work/.dump.agent-new").write_text("half")

    site.dumps.perform(Dump(SOCKET, "work"))

    assert [path.name[-7:] for path in site.made()] == [".sql.gz"]


def test_a_program_that_says_nothing_for_too_long_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "SILENCE", 0.2)
    site.tool("exec sleep 60")

    with pytest.raises(TemporaryError, match=r"said nothing for 0\.2 s"):
        site.dumps.perform(Dump(SOCKET, "work"))

    assert site.made() == []


def test_a_database_that_is_open_is_not_dumped(site: Site) -> None:
    site.tool(WELL)
    site.server.sessions = [("other", "bob", "1"), ("work", "alice", "2")]

    with pytest.raises(TemporaryError, match=r"sessions have work open: alice \(2\)"):
        site.dumps.perform(Dump(SOCKET, "work"))

    assert site.made() == []


def test_a_server_elsewhere_gets_the_password_by_a_file_in_memory(site: Site) -> None:
    site.server.is_mariadb = False
    address = Address("admin", ("file", "/etc/agent/secrets/db"), host="db.example.org", port=3307, ca="/etc/ca.pem")
    site.tool(
        'echo "-- $*"; f=${1#--defaults-file=}; stat -Lc %a $f; cat $f; tr "\\0" " " </proc/$$/environ; echo; echo "-- Dump completed"',
        name="mysqldump",
        version="Ver 9.7",
    )

    site.dumps.perform(Dump(str(address), "work"))

    asked, mode, *file, environment, _ = gzip.decompress(site.made()[0].read_bytes()).decode().splitlines()
    assert "--protocol=tcp --host=db.example.org --port=3307 --ssl-ca=/etc/ca.pem --ssl-mode=VERIFY_IDENTITY" in asked
    assert "--set-gtid-purged=OFF" in asked
    assert (mode, file) == ("600", ["[client]", 'user = "admin"', 'password = "CANARY\'\\"\\\\#"'])
    assert "CANARY" not in asked + environment
    assert site.dumps.way_back(str(address), "work") == (
        f"zcat '{site.made()[0]}' | "
        "mysql --protocol=tcp --host=db.example.org --port=3307 --ssl-ca=/etc/ca.pem --user=admin --password"
    )


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("a$b_c-d.e", "a$b_c-d.e"),
        ("..", "%2E."),
        ("../../etc", "%2E.%2F..%2Fetc"),
        ("a'b\n", "a%27b%0A"),
        ("ä", "%C3%A4"),
    ],
)
def test_a_hostile_name_stays_one_component(site: Site, name: str, component: str) -> None:
    assert site.dumps.place(name) == f"{site.top}/dumps/{component}"


def test_a_long_name_is_cut_and_still_its_own(site: Site) -> None:
    one, other = (site.dumps.place("€" * 63 + end).rpartition("/")[2] for end in "xy")

    assert len(one) < 250
    assert one != other


def test_what_is_in_a_database_is_counted(site: Site) -> None:
    assert site.dumps.contents(SOCKET, "work") == Contents(12, 3500000)
    assert site.dumps.contents(SOCKET, "empty") == Contents(0, 0)


def test_a_session_that_came_while_it_was_dumped_may_have_written_and_is_a_reason_not_to_drop(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.tool(WELL)
    asked = iter(([], [("work", "alice", "1")]))
    monkeypatch.setattr(site.server, "rows", lambda _server, _statement: next(asked))

    with pytest.raises(TemporaryError, match=r"sessions have work open: alice \(1\)"):
        site.dumps.perform(Dump(SOCKET, "work"))

    assert site.dumps.way_back(SOCKET, "work") == ""


def test_a_dump_is_on_the_disk_before_it_has_its_name_and_the_name_before_anything_is_dropped(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.tool(WELL)
    order: list[str] = []
    fsync, rename = os.fsync, os.rename

    def to_disk(file: int) -> None:
        order.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{file}')).name}")
        fsync(file)

    def named(old: str, new: str) -> None:
        order.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", to_disk)
    monkeypatch.setattr(os, "rename", named)

    site.dumps.perform(Dump(SOCKET, "work"))

    assert order[-3:] == ["fsync .dump.agent-new", "rename", "fsync work"]
