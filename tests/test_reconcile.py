"""A pass makes things right, sees that they are, isolates failures and owes restarts until they are made."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

from agent import plan
from agent.errors import HostError
from agent.ledger import Ledger
from agent.reconcile import Pass, remove
from agent.resource import Loss, Outcome, Ref, Resource, Result
from tests.fakes import Batched, Expendable, FakeHost, Precious, Toy


def ref(name: str) -> Ref:
    return Ref("toy", name)


def run(resources: list[Resource], host: Any, tmp_path: Path) -> dict[str, Outcome]:
    outcomes = Pass(plan.by_ref(resources), host, Ledger(str(tmp_path / "ledger"))).run()
    return {outcome.ref.name: outcome for outcome in outcomes}


def results(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.result.value for name, outcome in outcomes.items()}


def test_a_second_pass_changes_nothing(tmp_path: Path) -> None:
    host = FakeHost()
    resources: list[Resource] = [Toy("a", "1"), Toy("b", "1", after=(ref("a"),))]

    first = run(resources, host, tmp_path)
    host.performed.clear()
    second = run(resources, host, tmp_path)

    assert results(first) == {"a": "changed", "b": "changed"}
    assert results(second) == {"a": "unchanged", "b": "unchanged"}
    assert host.performed == []


def test_changed_means_seen_to_be_right(tmp_path: Path) -> None:
    outcome = run([Toy("a", "1")], FakeHost(ignore={"a"}), tmp_path)["a"]

    assert (outcome.result, outcome.message) == (Result.FAILED, "still differs: create")


def test_a_failure_isolates_its_dependants_and_the_rest_goes_on(tmp_path: Path) -> None:
    resources: list[Resource] = [
        Toy("bad", "1"),
        Toy("then", "1", after=(ref("bad"),)),
        Toy("later", "1", after=(ref("then"),)),
        Toy("other", "1"),
    ]

    outcomes = run(resources, FakeHost(refuse={"bad"}), tmp_path)

    assert results(outcomes) == {"bad": "failed", "then": "skipped", "later": "skipped", "other": "changed"}
    assert outcomes["bad"].message == "bad refuses"
    assert outcomes["bad"].hint == "ask nicely"
    assert outcomes["then"].message == "needs toy:bad, which failed"
    assert outcomes["later"].message == "needs toy:then, which was skipped"


def test_an_error_names_what_of_the_spec_is_to_blame_and_where_that_stands(tmp_path: Path) -> None:
    class Refusing(FakeHost):
        def perform(self, step: Any) -> None:
            raise HostError("nothing meets it", about=("numpy >=9",))

    found = Pass(
        plan.by_ref([Toy("a", "1")]), cast(Any, Refusing()), Ledger(str(tmp_path / "ledger")),
        locate=lambda ref, about: f"asked for at spec.yaml:3:5: {ref} {about[0]}",
    ).run()  # fmt: skip

    assert found[0].message == "nothing meets it\nasked for at spec.yaml:3:5: toy:a numpy >=9"


def test_independent_resources_are_changed_at_the_same_time(tmp_path: Path) -> None:
    host = FakeHost(barrier=threading.Barrier(2))

    outcomes = run([Toy("a", "1"), Toy("b", "1")], host, tmp_path)  # each waits until the other is under way

    assert results(outcomes) == {"a": "changed", "b": "changed"}


def test_a_defect_in_a_kind_is_an_outcome(tmp_path: Path) -> None:
    class Defective(Toy):
        def read(self, host: Any) -> Any:
            raise ZeroDivisionError

    outcomes = run([Defective("a", "1"), Toy("b", "1")], FakeHost(), tmp_path)

    assert results(outcomes) == {"a": "failed", "b": "changed"}


def test_a_restart_that_failed_is_made_up_for_exactly_once(tmp_path: Path) -> None:
    host = FakeHost()
    service = Toy("service", "up", inputs=(ref("file"),))
    run([Toy("file", "1"), service], host, tmp_path)
    host.refuse = {"service"}

    refused = run([Toy("file", "2"), service], host, tmp_path)
    host.refuse = set()
    made_up_for = run([Toy("file", "2"), service], host, tmp_path)
    settled = run([Toy("file", "2"), service], host, tmp_path)

    assert results(refused) == {"file": "changed", "service": "failed"}
    assert results(made_up_for) == {"file": "unchanged", "service": "changed"}
    assert results(settled) == {"file": "unchanged", "service": "unchanged"}


def test_changes_of_a_batched_kind_are_made_in_one_go(tmp_path: Path) -> None:
    together: list[int] = []

    class Counting(Batched):
        @classmethod
        def steps_together(cls, changes: Any) -> Any:
            together.append(len(changes))
            return super().steps_together(changes)

    outcomes = run([Counting("a", "1"), Counting("b", "1"), Counting("c", "1")], FakeHost({"c": "1"}), tmp_path)

    assert results(outcomes) == {"a": "changed", "b": "changed", "c": "unchanged"}
    assert together == [2]


def departed(host: Any, tmp_path: Path) -> tuple[list[Outcome], tuple[Ref, ...]]:
    ledger = Ledger(str(tmp_path / "ledger"))
    return remove(plan.departures({}, host, ledger), host, ledger)


def test_what_left_the_spec_is_removed_if_it_was_made_here_dependants_first(tmp_path: Path) -> None:
    host = FakeHost({"theirs": "1"})
    run([Toy("a", "1"), Toy("b", "1", after=(ref("a"),)), Toy("theirs", "1")], host, tmp_path)
    host.performed.clear()

    outcomes, orphans = departed(host, tmp_path)

    assert [outcome.ref.name for outcome in outcomes] == ["b", "a"]
    assert host.table == {"theirs": "1"}
    assert orphans == ()


def test_what_is_removed_goes_before_what_it_needs_by_way_of_something_that_stays(tmp_path: Path) -> None:
    host = FakeHost({"unit": "1"})
    run([Toy("a", "1"), Toy("unit", "1", after=(ref("a"),)), Toy("b", "1", after=(ref("unit"),))], host, tmp_path)

    outcomes, _ = departed(host, tmp_path)

    assert [outcome.ref.name for outcome in outcomes] == ["b", "a"]


def test_what_cannot_be_removed_keeps_what_it_needs_by_way_of_something_that_stays(tmp_path: Path) -> None:
    host = FakeHost({"unit": "1"})
    run([Toy("a", "1"), Toy("unit", "1", after=(ref("a"),)), Toy("b", "1", after=(ref("unit"),))], host, tmp_path)
    host.refuse.add("b")

    outcomes, _ = departed(host, tmp_path)

    assert [outcome.message for outcome in outcomes] == ["b refuses", "toy:b, which needs it, could not be removed"]
    host.refuse.clear()
    assert [outcome.ref.name for outcome in departed(host, tmp_path)[0]] == ["b", "a"]


def test_what_others_have_put_something_into_stays_until_it_is_empty(tmp_path: Path) -> None:
    host = FakeHost(crowded={"shared"})
    run([Toy("shared", "1")], host, tmp_path)

    for _ in range(2):
        assert departed(host, tmp_path) == ([], (ref("shared"),))
    host.crowded.clear()
    outcomes, orphans = departed(host, tmp_path)

    assert ([outcome.result for outcome in outcomes], orphans, host.table) == ([Result.CHANGED], (), {})


def test_what_stayed_and_comes_back_into_the_spec_is_the_agent_s_again(tmp_path: Path) -> None:
    host = FakeHost(crowded={"shared"})
    run([Toy("shared", "1")], host, tmp_path)
    departed(host, tmp_path)
    run([Toy("shared", "1")], host, tmp_path)
    host.crowded.clear()

    outcomes, _ = departed(host, tmp_path)

    assert [outcome.ref.name for outcome in outcomes] == ["shared"]


def test_what_was_right_before_the_agent_came_stays_as_it_was_then_even_after_drift(tmp_path: Path) -> None:
    host = FakeHost({"theirs": "1"})
    run([Toy("theirs", "1", keeps=True)], host, tmp_path)
    host.table["theirs"] = "by hand"
    run([Toy("theirs", "1", keeps=True)], host, tmp_path)

    assert departed(host, tmp_path) == ([], ())
    assert host.table == {"theirs": "1"}


def test_what_cannot_be_looked_at_is_not_taken_for_gone_while_what_it_is_in_stays(tmp_path: Path) -> None:
    host = FakeHost()
    account = Toy("account", "1", after=(ref("server"),))
    run([Toy("server", "1"), account], host, tmp_path)
    host.unreadable.add("account")
    server = plan.by_ref([Toy("server", "1")])
    ledger = Ledger(str(tmp_path / "ledger"))

    outcomes, _ = remove(plan.departures(server, host, ledger), host, ledger)  # type: ignore[arg-type]

    assert [outcome.message for outcome in outcomes] == ["account cannot be read yet"]


def test_what_holds_work_stays_and_is_an_orphan(tmp_path: Path) -> None:
    host = FakeHost()
    run([Precious("home", "1")], host, tmp_path)

    outcomes, orphans = departed(host, tmp_path)

    assert (outcomes, orphans) == ([], (Ref("precious", "home"),))
    assert host.table == {"home": "1"}
    host.table.clear()
    assert departed(host, tmp_path) == ([], ())


def test_what_holds_work_goes_when_a_person_allows_it_and_the_agent_made_it(tmp_path: Path) -> None:
    host = FakeHost({"theirs": "1"})
    run([Expendable("a", "1"), Expendable("theirs", "1"), Precious("home", "1")], host, tmp_path)
    ledger = Ledger(str(tmp_path / "ledger"))
    gone = plan.departures({}, cast(Any, host), ledger, Loss.DUMPED)
    assert [(each.resource.name, each.loss, each.loses) for each in gone.removals] == [("a", Loss.DUMPED, "all of a")]

    outcomes, orphans = remove(gone, cast(Any, host), ledger)

    assert [(outcome.ref.name, outcome.result, outcome.message) for outcome in outcomes] == [
        ("a", Result.CHANGED, "a is kept elsewhere")
    ]
    assert orphans == (Ref("precious", "home"),)
    assert host.table == {"theirs": "1", "home": "1"}


def test_what_cannot_be_looked_at_is_not_lost_without_a_word(tmp_path: Path) -> None:
    host = FakeHost()
    run([Expendable("a", "1")], host, tmp_path)
    host.unreadable.add("a")
    host.refuse.add("a")
    ledger = Ledger(str(tmp_path / "ledger"))

    outcomes, _ = remove(plan.departures({}, cast(Any, host), ledger, Loss.DUMPED), cast(Any, host), ledger)

    assert [(outcome.result, outcome.message) for outcome in outcomes] == [(Result.FAILED, "a refuses")]
    assert host.table == {"a": "1"}


def test_what_was_replaced_is_put_back(tmp_path: Path) -> None:
    host = FakeHost({"motd": "theirs"})
    run([Toy("motd", "ours", keeps=True)], host, tmp_path)

    departed(host, tmp_path)

    assert host.table == {"motd": "theirs"}


def test_a_pass_that_is_stopped_begins_nothing_more(tmp_path: Path) -> None:
    host = FakeHost()
    one = Pass(plan.by_ref([Toy("a", "1")]), host, Ledger(str(tmp_path / "ledger")))  # type: ignore[arg-type]
    one.stopping.set()

    assert [outcome.message for outcome in one.run()] == ["the pass was stopped"]
    assert host.performed == []


def test_a_service_that_this_pass_restarted_has_not_drifted_while_it_starts(tmp_path: Path) -> None:
    host = FakeHost()
    health = Toy("health", "good", after=(ref("server"),), judge=True)
    run([Toy("server", "1"), health], host, tmp_path)

    host.table["health"] = "starting"
    caused = run([Toy("server", "2"), health], host, tmp_path)["health"]
    host.table["health"] = "bad"
    by_itself = run([Toy("server", "2"), health], host, tmp_path)["health"]

    assert caused.change is not None
    assert not caused.change.drift
    assert by_itself.change is not None
    assert by_itself.change.drift
    assert (caused.result, by_itself.result) == (Result.CHANGED, Result.UNCHANGED), "it was only waited for"
