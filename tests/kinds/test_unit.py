"""Units run, are enabled, and are restarted when, and only when, they were started with something else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agent.host.units import NEVER, Start, UnitFacts
from agent.kinds.unit import Unit, UnitState
from agent.plan import compare
from agent.resource import Action, Disruption, NotYetReadable, Ref
from agent.steps import Remember, Step
from agent.steps import Unit as Systemctl
from tests.kinds.seen import removal_of, steps_for

CONF = Ref("file", "/etc/toy.conf")
TOY = Unit("toy.service", active=True, enabled=True, inputs=(CONF,))
RIGHT = UnitState(active=True, enabled=True, masked=False, loaded=True, stale=False)
RUNNING = UnitFacts("loaded", "active", "running", "enabled", "a" * 32, needs_reload=False)
DEAD = replace(RUNNING, active="inactive", enabled="disabled")


def systemctl(*verbs: str) -> list[Step]:
    return [Systemctl(verb, () if verb == "daemon-reload" else ("toy.service",), 120.0) for verb in verbs]


CASES: dict[str, tuple[UnitState | None, list[Step]]] = {
    "right": (RIGHT, []),
    "not-there": (None, systemctl("enable", "start")),
    "stopped": (replace(RIGHT, active=False), systemctl("start")),
    "disabled": (replace(RIGHT, enabled=False), systemctl("enable")),
    "masked": (replace(RIGHT, active=False, enabled=False, masked=True), systemctl("unmask", "enable", "start")),
    "masked-and-running": (replace(RIGHT, enabled=False, masked=True), systemctl("unmask", "enable")),
    "stale": (replace(RIGHT, stale=True), systemctl("restart")),
    "files-not-read": (replace(RIGHT, loaded=False), systemctl("daemon-reload")),
    "stale-and-not-read": (replace(RIGHT, loaded=False, stale=True), systemctl("daemon-reload", "restart")),
}


@pytest.mark.parametrize(("current", "steps"), CASES.values(), ids=CASES)
def test_what_is_done(current: UnitState | None, steps: list[Step]) -> None:
    assert steps_for(TOY, current) == steps


@pytest.mark.parametrize("loaded", [True, False], ids=["same-file", "another-file"])
def test_a_restart_is_called_one(*, loaded: bool) -> None:
    change = compare(TOY, replace(RIGHT, stale=True, loaded=loaded))

    assert change is not None
    assert (change.action, change.disruption) == (Action.RESTART, Disruption.RESTART)


def test_where_a_reload_does_it_none_is_restarted() -> None:
    unit = replace(TOY, reload=True)
    host: Any = Host(RUNNING, stale=True)

    change = compare(unit, unit.read(host))

    assert change is not None
    assert change.disruption is Disruption.RELOAD
    assert list(unit.steps(change)) == systemctl("reload")


@dataclass
class Host:
    """What a unit sees of a host."""

    facts: UnitFacts
    stale: bool = False
    start: Start | None = None
    fingerprints: dict[Ref, str | None] = field(default_factory=lambda: {CONF: "one"})
    desired: dict[Ref, Any] = field(default_factory=dict)
    intended: list[str] = field(default_factory=list)

    @property
    def units(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        answers = {"show": self.facts, "started": self.start, "is_stale": self.stale, "expect": None}
        return lambda *_words: answers[name]

    def intend(self, _name: str, inputs: str) -> None:
        self.intended.append(inputs)

    def fingerprint(self, ref: Ref) -> str | None:
        return self.fingerprints[ref]


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (RUNNING, RIGHT),
        (DEAD, None),
        (replace(DEAD, load="not-found", enabled=""), None),
        (replace(RUNNING, active="reloading"), RIGHT),
        (replace(RUNNING, active="failed"), replace(RIGHT, active=False)),
        (replace(RUNNING, active="activating"), replace(RIGHT, active=False)),
        (replace(RUNNING, enabled="static"), replace(RIGHT, enabled=False)),
        (replace(RUNNING, needs_reload=True), replace(RIGHT, loaded=False)),
        (replace(DEAD, enabled="masked"), UnitState(False, False, True, True, False)),
    ],
    ids=["right", "dead", "no-file", "reloading", "failed", "starting", "static", "edited", "masked"],
)
def test_what_systemd_says_is_understood(facts: UnitFacts, state: UnitState | None) -> None:
    host: Any = Host(facts)

    assert TOY.read(host) == state


def test_a_start_knows_its_inputs_even_where_there_was_nothing_to_read() -> None:
    host = Host(DEAD)

    TOY.read(host)  # type: ignore[arg-type]

    assert len(host.intended) == 1


def test_one_that_is_known_to_run_with_something_else_is_stale() -> None:
    told = Ref("server_settings", "toy")

    @dataclass(frozen=True)
    class Telling:
        old: bool

        def outdated(self, _host: Any) -> bool:
            return self.old

    unit = replace(TOY, told_by=(told,))
    for old in (True, False):
        host: Any = Host(RUNNING, desired={told: Telling(old)})
        assert unit.read(host) == replace(RIGHT, stale=old)
    nobody: Any = Host(RUNNING)
    assert unit.read(nobody) == RIGHT


def test_an_input_that_is_still_to_be_made_leaves_no_judgement() -> None:
    host: Any = Host(RUNNING, fingerprints={CONF: None})

    with pytest.raises(NotYetReadable):
        TOY.read(host)
    assert TOY.fingerprint(host) is None


def test_a_unit_that_is_restarted_for_the_spec_has_not_drifted() -> None:
    one: Any = Host(RUNNING)
    other: Any = Host(RUNNING, fingerprints={CONF: "two"})

    assert TOY.fingerprint(one) != TOY.fingerprint(other)


def test_with_never_a_stale_unit_is_left_running() -> None:
    assert steps_for(replace(TOY, when="never"), replace(RIGHT, stale=True)) == []


NEITHER = Unit("toy.service", active=False, enabled=False)


def test_wanting_it_neither_active_nor_enabled_is_to_remove_it() -> None:
    host: Any = Host(DEAD)

    assert NEITHER.desired() is None
    assert NEITHER.read(host) is None
    assert steps_for(NEITHER, RIGHT) == systemctl("disable", "stop")


@pytest.mark.parametrize(
    ("unit", "current", "verbs"),
    [
        (Unit("toy.service", active=False), replace(RIGHT, enabled=True), ["stop"]),
        (Unit("toy.service", active=False), replace(RIGHT, active=False), []),
        (Unit("toy.service", enabled=False), replace(RIGHT, active=True), ["disable"]),
        (Unit("toy.service", masked=True), RIGHT, ["mask"]),
        (
            Unit("toy.service", active=True, masked=False),
            UnitState(False, False, True, True, False),
            ["unmask", "start"],
        ),
    ],
    ids=["stop-only", "stopped-already", "disable-only", "mask", "unmask"],
)
def test_what_is_left_out_is_not_managed(unit: Unit, current: UnitState, verbs: list[str]) -> None:
    assert steps_for(unit, current) == systemctl(*verbs)


def test_a_unit_wanted_stopped_is_read_even_where_it_is_not_there() -> None:
    unit = Unit("toy.service", active=False)
    host: Any = Host(DEAD)

    assert compare(unit, unit.read(host)) is None


def test_drift_that_no_process_has_read_costs_no_restart() -> None:
    host: Any = Host(RUNNING, start=Start("one", NEVER, RUNNING.invocation))

    assert list(TOY.disturbed(host)) == []


def test_drift_that_someone_restarted_the_unit_into_costs_one() -> None:
    host: Any = Host(RUNNING, start=Start("one", NEVER, "b" * 32))

    assert list(TOY.disturbed(host)) == [Remember("started.toy.service", None)]


def test_a_unit_that_does_not_run_has_read_no_drift() -> None:
    host: Any = Host(DEAD, start=Start("one", NEVER, "b" * 32))

    assert list(TOY.disturbed(host)) == []


def test_its_removal_stops_it_and_forgets_how_it_was_started() -> None:
    assert removal_of(TOY, RIGHT) == [*systemctl("disable", "stop"), Remember("started.toy.service", None)]
