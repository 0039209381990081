"""Packages from pip live beside conda's: they come after them, never replace them, and go when nobody asks for them."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from agent.workers import pip
from tests.workers.conftest import Worker


def wheel(worker: Worker, name: str, version: str, *requires: str) -> None:
    """A wheel with one module that knows its version, for every Python."""
    path = worker.home / "wheels" / f"{name}-{version}-py2.py3-none-any.whl"
    meta = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{meta}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n",
    }
    record = "".join(f"{each},,\n" for each in [*files, f"{meta}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in {**files, f"{meta}/RECORD": record}.items():
            archive.writestr(each, content)


def runs(worker: Worker, code: str) -> str:
    python = worker.prefix / "bin/python"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd="/").stdout.strip()


@pytest.mark.parametrize("python", ["2.7", "3.11"])
def test_a_package_is_installed_kept_changed_and_taken_away(python_worker: Worker, python: str) -> None:
    worker, conda = python_worker, f"python {python}.*"
    wheel(worker, "spam", "1.0")
    wheel(worker, "spam", "2.0")

    worker.apply(conda, pip=["spam<2"])
    assert runs(worker, "import spam; print(spam.version)") == "1.0"
    assert "pip" in worker.versions(), "pip is brought in where something is asked of it"
    worker.apply(conda, pip=["spam<2"])
    assert not any(text.startswith("pip") for text in worker.progress)

    worker.apply(conda, pip=["spam>=2"])
    assert runs(worker, "import spam; print(spam.version)") == "2.0"

    (stray,) = (worker.prefix / f"lib/python{python}/site-packages").glob("spam-*.dist-info")
    stray.rename(stray.with_suffix(".gone"))
    assert worker.unmet(conda, pip=["spam>=2"]) == ["pip:spam>=2"]
    stray.with_suffix(".gone").rename(stray)

    worker.apply(conda)
    assert "spam" not in pip.distributions(str(worker.prefix))


def test_what_conda_brought_is_not_replaced(python_worker: Worker) -> None:
    worker = python_worker
    worker.apply("python 3.11.*", "six")
    wheel(worker, "six", "99.0")
    wheel(worker, "spam", "1.0", "six>=99")

    for requirement in ("six>=99", "spam"):
        error = worker.refused("python 3.11.*", "six", pip=[requirement])
        assert "keep their versions" in error["hint"], error
        assert not error["temporary"]

    assert runs(worker, "import six; print(six.__version__)") != "99.0"


def test_what_pip_cannot_find_is_said_in_its_words_and_conda_s_part_stays(python_worker: Worker) -> None:
    worker = python_worker

    error = worker.refused("python 3.11.*", pip=["no-such-package"])

    assert "no-such-package" in error["message"]
    assert worker.unmet("python 3.11.*", pip=["no-such-package"]) == ["pip:no-such-package"]


def test_an_index_that_does_not_answer_is_a_temporary_failure(python_worker: Worker) -> None:
    worker = python_worker
    worker.variables = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "1",
        "PIP_CONFIG_FILE": "/dev/null",
    }

    error = worker.refused("python 3.11.*", pip=["spam"])

    assert error["temporary"], error


def test_packages_of_the_account_do_not_pass_for_the_environment_s(python_worker: Worker) -> None:
    worker = python_worker
    wheel(worker, "spam", "1.0")
    with zipfile.ZipFile(worker.home / "wheels/spam-1.0-py2.py3-none-any.whl") as archive:
        archive.extractall(worker.home / ".local/lib/python3.11/site-packages")

    worker.apply("python 3.11.*", pip=["spam"])

    assert (worker.prefix / "lib/python3.11/site-packages/spam.py").exists()


def test_another_python_takes_its_packages_along(python_worker: Worker) -> None:
    worker = python_worker
    wheel(worker, "spam", "1.0")
    worker.apply("python 2.7.*", "six", pip=["spam"])

    worker.apply("python 3.11.*", "six", pip=["spam"])

    assert runs(worker, "import sys, six, spam; print(sys.version[:4] + spam.version)") == "3.111.0"


def test_files_that_came_are_compiled(python_worker: Worker) -> None:
    worker = python_worker

    worker.apply("python 3.11.*", "six")

    packages = worker.prefix / "lib/python3.11/site-packages"
    assert list((packages / "__pycache__").glob("six.*.pyc"))
    assert list((worker.prefix / "lib/python3.11/json/__pycache__").glob("decoder.*.pyc"))


def test_removal_takes_what_pip_and_compiling_left(python_worker: Worker) -> None:
    worker = python_worker
    wheel(worker, "spam", "1.0")
    worker.apply("python 3.11.*", pip=["spam"])

    assert worker.run("remove") == {"result": {"stays": 0}}
    assert not worker.prefix.exists()


def test_names_of_distributions_are_told_from_names_of_files() -> None:
    assert pip.owned_by_conda(
        [
            "lib/python3.11/site-packages/ruamel.yaml-0.18.6.dist-info/METADATA",
            "site-packages/typing_extensions-4.1.dist-info/METADATA",
            "lib/python2.7/site-packages/tornado-5.1.1-py2.7.egg-info/PKG-INFO",
            "lib/python2.7/site-packages/wsgiref.egg-info",
            "lib/python2.7/site-packages/argparse-1.2.1.egg-info",
            "lib/x-1.0.dist-info/RECORD",
        ]
    ) == {"ruamel-yaml": "0.18.6", "typing-extensions": "4.1", "tornado": "5.1.1", "argparse": "1.2.1"}
    assert pip.name_of("Ruamel.Yaml[x] >=1") == "ruamel-yaml"


def test_a_path_with_a_blank_is_no_obstacle(python_worker: Worker) -> None:
    worker = python_worker
    prefix = str(Path(worker.home, "my envs", "one"))

    worker.apply("python 3.11.*", "toy-prefix", prefix=prefix)

    assert worker.unmet("python 3.11.*", prefix=prefix) == []
