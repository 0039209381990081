"""Programs get an argument list, a fixed environment and no terminal, and none outlives its time."""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.errors import HostError, TemporaryError
from agent.host.programs import Finished, Programs
from agent.steps import Run, SecretRef


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(str(tmp_path / "logs"))


def test_output_errors_and_status_come_back(programs: Programs) -> None:
    done = programs.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin=b"two\nlines")

    assert (done.status, done.output, done.errors) == (3, "two\nlines", "oops\n")
    assert done.last_words() == "oops"


def test_a_program_that_reads_finds_the_end_of_its_input(programs: Programs) -> None:
    assert programs.run(["cat"], timeout=10).output == ""


def test_the_environment_is_fixed_and_there_is_no_terminal(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")

    seen = programs.run([sys.executable, "-c", "import os; print(*os.environ, os.isatty(1), os.isatty(0))"]).output

    assert "AWS" not in seen
    assert seen.split()[-2:] == ["False", "False"]
    assert {"PATH", "LANG", "HOME"} <= set(seen.split())


def test_what_a_shell_would_expand_stays_as_it_is(programs: Programs) -> None:
    assert programs.run(["printf", "%s", "$HOME `id` *; rm -rf"]).output == "$HOME `id` *; rm -rf"


def test_a_program_and_its_children_are_killed_when_the_time_is_up(programs: Programs, tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; sleep 60"

    started = time.monotonic()
    with pytest.raises(TemporaryError, match=r"did not end within 0\.5 s"):
        programs.run(["sh", "-c", script], timeout=0.5)

    assert time.monotonic() - started < 8
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_signal_is_a_negative_status(programs: Programs) -> None:
    assert programs.run(["sh", "-c", "kill -TERM $$"]).status == -15


@pytest.mark.parametrize("argv", [["no-such-program"], ["/no/such/program"], ["ls", "a\0b"]], ids=str)
def test_what_cannot_be_started_is_an_error(programs: Programs, argv: list[str]) -> None:
    with pytest.raises(HostError):
        programs.run(argv)


def test_lines_are_told_as_they_come_and_kept_in_a_root_only_log(programs: Programs, tmp_path: Path) -> None:
    heard: list[str] = []

    programs.run(["sh", "-c", "echo one; echo two >&2"], on_line=heard.append, log_name="long")

    log = tmp_path / "logs/long.log"
    assert sorted(heard) == ["one", "two"]
    assert "$ sh -c" in log.read_text()
    assert "one\n" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_arguments_are_not_logged(programs: Programs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    programs.run(["echo", "canary"])

    assert "canary" not in caplog.text


def test_several_threads_may_run_programs(programs: Programs) -> None:
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: seen.append(programs.run(["echo", str(n)]).output)) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seen, key=int) == [f"{n}\n" for n in range(12)]


def test_a_step_fails_with_the_last_words(programs: Programs) -> None:
    with pytest.raises(HostError, match=r"^sh exited 10: cannot lock /etc/group$"):
        programs.perform(Run(("sh", "-c", "echo first; echo 'cannot lock /etc/group' >&2; exit 10")))


def test_a_step_may_accept_other_statuses(programs: Programs) -> None:
    programs.perform(Run(("sh", "-c", "exit 4"), accept=(0, 4)))


def test_a_secret_for_standard_input_that_is_missing_is_named(programs: Programs) -> None:
    with pytest.raises(HostError, match="stored:absent"):
        programs.perform(Run(("cat",), stdin=SecretRef("stored", "absent")))


def test_the_last_words_are_those_of_the_errors() -> None:
    assert Finished(1, "said\n", "\nwhy\n\n").last_words() == "why"
    assert Finished(1, "said\n", "").last_words() == "said"
    assert Finished(1, "", "").last_words() == "it said nothing"


def test_neither_input_nor_output_is_in_a_repr() -> None:
    assert "canary" not in repr(Finished(0, "canary", "canary"))


def test_no_descriptor_is_left(programs: Programs) -> None:
    programs.run(["true"])
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(5):
        programs.run(["true"], log_name="log")

    assert len(os.listdir("/proc/self/fd")) <= before
