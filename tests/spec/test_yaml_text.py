"""Whatever a name is, what is written reads back as it, and stands in one line."""

from __future__ import annotations

import random
import string

import pytest
import yaml

from agent.spec.yaml_text import inline, lines, scalar

SAFE = [
    "analysis", "Work-2026", "analyst@10.0.0.%", "analyst@%", "locked@2001:db8::1", "90d", "SELECT", "GRANT OPTION", "my_data.results",
    "procedure my_data.refresh", "/run/mysqld/mysqld.sock",
]  # fmt: skip
ODD = [
    "", "*", "*.*", "yes", "No", "null", "~", "on", "123", "1e3", "0x10", "1_000", "12:30", "- a", "a: b", "a #b", "#", "%", "@x", "`x`", "'", '"', "a\nb",
    "a\x85b", "a\u2028b", "\x1b[31m", "ä", "\U0001f427", "{a}", "[a]", "SELECT (id, name)", "a@b@c", "a,b", "&a", "!a", "|", ">", "?", "2026-11-23", ".inf",
    "=", "<<", "y", "with a blank", " a", "a ",
]  # fmt: skip


def hostile() -> list[str]:
    chance = random.Random(11)
    alphabet = string.ascii_letters + string.digits + " .-_@%:,#&*!|>'\"`{}[]?~=\\\n\t\x00\x7f\x85\u2028ä"
    return ["".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 20))) for _ in range(500)]


@pytest.mark.parametrize("text", [*SAFE, *ODD, *hostile()], ids=ascii)
def test_a_text_reads_back_from_one_line(text: str) -> None:
    written = scalar(text)

    assert written.isprintable()
    assert yaml.safe_load(written) == text
    assert yaml.safe_load(inline({text: [text]})) == {text: [text]}


@pytest.mark.parametrize("text", SAFE)
def test_what_is_safe_stands_without_quotes(text: str) -> None:
    assert scalar(text) == text


def test_numbers_and_switches_stay_what_they_are() -> None:
    assert [scalar(value) for value in (True, False, 90)] == ["true", "false", "90"]


def test_grants_have_a_line_each() -> None:
    found = list(lines("a", {"password": "keep", "grants": {"*": ["ALL"], "b": ["SELECT"]}}, "  "))

    assert found == ["  a:", "    password: keep", "    grants:", '      "*": [ALL]', "      b: [SELECT]"]
    assert list(lines("a", {}, "")) == ["a: {}"]
