"""What is compiled for one environment is not compiled again for the next."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from agent.host.builds import Place
from tests.workers.conftest import Worker


def made(worker: Worker, name: str, *packages: str) -> tuple[Path, list[str]]:
    """The environment's build, and what the worker said meanwhile."""
    answer: dict[str, Any] = worker.run(name=name, packages=packages)
    assert "result" in answer, answer
    place = Place(str(worker.home), name)
    return Path(place.build(place.in_force() or "")), worker.progress


def compiled(build: Path, library: str) -> dict[str, os.stat_result]:
    return {str(path.relative_to(build)): path.stat() for path in (build / library).rglob("*.pyc")}


def test_byte_code_is_linked_from_another_environment(python_worker: Worker) -> None:
    one, _ = made(python_worker, "one", "python 3.11.*")
    other, _ = made(python_worker, "other", "python 3.11.*", "toy-module")

    before, after = compiled(one, "lib/python3.11"), compiled(other, "lib/python3.11")

    assert len(before) > 500
    apart = {name for name in before if after[name].st_ino != before[name].st_ino}
    assert all("_sysconfigdata" in name for name in apart), (
        "its source says where it is, so it is another in each build"
    )


def test_another_python_is_compiled_for_itself(python_worker: Worker) -> None:
    made(python_worker, "one", "python 3.11.*")

    _, said = made(python_worker, "old", "python 2.7.*")

    assert [line for line in said if line.startswith("compiling") and len(line) > len("compiling 99 files")]


def test_a_traceback_names_the_file_where_it_is(python_worker: Worker) -> None:
    made(python_worker, "one", "python 3.11.*")
    other, _ = made(python_worker, "other", "python 3.11.*")

    asked = "import json, sys; print(sys.modules['json'].__cached__, json.dumps.__code__.co_filename, sep='\\n')"
    done = subprocess.run([other / "bin/python", "-c", asked], capture_output=True, text=True, check=True)

    library = other / "lib/python3.11/json"
    cached, source = map(Path, done.stdout.split())
    assert cached.exists()
    assert source == library / "__init__.py"
