"""The conda worker brings an environment to what is asked of it, and costs nobody a working one."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path

from agent.host import builds
from tests.workers.conftest import CHECKOUT, NOBODY, PROGRAM, Worker


def files_of(prefix: Path) -> dict[str, tuple[int, int]]:
    """Every file, with inode and time of change."""
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in prefix.resolve().rglob("*")
        if not path.is_dir()
    }


def test_an_environment_is_made_and_noted(worker: Worker) -> None:
    result = worker.apply("toy-app <2")

    assert result["linked"] == ["toy-app", "toy-lib"]
    assert worker.versions() == {"toy-app": "1.0", "toy-lib": "1.1"}
    assert (worker.build, worker.builds()) == (result["build"], [result["build"]])
    assert worker.manifest.asked.packages == ("toy-app <2",)
    assert set(worker.manifest.held) == {"toy-app", "toy-lib"}
    said = subprocess.run([worker.prefix / "bin/toy-app"], capture_output=True, text=True, check=True).stdout
    assert worker.place.build(worker.build) in said


def test_what_is_installed_can_be_read_by_others(worker: Worker) -> None:
    worker.apply("toy-lib")

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (worker.prefix / "conda-meta").glob("*.json")}
    assert modes == {0o644}


def test_a_second_apply_changes_no_file(worker: Worker) -> None:
    worker.apply("toy-app")
    before = files_of(worker.prefix)

    result = worker.apply("toy-app")

    assert result == {"build": worker.build}
    assert files_of(worker.prefix) == before
    assert worker.unmet() == []


def test_what_there_is_stays_when_a_newer_version_appears(worker: Worker) -> None:
    worker.apply("toy-lib <2")

    worker.apply("toy-lib")

    assert worker.versions() == {"toy-lib": "1.1"}


def test_a_changed_request_changes_packages(worker: Worker) -> None:
    worker.apply("toy-app 1.*")

    worker.apply("toy-app 2.*")

    assert worker.versions() == {"toy-app": "2.0", "toy-lib": "2.0"}


def test_what_is_no_longer_asked_for_goes(worker: Worker) -> None:
    worker.apply("toy-app", "toy-many")

    result = worker.apply("toy-many")

    assert result["removed"] == ["toy-app", "toy-lib"]
    assert worker.versions() == {"toy-many": "1.0"}


def test_what_the_owner_added_stays(worker: Worker) -> None:
    worker.apply("toy-app 2.*")
    as_by_hand(worker, "toy-big")

    worker.apply("toy-app 2.*", "toy-many")

    assert set(worker.versions()) == {"toy-app", "toy-lib", "toy-many", "toy-big"}
    worker.apply("toy-app 2.*", "toy-prefix")
    assert set(worker.versions()) == {"toy-app", "toy-lib", "toy-prefix", "toy-big"}


def test_what_the_owner_added_gives_way_to_what_is_asked_for(worker: Worker) -> None:
    worker.apply("toy-lib 1.*")
    as_by_hand(worker, "toy-old")

    result = worker.apply("toy-lib 2.*")

    assert result["removed"] == ["toy-old"]
    assert "gives way to what was asked for: toy-old" in worker.progress


def as_by_hand(worker: Worker, package: str) -> None:
    """Adds a package and lets the manifest be as if another program had done it."""
    noted = worker.manifest
    worker.apply(*noted.asked.packages, package)
    builds.write(worker.place.manifest(worker.build), noted)


def test_a_package_taken_away_by_hand_is_seen_and_comes_back(worker: Worker) -> None:
    worker.apply("toy-app 2.*")
    for path in (worker.prefix / "conda-meta").glob("toy-app-*.json"):
        path.unlink()
    (worker.prefix / "bin/toy-app").unlink()

    assert worker.unmet() == ["toy-app 2.*"]
    worker.apply("toy-app 2.*")

    assert worker.unmet() == []
    assert (worker.prefix / "bin/toy-app").exists()


def test_a_missing_dependency_is_seen_and_comes_back(worker: Worker) -> None:
    worker.apply("toy-app 2.*")
    next((worker.prefix / "conda-meta").glob("toy-lib-*.json")).unlink()

    assert "toy-lib" in " ".join(worker.unmet())
    worker.apply("toy-app 2.*")

    assert worker.versions() == {"toy-app": "2.0", "toy-lib": "2.0"}


def test_a_spoiled_record_is_repaired(worker: Worker) -> None:
    worker.apply("toy-app 2.*")
    record = next((worker.prefix / "conda-meta").glob("toy-app-*.json"))
    record.write_text("{")

    assert worker.unmet() == [f"record {record.name}", "toy-app 2.*"]
    worker.apply("toy-app 2.*")

    assert worker.versions() == {"toy-app": "2.0", "toy-lib": "2.0"}


def test_an_update_that_cannot_be_downloaded_leaves_the_environment_as_it_was(worker: Worker) -> None:
    worker.apply("toy-app 1.*")
    before = files_of(worker.prefix)
    worker.channel.faults["toy-lib-2.0-0.tar.bz2"] = HTTPStatus.NOT_FOUND

    error = worker.refused("toy-app 2.*")

    assert "toy-lib-2.0-0.tar.bz2" in error["message"]
    assert files_of(worker.prefix) == before
    assert worker.builds() == [worker.build]
    assert worker.unmet() == []


def test_a_package_that_is_not_what_the_index_says_is_refused(worker: Worker) -> None:
    worker.apply("toy-app 1.*")
    spoil(worker.channel.directory, "toy-lib-2.0-0.tar.bz2", "toy-lib-1.0-0.tar.bz2")

    error = worker.refused("toy-app 2.*")

    assert "hash mismatch" in error["message"]
    assert not error["temporary"]
    assert worker.versions() == {"toy-app": "1.0", "toy-lib": "1.1"}


def test_a_wrong_package_in_a_channel_that_is_a_directory_is_refused(worker: Worker) -> None:
    spoil(worker.channel.directory, "toy-lib-2.0-0.tar.bz2", "toy-lib-1.0-0.tar.bz2")
    open_to_all(worker.channel.directory, worker.home)

    error = worker.refused("toy-app 2.*", channels=[f"file://{worker.home}/open"])

    assert "hash mismatch" in error["message"]
    assert worker.apply("toy-app 1.*", channels=[f"file://{worker.home}/open"])["linked"] == ["toy-app", "toy-lib"]


def spoil(channel: Path, name: str, other: str) -> None:
    shutil.copy(channel / "noarch" / other, channel / "noarch" / name)


def open_to_all(directory: Path, home: Path) -> None:
    shutil.copytree(directory, home / "open")
    subprocess.run(["chmod", "-R", "a+rX", str(home / "open")], check=True)


def test_a_channel_is_replaced_by_its_mirror(worker: Worker) -> None:
    worker.apply("conda-forge::toy-app", channels=["conda-forge"], mirrors=[["conda-forge", [worker.channel.url]]])

    urls = [json.loads(path.read_text())["url"] for path in (worker.prefix / "conda-meta").glob("*.json")]
    assert all(url.startswith("https://conda.anaconda.org/conda-forge/") for url in urls), urls
    assert worker.unmet() == []


def test_a_mirror_may_be_a_directory_and_its_packages_are_checked(worker: Worker) -> None:
    spoil(worker.channel.directory, "toy-many-1.0-0.tar.bz2", "toy-lib-1.0-0.tar.bz2")
    open_to_all(worker.channel.directory, worker.home)
    mirrors = [["conda-forge", [f"file://{worker.home}/open"]]]

    worker.apply("toy-app", channels=["conda-forge"], mirrors=mirrors)

    assert worker.versions() == {"toy-app": "2.0", "toy-lib": "2.0"}
    assert "hash mismatch" in worker.refused("toy-many", channels=["conda-forge"], mirrors=mirrors)["message"]


def test_the_next_mirror_is_asked_when_one_is_down(worker: Worker) -> None:
    mirrors = [["conda-forge", ["http://127.0.0.1:9", worker.channel.url]]]

    assert worker.apply("toy-lib", channels=["conda-forge"], mirrors=mirrors)["linked"] == ["toy-lib"]


def test_a_server_that_is_gone_is_a_temporary_failure(worker: Worker) -> None:
    error = worker.refused("toy-app", channels=["http://127.0.0.1:9/gone"])

    assert error["temporary"]
    assert "Connection refused" in error["message"]


def test_a_server_that_is_out_of_order_is_a_temporary_failure(worker: Worker) -> None:
    worker.channel.faults["repodata.json"] = HTTPStatus.SERVICE_UNAVAILABLE

    assert worker.refused("toy-app")["temporary"]


def test_a_channel_that_does_not_exist_is_no_temporary_failure(worker: Worker) -> None:
    error = worker.refused("toy-app", channels=[f"{worker.channel.url}/nowhere"])

    assert not error["temporary"]
    assert "nowhere" in error["message"]


def test_what_cannot_be_solved_is_explained(worker: Worker) -> None:
    error = worker.refused("toy-app 2.*", "toy-old")

    assert error["message"].startswith("no set of packages meets the request:")
    assert "toy-lib >=2.0" in error["message"]
    assert not worker.versions()


def test_a_spec_that_is_none_is_named(worker: Worker) -> None:
    assert "'toy-app >=>1'" in worker.refused("toy-app >=>1")["message"]


def test_no_script_of_a_package_is_run(worker: Worker) -> None:
    worker.apply("toy-link")

    assert not list(worker.home.rglob("post-link-ran"))


def test_a_worker_killed_while_it_links_is_made_up_for(worker: Worker) -> None:
    worker.apply("toy-app 1.*")
    old = worker.build
    worker.kill_when_it_says("downloading", "toy-app 2.*", "toy-many", "toy-big")
    assert (worker.build, worker.unmet()) == (old, [])

    worker.apply("toy-app 2.*", "toy-many", "toy-big")

    assert worker.unmet() == []
    assert_files_are_whole(worker.prefix)
    assert worker.builds() == sorted([old, worker.build]), "nothing is left of what was begun"


def assert_files_are_whole(prefix: Path) -> None:
    """Every file that a record names is there, with the size that it should have."""
    for record in (prefix / "conda-meta").glob("*.json"):
        for path in json.loads(record.read_text())["paths_data"]["paths"]:
            file = prefix / path["_path"]
            assert file.is_symlink() or file.exists(), file
            if "prefix_placeholder" not in path and not file.is_symlink():
                assert file.stat().st_size == path["size_in_bytes"], file


def test_the_owner_s_other_programs_cannot_look_into_it() -> None:
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    program = [*drop, sys.executable, "-I", "-c", PROGRAM, str(CHECKOUT)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        look = [*drop, "cat", f"/proc/{waiting.pid}/environ"]
        deadline = time.monotonic() + 30
        while (seen := subprocess.run(look, capture_output=True, check=False)).returncode == 0:
            assert time.monotonic() < deadline, "it lets itself be looked into"
            time.sleep(0.02)
        assert waiting.poll() is None, "it waits for its request"
        waiting.kill()
    assert b"Permission denied" in seen.stderr


def test_two_workers_take_turns(worker: Worker) -> None:
    both = [worker.start(packages=["toy-app", "toy-many"]) for _ in range(2)]

    answers = [worker.end(process) for process in both]

    assert answers[0]["result"]["build"] == answers[1]["result"]["build"]
    assert worker.builds() == [worker.build]
    assert_files_are_whole(worker.prefix)


def test_a_worker_that_nobody_listens_to_finishes(worker: Worker) -> None:
    process = worker.start(packages=["toy-app", "toy-many"])
    assert process.stdout
    process.stdout.close()

    process.wait(timeout=60)

    assert worker.unmet() == []


def test_a_directory_of_somebody_else_is_refused(worker: Worker) -> None:
    error = worker.refused("toy-app", root="/proc/environment")

    assert "/proc/environment/builds/one cannot be made" in error["message"]
    assert error["hint"]


def test_removal_takes_what_packages_own_and_nothing_else(worker: Worker) -> None:
    worker.apply("toy-app", "toy-many", "toy-prefix")
    (worker.prefix / "share/notes.txt").write_text("mine")

    answer = worker.run("remove")

    assert answer == {"result": {"stays": 1}}
    assert not worker.prefix.is_symlink()
    assert [path for path in worker.prefix.rglob("*") if not path.is_dir()] == [worker.prefix / "share/notes.txt"]
    assert (worker.prefix / "share/notes.txt").read_text() == "mine"
    assert not Path(worker.place.builds).exists()

    worker.apply("toy-app")
    assert worker.prefix.is_symlink()
    assert worker.run("remove") == {"result": {"stays": 0}}
    assert (worker.prefix / "share/notes.txt").read_text() == "mine", "it was there before"


def test_removal_leaves_no_directory_behind(worker: Worker) -> None:
    worker.apply("toy-app")

    assert worker.run("remove") == {"result": {"stays": 0}}
    assert not worker.prefix.exists()
    assert worker.run("remove") == {"result": {}}


def test_the_package_cache_goes_with_the_last_environment(worker: Worker) -> None:
    worker.apply("toy-app")
    worker.apply("toy-app", name="other")

    worker.run("remove")
    assert list((worker.home / "pkgs/pkgs").glob("toy-app-*"))
    worker.run("remove", name="other")
    assert not list((worker.home / "pkgs").iterdir())


def test_removal_follows_no_link(worker: Worker) -> None:
    outside = worker.home / "outside"
    (outside / "__pycache__").mkdir(parents=True)
    (outside / "__pycache__/mine.pyc").write_text("mine")
    worker.apply("toy-app")
    (worker.prefix / "link").symlink_to(outside)

    worker.run("remove")

    assert (outside / "__pycache__/mine.pyc").exists()


def test_root_is_refused(worker: Worker, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        assert worker.apply("toy-lib")
        return
    process = subprocess.run(
        [*worker_command(), str(Path(__file__).parents[2])],
        input=json.dumps({"verb": "apply", "root": str(tmp_path / "x"), "name": "one"}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "never made by root" in process.stdout
    assert not (tmp_path / "x").exists()


def worker_command() -> list[str]:
    import sys

    from tests.workers.conftest import PROGRAM

    return [sys.executable, "-I", "-c", PROGRAM]
