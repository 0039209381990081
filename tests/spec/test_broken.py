"""Every broken spec is refused, with every problem said at once, each at its place."""

from __future__ import annotations

import pytest

from agent.errors import Problem, SpecError
from agent.report.problems import format_problem, one_line
from agent.spec.source import Document, examine, load
from tests.spec.broken import Case, cases

CASES = list(cases())
CANARY = "hunter2"


def said(problem: Problem) -> str:
    return one_line(problem).removeprefix("spec.yaml:") + (f" [{problem.hint}]" if problem.hint else "")


def test_there_are_at_least_200_and_no_two_of_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 200
    assert all(case.said for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said(case: Case) -> None:
    examined = examine([Document("spec.yaml", case.text.encode())])

    assert tuple(map(said, examined.problems)) == case.said
    assert examined.spec is None


@pytest.mark.parametrize("case", [case for case in CASES if CANARY in case.text], ids=lambda case: case.name)
def test_no_secret_is_repeated(case: Case) -> None:
    problems = examine([Document("spec.yaml", case.text.encode())]).problems

    shown = "\n".join(map(format_problem, problems))
    assert CANARY not in shown


def test_load_raises_with_all_of_them() -> None:
    with pytest.raises(SpecError) as caught:
        load([Document("spec.yaml", b"jupyter: {port: 0}\ntls: {mode: none}\n")])

    assert [problem.field for problem in caught.value.problems] == ["jupyter.port", "tls.mode"]
    assert str(caught.value) == "2 problems in the spec"
    assert caught.value.exit_status == 65
