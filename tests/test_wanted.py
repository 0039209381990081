"""What belongs to a spec: its drop-ins, the files that it names, its lock file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.errors import SpecError
from agent.host.machine import Host
from agent.report.problems import one_line
from agent.resource import Ref
from agent.spec import safety
from agent.spec.listing import text_of
from agent.wanted import Wanted, want
from tests.spec.test_listing import ENTRY

SPEC = "conda:\n  environments:\n    a: {packages: [python 3.11.*, pip], pip: [rich], variables: {B: 1}, activation: ulimit -c 0}\n    b: {file: b.yml}\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "spec.d").mkdir()
    (tmp_path / "spec.d/10-more.yaml").write_text("packages: [git]\n")
    (tmp_path / "b.yml").write_text("dependencies: [numpy]\n")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


def wanted(spec: Path, host: Host | None = None, **options: Any) -> Wanted:
    return want(str(spec), host or Host(), trusted_only=False, **options)


def lock(spec: Path, entry: dict[str, Any] = ENTRY) -> None:
    spec.with_suffix(".lock").write_bytes(text_of({"a": entry}))


def environment(found: Wanted, name: str) -> Any:
    return found.resources[Ref("environment", name)]


def test_all_files_of_a_spec_are_its_documents(spec: Path) -> None:
    lock(spec)

    names = [Path(name).name for name, _ in wanted(spec).documents]

    assert names == ["spec.yaml", "10-more.yaml", "b.yml", "spec.lock"]


@pytest.mark.parametrize("name", ["spec.yaml", "spec.d/10-more.yaml", "b.yml", "spec.lock"])
def test_a_change_of_any_of_them_makes_another_spec(spec: Path, name: str) -> None:
    lock(spec)
    before = wanted(spec).digest
    path = spec.parent / name
    path.write_text(path.read_text() + "\n")

    assert wanted(spec).digest != before


@pytest.mark.parametrize("name", ["spec.yaml", "spec.d/10-more.yaml", "b.yml", "spec.lock"])
def test_all_of_them_are_asked_about(spec: Path, name: str) -> None:
    """Also a lock file that is not there yet."""
    host = Host()
    wanted(spec, host)

    assert ("file", str(spec.parent / name)) in host.looks.answers


def test_packages_from_a_file_reach_their_environment(spec: Path) -> None:
    assert environment(wanted(spec), "b").packages == ("numpy",)


def test_a_locked_environment_is_made_of_its_list_unless_told_otherwise(spec: Path) -> None:
    lock(spec)
    listing = environment(wanted(spec), "a").listing

    assert (listing.path, listing.form, listing.entry) == (str(spec.with_suffix(".lock")), "agent", "a")
    assert environment(wanted(spec), "b").listing is None
    assert environment(wanted(spec, lock=False), "a").listing is None


def test_a_lock_file_of_another_spec_is_refused_unless_it_is_left_out(spec: Path) -> None:
    lock(spec, {**ENTRY, "pip": []})

    with pytest.raises(SpecError) as caught:
        wanted(spec)

    (problem,) = caught.value.problems
    assert one_line(problem) == (
        f"{spec}:3:5: conda.environments.a: has changed since {spec.with_suffix('.lock')} was written: pip (rich is new)"
    )
    assert environment(wanted(spec, lock=False), "a").pip == ("rich",)


def test_the_damage_of_a_lock_file_does_not_matter_where_it_is_left_out(spec: Path) -> None:
    spec.with_suffix(".lock").write_text("{")

    with pytest.raises(SpecError):
        wanted(spec)
    assert wanted(spec, lock=False).resources


def test_every_file_must_be_roots(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock(spec)
    looked_at = {}
    monkeypatch.setattr(safety, "unsafe", lambda path, largest: looked_at.update({Path(path).name: largest}))

    want(str(spec), Host())

    assert list(looked_at) == ["spec.yaml", "10-more.yaml", "spec.lock", "b.yml"]
    assert looked_at["spec.yaml"] == looked_at["10-more.yaml"] == safety.MAX_BYTES < looked_at["spec.lock"]


def test_a_named_file_that_is_a_link_is_not_followed(spec: Path) -> None:
    (spec.parent / "b.yml").rename(spec.parent / "c.yml")
    (spec.parent / "b.yml").symlink_to("c.yml")

    with pytest.raises(SpecError) as caught:
        wanted(spec)

    assert [problem.message for problem in caught.value.problems] == ["must be the path of a file that is there"]


def test_what_cannot_be_had_is_found_where_it_was_written(spec: Path) -> None:
    found = wanted(spec)

    assert found.locate(Ref("environment", "a"), ("pip",)) == f"asked for at {spec}:3:35 (pip)"
    assert found.locate(Ref("environment", "b"), ("numpy",)) == f"asked for at {spec.parent}/b.yml:1:16 (numpy)"
    assert found.locate(Ref("file", "/etc/motd"), ("numpy",)) == ""


def test_what_the_agent_itself_asks_for_is_found_at_the_section_that_it_is_for(spec: Path) -> None:
    spec.write_text("jupyter: {}\nconda: {base: true}\n")
    found = wanted(spec)

    assert found.locate(Ref("environment", "jupyter"), ("ipykernel",)) == f"asked for at {spec}:1:10 (ipykernel)"
    assert found.locate(Ref("environment", "base"), ("conda",)) == f"asked for at {spec}:2:15 (conda)"
