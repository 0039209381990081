"""Files have exactly the content, owner and mode of the spec, and no secret of theirs is shown."""

from __future__ import annotations

import getpass
import grp
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.errors import HostError
from agent.host import files
from agent.kinds.file import File, FileState
from agent.records import from_record, to_record
from agent.resource import Hidden, NotYetReadable, Ref, differences
from agent.steps import Check, Content, ForgetSecret, Remove, SecretRef, Slot, Step, StoreSecret, Write
from tests.host.parts import Parts
from tests.kinds.seen import removal_of, steps_for

ME, MINE = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
PASSWORD = SecretRef("stored", "password")
SECRET = Content(("password = ", Slot(PASSWORD, "py"), "\n"))


@pytest.fixture
def host(tmp_path: Path) -> Any:
    passwd = f"{ME}:x:{os.getuid()}:{os.getgid()}::/:/bin/sh\n"
    return Parts(tmp_path, passwd=passwd, group=f"{MINE}:x:{os.getgid()}:\n")


@pytest.fixture
def wanted(tmp_path: Path) -> File:
    return File(f"{tmp_path}/file", Content.of("wanted\n"), 0o640, ME, MINE)


def make_right(file: File, host: Any) -> list[Step]:
    """Takes the steps; returns them."""
    steps = steps_for(file, file.read(host))
    for step in steps:
        assert isinstance(step, Write)
        host.files.write(step)
    return steps


def test_it_is_made_and_then_left_alone(host: Any, wanted: File) -> None:
    assert len(make_right(wanted, host)) == 1
    assert make_right(wanted, host) == []

    assert Path(wanted.name).read_text() == "wanted\n"
    assert stat.S_IMODE(os.stat(wanted.name).st_mode) == 0o640


@pytest.mark.parametrize("drift", ["content", "mode", "gone", "link"])
def test_drift_is_seen_and_repaired(host: Any, wanted: File, tmp_path: Path, drift: str) -> None:
    make_right(wanted, host)
    path = Path(wanted.name)
    if drift == "content":
        path.write_text("edited\n")
    elif drift == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
    if drift == "link":
        (tmp_path / "other").write_text("wanted\n")
        path.symlink_to(tmp_path / "other")

    assert len(make_right(wanted, host)) == 1
    assert make_right(wanted, host) == []
    assert not path.is_symlink()


def test_a_link_is_named_as_what_it_is(host: Any, wanted: File) -> None:
    os.symlink("/etc/shadow", wanted.name)

    current = wanted.read(host)

    assert current is not None
    assert (current.stands, current.content) == ("link to /etc/shadow", None)


def test_a_directory_in_the_way_is_reported_and_stays(host: Any, wanted: File) -> None:
    os.makedirs(f"{wanted.name}/work")

    with pytest.raises(HostError, match="Is a directory"):
        make_right(wanted, host)

    assert os.path.isdir(f"{wanted.name}/work")


def test_text_that_is_there_is_shown_but_not_where_a_secret_belongs(host: Any, wanted: File) -> None:
    Path(wanted.name).write_text("CANARY\n")
    host.secrets.generate(StoreSecret("password", 20))

    shown, hidden = wanted.read(host), replace(wanted, content=SECRET).read(host)

    assert shown is not None and shown.content == "CANARY\n"
    assert hidden is not None and hidden.content == Hidden(b"CANARY\n")
    assert "CANARY" not in repr(differences(replace(wanted, content=SECRET).desired(), hidden))


def test_it_cannot_be_judged_while_its_secret_is_still_to_be_made(host: Any, wanted: File) -> None:
    file = replace(wanted, content=SECRET)
    assert file.read(host) is None
    assert file.fingerprint(host) is None
    Path(file.name).write_text("old\n")

    with pytest.raises(NotYetReadable):
        file.read(host)


def test_a_new_secret_is_another_fingerprint(host: Any, wanted: File) -> None:
    file = replace(wanted, content=SECRET)
    seen = set()
    for _ in range(2):
        host.secrets.forget(ForgetSecret("password"))
        host.secrets.generate(StoreSecret("password", 20))
        seen.add(file.fingerprint(host))

    assert len(seen) == 2
    assert None not in seen


def test_a_refused_candidate_never_becomes_the_file(
    host: Any, wanted: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RUN", str(tmp_path / "run"))
    Path(wanted.name).write_text("old\n")
    script = 'cat "$1" >&2; test "$(dirname "$1")" = "$WHERE" && exit 7'
    check = Check(("sh", "-c", script, "sh", "{file}"), "candidate", ME, (("WHERE", "{directory}"),))
    monkeypatch.setattr(host.files, "_programs", Unprivileged(host.programs))

    with pytest.raises(HostError, match="sh exited 7 on the new one: wanted"):
        make_right(replace(wanted, check=check), host)

    assert Path(wanted.name).read_text() == "old\n"
    assert os.listdir(tmp_path / "run") == []


class Unprivileged:
    """Runs programs as whoever runs the tests, where the host would drop to the check's user."""

    def __init__(self, programs: Any) -> None:
        self._programs = programs

    def run(self, argv: Any, *, user: str | None, **options: Any) -> Any:
        return self._programs.run(argv, **options)


def test_it_waits_for_its_owner_its_directories_and_who_checks_it() -> None:
    file = File("/home/alice/.my.cnf", Content(()), 0o600, "alice", "alice", "alice", Check((), "x", "bob"))

    assert {Ref("user", "alice"), Ref("user", "bob"), Ref("directory", "/home/alice")} <= set(file.needs())


def test_what_the_ledger_keeps_is_enough_to_remove_it_and_holds_no_content(wanted: File) -> None:
    file = replace(wanted, below="alice", content=Content.of("CANARY"))
    record = to_record(file.stub())

    assert "CANARY" not in str(record)
    assert removal_of(from_record(record), FileState("", 0o640, ME, MINE)) == [Remove(wanted.name, "alice")]


def test_no_content_is_in_a_repr(wanted: File) -> None:
    (step,) = steps_for(replace(wanted, content=Content.of("CANARY")), None)

    assert "CANARY" not in repr(step)
