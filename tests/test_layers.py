"""Imports point one way, only the host touches the machine, and the short way stays short."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "agent"
LAYERS = [
    ["errors", "specfiles"],
    ["resource", "steps", "records"],
    ["host"],
    ["kinds"],
    ["ledger", "plan", "solution"],
    ["reconcile", "evidence", "status", "lock"],
    ["generations", "rollback"],
    ["render"],
    ["spec"],
    ["wanted", "inventory", "adoption"],
    ["report"],
    ["apply", "watch", "quiet"],
    ["environments"],
    ["update", "rotation"],
    ["workers", "daemon", "sandbox"],
    ["cli"],
    ["__main__"],
]
"""Lowest first. A module imports only from its own layer and those before."""
DECIDING = ["resource", "steps", "plan", "kinds", "reconcile", "report", "render"]
TOUCHING = {"os", "posix", "subprocess", "socket", "shutil", "sh", "signal", "fcntl", "MySQLdb", "pymysql", "systemd"}
EXCEPTIONS = {
    # the journal is where a report goes
    "report/journal.py": {"os", "systemd"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path, *, at_start: bool = False) -> set[str]:
    """The modules that a file imports; those under TYPE_CHECKING do not count, ``at_start`` leaves out those inside functions."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(each for child in node.body for each in ast.walk(child))
        if at_start and isinstance(node, ast.FunctionDef):
            skipped.update(ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                inside = path.relative_to(PACKAGE.parent).with_suffix("").parts[: -node.level]
                base = ".".join([*inside, base] if base else inside)
            found.update(f"{base}.{alias.name}" for alias in node.names)
            found.add(base)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    ranks = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
    if part(path) == "__init__":
        assert not {name for name in imported(path) if name.startswith("agent")}
        return
    upwards = {
        name
        for name in imported(path)
        if name.startswith("agent.") and (other := name.split(".")[1]) in ranks and ranks[other] > ranks[part(path)]
        # records look kinds up when a ledger is read: the one place where names become kinds
        if (part(path), other) != ("records", "kinds")
    }

    assert upwards == set()


@pytest.mark.parametrize(
    "path", [p for p in modules() if part(p) in DECIDING], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_what_decides_does_not_touch_the_machine(path: Path) -> None:
    allowed = EXCEPTIONS.get(str(path.relative_to(PACKAGE)), set())

    assert {name.split(".")[0] for name in imported(path)} & TOUCHING - allowed == set()


@pytest.mark.parametrize("path", [p for p in modules() if part(p) == "kinds"], ids=lambda path: path.name)
def test_kinds_import_nothing_but_the_standard_library_at_start(path: Path) -> None:
    own = {
        name
        for name in imported(path, at_start=True)
        if name.split(".")[0] not in (*sys.stdlib_module_names, "agent", "")
    }

    assert own == set()


@pytest.mark.skipif(
    not Path("/usr/bin/python3").exists(), reason="the distribution's Python is what the agent runs with"
)
def test_the_short_way_imports_only_what_is_built_into_the_interpreter() -> None:
    program = "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); import agent.__main__, agent.host.bus, agent.host.sql; " \
        "print(*sorted(set(sys.modules) - before - set(sys.builtin_module_names)))"  # fmt: skip
    done = subprocess.run(
        ["/usr/bin/python3", "-IS", "-c", program, str(PACKAGE.parent)], capture_output=True, text=True, check=True
    )
    own = {
        "agent",
        "agent.__main__",
        "agent.quiet",
        "agent.evidence",
        "agent.host",
        "agent.host.look",
        "agent.host.bus",
        "agent.host.sql",
    }

    assert set(done.stdout.split()) - own == {"__future__", "stat"} - set(sys.builtin_module_names)
