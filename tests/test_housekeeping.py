"""The documents, the packaging and the code say the same."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*([A-Za-z_-]+)\s*==\s*(\S+)", text, re.MULTILINE))


def test_the_tests_run_with_the_versions_that_are_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    installed = pins(setup["options"]["install_requires"])

    assert installed
    assert installed.items() <= pins((TOP / "tests/requirements.txt").read_text()).items()


def test_everything_that_runs_as_root_is_pinned_exactly() -> None:
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    lines = [line.strip() for line in setup["options"]["install_requires"].splitlines()]

    assert all(" == " in line for line in lines if line and not line.startswith("#"))


def test_the_version_is_the_same_everywhere() -> None:
    from agent import VERSION

    assert f"version = {VERSION}" in (TOP / "setup.cfg").read_text()
    assert re.search(rf"^## {re.escape(VERSION)}", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_published_schema_of_the_status_is_current() -> None:
    from agent.report.status_schema import SCHEMA

    assert json.loads((TOP / "docs/status.schema.json").read_text()) == SCHEMA


def test_no_module_has_grown_past_comfort() -> None:
    long = {
        str(path.relative_to(TOP)): lines
        for path in (TOP / "agent").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }

    assert long == {}


def test_every_package_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    there = {".".join(path.parent.relative_to(TOP).parts) for path in (TOP / "agent").rglob("__init__.py")}

    assert set(setup["options"]["packages"].split()) == there | {"agent.templates", "agent.units"}
