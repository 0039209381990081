"""A start is noted before it is made, so that whenever the agent is killed exactly one restart comes of one change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host.looks import Looks
from agent.host.memory import Memory
from agent.host.programs import Finished
from agent.host.units import NEVER, Start, UnitFacts, Units
from agent.steps import Unit
from tests.host.parts import Scripted

NAME = "toy.service"


class Killed(BaseException):
    """The agent was killed here."""


class Systemd(Scripted):
    """As much of it as starts one unit. ``killed`` says when the agent dies: before or after systemd did as it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.invocations = 0
        self.active = "inactive"
        self.needs_reload = False
        self.killed = ""
        self.broken = False

    @property
    def facts(self) -> UnitFacts:
        invocation = f"{self.invocations:032x}" if self.invocations else NEVER
        return UnitFacts("loaded", self.active, "", "enabled", invocation, self.needs_reload)

    def run(self, argv: Sequence[str], **_options: object) -> Finished:
        done = super().run(argv)
        words = set(argv)
        if self.killed == "before" and words & {"start", "restart"}:
            raise Killed
        if words & {"start", "restart"}:
            if "restart" in words or self.active != "activating":  # a start that is under way is joined
                self.invocations += 1
            self.active = "failed" if self.broken else "active"
        if "daemon-reload" in words:
            self.needs_reload = False
        if self.killed in ("after", "meanwhile") and words & {"start", "restart"}:
            self.active = "activating" if self.killed == "meanwhile" else self.active
            raise Killed
        return done


class Faked(Units):
    """Asks the fake above."""

    def __init__(self, systemd: Systemd, directory: Path) -> None:
        looks = Looks()
        super().__init__(looks, systemd, Memory(str(directory / "memory"), looks))
        self._systemd = systemd

    def _ask(self, names: list[str]) -> None:
        self._facts.update(dict.fromkeys(names, self._systemd.facts))


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def units(systemd: Systemd, tmp_path: Path) -> Faked:
    return Faked(systemd, tmp_path)


def test_a_unit_that_was_started_with_these_inputs_is_not_stale(units: Faked) -> None:
    units.intend(NAME, "one")
    units.perform(Unit("start", (NAME,)))

    assert not units.is_stale(NAME, "one")
    assert units.is_stale(NAME, "two")


def test_a_unit_that_the_agent_never_started_is_stale(units: Faked, systemd: Systemd) -> None:
    systemd.active, systemd.invocations = "active", 7

    assert units.is_stale(NAME, "one")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_agent_that_is_killed_makes_up_for_exactly_one_restart(
    units: Faked, systemd: Systemd, tmp_path: Path, moment: str
) -> None:
    units.intend(NAME, "one")
    units.perform(Unit("start", (NAME,)))
    systemd.killed = moment
    units.intend(NAME, "two")
    with pytest.raises(Killed):
        units.perform(Unit("restart", (NAME,)))
    systemd.killed = ""

    after = Faked(systemd, tmp_path)
    for _ in range(2):
        after.intend(NAME, "two")
        if after.is_stale(NAME, "two"):
            after.perform(Unit("restart", (NAME,)))

    assert systemd.invocations == 2


@pytest.mark.parametrize(("wanted", "starts"), [("one", 1), ("two", 2)], ids=["the-same", "another-spec-meanwhile"])
def test_a_start_that_a_killed_run_asked_for_is_joined_if_it_is_the_right_one(
    units: Faked, systemd: Systemd, tmp_path: Path, wanted: str, starts: int
) -> None:
    systemd.killed = "meanwhile"
    units.intend(NAME, "one")
    with pytest.raises(Killed):
        units.perform(Unit("start", (NAME,)))
    systemd.killed = ""

    after = Faked(systemd, tmp_path)
    after.intend(NAME, wanted)
    after.perform(Unit("start", (NAME,)))

    assert not after.is_stale(NAME, wanted)
    assert systemd.invocations == starts


def test_a_restart_by_someone_else_pays_what_was_owed(units: Faked, systemd: Systemd, tmp_path: Path) -> None:
    systemd.active, systemd.invocations, systemd.killed = "active", 1, "before"
    units.intend(NAME, "two")
    with pytest.raises(Killed):
        units.perform(Unit("restart", (NAME,)))

    systemd.invocations += 1  # a reboot, a person

    assert not Faked(systemd, tmp_path).is_stale(NAME, "two")


def test_the_invocation_that_came_of_a_start_is_noted(units: Faked, systemd: Systemd) -> None:
    units.intend(NAME, "one")
    units.perform(Unit("start", (NAME,)))

    assert units.started(NAME) == Start("one", NEVER, systemd.facts.invocation)


def test_a_unit_without_inputs_leaves_no_memory(units: Faked, tmp_path: Path) -> None:
    units.perform(Unit("start", (NAME,)))

    assert not (tmp_path / "memory").exists()


def test_a_reload_is_noted_once_it_is_done(units: Faked, systemd: Systemd) -> None:
    units.intend(NAME, "one")
    units.perform(Unit("start", (NAME,)))
    units.intend(NAME, "two")
    units.perform(Unit("reload", (NAME,)))

    assert not units.is_stale(NAME, "two")
    assert systemd.invocations == 1


def test_changed_unit_files_are_read_before_a_start(units: Faked, systemd: Systemd) -> None:
    systemd.needs_reload = True

    units.perform(Unit("start", (NAME,)))

    assert [" ".join(ran.split()[3:]) for ran in systemd.ran] == [
        "daemon-reload",
        f"reset-failed -- {NAME}",
        f"start -- {NAME}",
    ]


@pytest.mark.parametrize("active", ["failed", "active"])
def test_earlier_starts_do_not_count_against_the_limit(units: Faked, systemd: Systemd, active: str) -> None:
    systemd.active = active

    units.perform(Unit("restart", (NAME,)))

    assert "reset-failed" in systemd.ran[0]


def test_a_unit_that_ends_at_once_is_an_error_with_its_last_words(units: Faked, systemd: Systemd) -> None:
    systemd.broken = True
    systemd.answers["journalctl --output=cat"] = Finished(0, "http://x/?token=canary\nport 80 is taken\n", "")

    with pytest.raises(HostError, match="ended right after its start") as caught:
        units.perform(Unit("start", (NAME,)))

    assert "port 80 is taken" in caught.value.hint
    assert "canary" not in caught.value.hint


def test_what_is_no_name_of_a_unit_is_refused(units: Faked) -> None:
    with pytest.raises(HostError, match="not the name of a unit"):
        units.show("toy")


@pytest.mark.parametrize("text", ["", "one", "one two", "a b c d"])
def test_a_note_that_is_none_counts_as_no_start(text: str) -> None:
    assert Start.parse(text) is None
