"""One run at a time; whoever waits is told for whom; a dead holder holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import BusyError, Exit
from agent.lock import locked

HOLD = "import sys, time; from agent.lock import locked\nwith locked(sys.argv[1], 'apply', timeout=0): print('held', flush=True); time.sleep(60)"


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_run_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    with hold(tmp_path / "lock") as holder:
        told: list[str] = []

        with (
            pytest.raises(BusyError, match=rf"agent apply \(pid {holder.pid}, since 20.*\) holds the lock") as refused,
            locked(str(tmp_path / "lock"), "apply", timeout=0.2, waiting=told.append),
        ):
            raise AssertionError("held twice")

        assert refused.value.exit_status == Exit.BUSY
        assert len(told) == 1
        holder.kill()


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with hold(tmp_path / "lock") as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()

        with locked(str(tmp_path / "lock"), "apply", timeout=5):
            pass


def test_it_can_be_taken_again_after_it_was_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(str(tmp_path / "lock"), "apply", timeout=0):
            pass


def test_who_waits_for_the_lock_can_be_stopped(tmp_path: Path) -> None:
    with hold(tmp_path / "lock") as holder:
        with (
            pytest.raises(BusyError, match="told to stop"),
            locked(str(tmp_path / "lock"), "apply", timeout=60, stopped=lambda: True),
        ):
            raise AssertionError("held twice")
        holder.kill()
