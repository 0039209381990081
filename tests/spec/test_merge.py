"""Drop-ins: three rules, and every value keeps the place of its own file."""

from __future__ import annotations

from agent.report.problems import one_line
from agent.spec.source import Document, examine, load

MAIN = """\
user: {name: alice, groups: [research]}
conda:
  environments:
    analysis: {packages: [python 3.11.*, ipykernel]}
mysql: {databases: [analysis], users: {alice: {grants: {analysis: ALL}}}}
"""


def documents(*texts: str) -> list[Document]:
    return [Document(f"{index}.yaml", text.encode()) for index, text in enumerate(texts)]


def test_mappings_merge_deeply() -> None:
    spec = load(documents(MAIN, "conda: {environments: {stats: {packages: [r-base, r-irkernel]}}}"))

    assert spec.conda and list(spec.conda.environments) == ["analysis", "stats"]


def test_lists_are_joined_without_repeating() -> None:
    drop_in = "user: {groups: [video, research]}\nconda: {environments: {analysis: {packages: [ipykernel, numpy]}}}"

    spec = load(documents(MAIN, drop_in))

    assert spec.user and spec.user.groups == ("research", "video")
    assert spec.conda and spec.conda.environments["analysis"].packages == ("python 3.11.*", "ipykernel", "numpy")


def test_a_later_scalar_wins() -> None:
    spec = load(documents(MAIN, "user: {shell: /bin/sh}", "user: {shell: /bin/zsh}"))

    assert spec.user and (spec.user.name, spec.user.shell) == ("alice", "/bin/zsh")


def test_null_sets_an_optional_field_back() -> None:
    spec = load(documents("jupyter: {memory_max: 4G}", "jupyter: {memory_max: null}"))

    assert spec.jupyter and spec.jupyter.memory_max is None


def test_a_drop_in_of_comments_changes_nothing() -> None:
    assert load(documents(MAIN, "# not yet\n", "")) == load(documents(MAIN))


def test_every_problem_names_the_file_that_it_stands_in() -> None:
    examined = examine(documents(MAIN, "user:\n  shell: zsh\n", "mysql: {users: {alice: {grants: {anlysis: ALL}}}}\n"))

    assert [str(problem.place) for problem in examined.problems] == ["1.yaml:2:10", "2.yaml:1:34"]
    assert examined.problems[0].source == "  shell: zsh"


def test_a_value_keeps_the_place_of_the_file_it_came_from() -> None:
    examined = examine(documents(MAIN, "user: {shell: /bin/zsh, groups: [video]}"))

    assert str(examined.place(("user", "name"))) == "0.yaml:1:14"
    assert str(examined.place(("user", "shell"))) == "1.yaml:1:15"
    assert str(examined.place(("user", "groups", 1))) == "1.yaml:1:34"


def test_a_list_of_names_merges_with_a_mapping_of_them() -> None:
    for drop_in in ("{archive: {charset: latin1}}", "[archive]"):
        spec = load(documents(MAIN, f"mysql: {{databases: {drop_in}}}"))
        assert spec.mysql and list(spec.mysql.databases) == ["analysis", "archive"]


def test_another_list_and_a_mapping_do_not_merge() -> None:
    main = "conda:\n  environments:\n  - {name: a, packages: [x]}\n"

    problems = examine(documents(main, "conda: {environments: {b: {packages: [x]}}}")).problems

    assert [one_line(problem) for problem in problems] == [
        "1.yaml:1:23: conda.environments: is a mapping here and a list in 0.yaml:3:3"
    ]


def test_no_file_at_all_is_a_problem() -> None:
    (problem,) = examine([]).problems

    assert problem.message == "there is no spec to read"
