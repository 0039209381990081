"""What stood at a path before the agent came is put back as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host.originals import Originals
from agent.steps import Keep, PutBack


@pytest.fixture
def originals(tmp_path: Path) -> Originals:
    return Originals(str(tmp_path / "originals"))


def test_a_file_comes_back_with_its_bytes_and_mode(originals: Originals, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old\nbytes \xff\n")
    path.chmod(0o641)

    originals.keep(Keep("file:x", str(path)))
    path.write_text("new")
    path.chmod(0o600)
    originals.put_back(PutBack("file:x", str(path)))

    assert path.read_bytes() == b"old\nbytes \xff\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o641


def test_a_link_comes_back_as_a_link(originals: Originals, tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("somewhere/else")

    originals.keep(Keep("file:x", str(path)))
    path.unlink()
    path.write_text("new")
    originals.put_back(PutBack("file:x", str(path)))

    assert os.readlink(path) == "somewhere/else"


def test_the_first_original_counts(originals: Originals, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("first", "second"):
        path.write_text(text)
        originals.keep(Keep("file:x", str(path)))
    originals.put_back(PutBack("file:x", str(path)))

    assert path.read_text() == "first"


def test_without_an_original_nothing_is_done(originals: Originals, tmp_path: Path) -> None:
    path = tmp_path / "file"
    originals.keep(Keep("file:x", str(path)))
    path.write_text("mine")

    originals.put_back(PutBack("file:x", str(path)))

    assert path.read_text() == "mine"


def test_it_is_put_back_once(originals: Originals, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    originals.keep(Keep("file:x", str(path)))
    originals.put_back(PutBack("file:x", str(path)))
    path.write_text("edited since")

    originals.put_back(PutBack("file:x", str(path)))

    assert path.read_text() == "edited since"


def test_a_damaged_original_leaves_the_file_alone(originals: Originals, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    originals.keep(Keep("file:x", str(path)))
    (kept,) = (tmp_path / "originals").iterdir()
    kept.write_text("{torn")

    with pytest.raises(HostError, match="damaged"):
        originals.put_back(PutBack("file:x", str(path)))

    assert path.read_text() == "old"
