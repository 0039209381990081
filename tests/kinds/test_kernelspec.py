"""A kernel is registered as Jupyter needs it, tried once as it is registered, and one without its program is a difference."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent import plan, records
from agent.host.looks import Looks
from agent.kinds.kernelspec import LAUNCHER, Kernelspec, KernelspecState
from agent.resource import Action, Change, Ref
from agent.steps import MakeDirectory, Remember, Remove, Step, Work, Write


@dataclass
class Facts:
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644


@dataclass
class Memory:
    notes: dict[str, str] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        return self.notes.get(key)


@dataclass
class Host:
    """Files from a table; the environment is a real directory. A worker that ``fails`` ends the steps."""

    table: dict[str, str] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    tried: list[tuple[str, str]] = field(default_factory=list)
    fails: bool = False

    def __post_init__(self) -> None:
        self.looks = Looks()
        self.memory = Memory()
        self.files = self.environments = self

    def installed(self, prefix: str) -> dict[str, str]:
        return {"python": "3.11.2"} if list(Path(prefix, "conda-meta").glob("python-*")) else {}

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
            elif isinstance(step, Work):
                self.tried.append((step.user, dict(step.request)["path"]))
                if self.fails:
                    return
            elif isinstance(step, Remember):
                self.memory.notes[step.key] = step.value or ""


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


PYTHON = ("{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}")
R = ("{prefix}/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}")


def kernel(prefix: Path, command: tuple[str, ...] = PYTHON, **fields: Any) -> Kernelspec:
    return Kernelspec("analysis", "/k", "Python 3.11 ✓", str(prefix), command, "nb", **fields)


def made(resource: Kernelspec) -> Host:
    host = Host()
    host.do(list(resource.steps(Change(resource, Action.CREATE))))
    return host


def written(resource: Kernelspec) -> dict[str, Any]:
    return dict(json.loads(made(resource).table[f"{resource.path}/kernel.json"]))


def change(resource: Kernelspec, host: Host) -> Change | None:
    return plan.compare(resource, resource.read(cast(Any, host)))


def test_a_python_kernel_says_where_it_runs_from(prefix: Path) -> None:
    python = f"{prefix}/bin/python"

    assert written(kernel(prefix, debugger=True)) == {
        "argv": [LAUNCHER, str(prefix), python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3.11 ✓",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {"debugger": True},
    }


def test_a_kernel_of_any_language_is_a_command(prefix: Path) -> None:
    record = written(kernel(prefix, ("{prefix}/bin/octave", "{x}", "--f={connection_file}"), language="octave"))

    assert record["argv"] == [LAUNCHER, str(prefix), f"{prefix}/bin/octave", "{x}", "--f={connection_file}"]
    assert (record["language"], record["metadata"]) == ("octave", {"debugger": False})


@pytest.mark.parametrize("command", [PYTHON, R], ids=["python", "R"])
def test_a_second_look_finds_nothing_to_do(prefix: Path, command: tuple[str, ...]) -> None:
    resource = kernel(prefix, command)

    assert change(resource, made(resource)) is None


def test_a_kernel_is_tried_as_its_owner_once_it_is_registered(prefix: Path) -> None:
    resource = kernel(prefix)
    host = made(resource)

    assert host.tried == [("nb", "/k/analysis/kernel.json")]
    renamed = replace(resource, display_name="Python")
    found = change(renamed, host)
    assert found is not None
    assert {each.field for each in found.differences} == {"spec", "tried"}
    host.do(list(renamed.steps(found)))
    assert len(host.tried) == 2


def test_a_kernel_that_did_not_start_is_tried_again(prefix: Path) -> None:
    resource = kernel(prefix)
    host = Host(fails=True)
    host.do(list(resource.steps(Change(resource, Action.CREATE))))

    found = change(resource, host)

    assert found is not None
    assert [each.field for each in found.differences] == ["tried"]
    assert [type(step) for step in resource.steps(found)] == [Work, Remember]


def test_what_a_former_release_wrote_is_removed(prefix: Path) -> None:
    resource = kernel(prefix)
    host = made(resource)
    host.table["/k/analysis/launch.sh"] = "exec"

    found = change(resource, host)

    assert found is not None
    assert [each.field for each in found.differences] == ["outdated"]
    host.do(list(resource.steps(found)))
    assert change(resource, host) is None
    assert host.names("/k/analysis") == ("kernel.json",)


def test_a_kernel_that_is_not_there_is_made(prefix: Path) -> None:
    found = change(kernel(prefix), Host())

    assert found is not None
    assert found.action is Action.CREATE


@pytest.mark.parametrize(
    ("spoil", "field", "again"),
    [
        (lambda host, path: host.table.update({f"{path}/kernel.json": "{}"}), "spec", 1),
        (lambda host, path: host.modes.update({f"{path}/kernel.json": 0o666}), "access", 0),
        (lambda host, path: host.modes.update({path: 0o777}), "access", 0),
    ],
    ids=["spec", "open-spec", "open-directory"],
)
def test_what_is_edited_by_hand_is_seen_and_put_right(prefix: Path, spoil: Any, field: str, again: int) -> None:
    resource = kernel(prefix)
    host = made(resource)
    spoil(host, resource.path)

    found = change(resource, host)
    assert found is not None
    assert [each.field for each in found.differences] == [field]
    host.do(list(resource.steps(found)))
    assert change(resource, host) is None
    assert len(host.tried) == 1 + again


@pytest.mark.parametrize(
    ("command", "gone"),
    [(PYTHON, "bin/python3.11"), (PYTHON, "bin/python"), (R, "bin/R"), (("R",), "bin/R")],
    ids=["its-version", "python", "R", "without-a-path"],
)
def test_a_missing_program_is_a_difference_that_files_cannot_repair(
    prefix: Path, command: tuple[str, ...], gone: str
) -> None:
    resource = kernel(prefix, command)
    host = made(resource)
    (prefix / gone).unlink()

    found = change(resource, host)

    assert found is not None
    assert [each.field for each in found.differences] == ["program"]
    assert list(resource.steps(found)) == []


def test_removal_leaves_what_others_put_there_and_forgets_the_trial(prefix: Path) -> None:
    resource = kernel(prefix)
    alone, with_logo = made(resource), made(resource)
    with_logo.table[f"{resource.path}/logo-64x64.png"] = ""

    def removal(host: Host) -> list[str]:
        deletion = Change(resource, Action.DELETE, current=resource.read(cast(Any, host)))
        steps = list(resource.steps(deletion))
        assert steps[-1] == Remember("kernel.analysis", None)
        return [step.path for step in steps if isinstance(step, Remove)]

    files = [f"{resource.path}/kernel.json", f"{resource.path}/launch.sh"]
    assert removal(alone) == [*files, resource.path]
    assert removal(with_logo) == files


def test_a_logo_is_no_difference(prefix: Path) -> None:
    resource = kernel(prefix)
    host = made(resource)
    host.table[f"{resource.path}/logo-64x64.png"] = ""

    assert change(resource, host) is None


def test_it_survives_being_written_down(prefix: Path) -> None:
    resource = kernel(prefix, after=(Ref("environment", "analysis"),))

    assert list(resource.needs()) == [Ref("user", "nb"), Ref("environment", "analysis")]
    assert records.from_record(json.loads(json.dumps(records.to_record(resource)))) == resource
    assert replace(resource, debugger=True).desired() != resource.desired()
    assert isinstance(resource.desired(), KernelspecState)
