"""Evidence holds exactly as long as every question gets the answer it got."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import evidence, quiet
from agent.host import look


def kept(tmp_path: Path, questions: list[tuple[object, ...]], spec: str = "/spec") -> str:
    path = tmp_path / "evidence"
    found = evidence.Evidence(
        questions,
        look.answer_all(questions),
        (b'{"last_pass": "', b'"}\n'),
        "No changes. 3 resources are as the spec wants them.\n",
    )
    path.write_bytes(evidence.dump(found, spec))
    return str(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "file").write_text("text")
    (tmp_path / "place" / "link").symlink_to("file")
    return tmp_path / "place"


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda place: (place / "file").write_text("TEXT"),
    "longer": lambda place: (place / "file").write_text("text and more"),
    "mode": lambda place: (place / "file").chmod(0o600),
    "owner": lambda place: os.chown(place / "file", 12, -1),
    "deleted": lambda place: (place / "file").unlink(),
    "made": lambda place: (place / "new").write_text(""),
    "replaced-by-a-link": lambda place: os.system(f"ln -sf /etc/passwd {place}/file"),
    "replaced-by-a-directory": lambda place: os.system(f"rm {place}/file; mkdir {place}/file"),
    "replaced-by-a-fifo": lambda place: os.system(f"rm {place}/file; mkfifo {place}/file"),
    "hard-link": lambda place: os.link(place / "file", place / "other"),
    "link-moved": lambda place: os.system(f"ln -sfn elsewhere {place}/link"),
    "directory-gone": lambda place: place.rename(place.parent / "away"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_hand_is_seen(tmp_path: Path, place: Path, change: str) -> None:
    questions = [("file", f"{place}/{name}") for name in ("file", "link", "new")] + [
        ("names", str(place)),
        ("stamps", str(place)),
    ]
    path = kept(tmp_path, list(questions))
    found = evidence.load(path, "/spec")
    assert found is not None
    assert found.holds()

    CHANGES[change](place)

    assert not found.holds()


def test_the_same_content_written_again_is_no_change(tmp_path: Path, place: Path) -> None:
    found = evidence.load(kept(tmp_path, [("file", f"{place}/file")]), "/spec")
    assert found is not None

    (place / "file").write_text("text")

    assert found.holds()


def test_a_moment_that_passes_is_a_change(tmp_path: Path) -> None:
    soon = int(time.time()) + 1
    found = evidence.load(kept(tmp_path, [("before", soon)]), "/spec")
    assert found is not None

    assert found.holds()
    time.sleep(max(0.0, soon - time.time()) + 0.01)
    assert not found.holds()


def test_it_is_good_for_its_own_spec_only(tmp_path: Path) -> None:
    assert evidence.load(kept(tmp_path, []), "/another") is None


def test_a_damaged_file_is_no_evidence_wherever_it_was_cut(tmp_path: Path, place: Path) -> None:
    path = kept(tmp_path, [("file", f"{place}/file"), ("names", str(place))])
    whole = Path(path).read_bytes()

    for length in range(len(whole)):
        Path(path).write_bytes(whole[:length])
        assert evidence.load(path, "/spec") is None
    for noise in (b"", os.urandom(64), b"N", b"(\x00\x00\x00\x00"):
        Path(path).write_bytes(noise)
        assert evidence.load(path, "/spec") is None


def test_a_large_file_is_read_whole(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 3_000_000)
    before = look.file(str(large))

    with large.open("r+b") as file:
        file.seek(2_999_999)
        file.write(b"y")

    assert look.file(str(large)) != before


@pytest.mark.skipif(os.geteuid() != 0, reason="an apply is root's")
def test_the_short_way_writes_the_status_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, [("file", "/etc/hostname")], spec="/etc/agent/spec.yaml")
    (tmp_path / "lock").touch()

    assert quiet.attempt(["apply", "--lock-timeout=3600"], str(tmp_path)) == 0

    assert capfd.readouterr().out == "No changes. 3 resources are as the spec wants them.\n"
    assert sorted(os.listdir(tmp_path)) == ["evidence", "lock", "status.json"]
    assert (tmp_path / "status.json").read_text().startswith('{"last_pass": "20')


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        [],
        ["apply", "--json"],
        ["apply", "a", "b"],
        ["apply", "--target=x"],
        ["apply", "--lock-timeout=x"],
        ["validate"],
    ],
)
def test_the_short_way_leaves_everything_else_to_the_full_one(tmp_path: Path, words: list[str]) -> None:
    kept(tmp_path, [], spec="/etc/agent/spec.yaml")
    (tmp_path / "lock").touch()

    assert quiet.attempt(words, str(tmp_path)) is None
