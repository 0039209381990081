"""What an environment is made of, and what differs between two."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent import solution
from agent.host.builds import Asked
from agent.report import environments as report
from agent.solution import Package, Solution
from tests import made

ASKED = Asked(channels=("main",), packages=("numpy",), variables=(("B", "2"), ("A", "1")))


def made_of(*conda: dict[str, Any], pypi: tuple[str, ...] = ()) -> Solution:
    found = solution.parse(json.dumps(made.entry("a" * 12, ASKED, conda, pypi)).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("rich==13.7.0 --hash=sha256:00 --hash=sha256:11", Package("rich", "13.7.0", channel="pypi")),
        ("Zope.Interface==6.0", Package("zope-interface", "6.0", channel="pypi")),
        ("toy @ https://x.example.org/toy.whl --hash=sha256:00", Package("toy", "https://x.example.org/toy.whl", channel="pypi")),
    ],
)  # fmt: skip
def test_a_pin_is_a_package(text: str, package: Package) -> None:
    assert solution.pin(text) == package


def test_what_differs_is_told_as_people_write_it() -> None:
    before = made_of(made.package("a", "1"), made.package("b", "1"), made.package("c", "1"), pypi=("rich==1",))
    after = made_of(made.package("a", "2"), made.package("b", "1", "h2_1"), made.package("d", "1"), pypi=("rich==2",))

    changes = solution.changes(before, after)

    assert list(report.difference(changes)) == [
        "~ a 1 -> 2",
        "~ b 1: build h1_0 -> h2_1",
        "- c 1",
        "+ d 1",
        "~ rich 1 -> 2  (pip)",
    ]
    assert report.tally(changes) == "1 to add, 3 to change, 1 to remove"


def test_another_channel_is_a_difference() -> None:
    elsewhere = made.package("a", "1") | {"channel": "https://conda.example.org/team/"}

    (change,) = solution.changes(made_of(made.package("a", "1")), made_of(elsewhere))

    assert list(report.difference([change])) == ["~ a 1: from main -> team"]


def test_the_same_is_no_difference() -> None:
    assert solution.changes(made_of(made.package("a", "1")), made_of(made.package("a", "1"))) == ()


def test_it_knows_what_it_was_asked_for() -> None:
    assert made_of().asked() == (("main",), ("numpy",), (), (("A", "1"), ("B", "2")), "")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"conda": []}'])
def test_what_is_no_solution_is_none(content: bytes) -> None:
    assert solution.parse(content) is None


def test_a_token_in_an_address_is_a_fault() -> None:
    package = made.package("a", "1") | {"url": "https://conda.example.org/t/secret-token/main/a.conda"}

    assert solution.fault(made.entry("a" * 12, ASKED, [package])) == "conda[0]: its address holds a password or token"
