"""Who runs from a directory, and how much of the disk is its alone."""

from __future__ import annotations

import os
from pathlib import Path

from agent.host import usage


def test_a_program_is_found_by_where_it_lies(tmp_path: Path) -> None:
    for pid, program in (("7", "/opt/a/bin/python"), ("12", "/opt/a/lib/R"), ("9", "/opt/ab/bin/python")):
        (tmp_path / pid).mkdir()
        os.symlink(program, tmp_path / pid / "exe")
    (tmp_path / "8").mkdir()
    (tmp_path / "self").mkdir()

    assert usage.running(("/opt/a", "/opt/b"), str(tmp_path)) == {"/opt/a": (7, 12)}


def test_this_program_is_found_in_the_real_one() -> None:
    directory = os.path.dirname(os.readlink("/proc/self/exe"))

    assert os.getpid() in usage.running((directory,))[directory]


def test_what_is_shared_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "build/lib").mkdir(parents=True)
    (tmp_path / "build/own").write_bytes(b"x" * 8192)
    (tmp_path / "build/lib/shared").write_bytes(b"x" * 65536)
    os.link(tmp_path / "build/lib/shared", tmp_path / "elsewhere")
    os.symlink("/usr", tmp_path / "build/usr")

    assert usage.own_bytes(str(tmp_path / "build")) == 8192


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert usage.own_bytes(str(tmp_path / "nowhere")) == 0
