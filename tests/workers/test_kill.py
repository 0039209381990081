"""A worker may be killed at any point: what is in force works before, at and after it, and nothing is left of what was begun."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time
from pathlib import Path

from tests.workers.conftest import Worker

POINTS = 50
OLD, NEW = ("toy-app 1.*", "toy-lib"), ("toy-app 2.*", "toy-many", "toy-big")


def test_a_worker_killed_at_any_of_fifty_points_costs_nobody_an_environment(worker: Worker) -> None:
    worker.apply(*OLD)
    old = worker.build
    begun = time.monotonic()
    worker.apply(*NEW)
    whole = time.monotonic() - begun
    new, done = worker.build, 0
    for point in range(POINTS):
        worker.run("flip", build=old)
        worker.run("discard", build=new)
        process = worker.start(packages=NEW)
        time.sleep(whole * 1.1 * point / POINTS)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)

        assert worker.build in (old, new), f"point {point}"
        assert worker.unmet() == [], f"point {point}"
        program = Path(worker.place.build(worker.build), "bin/toy-app")
        assert subprocess.run([program], check=True, capture_output=True).stdout
        done += worker.build == new

        worker.apply(*NEW)
        assert (worker.build, worker.builds()) == (new, sorted([old, new])), f"point {point}"
    assert 0 < done < POINTS, f"{done} of {POINTS} ended before they were killed: the points do not lie in the work"


def test_a_worker_whose_asker_has_ended_puts_nothing_in_force(worker: Worker) -> None:
    worker.apply(*OLD)
    old = worker.build
    process = worker.start(packages=NEW)
    assert process.stdout
    while "downloading" not in (line := process.stdout.readline()):
        assert line, "it ended before it began to download"
    process.stdout.close()
    process.wait(timeout=60)

    assert worker.build == old
    assert len(worker.builds()) == 2, "what is made is kept for the next one"
    worker.apply(*NEW)
    assert worker.build != old
    assert not any(text.startswith("solving") for text in worker.progress)


def test_a_worker_that_waits_for_another_gives_up_when_its_asker_has_ended(worker: Worker) -> None:
    worker.apply(*OLD)
    old = worker.build
    with open(worker.place.lock) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = worker.start("remove")
        assert process.stdout
        assert "waiting" in process.stdout.readline()
        process.stdout.close()
    process.wait(timeout=60)

    assert worker.build == old
    assert worker.unmet() == []
