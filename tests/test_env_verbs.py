"""`agent env`: what people do with environments by name, with a worker that only makes links and notes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import daemon, environments, inventory, plan, status
from agent.cli import arguments
from agent.cli.status import lines
from agent.errors import AgentError, Exit, HostError, UsageError
from agent.host import builds
from agent.host.builds import Asked
from agent.host.environments import hold_key
from agent.ledger import Ledger
from agent.report import text
from agent.spec import listing
from tests import made
from tests.env_bench import NOW, OLD, TWO_ONE, TWO_ZERO, Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


# ---- rollback


def test_rollback_goes_to_the_build_before_and_holds_it(bench: Bench) -> None:
    bench.two_builds()

    found = environments.rollback(bench.order("analysis"), bench.host)

    assert bench.place.in_force() == OLD
    assert (found.before, found.build, found.held) == (NOW, OLD, True)
    assert [(each.name, each.after and each.after.version) for each in found.changes] == [("numpy", "2.0")]
    assert bench.view().state == "held"


def test_a_second_rollback_goes_one_further_and_then_there_is_none(bench: Bench) -> None:
    bench.make("c" * 12, TWO_ZERO, created=500.0)
    bench.two_builds()

    environments.rollback(bench.order("analysis"), bench.host)
    environments.rollback(bench.order("analysis"), bench.host)

    assert bench.place.in_force() == "c" * 12
    with pytest.raises(AgentError, match=f"no build before {'c' * 12}"):
        environments.rollback(bench.order("analysis"), bench.host)


@pytest.mark.parametrize("locked", [False, True])
def test_going_forward_to_what_the_spec_asks_for_holds_nothing(bench: Bench, locked: bool) -> None:
    bench.two_builds()
    if locked:
        environments.lock(bench.order(), bench.host)
    environments.rollback(bench.order("analysis"), bench.host)

    found = environments.rollback(bench.order("analysis"), bench.host, to="bbb")

    assert (found.build, found.held) == (NOW, False)
    assert bench.view().state == "ok"


@pytest.mark.parametrize(
    ("to", "message"), [("", "was never made"), ("d", "no build that begins with 'd'"), ("b", "in force already")]
)
def test_a_build_that_cannot_be_gone_to_is_named(bench: Bench, to: str, message: str) -> None:
    if to:
        bench.two_builds()

    with pytest.raises(AgentError, match=message):
        environments.rollback(bench.order("analysis"), bench.host, to=to)

    assert bench.worker.asked == []


def test_two_builds_that_begin_alike_are_not_told_apart(bench: Bench) -> None:
    bench.make("ab" * 6, TWO_ZERO)
    bench.two_builds()

    with pytest.raises(AgentError, match="more than one build that begins with 'a'"):
        environments.rollback(bench.order("analysis"), bench.host, to="a")


def test_a_rollback_that_fails_leaves_what_was_held_before(bench: Bench) -> None:
    bench.two_builds()
    bench.worker.refuse["flip"] = HostError("the disk is on fire")

    with pytest.raises(HostError, match="on fire"):
        environments.rollback(bench.order("analysis"), bench.host)

    assert bench.host.memory.get(hold_key(bench.place)) is None
    assert bench.place.in_force() == NOW


def test_what_stands_on_the_environment_is_looked_after(bench: Bench) -> None:
    bench.two_builds()

    environments.rollback(bench.order("analysis"), bench.host)

    assert [each.targets for each in bench.passes] == [("environment:analysis",)]


def test_an_environment_that_the_spec_does_not_have_is_not_looked_for(bench: Bench) -> None:
    with pytest.raises(UsageError) as error:
        environments.rollback(bench.order("analyses"), bench.host)

    assert error.value.hint == "its environments: analysis"


# ---- lock


def test_lock_writes_what_is_in_force(bench: Bench) -> None:
    entry = bench.make(NOW, TWO_ONE)

    ((found,), _) = environments.lock(bench.order(), bench.host)

    assert listing.read_lock(str(bench.lock)) == {"analysis": entry}
    assert (found.name, found.news) == ("analysis", True)
    assert bench.lock.stat().st_mode & 0o777 == 0o644


def test_locked_again_it_is_the_same_file(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    environments.lock(bench.order(), bench.host)
    before = bench.lock.stat()

    ((found,), _) = environments.lock(bench.order(), bench.host)

    assert not found.news
    assert bench.lock.stat() == before


def test_after_a_lock_nothing_is_pending(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)

    environments.lock(bench.order(), bench.host)

    assert (bench.view().state, bench.view().locked) == ("ok", True)


def test_check_writes_nothing_and_tells_by_its_status(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.make(OLD, TWO_ZERO)
    assert bench.run("lock", "--check") == Exit.PENDING
    assert not bench.lock.exists()
    environments.lock(bench.order(), bench.host)
    assert bench.run("lock", "--check") == Exit.OK
    bench.make(NOW, TWO_ONE)
    capsys.readouterr()

    assert bench.run("lock", "--check") == Exit.PENDING
    assert "~ numpy 2.0 -> 2.1" in capsys.readouterr().out


def test_what_was_never_made_is_not_locked(bench: Bench) -> None:
    with pytest.raises(AgentError, match="was never made"):
        environments.lock(bench.order(), bench.host)


def test_what_is_not_as_the_spec_wants_it_is_not_locked(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE, Asked(channels=("main",), packages=("scipy",)))

    with pytest.raises(AgentError, match="is not as the spec wants it: packages") as error:
        environments.lock(bench.order(), bench.host)

    assert error.value.hint == "sudo agent apply, then lock it"
    assert not bench.lock.exists()


def test_a_build_held_for_another_spec_is_not_locked(bench: Bench) -> None:
    bench.make(OLD, TWO_ZERO, Asked(channels=("main",), packages=("numpy <2.1",)), created=1000.0)
    bench.make(NOW, TWO_ONE, created=2000.0)
    environments.rollback(bench.order("analysis"), bench.host)

    with pytest.raises(AgentError, match=f"held at build {OLD}, which was made for something else"):
        environments.lock(bench.order(), bench.host)


@pytest.mark.parametrize(
    "damage",
    [
        {"conda": "all of them"},
        {"conda": [made.package("numpy", "2.1") | {"url": "https://me:secret@conda.example.org/numpy.conda"}]},
        {"conda": [made.package("numpy", "2.1") | {"sha256": "0" * 63}]},
        {"conda": [made.package("../../etc", "2.1")]},
        {"pypi": ["--index-url=https://elsewhere.example.org"]},
        {"pypi": ["rich==13.7.0\n--extra-index-url x"]},
        {"variables": {"A": 1}},
    ],
)
def test_an_owners_file_that_is_no_list_of_packages_is_not_locked(bench: Bench, damage: dict[str, Any]) -> None:
    entry = bench.make(NOW, TWO_ONE)
    Path(bench.place.solution(NOW)).write_text(json.dumps({**entry, **damage}))

    with pytest.raises(AgentError, match="is not the list of packages"):
        environments.lock(bench.order(), bench.host)


def test_a_list_of_packages_that_is_a_link_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    entry = bench.make(NOW, TWO_ONE)
    os.unlink(bench.place.solution(NOW))
    (tmp_path / "elsewhere").write_text(json.dumps(entry))
    os.symlink(tmp_path / "elsewhere", bench.place.solution(NOW))

    with pytest.raises(AgentError, match="is not the list of packages"):
        environments.lock(bench.order(), bench.host)


def test_packages_without_a_hash_are_not_locked(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE | {"sha256": None})

    with pytest.raises(AgentError, match="no hash for numpy"):
        environments.lock(bench.order(), bench.host)


def test_what_a_schedule_updates_is_locked_only_after_a_decision(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    bench.environment = bench.with_(update=86400.0)

    with pytest.raises(AgentError, match="updated by a schedule"):
        environments.lock(bench.order("analysis"), bench.host)
    assert environments.lock(bench.order(), bench.host) == ((), ("analysis",))


# ---- list, show, clean


def test_list_tells_what_is_in_force(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.make(NOW, TWO_ONE)
    os.makedirs(f"{bench.place.root}/envs/mine/conda-meta")

    assert bench.run("list") == Exit.OK

    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["analysis", NOW]
    assert lines[1].endswith("  ok")
    assert lines[2] == f"{bench.place.root}/envs/mine is not of agent's making and stays as it is"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (Bench.view, "ok"),
        (lambda bench: os.unlink(bench.place.link), "not made"),
        (lambda bench: Path(f"{bench.place.build(NOW)}/conda-meta/rich-13.0-0.json").touch(), "pending"),
        (lambda bench: setattr(bench, "environment", bench.with_(update=60.0)), "due"),
        (lambda bench: setattr(bench, "environment", bench.with_(packages=("scipy",))), "pending"),
        (lambda bench: setattr(bench, "environment", bench.with_(owner="nobody-at-all")), "unknown"),
    ],
)
def test_every_state_has_its_word(bench: Bench, change: Callable[[Bench], object], state: str) -> None:
    bench.make(NOW, TWO_ONE)
    change(bench)

    assert bench.view().state == state


def test_what_was_right_before_has_drifted(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    bench.host.begin({})
    os.makedirs(bench.host.paths.state)
    Ledger(f"{bench.host.paths.state}/ledger.jsonl").seen_right(bench.environment, bench.host)
    Path(f"{bench.place.build(NOW)}/conda-meta/rich-13.0-0.json").touch()

    assert (bench.view().state, bench.view().why) == ("drifted", "numpy >=2")


def test_a_failed_update_is_told_until_one_succeeds(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.make(NOW, TWO_ONE, tried=3000, failed="no channel\x1b[31m answers")
    bench.environment = bench.with_(update=60.0)

    bench.run("list")

    note = "update failed at 1970-01-01 00:50: no channel [31m answers; tried again at 1970-01-01 00:51"
    assert note in capsys.readouterr().out


def test_looking_asks_no_worker_where_nothing_looks_changed(bench: Bench) -> None:
    bench.two_builds()

    bench.run("list")
    bench.run("show", "analysis")

    assert bench.worker.asked == []


def test_show_tells_the_builds_and_what_differs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.two_builds()

    assert bench.run("show", "analysis", "--json") == Exit.OK

    found = json.loads(capsys.readouterr().out)
    assert [(each["build"], each["in_force"]) for each in found["builds"]] == [(NOW, True), (OLD, False)]
    assert found["builds"][1]["changes"][0]["after"]["version"] == "2.0"
    assert [each["name"] for each in found["conda"]] == ["numpy"]


def test_show_names_what_was_added_by_hand(bench: Bench) -> None:
    bench.make(NOW, TWO_ONE)
    Path(f"{bench.place.build(NOW)}/conda-meta/rich-13.0-0.json").touch()

    detail = inventory.detail(bench.environment, bench.view(), bench.host)

    assert detail.added == ("rich 13.0",)


def test_clean_says_what_went_and_how_much(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.two_builds()

    assert bench.run("clean", "--keep", "0") == Exit.OK

    shown = f"- environment:analysis: build {OLD}\n- package numpy-2.0-h1_0\nFreed 130 B.\n"
    assert capsys.readouterr().out == shown


def test_what_was_gone_back_to_is_not_cleaned_away(bench: Bench) -> None:
    bench.two_builds()
    environments.rollback(bench.order("analysis"), bench.host)
    builds.point(bench.place, NOW)

    (found,) = environments.clean(bench.order(), bench.host, keep=0)

    assert found.builds == ()


def test_a_number_of_builds_must_be_one() -> None:
    with pytest.raises(UsageError, match="must be a number of builds"):
        arguments.parser().parse_args(["env", "clean", "--keep", "-1"])


# ---- what the plan and the status say


def test_plan_and_status_tell_of_a_build_that_was_gone_back_to(bench: Bench) -> None:
    bench.two_builds()
    environments.rollback(bench.order("analysis"), bench.host)

    notes = plan.notes({bench.environment.ref: bench.environment}, bench.host)

    told = f"environment:analysis is held at build {OLD}, which was gone back to; agent env update analysis lifts that"
    assert notes == (told,)
    assert next(text.plan(plan.Plan((), resources=1, notes=notes))) == f"note: {told}"
    document = status.document(
        verb="apply", spec="s", spec_digest="", generation=1, outcomes=(), orphans=(), notes=notes, conditions=(), seconds=0
    )  # fmt: skip
    assert f"  note: {told}" in lines(document)
    assert daemon.summary(document, Exit.OK) == f"as wanted; {told}"


@pytest.mark.parametrize(
    ("tried", "shown"), [(3000, "1970-01-01 00:50"), (10**40, "some time"), (-(10**40), "some time")]
)
def test_a_failed_update_is_noted_whatever_its_owner_wrote(bench: Bench, tried: int, shown: str) -> None:
    bench.make(NOW, TWO_ONE, tried=tried, failed="no \x1b[31mchannel\n answers")

    (note,) = plan.notes({bench.environment.ref: bench.environment}, bench.host)

    assert (
        note
        == f"environment:analysis could not be updated at {shown} (UTC) and stays as it is: no  [31mchannel  answers"
    )
    assert bench.run("list") == Exit.OK
