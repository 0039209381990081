"""What the agent remembers is there after it was killed, and one key never stands for another."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.host import look
from agent.host.looks import Looks
from agent.host.memory import Memory, file_name
from agent.steps import Remember


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(str(tmp_path / "memory"), Looks())


def test_what_was_remembered_is_known_to_the_next_process(memory: Memory, tmp_path: Path) -> None:
    memory.perform(Remember("started.jupyter.service", "digest"))

    assert Memory(str(tmp_path / "memory"), Looks()).get("started.jupyter.service") == "digest"
    assert stat.S_IMODE((tmp_path / "memory").stat().st_mode) == 0o700


def test_what_was_forgotten_is_gone(memory: Memory) -> None:
    memory.perform(Remember("key", "value"))
    memory.perform(Remember("key", None))
    memory.perform(Remember("never-there", None))

    assert memory.get("key") is None


def test_reading_is_noted(tmp_path: Path) -> None:
    looks = Looks()
    memory = Memory(str(tmp_path / "memory"), looks)
    memory.perform(Remember("key", "value"))

    memory.get("key")
    memory.get("other")

    path = f"{tmp_path}/memory/key"
    assert looks.answers == {("file", path): look.file(path), ("file", f"{tmp_path}/memory/other"): None}


@given(st.text(max_size=40), st.text(max_size=40))
@example("", "%")
@example("", "%.")
@example(".", "%2e.")
def test_two_keys_are_two_files(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
    assert os.sep not in file_name(one)
    assert file_name(one)[0] != "."


@settings(deadline=None, max_examples=30)  # each waits for the disk
@given(st.sets(st.text(st.characters(codec="utf-8"), max_size=12), max_size=4))
def test_what_is_kept_is_found_by_how_its_key_begins(keys: set[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        memory = Memory(f"{directory}/memory", Looks())
        assert memory.below("") == []
        for key in keys:
            memory.perform(Remember(f"flush.{key}", "owed"))
        memory.perform(Remember("other", "x"))

        assert sorted(memory.below("flush.")) == sorted(f"flush.{key}" for key in keys)
