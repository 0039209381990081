"""The ledger knows what was made here, survives a torn or damaged file, and writes only news."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent import plan
from agent.ledger import Ledger
from agent.resource import Ref
from tests.fakes import FakeHost, Toy


@pytest.fixture
def host() -> Any:
    host = FakeHost()
    host.begin({})
    return host


def test_what_was_made_is_known_after_a_restart(tmp_path: Path, host: Any) -> None:
    path = str(tmp_path / "ledger")
    Ledger(path).making(Toy("a", "1"), existed=False)

    entry = Ledger(path).entry(Ref("toy", "a"))

    assert entry is not None
    assert (entry.resource, entry.made, entry.right) == (Toy("a", "1"), "created", None)


@pytest.mark.parametrize(
    ("existed", "seen_before", "made"),
    [
        pytest.param(False, False, "created", id="was-not-there"),
        pytest.param(True, False, "replaced", id="something-else-was-there"),
        pytest.param(True, True, "replaced", id="was-right-when-first-seen-and-the-spec-changed"),
        pytest.param(False, True, "adopted", id="was-right-when-first-seen-then-deleted-by-hand"),
    ],
)
def test_whose_it_is(tmp_path: Path, host: Any, existed: bool, seen_before: bool, made: str) -> None:
    ledger = Ledger(str(tmp_path / "ledger"))
    if seen_before:
        ledger.seen_right(Toy("a", "1"), host)

    ledger.making(Toy("a", "2"), existed=existed)
    ledger.seen_right(Toy("a", "2"), host)

    entry = ledger.entry(Ref("toy", "a"))
    assert entry is not None
    assert entry.made == made


def test_what_was_made_here_stays_so_when_it_changes(tmp_path: Path, host: Any) -> None:
    ledger = Ledger(str(tmp_path / "ledger"))
    ledger.making(Toy("a", "1"), existed=False)
    ledger.seen_right(Toy("a", "1"), host)

    ledger.making(Toy("a", "2"), existed=True)

    entry = ledger.entry(Ref("toy", "a"))
    assert entry is not None
    assert entry.made == "created"


def test_seeing_the_same_again_writes_nothing(tmp_path: Path, host: Any) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(str(path))
    ledger.seen_right(Toy("a", "1"), host)
    before = path.read_bytes()

    Ledger(str(path)).seen_right(Toy("a", "1"), host)

    assert path.read_bytes() == before


def test_what_is_about_to_be_made_is_on_the_disk_and_what_was_right_by_the_end(
    tmp_path: Path, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, safe = tmp_path / "ledger", [b""]

    def to_disk(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            safe.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", to_disk)
    ledger = Ledger(str(path))
    ledger.making(Toy("a", "1"), existed=False)
    assert safe[-1] == path.read_bytes()
    ledger.seen_right(Toy("a", "1"), host)
    assert safe[-1] != path.read_bytes()
    ledger.flush()
    assert safe[-1] == path.read_bytes()
    ledger.flush()
    assert len(safe) == 3, "nothing new was to be waited for"


def test_threads_that_wait_for_the_disk_wait_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, slow, waits = tmp_path / "ledger", threading.Event(), []

    def to_disk(_descriptor: int) -> None:
        waits.append(path.read_bytes().count(b"\n"))
        assert slow.wait(10)

    ledger = Ledger(str(path))
    ledger.making(Toy("before", "1"), existed=False)
    monkeypatch.setattr(os, "fsync", to_disk)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(ledger.making, Toy("0", "1"), existed=False)
        while not waits:
            time.sleep(0.001)
        others = [pool.submit(ledger.making, Toy(str(number), "1"), existed=False) for number in range(1, 6)]
        while path.read_bytes().count(b"\n") < 7:
            time.sleep(0.001)
        assert not any(each.done() for each in (first, *others))
        slow.set()
    # the last of them may have written its line, and not yet counted it, when the others begin to wait
    assert waits in ([2, 7], [2, 7, 7]), "the five others together"


def test_a_torn_last_line_is_dropped_and_later_lines_are_whole(tmp_path: Path, host: Any) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(str(path))
    ledger.making(Toy("a"), existed=False)
    ledger.making(Toy("b"), existed=False)
    path.write_bytes(path.read_bytes()[:-10])

    after_crash = Ledger(str(path))
    assert [entry.ref.name for entry in after_crash.entries()] == ["a"]
    after_crash.making(Toy("c"), existed=False)

    assert [entry.ref.name for entry in Ledger(str(path)).entries()] == ["a", "c"]


def test_it_can_be_read_however_it_was_cut(tmp_path: Path, host: Any) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(str(path))
    for name in "abc":
        ledger.making(Toy(name), existed=False)
    whole = path.read_bytes()

    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert [entry.ref.name for entry in Ledger(str(path)).entries()] == list("abc")[: whole[:length].count(b"\n")]


def test_a_damaged_line_is_kept_aside_and_the_others_count(tmp_path: Path, host: Any) -> None:
    path = tmp_path / "ledger"
    Ledger(str(path)).making(Toy("a"), existed=False)
    path.write_bytes(
        b'{"record": {"kind": "no such"}}\n' + os.urandom(20).replace(b"\n", b"") + b"\n" + path.read_bytes()
    )

    ledger = Ledger(str(path))

    assert [entry.ref.name for entry in ledger.entries()] == ["a"]
    assert len(ledger.damaged) == 2
    ledger.compact()
    assert b"no such" in (tmp_path / "ledger.damaged").read_bytes()
    assert Ledger(str(path)).damaged == []


def test_what_a_full_disk_cut_off_is_not_believed_and_later_lines_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "ledger", os.write
    ledger = Ledger(str(path))
    ledger.making(Toy("a"), existed=False)

    room = [20]

    def full(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return write(descriptor, bytes(data)[: room.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        ledger.making(Toy("b"), existed=False)
    assert ledger.entry(Ref("toy", "b")) is None
    monkeypatch.undo()
    ledger.making(Toy("c"), existed=False)

    assert [entry.ref.name for entry in Ledger(str(path)).entries()] == ["a", "c"]
    ledger.compact()
    assert Ledger(str(path)).damaged == []


def test_what_is_gone_is_forgotten(tmp_path: Path, host: Any) -> None:
    path = str(tmp_path / "ledger")
    ledger = Ledger(path)
    ledger.making(Toy("a"), existed=False)

    ledger.gone(Ref("toy", "a"))

    assert list(Ledger(path).entries()) == []


def test_it_does_not_grow_for_ever(tmp_path: Path, host: Any) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(str(path))
    for value in range(200):
        ledger.making(Toy("a", str(value)), existed=True)

    ledger.compact()

    assert path.read_text().count("\n") == 1
    assert plan.by_ref(entry.resource for entry in Ledger(str(path)).entries()) == {Ref("toy", "a"): Toy("a", "199")}
