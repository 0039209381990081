"""An environment is a link to one of its builds: every change makes another one, and the way back is short."""

from __future__ import annotations

import json
import os
import subprocess
import time
from http import HTTPStatus
from pathlib import Path

import pytest

from agent.host import builds
from agent.host.builds import Place
from tests.workers.conftest import NOBODY, Worker


def entry_of(worker: Worker) -> dict[str, object]:
    return dict(json.loads(Path(worker.place.solution(worker.build)).read_text()))


def listing(entry: dict[str, object]) -> dict[str, object]:
    return {"form": "agent", "entry": "one", "digest": builds.digest(entry), "content": entry}


def tree(prefix: Path) -> dict[str, str]:
    """Every file below, with its mode and digest."""
    script = "find . -type f -printf '%m ' -exec sha256sum {} \\; ; find . -type l -printf '%p %l\\n'"
    lines = subprocess.run(["sh", "-c", script], cwd=prefix, capture_output=True, text=True, check=True).stdout
    return {line.rsplit("  ", 1)[-1]: line for line in sorted(lines.splitlines())}


def test_a_change_makes_another_build_and_the_old_one_stays(worker: Worker) -> None:
    worker.apply("toy-app 1.*")
    old = worker.build

    worker.apply("toy-app 2.*")

    assert worker.build != old
    assert os.readlink(worker.prefix) == f"../builds/one/{worker.build}"
    said = subprocess.run([f"{worker.place.build(old)}/bin/toy-app"], capture_output=True, text=True, check=True).stdout
    assert "toy-app 1.0" in said


def test_what_was_asked_before_is_there_again_without_a_download(worker: Worker) -> None:
    worker.apply("toy-app 1.*")
    old = worker.build
    worker.apply("toy-app 2.*")
    worker.channel.faults["repodata.json"] = HTTPStatus.SERVICE_UNAVAILABLE

    assert worker.apply("toy-app 1.*") == {"build": old}
    assert worker.build == old


def test_the_same_packages_in_other_words_are_the_same_build(worker: Worker) -> None:
    worker.apply("toy-app 1.*")
    old = worker.build

    assert worker.apply("toy-app 1.*", "toy-lib") == {"build": old}

    assert worker.manifest.asked.packages == ("toy-app 1.*", "toy-lib")
    assert worker.manifest.serves(worker.manifest.asked)
    assert entry_of(worker)["packages"] == ["toy-app 1.*", "toy-lib"]
    assert builds.digest(entry_of(worker)) == worker.manifest.entry
    assert worker.builds() == [old]


def test_only_so_many_old_builds_are_kept(worker: Worker) -> None:
    for packages in (["toy-lib 1.0"], ["toy-lib 1.1"], ["toy-lib 2.0"], ["toy-lib 2.0", "toy-many"]):
        worker.apply(*packages, keep=1)

    assert len(worker.builds()) == 2
    assert worker.apply("toy-lib 2.0", keep=0)["build"] in worker.builds()
    assert worker.builds() == [worker.build]


def test_a_build_that_a_program_runs_from_is_kept(worker: Worker) -> None:
    worker.apply("toy-lib 1.0")
    old = worker.place.build(worker.build)
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    running = subprocess.Popen([*drop, "sleep", "600"], cwd=old)
    try:
        while os.readlink(f"/proc/{running.pid}/exe").endswith("setpriv"):
            time.sleep(0.01)
        worker.apply("toy-lib 1.1", keep=0)
        assert Path(old).is_dir()
    finally:
        running.kill()
        running.wait()
    worker.apply("toy-lib 2.0", keep=0)
    assert not Path(old).exists()


def test_drift_is_repaired_with_the_same_versions_and_no_channel(worker: Worker) -> None:
    worker.apply("toy-lib <2")
    before = entry_of(worker)
    worker.channel.faults["repodata.json"] = HTTPStatus.SERVICE_UNAVAILABLE
    next((worker.prefix / "conda-meta").glob("toy-lib-*.json")).unlink()

    worker.apply("toy-lib <2")

    after = entry_of(worker)
    assert (after["conda"], after["build"]) == (before["conda"], f"{before['build']}.1")
    assert worker.builds() == [worker.build], "nobody goes back to a broken one"


def test_newer_versions_are_taken_when_they_are_due(worker: Worker) -> None:
    worker.apply("toy-lib <2")
    worker.apply("toy-lib")
    assert worker.versions() == {"toy-lib": "1.1"}

    worker.apply("toy-lib", due=True)

    assert worker.versions() == {"toy-lib": "2.0"}
    assert abs(worker.manifest.solved - time.time()) < 600
    current = worker.build
    assert worker.apply("toy-lib", due=True) == {"build": current}, "nothing newer"


def test_an_update_that_fails_leaves_what_is_in_force_and_says_why(worker: Worker) -> None:
    worker.apply("toy-lib <2")
    worker.apply("toy-lib")
    old = worker.build
    worker.channel.faults["toy-lib-2.0-0.tar.bz2"] = HTTPStatus.NOT_FOUND

    result = worker.apply("toy-lib", due=True)

    assert (result["build"], worker.build) == (old, old)
    assert "toy-lib-2.0" in worker.manifest.failed
    assert abs(worker.manifest.tried - time.time()) < 600
    worker.channel.faults.clear()
    worker.apply("toy-lib", due=True)
    assert (worker.versions(), worker.manifest.failed) == ({"toy-lib": "2.0"}, "")


def test_a_build_whose_kernel_does_not_start_is_never_in_force(worker: Worker) -> None:
    worker.apply("toy-lib 1.0")
    old = worker.build

    error = worker.refused("toy-lib 1.1", kernels=[["/bin/false", "{connection_file}"]])

    assert "kernel" in error["message"]
    assert (worker.build, worker.builds()) == (old, [old])


def test_a_proposal_changes_nothing_until_it_is_taken(worker: Worker) -> None:
    worker.apply("toy-lib <2")
    worker.apply("toy-lib")
    old, there = worker.build, worker.builds()

    proposed = worker.run("propose", packages=["toy-lib"], due=True)["result"]

    assert (worker.build, proposed["same"]) == (old, False)
    assert [each["version"] for each in proposed["before"]["conda"]] == ["1.1"]
    assert [each["version"] for each in proposed["entry"]["conda"]] == ["2.0"]
    worker.run("discard", build=proposed["build"])
    assert worker.builds() == there

    again = worker.run("propose", packages=["toy-lib"], due=True)["result"]
    worker.run("flip", build=again["build"])
    assert worker.versions() == {"toy-lib": "2.0"}
    assert "error" in worker.run("flip", build="0123456789ab")


def test_a_proposal_of_what_is_there_already_makes_no_build(worker: Worker) -> None:
    worker.apply("toy-lib")

    proposed = worker.run("propose", packages=["toy-lib"], due=True)["result"]

    assert (proposed["build"], proposed["same"], proposed["reused"]) == (worker.build, True, True)
    assert worker.progress == ["solving"]


def test_what_a_person_went_back_to_is_held_and_repaired(worker: Worker) -> None:
    worker.apply("toy-lib 1.0")
    old = worker.build
    worker.apply("toy-lib 2.0")

    worker.apply("toy-lib 2.0", hold=old)
    assert worker.versions() == {"toy-lib": "1.0"}

    next((worker.prefix / "conda-meta").glob("toy-lib-*.json")).unlink()
    repaired = worker.apply("toy-lib 2.0", hold=old)
    assert (repaired["build"], worker.versions()) == (f"{old}.1", {"toy-lib": "1.0"})


def test_a_lock_entry_is_followed_to_the_byte_without_an_index(worker: Worker) -> None:
    worker.apply("toy-app 1.*", "toy-prefix")
    entry = entry_of(worker)
    first = tree(worker.prefix.resolve())
    worker.run("remove")
    worker.channel.faults["repodata.json"] = HTTPStatus.SERVICE_UNAVAILABLE
    worker.channel.faults["repodata.json.zst"] = HTTPStatus.SERVICE_UNAVAILABLE

    worker.apply("toy-app 1.*", "toy-prefix", lock=builds.digest(entry), listing=listing(entry))

    assert worker.build == entry["build"]
    assert tree(worker.prefix.resolve()) == first


def test_what_was_added_by_hand_comes_along_again_and_again_but_not_into_what_is_locked(worker: Worker) -> None:
    worker.apply("toy-lib 2.0")
    entry = entry_of(worker)
    worker.apply("toy-lib 1.0", keep=0)
    notes = worker.prefix / "notes"
    if os.geteuid() == 0:
        subprocess.run(["setpriv", f"--reuid={NOBODY}", "touch", notes], check=True)
    else:
        notes.touch()

    worker.apply("toy-lib 1.1")
    worker.apply("toy-many")

    assert notes.exists()
    worker.apply("toy-lib 2.0", lock=builds.digest(entry), listing=listing(entry))
    assert not notes.exists(), "a locked environment holds what the lock says"


def test_a_lock_of_what_is_in_force_changes_nothing(worker: Worker) -> None:
    worker.apply("toy-app 1.*")
    entry = entry_of(worker)

    result = worker.apply("toy-app 1.*", lock=builds.digest(entry), listing=listing(entry))

    assert result == {"build": entry["build"]}


def test_a_list_that_is_gone_is_not_needed_where_a_build_was_made_of_it(worker: Worker) -> None:
    worker.apply("toy-lib 1.0")
    entry = entry_of(worker)
    worker.apply("toy-lib 2.0")
    gone = {**listing(entry), "content": None, "why": "spec.lock was changed after the spec was read"}

    assert worker.apply("toy-lib 1.0", lock=builds.digest(entry), listing=gone)["build"] == entry["build"]
    assert worker.refused("toy-lib 1.0", lock="0", listing=gone)["message"] == gone["why"]


def test_an_explicit_list_is_followed(worker: Worker) -> None:
    worker.apply("toy-lib 1.0")
    record = entry_of(worker)["conda"][0]  # type: ignore[index]
    text = f"# made by hand\n@EXPLICIT\n{record['url']}#{record['md5']}\n"
    worker.run("remove")
    explicit = {"form": "explicit", "entry": "", "digest": "1", "content": text}

    worker.apply(lock="1", listing=explicit)
    assert worker.versions() == {"toy-lib": "1.0"}

    wrong = {**explicit, "digest": "2", "content": text.replace(record["md5"], "0" * 32)}
    assert "another digest" in worker.refused(lock="2", listing=wrong)["message"]


def test_variables_and_activation_are_part_of_the_build(worker: Worker) -> None:
    worker.apply("toy-lib", variables=[["MY_DATA", "/srv/data sets"]], activation="export MORE=1\n")

    state = json.loads((worker.prefix / "conda-meta/state").read_text())
    assert state == {"env_vars": {"MY_DATA": "/srv/data sets"}}
    assert (worker.prefix / "etc/conda/activate.d/zz-agent.sh").read_text() == "export MORE=1\n"
    old = worker.build
    worker.apply("toy-lib", variables=[["MY_DATA", "elsewhere"]])
    assert worker.build != old


def test_a_directory_that_was_there_is_kept_and_comes_back(worker: Worker) -> None:
    (worker.prefix / "conda-meta").mkdir(parents=True)
    (worker.prefix / "mine.txt").write_text("mine")
    subprocess.run(["chown", "-R", str(NOBODY), str(worker.home)], check=os.geteuid() == 0)

    worker.apply("toy-lib")
    assert worker.versions() == {"toy-lib": "2.0"}
    assert Path(worker.place.build("before"), "mine.txt").exists()

    worker.run("remove")
    assert (worker.prefix / "mine.txt").read_text() == "mine"
    assert not worker.prefix.is_symlink()


def test_cleaning_takes_old_builds_and_what_only_they_were_made_of(worker: Worker) -> None:
    worker.apply("toy-lib 1.0", "toy-many")
    worker.apply("toy-lib 2.0")
    cached = Path(worker.place.cache, "pkgs")

    would = worker.run("clean", keep=0, dry_run=True)["result"]
    assert (cached / "toy-many-1.0-0").is_dir()
    done = worker.run("clean", keep=0)["result"]

    assert (would["builds"], would["packages"]) == (done["builds"], done["packages"])
    assert {"toy-lib-1.0-0", "toy-many-1.0-0"} <= set(done["packages"])
    assert done["bytes"] > 4096
    assert worker.builds() == [worker.build]
    assert sorted(path.name for path in cached.iterdir() if path.is_dir()) == ["toy-lib-2.0-0"]
    assert worker.unmet() == []


def test_link_scripts_run_only_where_they_are_allowed_by_name(worker: Worker) -> None:
    worker.apply("toy-link", link_scripts=["toy-link"])

    assert list(worker.home.rglob("post-link-ran"))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 2}', b" " * (builds.LARGEST + 1), b"[" * 100_000],
)
def test_a_manifest_that_is_none_is_taken_for_none(content: bytes) -> None:
    assert builds.parse(content) is None


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    asked = builds.Asked(("c",), ("p",), ("q",), (("A", "b"),), "x", "", "")
    manifest = builds.Manifest(asked, ("p",), "e", "s", 1.5, 2, 3, "f", ("k",), ("c",), ("l",))
    builds.write(str(tmp_path / "m.json"), manifest)

    assert builds.read(str(tmp_path / "m.json")) == manifest


@pytest.mark.parametrize("target", ["/etc", "../builds/two/0123456789ab", "../builds/one/..", "../builds/one/x", ""])
def test_a_link_to_anywhere_else_is_no_build(target: str) -> None:
    assert Place("/opt/conda", "one").build_of(target) is None
