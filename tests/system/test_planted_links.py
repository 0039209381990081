"""No write, removal or change of access by root follows a link that an unprivileged user plants, however fast they are."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host import durable

NOBODY = 65534


def access(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of the account nobody; the way to it is root's alone."""
    for directory in (tmp_path, *tmp_path.parents[:-2]):
        directory.chmod(0o755)
    made = tmp_path / "home"
    made.mkdir()
    os.chown(made, NOBODY, NOBODY)
    return made


def test_missing_parents_take_the_owner_of_where_they_are_made(home: Path) -> None:
    durable.replace(str(home / "a/b/file"), b"", mode=0o600, owner=NOBODY, below=NOBODY, parents=True)

    assert access(home / "a/b") == (0o755, NOBODY, NOBODY)


def test_a_link_of_root_in_a_directory_of_root_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "a").mkdir(mode=0o755)
    (tmp_path / "a/link").symlink_to("../real")

    durable.replace(str(tmp_path / "a/link/file"), b"content", mode=0o600)

    assert (tmp_path / "real/file").read_bytes() == b"content"


def test_a_link_in_a_home_is_refused(home: Path, tmp_path: Path) -> None:
    (home / ".jupyter").symlink_to(tmp_path)

    with pytest.raises(HostError, match="can have planted"):
        durable.replace(str(home / ".jupyter/file"), b"", mode=0o600, below=NOBODY)
    with pytest.raises(HostError, match="can have planted"):
        durable.make_directory(str(home / ".jupyter/sub"), 0o755, 0, 0, below=NOBODY)
    with pytest.raises(HostError, match="can have planted"):
        durable.remove(str(home / ".jupyter/home"), below=NOBODY)

    assert sorted(os.listdir(tmp_path)) == ["home"]


def test_a_link_of_root_in_a_home_is_refused_too(home: Path, tmp_path: Path) -> None:
    (home / "link").symlink_to(tmp_path)
    os.chown(home / "link", 0, 0, follow_symlinks=False)

    with pytest.raises(HostError, match="can have planted"):
        durable.replace(str(home / "link/file"), b"", mode=0o600)


def test_the_way_may_not_lead_through_a_third_account(home: Path) -> None:
    (home / "theirs").mkdir()
    os.chown(home / "theirs", 1234, 1234)

    for below in (NOBODY, None):
        with pytest.raises(HostError, match="belongs to uid 1234"):
            durable.replace(str(home / "theirs/file"), b"", mode=0o600, below=below)


def test_access_is_not_set_on_a_file_with_a_second_name(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("SAFE")
    os.link(tmp_path / "shadow", tmp_path / "planted")

    with pytest.raises(HostError, match="2 names"):
        durable.set_access(str(tmp_path / "planted"), 0o666, NOBODY, NOBODY)

    assert access(tmp_path / "shadow")[1] == 0


@pytest.fixture
def attacker(home: Path, tmp_path: Path) -> Iterator[Path]:
    """Someone who, as fast as they can, exchanges a directory in their home with a link to a directory of root."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("SAFE")
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.chdir(home)
            os.mkdir("swapped")
            os.symlink(victim, "other")
            exchange = ctypes.CDLL(None).renameat2
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                for _ in range(101):  # an odd number, so that where it is left lying while others run varies
                    exchange(-100, b"swapped", -100, b"other", 2)
                os.sched_yield()
        finally:
            os._exit(1)
    while not (home / "other").exists():
        time.sleep(0.01)
    yield victim
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("below", [NOBODY, None], ids=["below-their-home", "home-not-named"])
def test_no_write_goes_astray_while_directories_and_links_are_exchanged(
    home: Path, attacker: Path, below: int | None
) -> None:
    path, written, refused, deadline = str(home / "swapped/file"), 0, 0, time.monotonic() + 20
    for turn in range(100_000):
        if (turn > 1500 and min(written, refused) > 50) or time.monotonic() > deadline:
            break
        try:
            durable.replace(path, b"%d" % turn, mode=0o600, owner=NOBODY, below=below)
            written += 1
        except HostError:
            refused += 1

        assert os.listdir(attacker) == ["file"]
        assert (attacker / "file").read_text() == "SAFE"
    assert written > 50, "the attacker kept every write from happening, so nothing was tested"
    assert refused > 50, "the attacker was never met, so nothing was tested"
    assert access(attacker / "file")[1] == 0


def test_no_directory_or_removal_goes_astray_either(home: Path, attacker: Path) -> None:
    new, file = f"{home}/swapped/new/sub", f"{home}/swapped/file"
    changes: list[Callable[[], None]] = [
        lambda: durable.make_directory(new, 0o777, NOBODY, NOBODY, below=NOBODY),
        lambda: durable.set_access(file, 0o666, NOBODY, NOBODY, below=NOBODY),
        lambda: durable.remove(file, below=NOBODY, tree=True),
    ]
    met = 0
    for _ in range(1000):
        for change in changes:
            try:
                change()
            except HostError as error:
                met += "planted" in str(error)

    assert os.listdir(attacker) == ["file"]
    assert access(attacker / "file") == (0o644, 0, 0)
    assert met > 50, "the attacker was never met, so nothing was tested"
