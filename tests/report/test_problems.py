"""Problems as people read them."""

from __future__ import annotations

from agent.errors import Place, Problem
from agent.report.problems import format_problem, one_line

PROBLEM = Problem(Place("spec.yaml", 41, 9), "jupyter.port", "must be 1 to 65535, got 0", "  port: 0", "443 is https")


def test_place_field_message_then_the_line_with_a_caret_then_the_hint() -> None:
    assert format_problem(PROBLEM) == (
        "spec.yaml:41:9: jupyter.port: must be 1 to 65535, got 0\n      port: 0\n            ^\n    hint: 443 is https"
    )


def test_one_line_is_one_line() -> None:
    assert one_line(PROBLEM) == "spec.yaml:41:9: jupyter.port: must be 1 to 65535, got 0"


def test_what_is_not_known_is_left_out() -> None:
    assert format_problem(Problem(None, "", "there is no spec to read")) == "there is no spec to read"


def test_a_long_line_is_cut_around_the_place() -> None:
    source = "x" * 500 + "HERE" + "y" * 500

    lines = format_problem(Problem(Place("s", 1, 501), "a", "b", source)).splitlines()

    assert len(lines[1]) <= 164
    assert lines[1][lines[2].index("^") :].startswith("HERE")


def test_a_tab_does_not_move_the_caret() -> None:
    lines = format_problem(Problem(Place("s", 1, 3), "a", "b", "\tx: 1")).splitlines()

    assert lines[1][lines[2].index("^")] == ":"


def test_no_caret_points_into_what_is_hidden() -> None:
    assert "^" not in format_problem(Problem(Place("s", 1, 20), "a", "b", "{password: ********"))
