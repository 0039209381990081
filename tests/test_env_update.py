"""`agent env update`: proposed by a worker that only makes links and notes, shown, taken or left."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from agent import environments, update
from agent.apply import Report
from agent.errors import Exit, HostError, Problem, SpecError
from agent.host.environments import hold_key
from agent.resource import Outcome, Ref, Result
from agent.spec import listing
from tests import made
from tests.env_bench import NOW, TWO_ONE, TWO_TWO, TWO_ZERO, Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def yes(_found: object) -> bool:
    return True


def no(_found: object) -> bool:
    return False


def test_an_update_shows_what_differs_and_puts_it_in_force(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    bench.worker.newest = [TWO_TWO, made.package("blas", "1.0")]
    shown: list[Any] = []

    def approve(proposals: object) -> bool:
        shown.append(proposals)
        return True

    found = update.Update(bench.order(), bench.host).run(approve)

    assert [(c.name, c.before and c.before.version, c.after and c.after.version) for c in shown[0][0].changes] == [
        ("blas", None, "1.0"),
        ("numpy", "2.1", "2.2"),
    ]
    assert bench.place.in_force() == "f" * 12
    assert found.exit_status == Exit.OK
    assert len(bench.passes) == 1


def test_no_takes_the_proposal_away(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    bench.worker.newest = [TWO_TWO]

    found = update.Update(bench.order(), bench.host).run(no)

    assert not found.taken
    assert bench.place.in_force() == NOW
    assert list(bench.place.finished()) == [NOW]
    assert bench.passes == []


def test_an_interrupted_question_takes_the_proposal_away(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    bench.worker.newest = [TWO_TWO]

    def interrupt(_found: object) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update.Update(bench.order(), bench.host).run(interrupt)

    assert list(bench.place.finished()) == [NOW]


def test_where_nothing_is_newer_nobody_is_asked(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.make(NOW, TWO_ONE)
    bench.worker.newest = [TWO_ONE]

    assert bench.run("update", "--yes") == Exit.OK

    assert capsys.readouterr().out == "environment:analysis: nothing newer\n"
    assert list(bench.place.finished()) == [NOW]
    assert bench.passes == []


def test_an_update_rewrites_the_lock_of_what_is_locked(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    environments.lock(bench.order(), bench.host)
    bench.worker.newest = [TWO_TWO]

    update.Update(bench.order(), bench.host).run(yes)

    entry = listing.read_lock(str(bench.lock))["analysis"]
    assert (entry["build"], [each["version"] for each in entry["conda"]]) == ("f" * 12, ["2.2"])
    assert (bench.view().state, bench.view().locked) == ("ok", True)


def test_an_update_locks_nothing_that_was_not_locked(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    bench.worker.newest = [TWO_TWO]

    update.Update(bench.order(), bench.host).run(yes)

    assert not bench.lock.exists()


def test_an_update_lifts_a_hold_even_if_nothing_is_newer(bench: Bench) -> None:
    bench.two_builds()
    environments.rollback(bench.order("analysis"), bench.host)
    bench.worker.newest = [TWO_ZERO]

    update.Update(bench.order(), bench.host).run(yes)

    assert bench.host.memory.get(hold_key(bench.place)) is None
    assert len(bench.passes) == 2


def test_where_a_service_does_not_work_with_it_the_build_before_comes_back(bench: Bench) -> None:
    before = bench.make(NOW, TWO_ONE)
    environments.lock(bench.order(), bench.host)
    bench.worker.newest = [TWO_TWO]
    sick = Outcome(Ref("probe", "jupyter"), Result.FAILED, message="does not answer", unhealthy=True)
    bench.report = Report(Exit.FAILED, (sick,))

    found = update.Update(bench.order(), bench.host).run(yes)

    assert found.exit_status == Exit.ROLLED_BACK
    assert found.went_back == "probe:jupyter: does not answer"
    assert bench.place.in_force() == NOW
    assert listing.read_lock(str(bench.lock)) == {"analysis": before}


def test_what_did_not_work_for_a_spec_that_was_new_is_gone_back_from_and_held(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    environments.lock(bench.order(), bench.host)
    bench.environment = bench.with_(packages=("numpy >=2.2",))
    bench.contradiction = True
    bench.worker.newest = [TWO_TWO]
    sick = Outcome(Ref("probe", "jupyter"), Result.FAILED, message="does not answer", unhealthy=True)
    bench.report = Report(Exit.FAILED, (sick,))

    found = update.Update(bench.order(), bench.host).run(yes)

    assert found.exit_status == Exit.ROLLED_BACK
    assert bench.place.in_force() == NOW
    assert listing.read_lock(str(bench.lock))["analysis"]["build"] == "f" * 12, "the spec stays valid"
    assert bench.view().state == "held"


def test_what_else_is_wrong_with_the_spec_is_said_before_anything_is_built(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    bench.problem = Problem(None, "conda.environments.other", "has changed since spec.lock was written")

    with pytest.raises(SpecError) as error:
        update.Update(bench.order("analysis"), bench.host).run(yes)

    assert error.value.problems == (bench.problem,)
    assert bench.worker.asked == []


@pytest.mark.parametrize(("answer", "build"), [("y", "f" * 12), ("", NOW), ("no", NOW)])
def test_a_person_at_a_terminal_is_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, build: str
) -> None:
    bench.make(NOW, TWO_ONE)
    bench.worker.newest = [TWO_TWO]
    monkeypatch.setattr("sys.stdin", argparse.Namespace(isatty=lambda: True))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda: answer)

    assert bench.run("update") == Exit.OK

    shown = capsys.readouterr().out
    assert "~ numpy 2.1 -> 2.2" in shown
    assert "Put this in force? [y/N]" in shown
    assert ("Nothing was changed." in shown) == (build == NOW)
    assert bench.place.in_force() == build


def test_an_update_that_fails_changes_nothing_and_says_why(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.make(NOW, TWO_ONE)
    bench.worker.refuse["propose"] = HostError("no channel answers", hint="try a mirror")

    assert bench.run("update", "--yes") == Exit.ERROR

    assert capsys.readouterr().out == "x environment:analysis: no channel answers\n    hint: try a mirror\n"
    assert bench.place.in_force() == NOW


def test_a_dry_run_only_shows(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.make(NOW, TWO_ONE)
    bench.worker.newest = [TWO_TWO]

    assert bench.run("update", "--dry-run") == Exit.OK

    shown = "environment:analysis\n  ~ numpy 2.1 -> 2.2\nUpdate: 0 to add, 1 to change, 0 to remove.\n"
    assert capsys.readouterr().out == shown
    assert list(bench.place.finished()) == [NOW]
