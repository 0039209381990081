"""The way back is taken when it helps, goes as far as it must and no further, and stays until there is another spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agent import plan, rollback
from agent.generations import Generation, Generations
from agent.kinds.environment import Environment
from agent.resource import Action, Change, Difference, Outcome, Ref, Resource, Result
from tests.fakes import Toy


def ref(name: str) -> Ref:
    return Ref("toy", name)


def server(config: str = "1", other: str = "1") -> dict[Ref, Resource]:
    """A server that stands on its configuration and a library; a page stands on the server; something else on nothing."""
    return dict(
        plan.by_ref(
            [
                Toy("library", "1"),
                Toy("config", config, after=(ref("library"),)),
                Toy("server", "up", inputs=(ref("config"),)),
                Toy("page", "1", after=(ref("server"),)),
                Toy("other", other),
            ]
        )
    )


def before(resources: Mapping[Ref, Resource]) -> Generation:
    return Generation(1, "", resources)


def sick(name: str) -> list[Outcome]:
    return [Outcome(ref("other"), Result.FAILED), Outcome(ref(name), Result.FAILED, message="is down", unhealthy=True)]


def test_what_the_unhealthy_stands_on_goes_back_with_what_stands_on_it() -> None:
    found = rollback.to_go_back(server(config="2"), sick("server"), before(server()))

    assert found == ("toy:server: is down", frozenset(map(ref, ("library", "config", "server", "page"))))


def test_a_failure_that_is_not_unhealthy_is_no_reason() -> None:
    outcomes = [Outcome(ref("server"), Result.FAILED, message="the disk is full")]

    assert rollback.to_go_back(server(config="2"), outcomes, before(server())) is None


@pytest.mark.parametrize(
    "previous",
    [
        pytest.param(server(), id="nothing-it-stands-on-has-changed"),
        pytest.param(server(other="0"), id="only-something-else-has-changed"),
        pytest.param({}, id="it-is-new"),
    ],
)
def test_going_back_must_help(previous: dict[Ref, Resource]) -> None:
    assert rollback.to_go_back(server(), sick("server"), before(previous)) is None


def test_the_rest_of_the_spec_is_in_force() -> None:
    spec = server(config="2", other="2")
    spec[ref("extra")] = Toy("extra", "1", after=(ref("server"),))
    spec[ref("more")] = Toy("more", "1")
    previous = server()
    previous[ref("driver")] = Toy("driver", "1")
    previous[ref("library")] = Toy("library", "0", after=(ref("driver"),))
    found = rollback.to_go_back(spec, sick("server"), before(previous))
    assert found is not None

    force = rollback.in_force(spec, before(previous), found[1])

    assert force[ref("config")] == Toy("config", "1", after=(ref("library"),))
    assert force[ref("library")] == Toy("library", "0", after=(ref("driver"),))
    assert force[ref("driver")] == Toy("driver", "1")
    assert ref("extra") not in force
    assert (force[ref("other")], force[ref("more")]) == (Toy("other", "2"), Toy("more", "1"))


def test_it_is_held_until_the_spec_is_another_one(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))
    generations.keep(server(), [])
    generations.mark_bad(server(config="2"), "toy:server: is down", [ref("config"), ref("server")])

    held = rollback.held(server(config="2", other="1"), generations)

    assert held is not None
    assert held.resources == server()
    assert "toy:server: is down; generation 1 is in force" in held.why
    assert rollback.held(server(config="3"), generations) is None


def test_without_a_generation_there_is_nothing_to_hold(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))
    generations.mark_bad(server(), "toy:server: is down", [ref("server")])

    assert rollback.held(server(), generations) is None


def test_an_update_that_was_due_is_undone_when_what_stands_on_it_does_not_work() -> None:
    environment = Environment("server", "/opt/conda", "nb", ("c",), ("jupyterlab",), update=86400.0)
    desired = plan.by_ref([environment, Toy("page", "1", after=(environment.ref,)), Toy("other", "1")])
    state = replace(environment.desired(), due=True, build="0123456789ab")

    def change(*fields: str) -> Change:
        found = tuple(Difference(each, None, None) for each in fields)
        return Change(environment, Action.UPDATE, current=state, differences=found)

    def undone(field: str, sick: str) -> list[tuple[Environment, str]]:
        outcomes = [
            Outcome(environment.ref, Result.CHANGED, change(field)),
            Outcome(ref(sick), Result.FAILED, unhealthy=True),
        ]
        return rollback.updated(desired, outcomes)

    assert undone("due", "page") == [(environment, "0123456789ab")]
    assert undone("due", "other") == [], "it does not stand on the environment"
    assert undone("packages", "page") == [], "the spec asked for it: the generation before is better"
