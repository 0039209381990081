"""A kernel's files are exactly what Jupyter needs, and a kernel without its interpreter is a difference."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent import plan, records
from agent.host.environments import Environments
from agent.host.looks import Looks
from agent.kinds.kernelspec import LAUNCHER, Kernelspec, KernelspecState
from agent.resource import Action, Change, Ref
from agent.steps import MakeDirectory, Remove, Step, Write


@dataclass
class Facts:
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644


@dataclass
class Host:
    """Files from a table; the environment is a real directory."""

    table: dict[str, str] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.looks = Looks()
        self.environments = Environments(self.looks, cast(Any, None))
        self.files = self

    def content(self, path: str) -> bytes | None:
        return self.table[path].encode() if path in self.table else None

    def facts(self, path: str) -> Facts | None:
        return Facts(mode=self.modes[path]) if path in self.modes else None

    def names(self, path: str) -> tuple[str, ...]:
        return tuple(sorted(each.rpartition("/")[2] for each in self.table if each.startswith(f"{path}/")))

    def do(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Write):
                self.table[step.path] = "".join(map(str, step.content.pieces))
                self.modes[step.path] = step.mode
            elif isinstance(step, MakeDirectory):
                self.modes[step.path] = step.mode
            elif isinstance(step, Remove):
                self.table.pop(step.path, None)
                self.modes.pop(step.path, None)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An environment with Python 3.11 and R."""
    for directory in ("conda-meta", "bin"):
        (tmp_path / directory).mkdir()
    (tmp_path / "conda-meta/python-3.11.2-0_cpython.json").write_text("{}")
    (tmp_path / "bin/python3.11").write_text("")
    (tmp_path / "bin/python").symlink_to("python3.11")
    (tmp_path / "bin/R").write_text("")
    return tmp_path


def kernel(prefix: Path, **fields: Any) -> Kernelspec:
    return Kernelspec("analysis", "/usr/local/share/jupyter/kernels", "Python 3.11 ✓", str(prefix), **fields)


def made(resource: Kernelspec) -> Host:
    host = Host()
    host.do(list(resource.steps(Change(resource, Action.CREATE))))
    return host


def written(resource: Kernelspec) -> dict[str, Any]:
    return dict(json.loads(made(resource).table[f"{resource.path}/kernel.json"]))


def change(resource: Kernelspec, host: Host) -> Change | None:
    return plan.compare(resource, resource.read(cast(Any, host)))


def test_a_python_kernel_says_where_it_runs_from(prefix: Path) -> None:
    launcher = "/usr/local/share/jupyter/kernels/analysis/launch.sh"

    assert written(kernel(prefix)) == {
        "argv": [launcher, f"{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3.11 ✓",
        "language": "python",
        "interrupt_mode": "signal",
        "env": {
            "PATH": f"{prefix}/bin:${{PATH}}",
            "CONDA_PREFIX": str(prefix),
            "CONDA_DEFAULT_ENV": prefix.name,
            "CONDA_SHLVL": "1",
        },
        "metadata": {"debugger": True},
    }


def test_an_r_kernel_runs_r(prefix: Path) -> None:
    record = written(kernel(prefix, language="R"))

    assert record["argv"][1:] == [f"{prefix}/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"]
    assert (record["language"], record["metadata"]) == ("R", {"debugger": False})


@pytest.mark.parametrize("language", ["python", "R"])
def test_a_second_look_finds_nothing_to_do(prefix: Path, language: str) -> None:
    resource = kernel(prefix, language=language)

    assert change(resource, made(resource)) is None


def test_a_kernel_that_is_not_there_is_made(prefix: Path) -> None:
    found = change(kernel(prefix), Host())

    assert found is not None
    assert found.action is Action.CREATE


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda host, path: host.table.update({f"{path}/kernel.json": "{}"}), "spec"),
        (lambda host, path: host.table.update({f"{path}/launch.sh": "exec other"}), "launcher"),
        (lambda host, path: host.table.pop(f"{path}/launch.sh"), "launcher"),
        (lambda host, path: host.modes.update({f"{path}/kernel.json": 0o666}), "access"),
        (lambda host, path: host.modes.update({path: 0o777}), "access"),
    ],
    ids=["spec", "launcher", "no-launcher", "open-spec", "open-directory"],
)
def test_what_is_edited_by_hand_is_seen_and_put_right(prefix: Path, spoil: Any, field: str) -> None:
    resource = kernel(prefix)
    host = made(resource)
    spoil(host, resource.path)

    found = change(resource, host)
    assert found is not None
    assert [each.field for each in found.differences] == [field]
    host.do(list(resource.steps(found)))
    assert change(resource, host) is None


@pytest.mark.parametrize(("language", "gone"), [("python", "bin/python3.11"), ("python", "bin/python"), ("R", "bin/R")])
def test_a_missing_interpreter_is_a_difference_that_files_cannot_repair(prefix: Path, language: str, gone: str) -> None:
    resource = kernel(prefix, language=language)
    host = made(resource)
    (prefix / gone).unlink()

    found = change(resource, host)

    assert found is not None
    assert [each.field for each in found.differences] == ["interpreter"]
    assert list(resource.steps(found)) == []


def test_removal_leaves_what_others_put_there(prefix: Path) -> None:
    resource = kernel(prefix)
    alone, with_logo = made(resource), made(resource)
    with_logo.table[f"{resource.path}/logo-64x64.png"] = ""

    def removals(host: Host) -> list[str]:
        deletion = Change(resource, Action.DELETE, current=resource.read(cast(Any, host)))
        return [step.path for step in resource.steps(deletion) if isinstance(step, Remove)]

    files = [f"{resource.path}/kernel.json", f"{resource.path}/launch.sh"]
    assert removals(alone) == [*files, resource.path]
    assert removals(with_logo) == files


def test_a_logo_is_no_difference(prefix: Path) -> None:
    resource = kernel(prefix)
    host = made(resource)
    host.table[f"{resource.path}/logo-64x64.png"] = ""

    assert change(resource, host) is None


def test_it_survives_being_written_down(prefix: Path) -> None:
    resource = kernel(prefix, after=(Ref("environment", "analysis"),))

    assert list(resource.needs()) == [Ref("environment", "analysis")]
    assert records.from_record(json.loads(json.dumps(records.to_record(resource)))) == resource
    assert replace(resource, debugger=False).desired() != resource.desired()
    assert isinstance(resource.desired(), KernelspecState)


def launched(prefix: Path, *words: str) -> list[str]:
    """What a program sees that is started as a kernel would be."""
    launcher = prefix / "launch.sh"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    done = subprocess.run(
        [launcher, *words],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": f"{prefix}/bin:/usr/bin:/bin", "CONDA_PREFIX": str(prefix)},
    )
    return done.stdout.splitlines()


def test_a_kernel_starts_with_what_its_packages_set(prefix: Path) -> None:
    for path, content in {
        "activate.d/a b.sh": 'export TOY_HOME="$CONDA_PREFIX/share/toy"; echo noise; cd /',
        "activate.d/c.sh": 'export ARGUMENTS="$#"; set -- changed',
        "env_vars.d/toy.json": json.dumps({"TOY": 'it\'s a $(touch /tmp/never) \\ "value"\nof two lines', "a-b": "no"}),
    }.items():
        file = prefix / "etc/conda" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (prefix / "bin/python").unlink()

    program = (
        "import os, sys; print(sys.argv[1:]); [print(repr(os.environ[n])) for n in ('TOY_HOME', 'TOY', 'ARGUMENTS')]"
    )
    seen = launched(prefix, "/usr/bin/python3", "-c", program, "one two", "*")

    assert seen == [
        "['one two', '*']",
        repr(f"{prefix}/share/toy"),
        repr('it\'s a $(touch /tmp/never) \\ "value"\nof two lines'),
        "'0'",
    ]


def test_a_kernel_of_a_plain_environment_just_starts(prefix: Path) -> None:
    assert launched(prefix, "/bin/sh", "-c", 'echo $$ "$CONDA_PREFIX"')[0].split()[1] == str(prefix)
