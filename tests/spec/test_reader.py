"""Text to tree: what is written stays what was written, places are those an editor counts, and no text is too much."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.spec.reader import MAX_BYTES, MAX_EVENTS, Document, Text, read
from agent.spec.source import examine
from agent.spec.tree import Plain, Scalar, Table, place_of, plain


def text_of(written: str | bytes) -> Text:
    return read(Document("s.yaml", written if isinstance(written, bytes) else written.encode()))


def value_of(written: str) -> object:
    text = text_of(f"v: {written}")
    assert not text.problems and text.tree is not None
    found = plain(text.tree)
    assert isinstance(found, dict)
    return found["v"]


GUESSES = """
    3.10 no yes on off No YES True FALSE Null 1:30 1:30:00 010 0o17 0x1f 0b1 1e3 1.5 1_000 .inf .nan -.5 +1 -0 007
    2026-11-22 2026-11-22T10:00:00Z 99999999999999999999 = << ~x 1.
"""


@pytest.mark.parametrize("written", GUESSES.split())
def test_what_yaml_guesses_at_stays_the_text_that_was_written(written: str) -> None:
    assert value_of(written) == written
    assert isinstance(value_of(written), Plain)


@pytest.mark.parametrize(
    ("written", "value"),
    [("true", True), ("false", False), ("null", None), ("~", None), ("", None), ("0", 0), ("42", 42), ("-7", -7)],
)
def test_few_words_become_values(written: str, value: object) -> None:
    assert value_of(written) == value
    assert type(value_of(written)) is type(value)


@pytest.mark.parametrize("written", ["'42'", '"42"', "'true'", "'null'", "''"])
def test_quotes_make_text(written: str) -> None:
    assert value_of(written) == written[1:-1]
    assert not isinstance(value_of(written), Plain)


def test_keys_are_text_as_written() -> None:
    tree = text_of("3.10: a\ntrue: b\n8888: c\n010: d\n").tree

    assert tree is not None
    assert plain(tree) == {"3.10": "a", "true": "b", "8888": "c", "010": "d"}


def test_places_count_from_one_in_characters_not_bytes() -> None:
    tree = text_of("a: [ü, {b: x}]\n").tree

    assert tree is not None
    assert str(place_of(tree, ("a", 1, "b"))) == "s.yaml:1:12"
    assert str(place_of(tree, ("a", 1, "missing"))) == "s.yaml:1:8"


def test_lines_are_counted_alike_with_the_line_ends_of_other_systems() -> None:
    for end in ("\n", "\r\n", "\r"):
        text = text_of(f"a: 1{end}b:{end}  c: 2{end}")
        assert text.tree is not None
        place = place_of(text.tree, ("b", "c"))
        assert (place.line, place.column) == (3, 6)
        assert text.source(place) == "  c: 2"


def test_a_byte_order_mark_is_skipped() -> None:
    assert isinstance(text_of(b"\xef\xbb\xbfa: 1\n").tree, Table)


def test_bytes_that_are_not_utf_8_have_a_place() -> None:
    (problem,) = text_of(b"a: 1\nb: caf\xe9\n").problems

    assert str(problem.place) == "s.yaml:2:7"
    assert "0xe9" in problem.message


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\ufffe"])
def test_characters_that_deceive_the_eye_are_refused(character: str) -> None:
    (problem,) = text_of(f"a: 1\nb: x{character}y\n").problems

    assert str(problem.place) == "s.yaml:2:5"
    assert f"U+{ord(character):04X}" in problem.message


def test_a_text_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    line = b"# " + b"x" * 1021 + b"\n"
    largest = line * (MAX_BYTES // len(line) - 1)
    largest += b"a: 1\n" + b"#" * (MAX_BYTES - len(largest) - 5)

    assert text_of(largest).tree is not None
    assert "larger than 256 KiB" in text_of(largest + b"#").problems[0].message


@pytest.mark.parametrize(
    "written",
    [
        "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "{a: " * 40_000,
        "[" * 200_000,
        "- " * 60_000,
        "? " * 60_000,
        "a:\n" + "".join(" " * depth + "- x:\n" for depth in range(1, 300)),
        "[" + "a, " * 80_000 + "]",
        "{" + "? a : b, " * 20_000 + "}",
        "a: '" + "\n" * 200_000,
        'a: "' + "\\x41" * 60_000,
        "a: |\n" + " x\n" * 80_000,
        "\t" * 200_000,
        "!" * 100_000,
        "%" * 100_000,
        ": " * 100_000,
        "".join(f"k{index}: hash: 1\n" for index in range(20_000)),
        "".join(f"password{index}:\n" for index in range(15_000)) + "'",
    ],
    ids=lambda written: repr(written[:12]),
)
def test_a_hostile_text_is_dealt_with_quickly(written: str) -> None:
    started = time.process_time()
    text_of(written)

    assert time.process_time() - started < 2


def test_values_are_counted() -> None:
    (problem,) = text_of("[" + "a," * (MAX_EVENTS + 1) + "]").problems

    assert "has more than 50000 values" in problem.message


def test_at_most_a_hundred_problems_of_one_text_are_said() -> None:
    assert len(text_of("".join("a: 1\n" for _ in range(500))).problems) == 100


yaml_like = st.text(
    st.sampled_from(list("{}[],:-?&*!|>'\"%@`#~= \n\tab01.<\\\u00fc\u202e\x07")) | st.characters(), max_size=200
)
SECTIONS = ("user", "tls", "jupyter", "conda", "mysql", "packages", "files", "units", "agent")
WORDS = """
    user tls jupyter conda mysql files units packages name port password hash file generate environments a b kernel
    databases users grants settings ALL true null 8888 0123 1:30 ServerApp.port content mode root ~ {} [] {x: 1}
"""
words = st.sampled_from(
    [*WORDS.split(), "'quoted'", '"a\\n"', "- ", ": ", "\n", "\n  ", "\n    ", *"{}[],#", "&a", "*a", "!t", "|\n"]
)


@settings(max_examples=400, deadline=None)
@given(yaml_like | st.lists(words, max_size=60).map(" ".join))
def test_any_text_is_either_a_spec_or_problems_with_places(written: str) -> None:
    data = written.encode("utf-8", "surrogatepass")

    examined = examine([Document("s.yaml", data)])

    assert (examined.spec is None) == bool(examined.problems)
    for problem in examined.problems:
        assert problem.place is not None and problem.place.line >= 1 and problem.place.column >= 1
        assert problem.message


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    text = text_of(data)

    assert text.tree is not None or text.problems or not data.strip() or isinstance(text.tree, Scalar | type(None))


sections = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["a", "*", "~/x", "/x", "1d"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(SECTIONS), sections))
def test_any_shape_of_sections_is_explained(value: dict[str, object]) -> None:
    """JSON is YAML; so any value can be written down."""
    import json

    examined = examine([Document("s.yaml", json.dumps(value).encode())])

    assert (examined.spec is None) == bool(examined.problems)
