"""A file is replaced whole or not at all, and what stands in the way is not walked over."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host import durable


def test_a_file_is_made_with_its_final_mode(tmp_path: Path) -> None:
    path = tmp_path / "made"

    assert durable.replace(str(path), b"content", mode=0o640)

    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["made"]


def test_equal_bytes_and_access_touch_nothing(tmp_path: Path) -> None:
    path = tmp_path / "same"
    durable.replace(str(path), b"content", mode=0o600)
    before = path.stat()

    assert not durable.replace(str(path), b"content", mode=0o600)

    after = path.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


@pytest.mark.parametrize(("content", "mode"), [(b"other", 0o600), (b"content", 0o644)], ids=["content", "mode"])
def test_any_difference_makes_a_new_file(tmp_path: Path, content: bytes, mode: int) -> None:
    path = tmp_path / "old"
    durable.replace(str(path), b"content", mode=0o600)
    with open(path, "rb") as reader:
        assert durable.replace(str(path), content, mode=mode)

        assert reader.read() == b"content", "who has it open goes on reading the old one"
    assert path.read_bytes() == content


def test_a_refused_candidate_leaves_the_file_that_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "checked"
    path.write_text("old")

    def refuse(_candidate: bytes) -> None:
        raise HostError("line 3 is wrong")

    with pytest.raises(HostError, match="line 3 is wrong"):
        durable.replace(str(path), b"new", mode=0o600, check=refuse)

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["checked"]


def test_what_a_killed_run_left_is_gone_after_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.agent-new").write_text("half")

    durable.replace(str(path), b"whole", mode=0o600)

    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("SAFE")
    path.symlink_to(victim)

    durable.replace(str(path), b"new", mode=0o600)

    assert victim.read_text() == "SAFE"
    assert not path.is_symlink()


def test_a_directory_in_the_way_stays(tmp_path: Path) -> None:
    path = tmp_path / "here"
    (path / "work").mkdir(parents=True)

    with pytest.raises(HostError, match="Is a directory") as caught:
        durable.replace(str(path), b"new", mode=0o600)

    assert "move it elsewhere" in caught.value.hint
    assert (path / "work").is_dir()


def test_a_long_name_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)

    durable.replace(str(path), b"content", mode=0o600)

    assert path.read_bytes() == b"content"


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    durable.replace(str(path), b"old", mode=0o600)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostError, match="No space left") as caught:
        durable.replace(str(path), b"new", mode=0o600)

    assert "make room" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("path", ["relative/file", "/tmp/../etc/file"])
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(HostError, match="absolute and without"):
        durable.replace(path, b"", mode=0o600)


def test_a_tree_is_removed_without_following_its_links(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "work").write_text("SAFE")
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/link").symlink_to(victim)

    durable.remove(str(tmp_path / "tree"), tree=True)

    assert os.listdir(tmp_path) == ["victim"]
    assert (victim / "work").read_text() == "SAFE"


def test_a_directory_that_is_not_empty_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "full/work").mkdir(parents=True)

    with pytest.raises(HostError, match="is not empty"):
        durable.remove(str(tmp_path / "full"))

    assert (tmp_path / "full/work").is_dir()


def test_what_is_gone_already_needs_no_removing(tmp_path: Path) -> None:
    durable.remove(str(tmp_path / "no/such/file"))
