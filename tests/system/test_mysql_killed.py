"""An agent that is killed between any two statements, or whose server goes away: no account ever may do more than the old or the new spec allows, nor less
than both allow, and the next apply finishes the work exactly. (AGENT_TEST_EVERY_POINT=1 tries every statement.)"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.system.database_hosts import SERVERS
from tests.system.disturbed_databases import DisturbedServer, disturbed_server

EVERY = bool(os.environ.get("AGENT_TEST_EVERY_POINT"))


@pytest.fixture(scope="module", params=SERVERS)
def governed(request: pytest.FixtureRequest) -> Iterator[DisturbedServer]:
    with disturbed_server(request.param) as host:
        yield host


@pytest.fixture
def host(governed: DisturbedServer) -> DisturbedServer:
    """As the first spec wants it."""
    governed.bring_back()
    governed.plan_disturbance()
    governed.write_spec(governed.specs[0])
    governed.apply()
    governed.assert_reached(0, "at the beginning")
    return governed


def test_between_any_two_statements_nobody_may_do_more_or_less_than_before_and_after_allow(
    host: DisturbedServer,
) -> None:
    for number in (1, 0):
        host.plan_disturbance(what="watch")
        host.write_spec(host.specs[number])
        host.apply()

        statements, snapshots = host.statements(), host.snapshots()
        assert len(statements) == len(snapshots) >= 10, statements
        for after, (statement, found) in enumerate(zip(statements, snapshots, strict=True)):
            assert host.outside(found) == [], f"after {statements[: after + 1]}, the last {statement}"
        host.plan_disturbance()
        host.assert_reached(number, "undisturbed")


def test_killed_at_any_statement_the_next_apply_finishes_the_work(host: DisturbedServer) -> None:
    counts = count_statements(host)
    killed = 0
    for at in range(1, max(counts) + 1, 1 if EVERY else 4):
        for what in ("before", "after") if EVERY else (("before", "after")[at // 4 % 2],):
            for number in (1, 0):
                told = f"to spec {number}, killed {what} statement {at} was answered"
                host.plan_disturbance(what=what, at=at)
                host.write_spec(host.specs[number])
                run = host.attempt_apply()
                told += f": {host.statements()}"
                assert run.status in (0, -9, 137), told
                killed += run.status != 0
                assert (run.status == 0) == (at > len(host.statements())), told
                assert host.outside(host.snapshot()) == [], told

                host.plan_disturbance()
                done = host.attempt_apply()
                assert done.status == 0, f"{done.stdout}{done.stderr}{told}"
                host.assert_reached(number, told)
    assert killed >= (sum(counts) if EVERY else sum(counts) // 4) - 2


def count_statements(host: DisturbedServer) -> list[int]:
    """How many it takes to either spec."""
    counts = []
    for number in (1, 0):
        host.plan_disturbance()
        host.write_spec(host.specs[number])
        host.apply()
        counts.append(len(host.statements()))
    assert min(counts) >= 10
    return counts


@pytest.mark.parametrize("what", ["crash", "restart", "lose"])
def test_a_server_that_goes_away_fails_what_it_was_at_and_the_next_apply_finishes(
    host: DisturbedServer, what: str
) -> None:
    fewest = min(count_statements(host))
    chance = random.Random(what)
    points = range(1, fewest + 1) if EVERY else sorted(chance.sample(range(1, fewest + 1), 3))
    for number, at in enumerate(points):
        aim = (number + 1) % 2
        told = f"to spec {aim}, {what} at statement {at}"
        host.plan_disturbance(what=what, at=at, unit=host.unit)
        host.write_spec(host.specs[aim])
        run = host.attempt_apply()
        told += f": {host.statements()}: {run.status}: {run.stdout}{run.stderr}"
        assert run.status in (0, 3, 75), told
        assert "Traceback" not in run.stderr, told

        host.bring_back()
        assert host.outside(host.snapshot()) == [], told
        host.plan_disturbance()
        done = host.attempt_apply()
        assert done.status == 0, f"{done.stdout}{done.stderr}{told}"
        host.assert_reached(aim, told)
