"""What the library says, as a person can read it and do something about it."""

from __future__ import annotations

import pytest

from agent.workers.problems import WorkError, explained


class LibraryError(Exception):
    """Stands for one of the library's."""


def test_a_chain_of_causes_becomes_one_line_without_those_that_say_nothing() -> None:
    told = explained(
        LibraryError(
            "failed to fetch toy-1.0-0.conda\nCaused by: failed to interact with the package cache layer.\n"
            "Caused by: an io error occurred: error decoding response body\nCaused by: error decoding response body\n"
            "Caused by: end of file before message length reached"
        )
    )

    assert str(told) == (
        "failed to fetch toy-1.0-0.conda: error decoding response body: end of file before message length reached"
    )
    assert told.temporary


@pytest.mark.parametrize(
    ("said", "hinted"),
    [
        ("hash mismatch when extracting https://conda.example.org/a.conda", "conda.mirrors"),
        ("HTTP status client error (401 Unauthorized) for url (https://conda.example.org/)", "conda.authentication"),
        ("HTTP status client error (404 Not Found) for url (https://conda.example.org/)", "conda.channels"),
        ("No space left on device (os error 28)", "agent env clean"),
    ],
)
def test_the_way_out_is_named(said: str, hinted: str) -> None:
    assert hinted in explained(LibraryError(said)).hint


def test_a_hint_that_there_is_stays_and_an_unknown_trouble_has_none() -> None:
    assert explained(WorkError("No space left on device", hint="another disk")).hint == "another disk"
    assert explained(LibraryError("something broke in package 4010")).hint == ""
    assert str(explained(LibraryError())) == "LibraryError"
