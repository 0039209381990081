"""The plan is in the order of needs, tells drift from what the spec asks for, and foresees restarts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent import plan
from agent.errors import PlanError, UsageError
from agent.ledger import Ledger
from agent.reconcile import Pass
from agent.report import text
from agent.resource import Action, Change, Disruption, Ref
from tests.fakes import FakeHost, Toy


def toy(name: str, value: str = "1", **more: Any) -> Toy:
    return Toy(name, value, **more)


def ref(name: str) -> Ref:
    return Ref("toy", name)


@dataclass(frozen=True)
class Absent(Toy):
    """A thing that must not be there."""

    def desired(self) -> Any:
        return None


def test_what_is_needed_comes_first() -> None:
    resources = [toy("a", after=(ref("b"),)), toy("b", inputs=(ref("c"),)), toy("c")]

    assert [each.name for each in plan.order(resources)] == ["c", "b", "a"]
    assert [each.name for each in plan.order(resources, backwards=True)] == ["a", "b", "c"]


def test_a_cycle_names_its_members() -> None:
    with pytest.raises(PlanError, match=r"toy:a -> toy:b -> toy:a|toy:b -> toy:a -> toy:b"):
        plan.order([toy("a", after=(ref("b"),)), toy("b", after=(ref("a"),))])


def test_a_need_outside_the_spec_is_taken_as_given() -> None:
    assert [each.name for each in plan.order([toy("a", after=(Ref("toy", "elsewhere"),))])] == ["a"]


def test_one_ref_asked_for_in_two_ways_is_refused() -> None:
    with pytest.raises(PlanError, match="toy:a is asked for twice"):
        plan.by_ref([toy("a", "1"), toy("a", "2")])


def planned(resources: list[Toy], host: FakeHost, tmp_path: Path) -> plan.Plan:
    return plan.plan(plan.by_ref(resources), host, Ledger(str(tmp_path / "ledger")))  # type: ignore[arg-type]


def applied(resources: list[Toy], host: FakeHost, tmp_path: Path) -> None:
    Pass(plan.by_ref(resources), host, Ledger(str(tmp_path / "ledger"))).run()  # type: ignore[arg-type]


def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    host = FakeHost({"a": "0"})

    found = planned([toy("a"), toy("b")], host, tmp_path)

    assert [(c.resource.name, c.action) for c in found.changes] == [("a", Action.UPDATE), ("b", Action.CREATE)]
    assert (host.performed, host.table, list(tmp_path.iterdir())) == ([], {"a": "0"}, [])


def test_a_change_by_hand_is_drift_and_a_change_of_the_spec_is_not(tmp_path: Path) -> None:
    host = FakeHost()
    applied([toy("a"), toy("b")], host, tmp_path)
    host.table["a"] = "by hand"

    found = planned([toy("a"), toy("b", "2")], host, tmp_path)

    assert {c.resource.name: c.drift for c in found.changes} == {"a": True, "b": False}


def test_what_is_read_only_later_is_known_after_what_it_waits_for(tmp_path: Path) -> None:
    host = FakeHost(unreadable={"user"})

    found = planned([toy("user", after=(ref("server"),)), toy("server")], host, tmp_path)

    assert [(c.resource.name, c.known_after) for c in found.changes] == [("server", None), ("user", ref("server"))]


def test_what_must_not_be_there_is_not_expected_where_nothing_can_be_read_yet(tmp_path: Path) -> None:
    host = FakeHost(unreadable={"user"})

    found = planned([toy("server"), Absent("user", after=(ref("server"),))], host, tmp_path)

    assert [change.resource.name for change in found.changes] == ["server"]
    assert not found.failures


def test_what_waits_for_the_repair_of_drift_is_drift_too_and_says_what_it_may_cost(tmp_path: Path) -> None:
    host = FakeHost()
    service = toy("service", "up", after=(ref("server"),), inputs=(ref("server"),))
    applied([service, toy("server")], host, tmp_path)
    host.table["server"] = "by hand"
    host.unreadable.add("service")

    found = planned([service, toy("server")], host, tmp_path)

    waiting = found.changes[1]
    assert (waiting.known_after, waiting.drift, waiting.disruption) == (ref("server"), True, Disruption.RESTART)
    assert list(text.plan(found))[-2] == "May interrupt: service"


def test_what_cannot_be_read_though_nothing_is_pending_is_said(tmp_path: Path) -> None:
    host = FakeHost(unreadable={"user"})

    found = planned([toy("user")], host, tmp_path)

    assert found.failures == ((ref("user"), "user cannot be read yet"),)
    assert not found.empty


def test_a_service_whose_input_will_change_is_shown_as_a_restart(tmp_path: Path) -> None:
    host = FakeHost()
    service = toy("service", "up", inputs=(ref("file"),))
    applied([toy("file"), service], host, tmp_path)

    found = planned([toy("file", "2"), service], host, tmp_path)

    assert [(c.resource.name, c.action) for c in found.changes] == [
        ("file", Action.UPDATE),
        ("service", Action.RESTART),
    ]
    assert found.changes[1].because == (ref("file"),)


def test_targets_bring_what_they_need_and_nothing_else() -> None:
    desired = plan.by_ref([toy("a", after=(ref("b"),)), toy("b"), toy("c")])

    assert {each.name for each in plan.restricted(desired, ["toy:a"])} == {"a", "b"}
    with pytest.raises(UsageError, match="no resource is called toy:x"):
        plan.restricted(desired, ["toy:x"])


def test_compare_names_the_fields_that_differ(tmp_path: Path) -> None:
    change = plan.compare(toy("a"), toy("a", "0").desired())

    assert isinstance(change, Change)
    assert [(d.field, d.current, d.desired) for d in change.differences] == [("value", "0", "1")]
