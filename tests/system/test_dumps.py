"""Databases that left the spec: they stay; when a person allows their loss they go, after a dump from which everything comes back."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import pytest

from tests.system import elsewhere
from tests.system.database_hosts import SERVERS, DatabaseHost
from tests.system.governed import changes
from tests.system.governed_databases import GovernedServer, external, governed_server

SPEC = external("databases: [kept, analysis]")
WITHOUT = external("databases: [kept]")
ALLOWED = "--allow-data-loss"
DUMPS = "/var/lib/agent/dumps"

WORK = (
    "CREATE TABLE analysis.words (id INT PRIMARY KEY AUTO_INCREMENT, word VARCHAR(80), raw BLOB, at DATETIME(6) NULL) CHARACTER SET utf8mb4",
    "CREATE TABLE analysis.seen (word VARCHAR(80)) CHARACTER SET utf8mb4",
    "CREATE TRIGGER analysis.note AFTER INSERT ON analysis.words FOR EACH ROW INSERT INTO analysis.seen VALUES (NEW.word)",
    "INSERT INTO analysis.words (word, raw, at) VALUES ('grüße; -- \\' \"', x'00ff0a27', '2026-01-02 03:04:05.678901'), ('🐧', NULL, NULL), ('', '', NULL)",
    "CREATE VIEW analysis.long_words AS SELECT word FROM analysis.words WHERE LENGTH(word) > 4",
    "CREATE PROCEDURE analysis.forget(IN some INT) DELETE FROM analysis.seen LIMIT 1",
    "CREATE FUNCTION analysis.twice(x INT) RETURNS INT DETERMINISTIC RETURN 2 * x",
    "CREATE EVENT analysis.nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO DELETE FROM analysis.seen",
)
LOOK = (
    "SELECT id, word, HEX(raw), at FROM analysis.words ORDER BY id",
    "SELECT word, COUNT(*) FROM analysis.seen GROUP BY word ORDER BY word",
    "SELECT word FROM analysis.long_words ORDER BY word",
    "SELECT analysis.twice(21)",
    "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, COLLATION_NAME, EXTRA FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'analysis' ORDER BY 1, 2",
    "SELECT ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION, DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'analysis' ORDER BY 1",
    "SELECT EVENT_NAME, EVENT_DEFINITION, STARTS, INTERVAL_VALUE, INTERVAL_FIELD, DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'analysis'",
    "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_STATEMENT, ACTION_TIMING FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'analysis'",
    "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'analysis'",
)


ONLY_MARIADB = (
    "CREATE TABLE analysis.remembered (x INT) WITH SYSTEM VERSIONING",
    "INSERT INTO analysis.remembered VALUES (1)",
    "UPDATE analysis.remembered SET x = 2",
    "DELETE FROM analysis.remembered",
)
LOOK_MARIADB = ("SELECT x, row_start, row_end FROM analysis.remembered FOR SYSTEM_TIME ALL ORDER BY row_start",)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[GovernedServer]:
    with governed_server(request.param, "CREATE DATABASE theirs") as server:
        yield server


@pytest.fixture
def host(server: GovernedServer) -> GovernedServer:
    """``analysis`` has work in it, and has left the spec."""
    server.sql("DROP DATABASE IF EXISTS analysis")
    server.run(f"rm -rf {DUMPS}")
    for spec in (WITHOUT, SPEC):  # from the first on the ledger knows of none, whatever there was
        server.write_spec(spec)
        server.apply()
    server.sql(*WORK)
    server.write_spec(WITHOUT)
    return server


def there(host: GovernedServer) -> set[str]:
    (rows,) = host.sql("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
    return {name for (name,) in rows} & {"kept", "analysis", "theirs"}


def dumps(host: GovernedServer) -> list[str]:
    return host.run(f"[ ! -d {DUMPS} ] || find {DUMPS} -type f").split()


def refused(host: GovernedServer) -> tuple[str, str]:
    """Why the database was not removed, and the way out. It is still whole, and there is no dump, nor a part of one."""
    done = host.apply(ALLOWED, status=3)
    (outcome,) = (each for each in done["outcomes"] if each["ref"] == "database:analysis")
    assert outcome["result"] == "failed"
    assert there(host) >= {"kept", "analysis"}
    assert dumps(host) == []
    return outcome["message"], outcome["hint"]


def test_it_stays_unless_a_person_allows_its_loss(host: GovernedServer) -> None:
    hint = "database:analysis left the spec and stays: it may hold someone's work. Remove it, after a dump: agent apply --allow-data-loss"
    for verb in ("plan", "apply", "status"):
        assert hint in host.agent(verb)
    host.assert_as_wanted()
    assert there(host) == {"kept", "analysis", "theirs"}


def test_it_goes_after_a_dump_and_comes_back_from_it_whole(host: GovernedServer) -> None:
    host.sql(*([] if host.mysql else ONLY_MARIADB))
    look = LOOK if host.mysql else (*LOOK, *LOOK_MARIADB)
    before = host.sql(*look)
    planned = host.agent("plan", ALLOWED)
    (line,) = (line for line in planned.splitlines() if "database:analysis" in line)
    assert re.fullmatch(
        r"  - database:analysis  with all that is in it: [23] tables, [0-9.]+ KiB; a dump goes to /var/lib/agent/dumps/analysis/ first",
        line,
    )
    assert host.plan(ALLOWED)["losses"].keys() == {"database:analysis"}
    assert dumps(host) == []

    done = host.apply(ALLOWED)

    assert changes(done) == {"database:analysis": "delete"}
    assert there(host) == {"kept", "theirs"}
    (path,) = dumps(host)
    assert path.startswith(f"{DUMPS}/analysis/20")
    assert path.endswith("Z.sql.gz")
    assert host.run(f"stat -c '%a %U' {path} {DUMPS}/analysis {DUMPS}") == "600 root\n700 root\n700 root\n"
    assert host.plan(status=0)["orphans"] == []
    host.assert_as_wanted()
    assert re.search(
        r"^  1 dump of databases, [0-9.]+ (bytes|KiB), in /var/lib/agent/dumps; ", host.agent("status"), re.MULTILINE
    )

    (outcome,) = done["outcomes"][-1:]
    command = outcome["message"].partition("to get it back: ")[2]
    assert command == f"zcat {shlex.quote(path)} | {'mysql' if host.mysql else 'mariadb'}".replace(path, f"'{path}'")
    host.run(command)
    assert host.sql(*look) == before

    host.write_spec(SPEC)
    host.apply()
    host.write_spec(WITHOUT)
    assert host.plan(status=0)["orphans"] == [], "what a person put back is a person's"
    assert host.plan(ALLOWED, status=0)["removals"] == []


def test_without_a_dump_only_when_that_is_said_and_then_the_plan_says_so(host: GovernedServer) -> None:
    planned = host.agent("plan", ALLOWED, "--no-dump")
    assert "database:analysis  with all that is in it: 2 tables, " in planned
    assert "KiB, for ever: WITHOUT A DUMP\n" in planned

    done = host.apply(ALLOWED, "--no-dump")

    assert changes(done) == {"database:analysis": "delete"}
    assert there(host) == {"kept", "theirs"}
    assert dumps(host) == []


def test_a_saved_plan_removes_what_it_was_saved_for(host: GovernedServer) -> None:
    host.run("rm -f /root/plan")
    host.agent("plan", ALLOWED, "--out", "/root/plan")
    assert "/root/plan" in host.machine.run("agent apply /root/plan", check=False).stderr
    assert there(host) == {"kept", "analysis", "theirs"}

    done = json.loads(host.agent("apply", ALLOWED, "--json", "/root/plan"))

    assert changes(done) == {"database:analysis": "delete"}
    assert len(dumps(host)) == 1


def test_a_dump_that_cannot_be_made_keeps_the_database_and_says_why(host: GovernedServer) -> None:
    tools = "for t in mariadb-dump mysqldump; do f=/usr/bin/$t; [ ! -e {0} ] || mv {0} {1}; done"
    host.run(tools.format("$f", "$f.away"))
    message, hint = refused(host)
    host.run(tools.format("$f.away", "$f"))
    assert message.endswith(f"there is no program {'mysqldump' if host.mysql else 'mariadb-dump'}")
    assert hint.startswith(f"install {'mysql' if host.mysql else 'mariadb'}-client, then try again")

    host.sql("CREATE VIEW analysis.broken AS SELECT word FROM analysis.seen", "DROP TABLE analysis.seen")
    message, hint = refused(host)
    assert message.startswith("the dump of analysis failed, so nothing was dropped: ")
    assert "broken" in message
    host.sql("DROP VIEW analysis.broken")

    host.sql(
        "CREATE TABLE analysis.noise (x LONGBLOB)", *["INSERT INTO analysis.noise VALUES (RANDOM_BYTES(1000))"] * 300
    )
    host.run(f"mkdir -p {DUMPS}; mount -t tmpfs -o size=64k none {DUMPS}")
    message, hint = refused(host)
    host.run(f"umount {DUMPS}")
    assert message == f"the dump of analysis cannot be written to {DUMPS}/analysis: No space left on device"
    assert hint.startswith("make room there, then try again")

    assert changes(host.apply(ALLOWED)) == {"database:analysis": "delete"}


def test_one_that_somebody_has_open_stays(host: GovernedServer) -> None:
    program = "mysql" if host.mysql else "mariadb"
    host.run(f"systemd-run --quiet --unit=someone {program} analysis -e 'SELECT SLEEP(600)'; sleep 1")
    message, hint = refused(host)
    ids = "SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE DB = 'analysis'"
    host.run(f'{program} -N -e "{ids}" | {program}; sleep 1')

    assert message == "sessions have analysis open: root (1)"
    assert "KILL" in hint
    assert changes(host.apply(ALLOWED)) == {"database:analysis": "delete"}


def test_a_person_at_a_terminal_is_asked_with_the_loss_in_the_question(host: GovernedServer) -> None:
    said = host.machine.run(["script", "-qec", f"agent apply {ALLOWED}", "/dev/null"], stdin="n\n").stdout

    assert re.search(r"with all that is in it.*: 2 tables, .*; a dump goes to ", said)
    assert "Remove database:analysis with all that is in it, and apply these changes? [y/N]" in said
    assert "Nothing was changed." in said
    assert there(host) == {"kept", "analysis", "theirs"}


def test_while_the_server_is_down_nothing_is_forgotten(host: GovernedServer) -> None:
    host.run(f"systemctl stop {host.unit}")
    done = host.apply(ALLOWED, status=3)
    host.run(f"systemctl start {host.unit}")

    (outcome,) = (each for each in done["outcomes"] if each["ref"] == "database:analysis")
    assert (outcome["result"], outcome["message"].partition(":")[0]) == ("failed", "nothing was dropped")
    assert changes(host.apply(ALLOWED))["database:analysis"] == "delete"


def test_nothing_of_other_people_s_goes(host: GovernedServer) -> None:
    host.write_spec(external("databases: [kept, analysis, theirs]"))
    host.apply()
    host.write_spec(WITHOUT)

    assert host.plan(ALLOWED)["removals"] == ["database:analysis"]
    host.apply(ALLOWED)
    assert there(host) == {"kept", "theirs"}


def test_words_that_do_not_go_together_are_refused(host: GovernedServer) -> None:
    for words, reason in (
        (("--no-dump",), "--no-dump goes with --allow-data-loss"),
        ((ALLOWED, "--target", "database:kept"), "--allow-data-loss does not go with --target"),
    ):
        for verb in ("plan", "apply"):
            done = host.machine.run(["agent", verb, *words], check=False)
            assert (done.status, reason in done.stderr) == (64, True), done.stderr


def test_one_on_a_server_elsewhere_goes_in_the_same_way(server: GovernedServer) -> None:
    """The last test of this module: the server is taken away."""
    elsewhere.take_away(DatabaseHost(server.machine))
    section = f"""
mysql:
  server: external
  host: {elsewhere.NAME}
  tls: {elsewhere.AUTHORITY}
  administrator: {{user: admin, password: {{file: {elsewhere.SECRET}}}}}
  databases: """
    server.write_spec(f"{section}[kept, elsewhere]\n")
    server.apply()
    server.sql("CREATE TABLE elsewhere.t (x INT)", "INSERT INTO elsewhere.t VALUES (7)")
    server.write_spec(f"{section}[kept]\n")
    server.run(f"rm -rf {DUMPS}")

    done = server.apply(ALLOWED)

    (outcome,) = (each for each in done["outcomes"] if each["ref"] == "database:elsewhere")
    _, _, command = outcome["message"].partition("to get it back: ")
    assert f"--host={elsewhere.NAME} --port=3306 --ssl-ca={elsewhere.AUTHORITY} --user=admin --password" in command
    server.run(f"{command.partition('|')[0]} | {command.partition('|')[2].split()[0]}")
    assert server.sql("SELECT x FROM elsewhere.t") == [[["7"]]]
