"""Real kernels are started as people's are, say what they are, and leave nothing behind; one that cannot says why, in its own words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.render import render
from tests.workers.conftest import CHECKOUT, NOBODY
from tests.workers.prefixes import Prefixes, prefixes

PYTHON = ("{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}")
R = ("{prefix}/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}")
ENVIRONMENTS = {"new": ("python 3.11.*", "ipykernel"), "old": ("python 2.7.*", "ipykernel"), "stats": ("r-irkernel",)}
TRY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from agent.workers.kernels import try_kernel
from agent.workers.problems import WorkError
try:
    print(json.dumps({"result": try_kernel(**json.load(sys.stdin))}))
except WorkError as error:
    print(json.dumps({"error": {"message": str(error), "hint": error.hint}}))
"""
WORK = "import sys; sys.path.insert(0, sys.argv[1]); from agent.workers.kernel import main; main()"


@dataclass
class Trials:
    """Environments below one directory, and the programs that try their kernels, run as an account without rights."""

    top: Path
    maker: Prefixes

    def tried(self, build: Path, command: tuple[str, ...], **request: Any) -> str:
        answer = self.run(TRY, {"command": command, "prefix": str(build), "name": "analysis", **request})
        assert "result" in answer, answer
        return str(answer["result"])

    def refused(self, build: Path, command: tuple[str, ...] = PYTHON, **request: Any) -> dict[str, str]:
        answer = self.run(TRY, {"command": command, "prefix": str(build), "name": "analysis", **request})
        assert "error" in answer, answer
        return dict(answer["error"])

    def run(self, program: str, request: dict[str, Any]) -> dict[str, Any]:
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*drop, sys.executable, "-I", "-c", program, str(CHECKOUT)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(self.top / "tmp")},
            cwd="/",
            check=False,
        )
        assert list((self.top / "tmp").iterdir()) == [], "nothing is left of a trial"
        assert done.stdout, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def copy(self, name: str) -> Path:
        """An environment of one's own, to be spoiled at will."""
        return self.maker.make(self.top / f"{name}-spoiled", *ENVIRONMENTS[name])


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    top = Path(tempfile.mkdtemp(prefix="agent-kernels-"))
    top.chmod(0o755)
    (top / "tmp").mkdir()
    if os.geteuid() == 0:
        os.chown(top / "tmp", NOBODY, NOBODY)
    maker = prefixes(top / "made")
    for name, specs in ENVIRONMENTS.items():
        maker.make(top / name, *specs)
    yield Trials(top, maker)
    shutil.rmtree(top)


def register(trials: Trials, spec: object) -> str:
    directory = Path(tempfile.mkdtemp(dir=trials.top))
    directory.chmod(0o755)
    (directory / "kernel.json").write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return f"{directory}/kernel.json"


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        ("new", PYTHON, "Python 3.11.2 ({}/bin/python)"),
        ("old", PYTHON, "Python 2.7.18 ({}/bin/python)"),
        ("stats", R, "R 4.2.2 ({}/lib/R)"),
    ],
    ids=["python-3", "python-2", "R"],
)
def test_a_kernel_names_its_interpreter_and_version_and_leaves_its_build_as_it_was(
    trials: Trials, name: str, command: tuple[str, ...], said: str
) -> None:
    build = trials.top / name
    before = sorted((str(path), path.lstat().st_ctime_ns) for path in build.rglob("*"))

    assert trials.tried(build, command) == said.format(build)

    assert sorted((str(path), path.lstat().st_ctime_ns) for path in build.rglob("*")) == before


TOY = """
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel
class Toy(Kernel):
    implementation, implementation_version, banner = "ToyKernel", "0.9", ""
    language_info = {"name": "toy", "version": "1.2", "mimetype": "text/plain", "file_extension": ".toy"}
IPKernelApp.launch_instance(kernel_class=Toy)
"""


def test_a_kernel_of_another_language_says_what_it_is(trials: Trials) -> None:
    build = trials.top / "new"

    said = trials.tried(build, ("python", "-c", TOY, "-f", "{connection_file}"))

    assert said == f"toy 1.2, ToyKernel 0.9 ({build}/bin/python)"


def test_a_kernel_without_its_package_says_what_to_add(trials: Trials) -> None:
    python, stats = trials.copy("new"), trials.copy("stats")
    shutil.rmtree(python / "lib/python3.11/site-packages/ipykernel")
    shutil.rmtree(stats / "lib/R/library/IRkernel")
    (python / "lib/python3.11/site-packages/ipykernel_launcher.py").unlink()

    error, of_r = trials.refused(python), trials.refused(stats, R)

    assert "ended with exit status 1 before it answered; its last words: " in error["message"]
    assert error["hint"] == "add ipykernel to the environment's packages"
    assert of_r["hint"] == "add r-irkernel to the environment's packages"


def test_a_kernel_whose_program_is_not_there_says_so(trials: Trials) -> None:
    error = trials.refused(trials.top / "new", ("{prefix}/bin/julia", "{connection_file}"))

    assert "ended with exit status 127" in error["message"]
    assert "bin/julia" in error["message"]
    assert error["hint"] == "the kernel's command must name a program of the environment"


def test_a_kernel_that_runs_another_environment_s_interpreter_is_refused(trials: Trials) -> None:
    other = trials.top / "old/bin/python"

    error = trials.refused(trials.top / "new", (str(other), *PYTHON[1:]))

    assert f"runs {other}, which is not of this environment ({trials.top}/new)" in error["message"]


def test_what_activation_breaks_is_found_before_people_do(trials: Trials) -> None:
    build = trials.copy("new")
    script = build / "etc/conda/activate.d/broken.sh"
    script.parent.mkdir(parents=True)
    script.write_text("export PYTHONHOME=$CONDA_PREFIX/$CONDA_DEFAULT_ENV\n")

    error = trials.refused(build)

    assert f"{build}/analysis" in error["message"]


def test_a_kernel_that_never_answers_is_given_up_and_killed_with_its_children(trials: Trials) -> None:
    child = f"sleep 9876{os.getpid()}"

    error = trials.refused(trials.top / "new", ("/bin/sh", "-c", f"echo waiting; {child} & wait"), seconds=1)

    assert error["message"] == "kernel analysis did not answer within 1 s; its last words: waiting"
    assert subprocess.run(["pgrep", "-f", child], check=False, stdout=subprocess.DEVNULL).returncode == 1


def test_a_kernel_is_tried_as_it_is_registered(trials: Trials) -> None:
    launcher = trials.top / "in-environment"
    launcher.write_text("".join(map(str, render("in-environment.sh.j2").pieces)))
    launcher.chmod(0o755)
    link = trials.top / "link"
    link.symlink_to("new")
    argv = [str(launcher), str(link), *(word.replace("{prefix}", str(link)) for word in PYTHON)]

    answer = trials.run(WORK, {"path": register(trials, {"argv": argv}), "prefix": str(link), "seconds": 60})

    assert answer == {"result": {"kernel": f"Python 3.11.2 ({trials.top}/new/bin/python)"}}
    other = trials.run(
        WORK, {"path": register(trials, {"argv": argv}), "prefix": str(trials.top / "old"), "seconds": 60}
    )
    assert "which is not of this environment" in other["error"]["message"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{", "is no kernelspec"),
        ({"argv": []}, "argv and env must be text"),
        ({"argv": ["/bin/true", 1]}, "argv and env must be text"),
        ({"argv": ["/nonexistent/python"]}, "/nonexistent/python: No such file or directory"),
    ],
    ids=["no-json", "empty", "numbers", "no-program"],
)
def test_a_kernelspec_that_cannot_be_started_is_explained(trials: Trials, spec: object, said: str) -> None:
    answer = trials.run(WORK, {"path": register(trials, spec), "prefix": str(trials.top / "new"), "seconds": 5})

    assert said in answer["error"]["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused as root")
def test_root_never_starts_a_kernel() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", WORK, str(CHECKOUT)],
        input=json.dumps({"path": "/nonexistent", "prefix": "/", "seconds": 1}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "never started by root" in json.loads(done.stdout.splitlines()[-1])["error"]["message"]
