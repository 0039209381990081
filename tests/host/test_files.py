"""What is read of files is noted as a question, and a secret is quoted for the language it lands in."""

from __future__ import annotations

import ast
import os
import time
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host import look
from agent.host.files import quoted
from agent.steps import Content, SecretRef, Slot
from tests.host.parts import Parts

HOSTILE = [
    "plain",
    "it's",
    'say "hi"',
    "back\\slash",
    "trailing\\",
    "# no comment",
    "ünïcode",
    " blanks ",
    "{{x}}",
    "%s",
]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_facts_name_what_stands_there(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("/etc/shadow")

    file, link, directory = (parts.files.facts(f"{tmp_path}/{name}") for name in ("file", "link", "etc"))

    assert file is not None and file.kind == "file" and file.digest == look.digest(b"x")
    assert link is not None and link.kind == "link" and link.target == "/etc/shadow"
    assert directory is not None and directory.kind == "directory"
    assert parts.files.facts(f"{tmp_path}/absent") is None


def test_content_notes_the_answer_that_the_question_would_get(parts: Parts, tmp_path: Path) -> None:
    path = f"{tmp_path}/file"
    Path(path).write_bytes(b"content")

    assert parts.files.content(path) == b"content"

    assert parts.looks.answers[("file", path)] == look.file(path)
    parts.looks.ask("file", path)
    assert parts.looks.steady


@pytest.mark.parametrize("make", ["absent", "link", "directory", "fifo"])
def test_what_is_no_regular_file_has_no_content_but_leaves_its_question(
    parts: Parts, tmp_path: Path, make: str
) -> None:
    path = tmp_path / make
    if make == "link":
        path.symlink_to("/etc/passwd")
    elif make == "directory":
        path.mkdir()
    elif make == "fifo":
        os.mkfifo(path)

    assert parts.files.content(str(path)) is None
    assert ("file", str(path)) in parts.looks.answers


def test_a_file_that_is_too_long_is_refused(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 11)

    with pytest.raises(HostError, match="more than 10 bytes"):
        parts.files.content(f"{tmp_path}/long", 10)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_secret_in_a_python_file_is_read_back_as_it_is(value: str) -> None:
    assert ast.literal_eval(quoted(value, Slot(SecretRef("stored", "x"), "py"))) == value


@pytest.mark.parametrize("value", HOSTILE)
def test_a_secret_in_an_option_file_is_read_back_as_it_is(value: str) -> None:
    """By the rules of mysql_load_defaults: quotes around are taken off, then backslash sequences are undone."""
    text = quoted(value, Slot(SecretRef("stored", "x"), "cnf"))

    assert text[0] == text[-1] == '"'
    inner, found, index = text[1:-1], "", 0
    while index < len(inner):
        if inner[index] == "\\":
            index += 1
            assert inner[index] in '\\"'
        else:
            assert inner[index] != '"'
        found += inner[index]
        index += 1
    assert found == value


@pytest.mark.parametrize("value", ["two\nlines", "nul\0", "bell\a", "line\u2028separator"], ids=repr)
def test_an_option_file_cannot_be_broken_out_of(value: str) -> None:
    with pytest.raises(HostError) as caught:
        quoted(value, Slot(SecretRef("file", "/root/password"), "cnf"))

    assert "file:/root/password" in str(caught.value)
    assert value not in str(caught.value)


def test_content_is_not_filled_while_a_secret_is_missing(parts: Parts) -> None:
    content = Content(("a = ", Slot(SecretRef("stored", "absent"), "py"), "\n"))

    assert parts.files.filled(content) is None
    assert parts.files.filled(Content.of("plain")) == b"plain"


def test_temporary_files_of_killed_runs_are_cleared_away_and_nothing_else(parts: Parts, tmp_path: Path) -> None:
    for name in (".a.agent-new", ".b.agent-new", "c.agent-new", ".agent", "a"):
        (tmp_path / name).write_text("")
    (tmp_path / ".d.agent-new").mkdir()
    begun = time.time() + 1
    parts.files.facts(str(tmp_path / "a"))
    parts.files.facts("/gone/a")

    assert parts.files.clear_leftovers(begun)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".agent", ".d.agent-new", "a", "c.agent-new", "etc"]
    assert not parts.files.clear_leftovers(begun)


def test_a_temporary_file_that_is_in_use_stays(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / ".a.agent-new").write_text("")
    parts.files.facts(str(tmp_path / "a"))

    assert not parts.files.clear_leftovers(time.time() - 60)
    assert (tmp_path / ".a.agent-new").exists()
