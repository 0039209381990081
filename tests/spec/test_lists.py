"""Files that list an environment's packages: what they mean, and what is said of broken ones, at its place in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import Place, Problem, SpecError
from agent.host import builds
from agent.host.listing import entry
from agent.report.problems import format_problem, one_line
from agent.spec.exact import subdir
from agent.spec.lists import beside
from agent.spec.sections.environment import Environment
from agent.spec.source import Document, Examined, examine
from agent.steps import Listing
from tests.spec.broken import Case, cases

CASES = list(cases("lists"))
KEYS = [
    "dependencies",
    "channels",
    "variables",
    "pip",
    "name",
    "version",
    "environments",
    "packages",
    "conda",
    "pypi",
    "a",
]
SPEC = "conda:\n  environments:\n    a:\n      file: given\n"
YAML = """\
name: somewhere-else
prefix: /home/somebody/envs/x
channels: [https://conda.example.org/team, nodefaults]
dependencies:
  - python=3.11
  - conda-forge::numpy=2.1.0=py311h1_0
  - ipykernel
  - pip
  - pip:
      - rich>=13
variables:
  OMP_NUM_THREADS: 2
"""
HERE = f"https://conda.example.org/team/{subdir()}"
EXPLICIT = f"""\
# This file may be used to create an environment using:
# $ conda create --name <env> --file <this file>
@EXPLICIT
{HERE}/python-3.11.2-h1_0.conda#{"a" * 32}
https://conda.example.org/team/noarch/ipykernel-7.4.0-pyh_0.tar.bz2#sha256:{"b" * 64}
"""
LOCK = f"""\
version: 6
environments:
  default:
    channels:
    - url: https://conda.example.org/team
    indexes:
    - https://pypi.example.org/simple
    packages:
      {subdir()}:
      - conda: {HERE}/python-2.7.18-h1_0.conda
      - conda: https://conda.example.org/team/noarch/pip-20.3.4-py27_0.conda
      - conda: https://conda.example.org/team/noarch/ipykernel-4.10.1-py27_0.conda
      - pypi: https://pypi.example.org/six-1.16.0-py2.py3-none-any.whl
      osx-arm64:
      - conda: https://conda.example.org/team/osx-arm64/python-2.7.18-h1_0.conda
packages:
- conda: {HERE}/python-2.7.18-h1_0.conda
  sha256: {"c" * 64}
- pypi: https://pypi.example.org/six-1.16.0-py2.py3-none-any.whl
  name: six
  version: 1.16.0
"""


def read(content: str, spec: str = SPEC) -> Examined:
    def find(name: str) -> Document | None:
        return Document("given", content.encode()) if name == "given" else None

    return examine([Document("s.yaml", spec.encode())], find)


def section(content: str, spec: str = SPEC) -> Environment:
    examined = read(content, spec)
    assert examined.problems == () and examined.spec
    return examined.spec.environments()["a"]


def said(content: str, spec: str = SPEC) -> list[str]:
    return [
        one_line(problem) + (f" [{problem.hint}]" if problem.hint else "") for problem in read(content, spec).problems
    ]


def test_an_environment_file_says_what_the_section_would() -> None:
    assert section(YAML) == Environment.model_validate(
        {
            "file": "given",
            "channels": ["https://conda.example.org/team"],
            "packages": ["python=3.11", "conda-forge::numpy=2.1.0=py311h1_0", "ipykernel", "pip"],
            "pip": ["rich>=13"],
            "variables": {"OMP_NUM_THREADS": "2"},
        }
    )
    assert read(YAML).listings == {}


def test_an_environment_file_makes_a_kernel() -> None:
    spec = read(YAML).spec

    assert spec and [(kernel.name, kernel.language) for kernel in spec.kernels()] == [("a", "python")]


def test_what_the_spec_says_beside_a_file_comes_on_top_of_it() -> None:
    found = section(YAML, f"{SPEC}      channels: [conda-forge]\n      variables: {{OMP_NUM_THREADS: 4, B: x}}\n")

    assert found.channels == ("conda-forge",)
    assert found.variables == {"OMP_NUM_THREADS": "4", "B": "x"}


def test_a_list_of_addresses_is_a_list_of_exact_packages() -> None:
    found, listing = section(EXPLICIT), read(EXPLICIT).listings["a"]

    assert found.packages == ("python ==3.11.2 h1_0", "ipykernel ==7.4.0 pyh_0")
    assert (found.language(), found.pinned_python()) == ("python", "3.11")
    assert listing == Listing("given", builds.digest(EXPLICIT), "explicit")


def test_a_lock_file_of_pixi_is_read_for_this_system() -> None:
    found, listing = section(LOCK), read(LOCK).listings["a"]

    assert found.packages == ("python ==2.7.18 h1_0", "pip ==20.3.4 py27_0", "ipykernel ==4.10.1 py27_0")
    assert found.pip == ("six==1.16.0",)
    assert listing == Listing("given", builds.digest(LOCK), "rattler", "default")


def test_a_lock_file_of_pixi_has_the_environment_of_that_name() -> None:
    listing = read(LOCK.replace("  default:", "  a:")).listings["a"]

    assert listing.entry == "a"


def test_packages_without_a_hash_are_noted_once() -> None:
    bare = "".join(
        f"{line.partition('#')[0]}\n" if line.startswith("http") else f"{line}\n" for line in EXPLICIT.splitlines()
    )
    notes = read(bare).notes

    assert [(note.place, note.message) for note in notes] == [
        (Place("given", 4, 1), "2 packages have no hash, so that what is downloaded for them is not checked")
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_in_a_file_is_said_at_its_place_there(case: Case) -> None:
    text, problems = (each.replace("SUBDIR", subdir()) for each in (case.text, "\n".join(case.said)))

    assert said(text) == problems.splitlines()


def test_the_line_of_the_file_is_shown() -> None:
    (problem,) = read("dependencies:\n  - numpy >>1\n").problems

    assert "\n      - numpy >>1\n        ^" in format_problem(problem)


@pytest.mark.parametrize(
    "content",
    [
        "@EXPLICIT\nhttps://me:hunter2@c.example.org/x/noarch/a-1-0.conda\n",
        "@EXPLICIT\nhttps://c.example.org/t/hunter2/x/noarch/a-1-0.conda\n",
        "channels: ['https://me:hunter2@c.example.org']\ndependencies: [x]\n",
        LOCK.replace("- conda: https://conda.", "- conda: https://me:hunter2@conda.", 1),
    ],
)
def test_a_password_in_a_file_is_refused_and_not_repeated(content: str) -> None:
    problems = read(content).problems

    assert any("must not carry a user name" in problem.message for problem in problems)
    assert "hunter2" not in "\n".join(map(format_problem, problems))


def test_a_file_that_is_not_there() -> None:
    assert said(YAML, SPEC.replace("given", "other.yml")) == [
        "s.yaml:4:13: conda.environments.a.file: must be the path of a file that is there [a relative path begins in the spec's directory]"
    ]


@pytest.mark.parametrize("content", [EXPLICIT, LOCK])
def test_exact_packages_have_no_channels_and_no_schedule(content: str) -> None:
    found = said(content, f"{SPEC}      channels: [x]\n      update: 7d\n")

    assert found == [
        "s.yaml:5:7: conda.environments.a.channels: has no meaning: the addresses in given say where packages come from",
        "s.yaml:6:7: conda.environments.a.update: asks for newer versions, but given lists exact ones [keep one]",
    ]


def test_a_file_that_cannot_be_used_is_a_problem() -> None:
    def find(name: str) -> Document | None:
        raise SpecError((Problem(Place(name, 1, 1), "", "can be written by every account"),))

    problems = examine([Document("s.yaml", SPEC.encode())], find).problems

    assert [one_line(problem) for problem in problems] == ["given:1:1: can be written by every account"]


def test_a_relative_path_begins_beside_the_spec() -> None:
    assert beside("./a.yml", "/etc/agent/spec.yaml") == "/etc/agent/a.yml"
    assert beside("/srv/a.yml", "/etc/agent/spec.yaml") == "/srv/a.yml"


def test_the_list_is_used_as_it_was_read_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(EXPLICIT)
    listing = Listing(str(path), builds.digest(EXPLICIT), "explicit")

    assert entry(listing) == EXPLICIT
    path.write_text(EXPLICIT.replace("7.4.0", "7.5.0"))
    with pytest.raises(Exception, match="was changed after the spec was read"):
        entry(listing)


def test_a_list_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    real, path = tmp_path / "real", tmp_path / "list"
    real.write_text(EXPLICIT)
    path.symlink_to(real)

    with pytest.raises(Exception, match="list: Too many levels of symbolic links"):
        entry(Listing(str(path), builds.digest(EXPLICIT), "explicit"))


NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([HERE, f"{HERE}/a-1-0.conda", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), NODES, max_size=5) | NODES)
def test_whatever_is_in_a_file_is_said_or_taken(content: object) -> None:
    """JSON is YAML."""
    examined = read(json.dumps(content))

    assert (examined.spec is None) == bool(examined.problems)
    assert examined.spec is None or examined.spec.environments()["a"].packages


@settings(deadline=None)
@given(st.text(max_size=60))
def test_whatever_is_in_a_list_of_addresses_is_said_or_taken(content: str) -> None:
    examined = read(f"@EXPLICIT\n{content}")

    assert (examined.spec is None) == bool(examined.problems)
    assert examined.spec is None or examined.spec.environments()["a"].packages


@settings(deadline=None)
@given(NODES)
def test_whatever_is_in_a_lock_file_is_said_or_taken(packages: object) -> None:
    shown = json.dumps(packages)
    for content in (
        f"version: 6\nenvironments:\n  default:\n    packages:\n      {subdir()}: {shown}\npackages: {shown}\n",
        f"version: 6\nenvironments:\n  default: {shown}\npackages: []\n",
    ):
        examined = read(content)
        assert (examined.spec is None) == bool(examined.problems)
