"""Examples, schema and reference say what the models say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agent.spec import schema
from agent.spec.reader import Document, read
from agent.spec.reference import reference
from agent.spec.source import examine
from agent.spec.tree import plain

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
DROP_INS = {"external.yaml": "quickstart.yaml"}
"""Examples that are drop-ins, with the spec that they are dropped into."""


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
    assert (ROOT / "examples" / "quickstart.yaml") in EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_good_spec(path: Path) -> None:
    files = [path.parent / DROP_INS[path.name], path] if path.name in DROP_INS else [path]

    def find(name: str) -> Document | None:
        return Document(name, (path.parent / name).read_bytes())

    examined = examine([Document(file.name, file.read_bytes()) for file in files], find)

    assert examined.problems == ()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_names_the_schema_for_editors(path: Path) -> None:
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", path.read_text().splitlines()[0])

    assert found
    assert (path.parent / found.group(1)).resolve() == (ROOT / "docs" / "spec.schema.json")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_follows_the_schema(path: Path) -> None:
    tree = read(Document(path.name, path.read_bytes())).tree
    assert tree is not None

    assert list(unlike(plain(tree), schema.spec_schema(), schema.spec_schema())) == []


def test_the_schema_refuses_what_the_spec_refuses() -> None:
    whole = schema.spec_schema()

    assert list(unlike({"jupiter": {}}, whole, whole)) == ["jupiter: unknown"]
    assert list(unlike({"jupyter": {"port": 0}}, whole, whole))
    assert list(unlike({"user": {"name": "Alice"}}, whole, whole))
    assert list(unlike({"tls": {"lifetime": "90"}}, whole, whole))


def test_quickstart_is_short() -> None:
    lines = (ROOT / "examples" / "quickstart.yaml").read_text().splitlines()

    assert len([line for line in lines if line.strip() and not line.startswith("#")]) <= 15


def test_the_committed_schema_is_current() -> None:
    assert (ROOT / "docs" / "spec.schema.json").read_text() == schema.text(), "python -m agent.spec.reference --schema"
    assert json.loads(schema.text())["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_committed_reference_is_current() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == reference(), "python -m agent.spec.reference > docs/spec.md"


def test_the_examples_in_the_descriptions_are_right() -> None:
    """Each is put where it belongs, in a spec of its own, by the schema."""
    whole = schema.spec_schema()
    for name, definition in [("Spec", whole), *whole["$defs"].items()]:
        for field, described in definition.get("properties", {}).items():
            for example in described.get("examples", ()):
                assert list(unlike(example, described, whole)) == [], f"{name}.{field}: {example}"


def unlike(value: Any, rule: dict[str, Any], whole: dict[str, Any], at: str = "") -> Any:
    """Where a value is not as a schema says: as much of JSON Schema as ours uses."""
    if "$ref" in rule:
        yield from unlike(value, whole["$defs"][rule["$ref"].rpartition("/")[2]], whole, at)
        return
    if "anyOf" in rule:
        tries = [list(unlike(value, each, whole, at)) for each in rule["anyOf"]]
        if all(tries):
            yield f"{at}: none of {len(tries)}"
        return
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    wanted = rule.get("type", list(kinds))
    names = wanted if isinstance(wanted, list) else [wanted]
    if not any(
        isinstance(value, kinds[each]) and (each == "boolean") >= isinstance(value, bool)
        for each in names
        if each in kinds
    ):
        yield f"{at}: not {names}"
        return
    if "const" in rule and value != rule["const"]:
        yield f"{at}: not {rule['const']}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{at}: not one of {rule['enum']}"
    if isinstance(value, str) and "pattern" in rule and not re.search(rule["pattern"], value):
        yield f"{at}: not like {rule['pattern']}"
    if isinstance(value, int) and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        yield f"{at}: not from {rule.get('minimum')} to {rule.get('maximum')}"
    if isinstance(value, list):
        if len(value) < rule.get("minItems", 0):
            yield f"{at}: too few"
        for index, member in enumerate(value):
            yield from unlike(member, rule.get("items", {}), whole, f"{at}[{index}]")
    if isinstance(value, dict):
        yield from unlike_members(value, rule, whole, at)


def unlike_members(value: dict[str, Any], rule: dict[str, Any], whole: dict[str, Any], at: str) -> Any:
    for name in rule.get("required", ()):
        if name not in value:
            yield f"{at}.{name}: missing"
    for name, member in value.items():
        path = f"{at}.{name}".removeprefix(".")
        patterns = [each for pattern, each in rule.get("patternProperties", {}).items() if re.search(pattern, name)]
        if name in rule.get("properties", {}):
            yield from unlike(member, rule["properties"][name], whole, path)
        elif patterns:
            yield from unlike(member, patterns[0], whole, path)
        elif rule.get("additionalProperties") is False:
            yield f"{path}: unknown"
        elif isinstance(rule.get("additionalProperties"), dict):
            yield from unlike(member, rule["additionalProperties"], whole, path)
