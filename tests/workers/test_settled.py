"""What a loss of power may have left empty in the cache is not linked into anybody's environment."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agent.host.builds import Place
from agent.workers import settled
from agent.workers.settled import Boot


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(str(tmp_path), "analysis")
    for name in ("builds/analysis", "pkgs/pkgs", "pkgs/repodata"):
        (tmp_path / name).mkdir(parents=True)
    return place


def unpack(place: Place, name: str) -> Path:
    path = Path(place.cache, "pkgs", name)
    path.mkdir()
    return path


def after_a_reboot(monkeypatch: pytest.MonkeyPatch) -> None:
    now = Boot("another", time.time() + 1)
    monkeypatch.setattr(settled, "boot", lambda: now)


def test_what_was_being_written_when_the_power_went_is_thrown_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = unpack(place, "older-1.0-0")
    settled.begin(place)
    begun = older.stat().st_ctime_ns + 1
    os.utime(f"{place.cache}/.writing-analysis", ns=(begun, begun))
    time.sleep(0.05)  # the clock of a file system ticks slowly
    spoilt = unpack(place, "spoilt-1.0-0")
    after_a_reboot(monkeypatch)

    settled.begin(Place(place.root, "other"))

    assert not spoilt.exists()
    assert not Path(place.cache, "repodata").exists()
    assert not Path(place.cache, ".writing-analysis").exists()
    assert Path(place.cache, ".writing-other").exists()
    assert older.exists()


def test_what_was_settled_or_only_killed_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    settled.begin(place)
    package = unpack(place, "toy-1.0-0")
    settled.begin(place)
    assert package.exists(), "the same boot: what a killed worker wrote is whole"

    settled.settle(place)
    after_a_reboot(monkeypatch)
    settled.begin(place)

    assert package.exists()
