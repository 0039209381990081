"""When the daemon makes a pass: at start, for a new spec, for a difference, from time to time; not in a storm, and not for ever after a failure."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent import evidence, status
from agent.daemon import Agenda, Delay, Pace, summary
from agent.errors import Exit
from agent.host import look

PACE = Pace()
SPEC = ("spec", 1)


def agenda(
    exit_status: int = Exit.OK, *, at: float = 1000.0, spec: object = SPEC, repaired: bool = False, conclusive: bool = True
) -> Agenda:  # fmt: skip
    found = Agenda(PACE, share=0.5)
    end(found, exit_status, at=at, spec=spec, repaired=repaired, conclusive=conclusive)
    return found


def end(
    found: Agenda, exit_status: int = Exit.OK, *, at: float, spec: object = SPEC, repaired: bool = False, conclusive: bool = True
) -> None:  # fmt: skip
    found.ended(at, spec, exit_status, repaired=repaired, conclusive=conclusive, interval=600, splay=60)


def test_the_first_pass_is_due_at_once() -> None:
    assert Agenda(PACE).due(5.0, SPEC)


def test_after_a_good_pass_none_is_due_before_the_interval_and_this_hosts_share_of_the_splay() -> None:
    found = agenda()

    assert not found.due(1629.0, SPEC)
    assert found.due(1630.0, SPEC)


def test_another_spec_is_due_at_once() -> None:
    assert agenda().due(1000.0, ("spec", 2))


@pytest.mark.parametrize("exit_status", [Exit.BAD_SPEC, Exit.ROLLED_BACK])
def test_a_bad_spec_waits_for_another_one(exit_status: int) -> None:
    found = agenda(exit_status)

    assert not found.due(1500.0, SPEC)
    assert not found.may_repair(1500.0)
    assert found.due(1001.0, ("spec", 2))


def test_failures_are_tried_again_ever_more_rarely() -> None:
    found, moments, now = Agenda(PACE), [], 0.0
    for _ in range(9):
        end(found, Exit.FAILED, at=now)
        waited = 1.0
        while not found.due(now + waited, SPEC):
            waited += 1.0
        moments.append(waited)
        now += waited

    assert moments == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_a_success_or_another_spec_ends_the_waiting() -> None:
    found = agenda(Exit.FAILED)
    end(found, Exit.FAILED, at=1005.0)
    end(found, Exit.FAILED, at=1015.0, spec=("spec", 2))
    assert found.due(1020.0, ("spec", 2))
    end(found, Exit.OK, at=1020.0, spec=("spec", 2))
    end(found, Exit.FAILED, at=1700.0, spec=("spec", 2))
    assert found.due(1705.0, ("spec", 2))


def test_a_pass_that_left_no_evidence_is_made_again_later_not_at_once() -> None:
    found = agenda(conclusive=False)

    assert not found.may_repair(1000.0)
    assert not found.due(1004.0, SPEC)
    assert found.due(1005.0, SPEC)


def test_what_keeps_being_undone_is_repaired_ever_more_rarely_until_it_rests() -> None:
    found, waits, now = agenda(), [], 2000.0
    assert found.may_repair(1000.0)
    for _ in range(8):
        end(found, at=now, repaired=True)
        waited = 0.0
        while not found.may_repair(now + waited):
            waited += 0.5
        waits.append(waited)
        now += waited
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]

    found.was_right(now + 61.0)
    end(found, at=now + 100.0, repaired=True)

    assert found.may_repair(now + 101.0)


def test_a_look_is_due_in_time_for_whatever_comes_first() -> None:
    assert agenda().next(1000.0) == 1010.0
    assert agenda().next(1625.0) == 1630.0
    assert agenda(Exit.FAILED).next(1001.0) == 1005.0
    assert agenda(repaired=True).next(1000.0) == 1001.0


def test_a_delay_starts_small_and_stays_below_its_limit() -> None:
    delay = Delay(5.0, 12.0)

    assert [delay.next() for _ in range(4)] == [5, 10, 12, 12]
    delay.reset()
    assert delay.next() == 5


def test_the_first_condition_that_does_not_hold_is_said() -> None:
    document = {
        "conditions": [
            {"type": "SpecValid", "status": False, "reason": "Invalid", "message": "spec.yaml:3:5: jupyter.prot: no"},
            {"type": "AsWanted", "status": True, "reason": "AsWanted", "message": ""},
        ]
    }

    assert summary(document, Exit.BAD_SPEC) == "SpecValid: Invalid: spec.yaml:3:5: jupyter.prot: no"
    assert summary({}, Exit.OK) == "as wanted"
    assert summary({}, Exit.BUSY) == "the last pass ended with status 5"


# ---- the loop itself, with a program in the place of `agent apply`

LOOP = """
import sys
from agent.daemon import Daemon, Pace
directory, *numbers = sys.argv[1:]
pace = Pace(look=0.3, settle=0.05, first_retry=0.4, splay=0, grace=0.5, first_rest=0.2, **{"interval": 60, **eval(numbers[0])})
sys.exit(Daemon(directory + "/spec.yaml", directory, pace=pace, command=["/bin/sh", directory + "/pass"]).run())
"""


class Loop:
    """A daemon whose passes are counted. ``passes`` run the shell script that the test gives, which by default repairs the one managed file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.managed = directory / "managed"
        self.managed.write_text("right")
        (directory / "spec.yaml").write_text("good")
        self.script("printf right >managed; chmod 644 managed")
        self.keep_evidence()

    def script(self, text: str, exit_status: int = 0) -> None:
        new = self.directory / "pass.new"
        new.write_text(f"cd {self.directory}; echo >>passes; {text}\nexit {exit_status}\n")
        new.replace(self.directory / "pass")

    def keep_evidence(self) -> None:
        spec = f"{self.directory}/spec.yaml"
        questions = [("file", spec), ("file", str(self.managed))]
        cut = status.halves(status.document(
            verb="apply", spec=spec, spec_digest="", generation=1, outcomes=(), orphans=(), conditions=(), seconds=0.0
        ))  # fmt: skip
        found = evidence.Evidence(questions, look.answer_all(questions), cut, "No changes.\n")
        (self.directory / "evidence").write_bytes(evidence.dump(found, spec))

    @property
    def passes(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return len((self.directory / "passes").read_text().splitlines())
        return 0

    def start(self, **pace: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", LOOP, str(self.directory), repr(pace)], cwd=Path.cwd())


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


@contextlib.contextmanager
def running(loop: Loop, **pace: float) -> Iterator[subprocess.Popen[bytes]]:
    daemon = loop.start(**pace)
    try:
        yield daemon
    finally:
        daemon.terminate()  # not killed: a pass that is under way would go on
        daemon.wait(timeout=20)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def stays(loop: Loop, passes: int, seconds: float = 1.0) -> None:
    """Several looks long."""
    time.sleep(seconds)
    assert loop.passes == passes


def test_a_hand_made_change_is_repaired_once_and_own_writes_wake_nobody(loop: Loop) -> None:
    with running(loop):
        wait_for(lambda: loop.passes == 1, "the first pass")
        stays(loop, 1)

        loop.managed.write_text("wrong")

        wait_for(lambda: loop.passes == 2 and loop.managed.read_text() == "right", "the repair")
        stays(loop, 2)


@pytest.mark.parametrize("way", ["in-place", "renamed", "with-backup"])
def test_a_saved_spec_is_followed_however_the_editor_saves(loop: Loop, way: str) -> None:
    spec = loop.directory / "spec.yaml"
    with running(loop):
        wait_for(lambda: loop.passes == 1, "the first pass")

        match way:
            case "in-place":
                spec.write_text("better")
            case "renamed":
                (loop.directory / ".spec.yaml.new").write_text("better")
                (loop.directory / ".spec.yaml.new").replace(spec)
            case "with-backup":
                spec.rename(loop.directory / "spec.yaml~")
                spec.write_text("better")

        wait_for(lambda: loop.passes >= 2, "the pass for the new spec")


def test_a_drop_in_that_comes_and_changes_is_followed_and_what_editors_leave_is_not(loop: Loop) -> None:
    with running(loop):
        wait_for(lambda: loop.passes == 1, "the first pass")
        (loop.directory / "spec.d").mkdir()
        (loop.directory / "spec.d/.10-more.yaml.swp").write_text("")
        stays(loop, 1)

        (loop.directory / "spec.d/10-more.yaml").write_text("more")
        wait_for(lambda: loop.passes == 2, "the pass for the drop-in")
        loop.keep_evidence()
        (loop.directory / "spec.d/10-more.yaml").write_text("other")

        wait_for(lambda: loop.passes == 3, "the pass for the changed drop-in")


def test_a_lock_file_that_is_written_anew_is_followed_even_if_the_spec_was_bad(loop: Loop) -> None:
    loop.script("", Exit.BAD_SPEC)
    with running(loop):
        wait_for(lambda: loop.passes == 1, "the first pass")

        (loop.directory / "spec.lock").write_text("{}")

        wait_for(lambda: loop.passes == 2, "the pass for the lock file")


def test_a_file_that_the_spec_names_is_followed_even_if_it_was_missing(loop: Loop) -> None:
    (loop.directory / "spec.yaml").write_text("conda: {environments: {a: {file: ./a.yml}}}")
    loop.script("", Exit.BAD_SPEC)
    with running(loop):
        wait_for(lambda: loop.passes == 1, "the first pass")

        (loop.directory / "a.yml").write_text("dependencies: []")

        wait_for(lambda: loop.passes == 2, "the pass for the file")


def test_a_bad_spec_is_not_tried_again_until_it_is_saved_again(loop: Loop) -> None:
    loop.script("", Exit.BAD_SPEC)
    with running(loop):
        wait_for(lambda: loop.passes == 1, "the first pass")
        loop.managed.write_text("wrong")
        stays(loop, 1)

        loop.script("printf right >managed")
        (loop.directory / "spec.yaml").write_text("good again")

        wait_for(lambda: loop.managed.read_text() == "right", "the pass for the good spec")


def test_a_failed_pass_is_tried_again(loop: Loop) -> None:
    loop.script("", Exit.FAILED)
    with running(loop):
        wait_for(lambda: loop.passes >= 3, "two more tries")


def test_without_a_spec_it_waits_for_one(loop: Loop) -> None:
    (loop.directory / "spec.yaml").unlink()
    with running(loop):
        stays(loop, 0)

        (loop.directory / "spec.yaml").write_text("good")

        wait_for(lambda: loop.passes >= 1, "the first pass")


def test_two_that_undo_each_other_do_not_make_a_storm(loop: Loop) -> None:
    loop.script("printf right >managed; (sleep 0.05; printf wrong >managed) &")
    with running(loop):
        wait_for(lambda: loop.passes >= 2, "repairs")
        time.sleep(3.0)

    assert loop.passes <= 7  # rests of 0.2, 0.4, 0.8, 1.6 s


def test_sighup_asks_for_a_pass(loop: Loop) -> None:
    with running(loop) as daemon:
        wait_for(lambda: loop.passes == 1, "the first pass")
        stays(loop, 1, 0.5)

        daemon.send_signal(signal.SIGHUP)

        wait_for(lambda: loop.passes == 2, "the pass that was asked for")
        stays(loop, 2)


def test_sigterm_ends_an_idle_daemon_at_once(loop: Loop) -> None:
    with running(loop, interval=60) as daemon:
        wait_for(lambda: loop.passes == 1, "the first pass")

        daemon.terminate()

        assert daemon.wait(timeout=5) == 0


def test_sigterm_during_a_pass_is_passed_on_and_the_end_of_the_pass_is_waited_for(loop: Loop) -> None:
    loop.script("trap 'echo yes >told; exit 75' TERM; echo >begun; while :; do sleep 0.05; done")
    with running(loop) as daemon:
        wait_for((loop.directory / "begun").exists, "a pass under way")

        daemon.terminate()

        assert daemon.wait(timeout=10) == 0
    assert (loop.directory / "told").exists()


@pytest.mark.parametrize("obeys", [True, False])
def test_a_pass_that_takes_too_long_is_ended(loop: Loop, obeys: bool) -> None:
    loop.script(f"trap '{'exit 75' if obeys else ':'}' TERM; echo $$ >>pids; while :; do sleep 0.05; done")
    pids = loop.directory / "pids"
    with running(loop, longest=0.5):
        wait_for(lambda: pids.exists() and pids.read_text().count("\n") >= 2, "the next try")

        assert not os.path.exists(f"/proc/{pids.read_text().split()[0]}")
