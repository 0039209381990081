"""The lock file beside a spec: what it holds an environment to, and what is said when the two disagree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import SpecError
from agent.host import builds
from agent.host.listing import entry
from agent.report.problems import one_line
from agent.spec.listing import read_lock, text_of
from agent.spec.source import Document, Examined, examine
from agent.specfiles import lock_path
from agent.steps import Listing

SPEC = """\
conda:
  channels: [conda-forge]
  environments:
    a:
      packages: [python 3.11.*, pip]
      pip: [rich]
      variables: {B: '1'}
      activation: ulimit -c 0
"""
ENTRY: dict[str, Any] = {
    "build": "0123456789ab",
    "channels": ["conda-forge"],
    "packages": ["python 3.11.*", "pip"],
    "pip": ["rich"],
    "variables": {"B": "1"},
    "activation": "ulimit -c 0\n",
    "conda": [
        {
            "name": "python",
            "version": "3.11.2",
            "build": "h1_0",
            "subdir": "linux-64",
            "fn": "python-3.11.2-h1_0.conda",
            "url": "https://conda.example.org/conda-forge/linux-64/python-3.11.2-h1_0.conda",
            "channel": "https://conda.example.org/conda-forge",
            "sha256": "a" * 64,
        }
    ],
    "pypi": ["rich==13.7.0 --hash=sha256:" + "b" * 64],
}


def examined(lock: bytes, spec: str = SPEC) -> Examined:
    return examine([Document("/s/spec.yaml", spec.encode())], None, Document("/s/spec.lock", lock))


def said(lock: bytes, spec: str = SPEC) -> list[str]:
    problems = examined(lock, spec).problems
    return [one_line(problem) + (f" [{problem.hint}]" if problem.hint else "") for problem in problems]


def locked(**changes: Any) -> bytes:
    return text_of({"a": {**ENTRY, **changes}})


def test_a_spec_and_its_lock_file_lie_beside_each_other() -> None:
    assert lock_path("/etc/agent/spec.yaml") == "/etc/agent/spec.lock"
    assert lock_path("/srv/x.yml") == "/srv/x.lock"
    assert lock_path("/srv/x") == "/srv/x.lock"


def test_a_locked_environment_is_made_of_its_entry() -> None:
    found = examined(locked())

    assert found.problems == () and found.notes == ()
    assert found.listings == {"a": Listing("/s/spec.lock", builds.digest(ENTRY), "agent", "a")}


def test_the_same_entries_give_the_same_bytes() -> None:
    other = dict(ENTRY)

    assert text_of({"b": ENTRY, "a": other}) == text_of({"a": other, "b": ENTRY})
    assert list(json.loads(text_of({"b": ENTRY, "a": other}))["environments"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"channels": ["team", "conda-forge"]}, "channels (team is gone)"),
        ({"packages": ["pip", "python 3.11.*"]}, "packages (in another order)"),
        ({"packages": ["pip"]}, "packages (python 3.11.* is new)"),
        ({"packages": ["pip", "a", "b", "c", "d"]}, "packages (python 3.11.* is new, a, b, c and 1 more are gone)"),
        ({"pip": ["rich>=13"], "packages": ["python 3.11.*"]}, "packages (pip is new); pip (rich is new, rich>=13 is gone)"),
        ({"variables": {"B": "2", "C": "1"}}, "variables (B, C)"),
        ({"activation": ""}, "activation"),
    ],
)  # fmt: skip
def test_an_environment_that_has_changed_is_said_at_its_place(changes: dict[str, Any], what: str) -> None:
    assert said(locked(**changes)) == [
        f"/s/spec.yaml:4:5: conda.environments.a: has changed since /s/spec.lock was written: {what} [agent env update a]"
    ]


def test_the_server_s_own_environment_can_be_locked() -> None:
    found = said(text_of({"jupyter": ENTRY}), "user: {}\njupyter: {}\n")

    assert len(found) == 1
    assert found[0].startswith("/s/spec.yaml:2:1: jupyter: has changed since /s/spec.lock was written: packages (")


def test_the_base_can_be_locked() -> None:
    entry = {**ENTRY, "packages": ["conda"], "pip": [], "variables": {}, "activation": ""}
    found = examined(text_of({"base": entry}), "conda: {base: true}\n")

    assert found.problems == () and list(found.listings) == ["base"]
    assert said(text_of({"base": entry}), "conda: {base: {packages: [conda, mamba]}}\n") == [
        "/s/spec.yaml:1:9: conda.base: has changed since /s/spec.lock was written: packages (mamba is new) [agent env update base]"
    ]


def test_a_schedule_and_a_lock_contradict_each_other() -> None:
    assert said(locked(), f"{SPEC}      update: 7d\n") == [
        "/s/spec.yaml:9:7: conda.environments.a.update: asks for newer versions, but /s/spec.lock holds the ones that there are "
        "[leave it out, or take a out of /s/spec.lock]"
    ]


def test_an_entry_of_no_environment_is_noted_at_its_place() -> None:
    found = examined(text_of({"a": ENTRY, "gone": ENTRY}))

    assert [one_line(note) for note in found.notes] == [
        "/s/spec.lock:36:3: has an entry for 'gone', which is not an environment of the spec"
    ]
    assert list(found.listings) == ["a"]


def test_an_entry_beside_a_list_is_noted_and_not_used() -> None:
    content = "@EXPLICIT\nhttps://c.example.org/x/noarch/a-1-0.conda#" + "a" * 32
    found = examine(
        [Document("/s/spec.yaml", b"conda: {environments: {a: {file: list.txt}}}")],
        lambda name: Document(f"/s/{name}", content.encode()),
        Document("/s/spec.lock", locked()),
    )

    assert found.listings["a"].form == "explicit"
    assert [note.message for note in found.notes] == [
        "has an entry for 'a' that is not used: /s/list.txt lists its packages"
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "1:1: is not JSON: Expecting value"),
        (b'{"version": 1,\n "environments": {,}}', "2:19: is not JSON: Expecting property name enclosed in double quotes"),
        (b"[]", "1:1: is not a lock file: it has no environments"),
        (b'{"version": 2, "environments": {}}', "1:1: is a lock file of another version; this agent reads version 1"),
        (b'{"version": 1, "environments": []}', "1:1: is not a lock file: it has no environments"),
        (b'{"version": 1,\n "environments": {\n  "a": []}}', "1:1: has an entry for 'a' that is none: it is no mapping"),
        (b"[" * 100_000, "1:1: is not a lock file"),
        (b"\xff", "1:1: is not UTF-8: byte 0xff makes no sense here"),
        (locked(build="../../x"), "4:3: has an entry for 'a' that is none: no build is called so"),
        (locked(conda=[{"name": "a"}]), "4:3: has an entry for 'a' that is none: conda[0]: version is no text"),
        (locked(variables={"B": 1}), "4:3: has an entry for 'a' that is none: variables is no mapping of lines"),
    ],
)  # fmt: skip
def test_a_damaged_lock_file_is_said_at_its_place(content: bytes, problem: str) -> None:
    assert [each.partition(" [")[0] for each in said(content)] == [f"/s/spec.lock:{problem}"]


def test_reading_says_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "spec.lock"
    assert read_lock(str(path)) == {}
    path.write_bytes(locked())
    assert read_lock(str(path)) == {"a": ENTRY}
    path.write_bytes(b"{")
    with pytest.raises(SpecError, match="1 problem"):
        read_lock(str(path))


def test_the_entry_is_used_as_it_was_read_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "spec.lock"
    path.write_bytes(locked())
    listing = Listing(str(path), builds.digest(ENTRY), "agent", "a")

    assert entry(listing) == ENTRY
    path.write_bytes(text_of({"a": ENTRY, "b": ENTRY}))
    assert entry(listing) == ENTRY
    for other in (locked(pip=[]), text_of({"b": ENTRY}), b"{", b""):
        path.write_bytes(other)
        with pytest.raises(Exception, match="was changed after the spec was read"):
            entry(listing)
