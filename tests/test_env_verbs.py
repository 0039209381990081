"""`agent env`: what people do with environments by name, with a worker that only makes links and notes."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import environments, inventory, update
from agent.apply import Report, Request
from agent.cli import arguments, env
from agent.environments import Order
from agent.errors import AgentError, Exit, HostError, Problem, SpecError, UsageError
from agent.host import builds
from agent.host.builds import Asked
from agent.host.environments import hold_key
from agent.host.machine import Host, Paths
from agent.kinds.environment import Environment
from agent.ledger import Ledger
from agent.resource import Outcome, Ref, Result
from agent.spec import listing
from agent.spec.spec import Spec
from agent.steps import Listing
from agent.wanted import Wanted
from tests import made

ASKED = Asked(channels=("main",), packages=("numpy",))
OLD, NOW = "a" * 12, "b" * 12
TWO_ZERO, TWO_ONE, TWO_TWO = (made.package("numpy", version) for version in ("2.0", "2.1", "2.2"))


class Bench:
    """A host whose environments are links and notes below a directory, a spec with one environment, and the worker."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spec = str(directory / "spec.yaml")
        self.lock = directory / "spec.lock"
        self.host = Host(Paths(state=str(directory / "state"), logs=str(directory / "log")))
        self.worker = made.Worker()
        monkeypatch.setattr(self.host.environments, "_ask", self.worker)
        self.environment = Environment(
            "analysis",
            root=str(directory / "conda"),
            owner=getpass.getuser(),
            channels=ASKED.channels,
            packages=ASKED.packages,
        )
        self.problem: Problem | None = None
        """What is wrong with the spec beside the environment."""
        self.contradiction = False
        """Whether a lock file that is not one for the spec counts as wrong."""
        self.passes: list[Request] = []
        self.report = Report(Exit.OK)
        for module in (environments, update):
            monkeypatch.setattr(module, "want", self._want)
        monkeypatch.setattr(environments, "Apply", self._apply)
        monkeypatch.setattr(env, "want", self._want)

    def _want(self, _path: str, _host: Host, *, lock: bool = True, trusted_only: bool = True) -> Wanted:
        entry = listing.read_lock(str(self.lock)).get("analysis") if lock else None
        if lock and self.problem:
            raise SpecError((self.problem,))
        if lock and self.contradiction and entry and entry["packages"] != list(self.environment.packages):
            raise SpecError((Problem(None, "conda.environments.analysis", "has changed"),))
        exact = Listing(str(self.lock), builds.digest(entry), "agent", "analysis") if entry else None
        environment = self._with(listing=exact)
        return Wanted(Spec(), (), {environment.ref: environment})

    def _with(self, **fields: Any) -> Environment:
        return dataclasses.replace(self.environment, **fields)

    def _apply(self, request: Request, _host: Host) -> Any:
        self.passes.append(request)
        return argparse.Namespace(run=lambda: self.report)

    @property
    def place(self) -> builds.Place:
        return self.environment.place

    def order(self, *names: str) -> Order:
        return Order(self.spec, names, lock_timeout=1)

    def make(self, build: str, package: dict[str, Any], asked: Asked = ASKED, **manifest: Any) -> dict[str, Any]:
        entry = made.make(self.place, build, asked, [package], **manifest)
        builds.point(self.place, build)
        return entry

    def two_builds(self) -> None:
        self.make(OLD, TWO_ZERO, created=1000.0)
        self.make(NOW, TWO_ONE, created=2000.0)

    def view(self) -> inventory.View:
        self.host.begin({})
        wanted = self._want("", self.host)
        os.makedirs(self.host.paths.state, exist_ok=True)
        environment = inventory.environments(wanted.resources)["analysis"]
        return inventory.view(environment, wanted.resources, self.host, Ledger(f"{self.host.paths.state}/ledger.jsonl"))

    def run(self, *words: str) -> int:
        return env._ACTIONS[words[0]](arguments.parser().parse_args(["env", *words, "--spec", self.spec]), self.host)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def yes(_found: object) -> bool:
    return True


def no(_found: object) -> bool:
    return False


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
    bench.environment = bench._with(update=86400.0)

    with pytest.raises(AgentError, match="updated by a schedule"):
        environments.lock(bench.order("analysis"), bench.host)
    assert environments.lock(bench.order(), bench.host) == ((), ("analysis",))


# ---- update


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
    bench.environment = bench._with(packages=("numpy >=2.2",))
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
        (lambda bench: setattr(bench, "environment", bench._with(update=60.0)), "due"),
        (lambda bench: setattr(bench, "environment", bench._with(packages=("scipy",))), "pending"),
        (lambda bench: setattr(bench, "environment", bench._with(owner="nobody-at-all")), "unknown"),
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
    bench.environment = bench._with(update=60.0)

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
