"""An environment that is taken away may be left half way at any point: somebody finds out, finishes it, and loses nothing that people put there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.host.builds import BEFORE, Asked, Place, point
from agent.workers import keeping, removal
from tests.made import make, package

OLD, NEW = "0" * 12, "1" * 12
PACKAGED = ("bin/toy", "share/toy/text")
CALLS = ("open", "unlink", "rename", "rmdir")


class KilledError(BaseException):
    """Stands for the end of the process."""


@contextmanager
def killed(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[list[int]]:
    """The process ends before it changes something for the ``after``-th time; how often it did is told."""
    done = [0]

    def counting(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*words: object, **more: object) -> object:
            if done[0] >= after:
                raise KilledError
            done[0] += 1
            return call(*words, **more)

        return counted

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counting(getattr(os, name)))
        yield done


def made(tmp_path: Path, *, notes: bool, before: bool, other: bool) -> Place:
    """Two builds, the newer one in force; what may be there beside them."""
    place = Place(str(tmp_path), "analysis")
    if before:
        os.makedirs(f"{place.link}/venv")
    for build in (OLD, NEW):
        make(place, build, Asked(packages=("toy",)), [package("toy", "1.0")])
        for name in PACKAGED:
            path = Path(place.build(build), name)
            path.parent.mkdir(parents=True)
            path.write_text("toy")
        keeping.note_files(place, build, PACKAGED)
        point(place, build)
    if notes:
        Path(place.link, "notes").mkdir()
        Path(place.link, "notes/today").write_text("mine")
    if other:
        make(Place(str(tmp_path), "other"), OLD, Asked(), [])
    Path(place.cache, "toy-1.0-0").mkdir(parents=True)
    return place


def known(place: Place) -> bool:
    """Whether root sees that there is something to take away, as agent.host.environments does."""
    build = place.in_force()
    return os.path.lexists(place.removing) or (build is not None and os.path.isdir(f"{place.build(build)}/conda-meta"))


CASES = pytest.mark.parametrize(
    ("notes", "before", "other"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
    ids=["nothing else", "notes", "a directory from before", "notes and a directory from before"],
)


@CASES
def test_wherever_it_is_killed_it_is_found_and_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: bool, before: bool, other: bool
) -> None:
    whole = made(tmp_path / "whole", notes=notes, before=before, other=other)
    with killed(monkeypatch, 10_000) as calls:
        removal.remove(whole)
    for after in range(calls[0]):
        place = made(tmp_path / str(after), notes=notes, before=before, other=other)
        with killed(monkeypatch, after), pytest.raises(KilledError):
            removal.remove(place)

        assert known(place) or os.listdir(f"{place.root}/builds") in ([], ["other"]), f"call {after}"
        if known(place):
            removal.remove(place)

        assert not known(place)
        assert os.path.isdir(place.cache) and bool(os.listdir(place.cache)) is other
        left = sorted(str(path.relative_to(place.link)) for path in Path(place.link).rglob("*"))
        if notes:
            assert left == ["notes", "notes/today"], f"call {after}"
            assert os.path.isdir(place.build(BEFORE)) is before
        else:
            assert left == (["venv"] if before else []), f"call {after}"
            assert os.path.isdir(place.link) is before
        if not (notes and before):
            assert not os.path.lexists(place.builds)
            assert not os.path.islink(place.link)
        assert sorted(os.listdir(f"{place.root}/envs")) == (["analysis"] if notes or before else [])


def test_what_was_put_aside_comes_back_when_the_environment_is_wanted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(tmp_path / "whole", notes=True, before=False, other=False)
    with killed(monkeypatch, 10_000) as calls:
        removal.remove(whole)
    for after in range(calls[0]):
        place = made(tmp_path / str(after), notes=True, before=False, other=False)
        with killed(monkeypatch, after), pytest.raises(KilledError):
            removal.remove(place)

        removal.give_up(place)
        keeping.sweep(place)

        assert not os.path.lexists(place.removing)
        assert Path(place.link, "notes/today").read_text() == "mine", f"call {after}"
        assert sorted(os.listdir(f"{place.root}/envs")) == ["analysis"]
