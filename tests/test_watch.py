"""The watch tells of everything that may make an answer another one, and of little else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.watch import Watch


def armed(*questions: tuple[str, str]) -> Watch:
    watch = Watch()
    watch.arm(questions)
    return watch


def test_nothing_happened(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("")

    assert not armed(("file", f"{tmp_path}/spec.yaml")).drain()


@pytest.mark.parametrize("way", ["write", "replace", "remove", "chmod", "link", "move-away"])
def test_a_file_that_changes_is_told(tmp_path: Path, way: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("old")
    watch = armed(("file", str(path)))

    match way:
        case "write":
            path.write_text("new")
        case "replace":
            (tmp_path / "spec.yaml.new").write_text("new")
            (tmp_path / "spec.yaml.new").rename(path)
        case "remove":
            path.unlink()
        case "chmod":
            path.chmod(0o600)
        case "link":
            path.unlink()
            path.symlink_to("/dev/null")
        case "move-away":
            path.rename(tmp_path / "spec.yaml~")

    assert watch.drain()
    assert not watch.drain()


def test_other_files_in_the_directory_do_not_matter(tmp_path: Path) -> None:
    watch = armed(("file", f"{tmp_path}/spec.yaml"))

    (tmp_path / ".spec.yaml.swp").write_text("")
    (tmp_path / "4913").touch()

    assert not watch.drain()


@pytest.mark.parametrize("what", ["names", "stamps", "stamp"])
def test_everything_in_a_directory_matters_when_its_entries_were_asked_for(tmp_path: Path, what: str) -> None:
    watch = armed((what, str(tmp_path)))

    (tmp_path / "10-more.yaml").touch()

    assert watch.drain()


def test_reading_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("text")
    watch = armed(("file", f"{tmp_path}/spec.yaml"), ("names", str(tmp_path)))

    assert (tmp_path / "spec.yaml").read_text() == "text"
    assert os.listdir(tmp_path) == ["spec.yaml"]
    assert not watch.drain()


def test_a_directory_that_is_not_there_yet_is_told_when_it_comes(tmp_path: Path) -> None:
    watch = armed(("file", f"{tmp_path}/etc/jupyter/config.py"))

    (tmp_path / "unrelated").mkdir()
    assert not watch.drain()
    (tmp_path / "etc").mkdir()

    assert watch.drain()


def test_a_directory_that_was_replaced_is_watched_again(tmp_path: Path) -> None:
    directory, path = tmp_path / "spec.d", f"{tmp_path}/spec.d/10.yaml"
    directory.mkdir()
    watch = armed(("file", path))
    directory.rmdir()
    assert watch.drain()
    directory.mkdir()
    watch.arm([("file", path)])
    watch.drain()

    Path(path).touch()

    assert watch.drain()


def test_arming_again_forgets_what_is_not_asked_any_more_and_loses_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    watch = armed(("file", f"{tmp_path}/a/x"), ("file", f"{tmp_path}/b/x"))
    (tmp_path / "b/x").touch()

    watch.arm([("file", f"{tmp_path}/b/x")])

    assert watch.drain()
    (tmp_path / "a/x").touch()
    assert not watch.drain()


def test_two_paths_to_one_directory_are_both_watched(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")
    watch = armed(("file", f"{tmp_path}/real/x"), ("file", f"{tmp_path}/alias/y"))

    (tmp_path / "real/x").touch()
    assert watch.drain()
    (tmp_path / "real/y").touch()

    assert watch.drain()


def test_an_overflow_matters(tmp_path: Path) -> None:
    watch = armed(("file", f"{tmp_path}/never"))
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(limit // 3 + 8):
        (tmp_path / f"{number % 2}").touch()
        (tmp_path / f"{number % 2}").unlink()

    assert watch.drain()
