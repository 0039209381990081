"""What the README shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.cli import arguments
from agent.spec.source import Document, load

TOP = Path(__file__).resolve().parents[1]
README = (TOP / "README.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_quickstart_is_shown_whole() -> None:
    lines = (TOP / "examples/quickstart.yaml").read_text().splitlines()

    assert BLOCKS[0].splitlines() == [line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_spec_in_it_is_valid(number: int) -> None:
    assert load([Document("README.md", BLOCKS[number].encode())])


def test_its_first_two_commands_are_there() -> None:
    commands = re.findall(r"^sudo (\S+)", README, re.MULTILINE)

    assert commands[:2] == ["./install.sh", "tests/run"]
    assert all((TOP / command).stat().st_mode & 0o100 for command in commands[:2])


def test_every_file_it_points_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)

    assert [target for target in targets if "://" not in target and not (TOP / target).exists()] == []


def test_the_verbs_it_names_are_verbs() -> None:
    named = set(re.findall(r"\bagent ([a-z]+)\b", " ".join(re.findall(r"`([^`\n]+)`", README)))) - {"daemon"}
    verbs = {verb for action in arguments.parser()._actions for verb in (action.choices or ())}

    assert named
    assert named <= verbs
