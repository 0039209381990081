"""dpkg's records are understood, and apt's refusals become something a person can act on."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import HostError, TemporaryError
from agent.host import packages
from agent.host.looks import Looks
from agent.host.packages import Packages, is_interrupted, lock_holder, parse_status
from agent.host.programs import Finished
from agent.steps import AddRepository
from agent.steps import Packages as Step
from tests.host.parts import Scripted

STATUS = """\
Package: tree
Status: install ok installed
Architecture: amd64
Description: shows
 Status: deinstall ok config-files
Version: 2.1.0-1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: held
Status: hold ok installed
Architecture: amd64
Version: 3.0

Package: half
Status: install ok half-configured
Architecture: amd64
Version: 4.0

Package: libc6
Status: install ok installed
Architecture: i386
Multi-Arch: same
Version: 2.36
"""
UNKNOWN = "E: Unable to locate package nonesuch\n"


def test_only_what_is_wholly_installed_has_a_version() -> None:
    versions = parse_status(STATUS)

    assert versions["tree"] == "2.1.0-1"
    assert versions["held"] == "3.0"
    assert versions["libc6:i386"] == "2.36"
    assert not {"gone", "half"} & versions.keys()


@pytest.mark.parametrize("state", ["half-configured", "unpacked", "triggers-pending", "triggers-awaited"])
def test_an_interrupted_dpkg_is_seen(state: str) -> None:
    assert is_interrupted(f"Package: x\nStatus: install ok {state}\n")
    assert not is_interrupted(f"Package: x\nStatus: install ok installed\nDescription: {state}\n")


@pytest.fixture
def dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package database of the test's own."""
    (tmp_path / "updates").mkdir()
    (tmp_path / "status").write_text(STATUS.replace("half-configured", "installed"))
    monkeypatch.setattr(packages, "_DPKG", str(tmp_path))
    monkeypatch.setattr(packages, "_LOCKS", (str(tmp_path / "lock"),))
    monkeypatch.setattr(packages, "_lists_age", lambda: 0.0)
    return tmp_path


def test_the_database_is_parsed_again_only_when_it_changed(dpkg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []

    def parse(text: str) -> dict[str, str]:
        parsed.append(text)
        return parse_status(text)

    monkeypatch.setattr(packages, "parse_status", parse)
    seen = Packages(Looks(), Scripted())
    assert (seen.version("tree"), seen.version("gone")) == ("2.1.0-1", None)
    (dpkg / "status").write_text(STATUS + "\nPackage: gone\nStatus: install ok installed\nVersion: 1.1\n")

    assert seen.version("gone") == "1.1"
    assert len(parsed) == 2


def test_packages_are_installed_in_one_transaction_that_removes_nothing(dpkg: Path) -> None:
    programs = Scripted()

    Packages(Looks(), programs).perform(Step(install=("tree", "sl")))

    (ran,) = programs.ran
    assert ran.endswith("--no-install-recommends --no-remove install -- tree sl")
    assert "--force-confold" in ran


def test_the_lists_are_read_when_a_name_is_unknown_and_the_others_are_installed(dpkg: Path) -> None:
    programs = Scripted({"install nonesuch": Finished(100, "", UNKNOWN)})

    with pytest.raises(HostError, match="no package nonesuch"):
        Packages(Looks(), programs).perform(Step(install=("tree", "nonesuch")))

    assert [ran.split()[-1] for ran in programs.ran] == ["nonesuch", "update", "nonesuch", "tree"]


def test_an_interrupted_dpkg_is_finished_first(dpkg: Path) -> None:
    (dpkg / "updates/0001").write_text("")
    programs = Scripted()

    Packages(Looks(), programs).perform(Step(install=("tree",)))

    assert programs.ran[0].endswith("--configure -a")


def test_nothing_is_removed_that_others_need(dpkg: Path) -> None:
    programs = Scripted({"--simulate": Finished(0, "Remv jq [1.6]\nRemv libjq1 [1.6]\n", "")})

    with pytest.raises(HostError, match="removing libjq1 would take jq away too"):
        Packages(Looks(), programs).perform(Step(remove=("libjq1",)))

    assert len(programs.ran) == 1


def test_a_package_that_would_push_out_another_is_refused(dpkg: Path) -> None:
    refused = Finished(100, "", "E: Packages need to be removed but remove is disabled.\n")

    with pytest.raises(HostError, match="would remove other packages, so nothing is installed"):
        Packages(Looks(), Scripted({"install": refused})).perform(Step(install=("chrony",)))


@pytest.mark.parametrize("name", ["-oDir=/tmp", "a b", "x;y", "", "tree=1", "/tmp/x.deb"])
def test_what_is_no_name_of_a_package_never_reaches_apt(dpkg: Path, name: str) -> None:
    programs = Scripted()

    with pytest.raises(HostError, match="not the name of a package"):
        Packages(Looks(), programs).perform(Step(install=(name,)))

    assert programs.ran == []


def test_who_holds_a_lock_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert lock_holder(str(path)) is None
    script = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"

    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        found = lock_holder(str(path))
        holder.communicate(b"\n")

    assert found is not None
    assert f"({holder.pid})" in found[1]
    assert lock_holder(str(path)) is None


def test_asking_for_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    lock_holder(str(path))

    descriptor = os.open(path, os.O_RDWR)
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def add(programs: Scripted, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(packages, "_CANDIDATES", str(place / "candidates"))
    step = AddRepository(str(place / "x.sources"), "Types: deb\n", "mysql.repository.key (/k.asc, AB)")
    Packages(Looks(), programs).add_repository(step)


def test_a_repository_is_put_in_place_once_it_was_read_alone(
    dpkg: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = Scripted()
    add(programs, monkeypatch, tmp_path)

    assert (tmp_path / "x.sources").read_text() == "Types: deb\n"
    assert f"Dir::Etc::SourceList={tmp_path}/candidates/x.sources" in programs.ran[-1]
    assert "Dir::Etc::SourceParts=/dev/null" in programs.ran[-1]
    assert not list((tmp_path / "candidates").iterdir())


GPGV = "W: GPG error: file:/srv/r ./ InRelease: The following signatures couldn't be verified: NO_PUBKEY 0123456789ABCDEF\n"
SQV = "W: OpenPGP signature verification failed: file:/srv/r ./ InRelease: Sub-process /usr/bin/sqv returned an error code (1)\n"
UNSIGNED = "E: The repository 'file:/srv/r ./ InRelease' is not signed.\n"


@pytest.mark.parametrize("words", [GPGV + UNSIGNED, SQV + UNSIGNED, UNSIGNED])
def test_a_repository_whose_signature_is_not_believed_is_not_put_in_place(
    dpkg: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    with pytest.raises(HostError, match=r"not signed by mysql.repository.key \(/k.asc, AB\)") as caught:
        add(Scripted({"update": Finished(100, "", words)}), monkeypatch, tmp_path)

    assert not isinstance(caught.value, TemporaryError)
    assert not (tmp_path / "x.sources").exists()
    assert not list((tmp_path / "candidates").iterdir())


def test_a_repository_that_cannot_be_reached_is_worth_another_try(
    dpkg: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = Finished(100, "", "E: Failed to fetch https://repo.example.org/x  Could not resolve 'repo.example.org'\n")

    with pytest.raises(TemporaryError, match="cannot be read"):
        add(Scripted({"update": failed}), monkeypatch, tmp_path)
    assert not (tmp_path / "x.sources").exists()


def test_without_mysql_in_the_distribution_the_way_out_is_named(dpkg: Path) -> None:
    unknown = Finished(100, "", "E: Package 'mysql-server' has no installation candidate\n")

    with pytest.raises(HostError) as caught:
        Packages(Looks(), Scripted({"install": unknown})).perform(Step(install=("mysql-server",)))
    assert "mysql.repository" in caught.value.hint
