"""A build that would not fit is refused before it is begun, with what it needs and what there is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.host.builds import Place
from agent.workers import space
from agent.workers.problems import WorkError

GB, MB = 10**9, 10**6


def test_what_fits_with_the_reserve_left_is_not_refused() -> None:
    space.require_disk(300 * MB, 300 * MB + 1 * GB, 100 * GB, "/opt")

    with pytest.raises(WorkError):
        space.require_disk(300 * MB, 300 * MB + 1 * GB - 1, 100 * GB, "/opt")


def test_a_small_file_system_keeps_a_reserve_too() -> None:
    with pytest.raises(WorkError):
        space.require_disk(1, space.RESERVE, 1 * GB, "/opt")


def test_a_build_that_needs_nothing_is_never_refused() -> None:
    space.require_disk(0, 0, 1 * GB, "/opt")


def test_the_refusal_has_figures_and_a_way_out() -> None:
    with pytest.raises(WorkError) as caught:
        space.require_disk(1_200 * MB, 400 * MB, 10 * GB, "/opt")

    assert "about 1.2 GB" in str(caught.value) and "400 MB are free on /opt" in str(caught.value)
    assert caught.value.kind == "space" and caught.value.temporary and "agent env clean" in caught.value.hint


def test_what_is_in_the_cache_costs_little_where_it_can_be_linked() -> None:
    linked = space.shares("/cache", "/builds", (), 30, same=True)
    fetched = space.shares("/cache", "/builds", (10 * MB,), 30, same=True)

    assert linked == {"/builds": 30 * space.ENTRIES}
    assert fetched["/builds"] - linked["/builds"] == 50 * MB


def test_two_file_systems_are_looked_at_by_themselves() -> None:
    assert space.shares("/cache", "/builds", (10 * MB,), 30, same=False) == {
        "/cache": 50 * MB,
        "/builds": 30 * (space.ENTRIES + space.COPIED),
    }


def test_a_build_is_measured_against_the_disk_it_goes_to(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "not/yet"), "one")
    system = os.statvfs(tmp_path)
    free = system.f_bavail * system.f_frsize

    space.check_disk(place, [1 * MB], 1)
    with pytest.raises(WorkError, match="not enough room"):
        space.check_disk(place, [free // (1 + space.UNPACKED)], 1)


def test_memory_is_asked_for_what_channels_say(tmp_path: Path) -> None:
    (tmp_path / "repodata").mkdir()
    (tmp_path / "repodata/1a2b.json").write_bytes(bytes(1000))
    (tmp_path / "repodata/1a2b.info.json").write_bytes(bytes(10))

    assert space.indexes(f"{tmp_path}/repodata") == 1000
    assert space.indexes(f"{tmp_path}/nothing") == 0
    assert space.solver_memory(188 * MB) == pytest.approx(0.9 * GB, rel=0.1), "as large as conda-forge"
    space.check_memory(str(tmp_path))


def test_too_little_memory_is_refused_with_figures() -> None:
    space.require_memory(500 * MB, 500 * MB)

    with pytest.raises(WorkError) as caught:
        space.require_memory(900 * MB, 500 * MB)
    assert "900 MB, 500 MB are available" in str(caught.value)
    assert caught.value.kind == "memory" and caught.value.temporary and "swap" in caught.value.hint


def proc(directory: Path, available: int, swap: int, group: str = "/") -> str:
    (directory / "proc/self").mkdir(parents=True)
    (directory / "proc/meminfo").write_text(
        f"MemTotal: 99999 kB\nMemAvailable: {available} kB\nSwapFree: {swap} kB\nHugePages_Total: 0\n"
    )
    (directory / "proc/self/cgroup").write_text(f"0::{group}\n")
    return str(directory / "proc")


def limit(directory: Path, **figures: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in figures.items():
        (directory / f"memory.{name.replace('_', '.')}").write_text(text)


def test_swap_counts(tmp_path: Path) -> None:
    assert space.available_memory(proc(tmp_path, 1000, 500), str(tmp_path)) == 1500 * 1024


def test_the_tightest_group_decides_and_its_cached_files_give_way(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    limit(
        groups / "a",
        max="9000\n",
        current="2000\n",
        swap_max="0\n",
        stat="anon 1\ninactive_file 300\nactive_file 200\n",
    )
    limit(groups / "a/b", max="max\n", current="2000\n")

    assert space.available_memory(proc(tmp_path, 1000, 0, "/a/b"), str(groups)) == 9000 - 2000 + 500


def test_a_group_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    limit(groups / "a", max="1000", current="2000", swap_max="0")

    assert space.available_memory(proc(tmp_path, 1000, 0, "/a"), str(groups)) == 0


def test_a_group_may_use_the_swap_that_it_has_left(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    limit(groups / "a", max="1000", current="1000", swap_max="700", swap_current="100")

    assert space.available_memory(proc(tmp_path, 1000, 0, "/a"), str(groups)) == 600
