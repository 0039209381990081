"""A spec that someone else could have written is refused. Files are given to the account that runs the test, as root's are to root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.spec.safety import MAX_BYTES, exposed, unsafe
from agent.spec.source import Document, load

ME = os.getuid()


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A safe spec: below a directory that only its owner writes. What is above tmp_path is taken out of the question."""
    tmp_path.chmod(0o755)
    path = tmp_path / "spec.yaml"
    path.write_text("jupyter: {}\n")
    path.chmod(0o600)
    return path


def refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why it is refused, looking at no directory above the test's own: /tmp is writable by everyone."""
    real, top = os.lstat, path.parent
    while top.parent.name != "" and not top.name.startswith("test_"):
        top = top.parent
    above = {str(directory) for directory in top.parents}
    monkeypatch.setattr(os, "lstat", lambda name: real("/" if name in above else name))
    problem = unsafe(str(path), owner=ME)
    return problem.message if problem else ""


def test_a_file_of_ones_own_is_taken(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(spec, monkeypatch) == ""


def test_a_file_that_is_not_there_is_not_unsafe(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(spec.with_name("other.yaml"), monkeypatch) == ""


@pytest.mark.parametrize(("mode", "who"), [(0o664, "its group"), (0o646, "every account"), (0o666, "every account")])
def test_a_file_that_others_write(spec: Path, monkeypatch: pytest.MonkeyPatch, mode: int, who: str) -> None:
    spec.chmod(mode)

    assert refused(spec, monkeypatch) == f"can be written by {who}"


@pytest.mark.parametrize("mode", [0o775, 0o777, 0o1777])
def test_a_directory_that_others_write(spec: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    spec.parent.chmod(mode)

    assert refused(spec, monkeypatch).startswith(f"is below {spec.parent}, which can be written by ")


def test_a_directory_further_up_that_others_write(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = spec.parent / "a" / "b"
    deep.mkdir(parents=True)
    moved = spec.rename(deep / "spec.yaml")
    spec.parent.chmod(0o777)

    assert refused(moved, monkeypatch).startswith(f"is below {spec.parent}, ")


def test_a_file_of_someone_else(spec: Path) -> None:
    problem = unsafe("/", owner=ME + 1) or unsafe(str(spec), owner=ME + 1)

    assert problem is not None


@pytest.mark.skipif(ME != 0, reason="only root can give files away")
def test_a_file_that_belongs_to_someone_else(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(spec, 12345, -1)

    assert "belongs to user 12345" in refused(spec, monkeypatch)


def test_a_symbolic_link(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = spec.with_name("link.yaml")
    link.symlink_to(spec)

    assert refused(link, monkeypatch) == "is a symbolic link; a spec is a regular file"


def test_a_directory_behind_a_link_is_looked_at_too(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = spec.parent / "real"
    real.mkdir()
    spec.rename(real / "spec.yaml")
    (spec.parent / "link").symlink_to(real)
    real.chmod(0o777)

    assert f"is below {real}, " in refused(spec.parent / "link" / "spec.yaml", monkeypatch)


def test_a_fifo(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo = spec.with_name("fifo.yaml")
    os.mkfifo(fifo, 0o600)

    assert refused(fifo, monkeypatch) == "is a fifo; a spec is a regular file"


def test_a_directory(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = spec.with_name("directory.yaml")
    directory.mkdir()

    assert refused(directory, monkeypatch) == "is a directory; a spec is a regular file"


def test_a_device() -> None:
    problem = unsafe("/dev/null")

    assert problem is not None and problem.message == "is a device; a spec is a regular file"


def test_a_file_that_is_too_large(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(spec, MAX_BYTES + 1)

    assert refused(spec, monkeypatch).startswith("is larger than 256 KiB")


def test_a_hash_in_a_file_for_everyone_is_warned_of(spec: Path) -> None:
    inline = load([Document("s", b"jupyter: {password: 'sha1:0123456789ab:" + b"a" * 40 + b"'}")])
    by_name = load([Document("s", b"jupyter: {password: {file: /etc/agent/secrets/x}}")])

    assert exposed(str(spec), inline) is None
    spec.chmod(0o644)
    assert exposed(str(spec), by_name) is None
    warning = exposed(str(spec), inline)
    assert warning is not None and "chmod 0600" in warning.hint
