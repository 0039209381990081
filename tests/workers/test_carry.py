"""What people add to an environment by hand is there after every change, unless it cannot work there; then it is named."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.workers import carry as module
from agent.workers.carry import Carried, carry, listed
from tests.workers.prefixes import PYTHON2, PYTHON3, Prefixes, prefixes
from tests.workers.test_pip import Environment, environment


class Move:
    """Two builds that hold nothing but records of packages, and what was added to the first after it was finished."""

    def __init__(self, directory: Path, old: str = "python-3.11.2-0", new: str = "python-3.11.9-0") -> None:
        self.old, self.new = directory / "0123456789ab", directory / "0123456789ab.1"
        for prefix, record in ((self.old, old), (self.new, new)):
            (prefix / "conda-meta").mkdir(parents=True)
            (prefix / f"conda-meta/{record}.json").write_text("{}")
        self.finished_with: list[str] = []

    def finish(self) -> None:
        self.finished_with = listed(str(self.old))

    def add(self, path: str, content: str | bytes = "by hand\n", prefix: Path | None = None) -> Path:
        file = (prefix or self.old) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def distribution(self, name: str, version: str, *more: str, prefix: Path | None = None) -> None:
        site, meta = "lib/python3.11/site-packages", f"lib/python3.11/site-packages/{name}-{version}.dist-info"
        self.add(f"{site}/{name}.py", prefix=prefix)
        self.add(f"{meta}/METADATA", prefix=prefix)
        self.add(f"{meta}/RECORD", "".join(f"{each},,\n" for each in (f"{name}.py", *more)), prefix=prefix)

    def carry(self) -> Carried:
        return carry(str(self.old), str(self.new), self.finished_with, lambda _: None)


@pytest.fixture
def move(tmp_path: Path) -> Move:
    return Move(tmp_path)


def test_what_was_there_when_the_build_was_finished_does_not_come(move: Move) -> None:
    edited = move.add("share/tool/settings", "as packaged\n")
    move.finish()
    edited.write_text("edited\n")

    assert move.carry() == Carried([], [])
    assert not (move.new / "share").exists()


def test_what_was_added_comes_and_stays_where_it_was(move: Move) -> None:
    added = move.add("share/models/big.bin", os.urandom(100_000))
    added.chmod(0o640)
    os.utime(added, (1_700_000_000, 1_700_000_000))

    assert move.carry() == Carried(["share/models/big.bin"], [])

    came = move.new / "share/models/big.bin"
    assert came.read_bytes() == added.read_bytes()
    assert os.path.samefile(came, added), "a second copy of a large file is not made"


def test_where_files_cannot_be_linked_they_are_copied(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    added = move.add("bin/tool", os.urandom(3_000_000))
    added.chmod(0o755)
    os.utime(added, (1_700_000_000, 1_700_000_000))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)

    assert move.carry().files == ["bin/tool"]

    came = move.new / "bin/tool"
    assert came.read_bytes() == added.read_bytes()
    assert came.stat().st_mode == added.stat().st_mode and came.stat().st_mtime == added.stat().st_mtime
    assert not os.path.samefile(came, added)


def test_nothing_is_left_of_a_copy_that_finds_no_room(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    move.add("bin/tool", f"#!{move.old}/bin/python\n")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", refuse)

    with pytest.raises(OSError, match="No space"):
        move.carry()
    assert not (move.new / "bin/tool").exists()


def test_scripts_run_in_the_new_build(move: Move) -> None:
    move.add(
        "bin/tool", f"#!{move.old}/bin/python -E\nprint('{move.old} in the text stays in data')\n".encode() + b"\0\xff"
    )
    move.add("bin/wrapper", f"#!/bin/sh\nexec {move.old}/bin/tool '{move.old}' {move.old}.1/x\n").chmod(0o755)
    move.add("opt/zipped.pyz", f"#!{move.old}/bin/python\n".encode() + bytes(2 << 20))

    assert len(move.carry().files) == 3

    assert (move.new / "bin/tool").read_bytes().startswith(f"#!{move.new}/bin/python -E\nprint('{move.old} in".encode())
    assert (
        move.new / "bin/wrapper"
    ).read_text() == f"#!/bin/sh\nexec {move.new}/bin/tool '{move.new}' {move.old}.1/x\n"
    assert (move.new / "bin/wrapper").stat().st_mode & 0o777 == 0o755
    zipped = (move.new / "opt/zipped.pyz").read_bytes()
    assert zipped == f"#!{move.new}/bin/python\n".encode() + bytes(2 << 20)
    assert (move.old / "bin/wrapper").read_text().count(str(move.new)) == 1, (
        "the old one keeps its own: it may be gone back to"
    )


def test_files_in_which_programs_keep_the_prefix_are_rewritten_and_data_is_not(move: Move) -> None:
    site = "lib/python3.11/site-packages"
    rewritten = (
        f"{site}/mine.pth",
        f"{site}/mine.egg-link",
        "share/jupyter/kernels/x/kernel.json",
        "etc/conda/activate.d/x.sh",
    )
    for path in (*rewritten, "share/notes.txt"):
        move.add(path, f"{move.old}/src\n")

    move.carry()

    for path in rewritten:
        assert (move.new / path).read_text() == f"{move.new}/src\n", path
    assert (move.new / "share/notes.txt").read_text() == f"{move.old}/src\n"


def test_links_stay_links(move: Move, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    move.add("secret", prefix=outside)
    (move.old / "share").mkdir()
    for name, text in {
        "relative": "../x",
        "inside": f"{move.old}/x",
        "out": str(outside),
        "dangling": "/no/such",
    }.items():
        (move.old / "share" / name).symlink_to(text)

    assert move.carry().files == ["share/dangling", "share/inside", "share/out", "share/relative"]

    links = {path.name: os.readlink(path) for path in (move.new / "share").iterdir()}
    assert links == {"relative": "../x", "inside": f"{move.new}/x", "out": str(outside), "dangling": "/no/such"}


def test_nothing_is_written_through_a_link(move: Move, tmp_path: Path) -> None:
    move.add("share/tool/mine")
    (tmp_path / "outside").mkdir()
    (move.new / "share").symlink_to(tmp_path / "outside")

    assert move.carry() == Carried([], ["share/tool/mine"])
    assert list((tmp_path / "outside").iterdir()) == []


def test_what_is_there_is_not_written_over(move: Move) -> None:
    move.add("bin/tool", "mine\n")
    move.add("bin/same", "same\n")
    move.add("bin/tool", "of a package\n", prefix=move.new)
    move.add("bin/same", "same\n", prefix=move.new)

    assert move.carry() == Carried([], ["bin/tool"])
    assert (move.new / "bin/tool").read_text() == "of a package\n"


def test_a_pipe_is_no_file_and_nobody_waits_for_it(move: Move) -> None:
    (move.old / "share").mkdir()
    os.mkfifo(move.old / "share/pipe")

    assert move.carry() == Carried([], ["share/pipe"])


def test_a_distribution_comes_whole_and_with_its_scripts(move: Move) -> None:
    move.add("bin/spam", f"#!{move.old}/bin/python\n")
    move.distribution("spam", "1.0", "../../../bin/spam")

    assert len(move.carry().files) == 4
    assert (move.new / "bin/spam").read_text() == f"#!{move.new}/bin/python\n"


def test_another_python_has_no_use_for_them(tmp_path: Path) -> None:
    move = Move(tmp_path, new="python-3.13.1-0")
    move.add("bin/spam", f"#!{move.old}/bin/python\n")
    move.distribution("spam", "1.0", "../../../bin/spam")
    move.add("lib/python3.11/site-packages/own/__init__.py")
    move.add("lib/python3.11/site-packages/own/more.py")
    move.add("share/data")

    assert move.carry() == Carried(
        ["share/data"], ["lib/python3.11/site-packages/own", "spam 1.0 (it is for Python 3.11)"]
    )
    assert not (move.new / "lib").exists() and not (move.new / "bin").exists()


def test_a_distribution_that_is_there_in_another_version_is_named(move: Move) -> None:
    move.distribution("Spam_Eggs", "1.0")
    move.distribution("same", "1.0")
    move.distribution("spam.eggs", "2.0", prefix=move.new)
    move.distribution("same", "1.0", prefix=move.new)

    assert move.carry() == Carried([], ["spam-eggs 1.0 (2.0 is there)"])


@pytest.mark.parametrize("r", ["4.2.3", "4.3.0"])
def test_an_r_package_comes_where_r_is_the_same(tmp_path: Path, r: str) -> None:
    move = Move(tmp_path, "r-base-4.2.2-0", f"r-base-{r}-0")
    for file in ("DESCRIPTION", "R/spam.rdb", "libs/spam.so"):
        move.add(f"lib/R/library/spam/{file}")
        move.add(f"lib/R/library/known/{file}")
    move.add("lib/R/library/known/DESCRIPTION", "of a package\n", prefix=move.new)

    found = move.carry()

    if r == "4.2.3":
        came = [f"lib/R/library/spam/{file}" for file in ("DESCRIPTION", "R/spam.rdb", "libs/spam.so")]
        assert found == Carried(came, [])
    else:
        assert found == Carried([], ["spam (it is for R 4.2)"])
    assert (move.new / "lib/R/library/known/DESCRIPTION").read_text() == "of a package\n"


def test_the_list_names_links_and_leaves_out_what_is_made_anew(tmp_path: Path) -> None:
    for path in (
        "bin/a",
        "conda-meta/x.json",
        "lib/__pycache__/a.pyc",
        "lib/two.py",
        "lib/two.pyc",
        "lib/only.pyc",
        "share/conda-meta/y",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "share/gone").symlink_to("nowhere")

    assert listed(str(tmp_path)) == [
        "bin/a", "lib/only.pyc", "lib/two.py", "lib64", "share/conda-meta/y", "share/gone",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prefixes:
    return prefixes(tmp_path_factory.mktemp("carry"))


def added_by_hand(env: Environment, *packages: str) -> None:
    """As its owner would."""
    python = env.prefix / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, capture_output=True, cwd="/")


@pytest.mark.parametrize("python", [PYTHON2, PYTHON3], ids=["2.7", "3.11"])
def test_what_pip_installed_by_hand_runs_in_the_next_build(
    made: Prefixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: tuple[str, ...]
) -> None:
    env = environment(made.make(tmp_path / "0123456789ab", *python), tmp_path, monkeypatch)
    finished_with = listed(str(env.prefix))
    env.wheel("spam", "1.0", "eggs", entry="spam")
    env.sources("eggs", "2.0")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    added_by_hand(env, "spam")
    new = made.make(tmp_path / "ba9876543210", *python)

    found = carry(str(env.prefix), str(new), finished_with, lambda _: None)

    assert found.lost == [] and "bin/spam" in found.files
    shutil.rmtree(env.prefix)
    done = subprocess.run([new / "bin/spam"], check=True, capture_output=True, text=True, cwd="/")
    assert done.stdout == "1.0\n"
    assert set(module._distributions(str(new))) >= {"spam", "eggs", "six"}


def test_from_python_2_nothing_of_python_comes_to_3(
    made: Prefixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = environment(made.make(tmp_path / "0123456789ab", *PYTHON2), tmp_path, monkeypatch)
    finished_with = listed(str(env.prefix))
    env.wheel("spam", "1.0", entry="spam")
    added_by_hand(env, "spam")
    (env.prefix / "share").mkdir()
    (env.prefix / "share/notes.txt").write_text("mine\n")
    new = made.make(tmp_path / "ba9876543210", *PYTHON3)
    before = set(listed(str(new)))

    found = carry(str(env.prefix), str(new), finished_with, lambda _: None)

    assert found == Carried(["share/notes.txt"], ["spam 1.0 (it is for Python 2.7)"])
    assert set(listed(str(new))) - before == {"share/notes.txt"}
