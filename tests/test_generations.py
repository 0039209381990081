"""Generations are kept whole, come back as they were, and the bad one is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import plan
from agent.generations import KEPT, Generations, digest
from agent.resource import Ref, Resource
from agent.steps import Content, SecretRef, Slot
from tests.fakes import Toy


def resources(value: str) -> dict[Ref, Resource]:
    return dict(plan.by_ref([Toy("a", value, after=(Ref("toy", "b"),)), Toy("b", "1")]))


def test_a_generation_comes_back_as_it_was(tmp_path: Path) -> None:
    number = Generations(str(tmp_path)).keep(resources("1"), [("/etc/agent/spec.yaml", b"user: {}\n")])

    found = Generations(str(tmp_path)).current()

    assert found is not None
    assert (found.number, found.resources) == (number, resources("1"))
    assert (tmp_path / "generations/1/spec/00-spec.yaml").read_bytes() == b"user: {}\n"


def test_the_same_again_is_no_new_generation(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))

    assert [generations.keep(resources(value), []) for value in ("1", "1", "2", "1")] == [1, 1, 2, 3]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))
    for value in range(KEPT + 5):
        generations.keep(resources(str(value)), [])

    assert generations.numbers() == list(range(6, KEPT + 6))


def test_one_that_is_half_written_does_not_count(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))
    generations.keep(resources("1"), [])
    (tmp_path / "generations/2").mkdir()
    (tmp_path / "generations/2/resources.json").write_text('{"resources": [')
    (tmp_path / "generations/.3").mkdir()

    found = generations.current()

    assert found is not None
    assert found.number == 1
    assert generations.keep(resources("2"), []) == 3


def test_the_bad_one_is_known_until_it_is_forgiven(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))
    generations.mark_bad(resources("2"), "the server does not answer", [Ref("toy", "a")])

    note = generations.bad(resources("2"))

    assert note is not None
    assert (note.reason, note.refs) == ("the server does not answer", frozenset([Ref("toy", "a")]))
    assert generations.bad(resources("1")) is None
    generations.forgive()
    assert generations.bad(resources("2")) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"digest": 1}', b"\xff\x00", b'{"digest": "D"}', b'{"digest": "D", "refs": 7}'],
)
def test_a_damaged_note_of_a_bad_one_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(content.replace(b"D", digest(resources("1").values()).encode()))

    assert Generations(str(tmp_path)).bad(resources("1")) is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"digest": "1", "resources": [{"kind": "toy", "fields": []}]}', b"\x00"]
)
def test_a_damaged_generation_counts_as_none(tmp_path: Path, content: bytes) -> None:
    generations = Generations(str(tmp_path))
    generations.keep(resources("1"), [])
    (tmp_path / "generations/1/resources.json").write_bytes(content)

    assert generations.current() is None
    assert generations.keep(resources("1"), []) == 2


def test_what_a_killed_run_left_half_made_is_cleared_away(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))
    generations.keep(resources("1"), [])
    (tmp_path / "generations/.2/spec").mkdir(parents=True)

    generations.keep(resources("1"), [])

    assert [path.name for path in (tmp_path / "generations").iterdir()] == ["1"]


def test_secrets_are_kept_by_name_only(tmp_path: Path) -> None:
    content = Content(("password=", Slot(SecretRef("stored", "mysql.analyst"), "cnf")))

    assert content.hidden
    assert "mysql.analyst" not in repr(content)
