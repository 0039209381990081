"""An environment is right when everything asked of it is there; what changes is told as packages, not as digests."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent import plan, records
from agent.errors import HostError, TemporaryError
from agent.host import receipt
from agent.host.environments import Environments
from agent.host.looks import Looks
from agent.host.machine import Progress
from agent.host.programs import Finished
from agent.host.receipt import LINKED, VERIFIED, WORKING, Receipt
from agent.kinds.environment import Environment, EnvironmentState
from agent.resource import Action, Change, NotYetReadable, Ref
from agent.steps import Work


@dataclass
class Workers:
    """Programs whose only one is a worker that says these lines."""

    lines: list[Any] = field(default_factory=lambda: [{"result": {"unmet": []}}])
    status: int = 0
    requests: list[Any] = field(default_factory=list)

    def run(self, _argv: list[str], *, stdin: bytes, user: str, on_line: Any, **_: Any) -> Finished:
        self.requests.append((user, json.loads(stdin)))
        for line in self.lines:
            on_line(line if isinstance(line, str) else json.dumps(line))
        return Finished(self.status, "", "setpriv: failed to execute: Permission denied\n" if self.status else "")


@dataclass
class Host:
    """Looks at real directories; ``accounts`` knows everybody in ``people``."""

    workers: Workers = field(default_factory=Workers)
    people: tuple[str, ...] = ("nb",)
    said: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.looks = Looks()
        progress = Progress(lambda ref, text: self.said.append((ref, text)))
        self.environments = Environments(self.looks, cast(Any, self.workers), progress)
        self.accounts = self

    def user(self, name: str) -> str | None:
        return name if name in self.people else None


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Where numpy and python are, and nothing says who put them there."""
    for directory in ("conda-meta", ".agent", "lib/python3.11/site-packages/rich-14.0.dist-info"):
        (tmp_path / directory).mkdir(parents=True)
    for name in ("python-3.11.2-0_cpython", "numpy-2.1.0-py311_0", "typing_extensions-4.1-pyh_0"):
        (tmp_path / f"conda-meta/{name}.json").write_text("{}")
    return tmp_path


def environment(prefix: Path, **fields: Any) -> Environment:
    wanted: dict[str, Any] = {"channels": ("conda-forge",), "packages": ("numpy >=2",), **fields}
    return Environment("analysis", str(prefix), "nb", **wanted)


def note(prefix: Path, *, with_pip: bool = False, **fields: Any) -> None:
    """A receipt that says: all of this was seen to be as it is now."""
    seen = Environments(Looks(), cast(Any, Workers()))._seen(str(prefix), with_pip)
    wanted: dict[str, Any] = {"phase": VERIFIED, "channels": ("conda-forge",), "packages": ("numpy >=2",), **fields}
    receipt.write(str(prefix), Receipt(seen=seen, **wanted))


def change(resource: Environment, host: Host) -> Change | None:
    return plan.compare(resource, resource.read(cast(Any, host)))


def test_without_an_environment_there_is_no_state(tmp_path: Path) -> None:
    host = Host()

    assert environment(tmp_path / "none").read(cast(Any, host)) is None
    assert not host.workers.requests


def test_what_was_seen_to_be_right_is_right_without_a_worker(prefix: Path) -> None:
    note(prefix)
    host = Host()

    assert change(environment(prefix), host) is None
    assert not host.workers.requests


def test_a_new_pass_asks_questions_and_no_worker(prefix: Path) -> None:
    note(prefix, with_pip=True, pip=("rich",))
    host = Host()

    assert change(environment(prefix, pip=("rich",)), host) is None

    asked = {question[0] for question in host.looks.answers}
    assert asked == {"stamps", "file", "names"}


def test_a_package_that_is_gone_makes_the_worker_look(prefix: Path) -> None:
    note(prefix)
    (prefix / "conda-meta/numpy-2.1.0-py311_0.json").unlink()
    host = Host(Workers([{"result": {"unmet": ["numpy >=2"]}}]))

    found = change(environment(prefix), host)

    assert found is not None
    assert [(each.field, each.current) for each in found.differences] == [("unmet", frozenset({"numpy >=2"}))]
    assert host.workers.requests[0][0] == "nb"
    assert host.workers.requests[0][1]["verb"] == "check"


def test_a_pip_package_that_is_gone_makes_the_worker_look(prefix: Path) -> None:
    note(prefix, with_pip=True, pip=("rich",))
    (prefix / "lib/python3.11/site-packages/rich-14.0.dist-info").rmdir()
    host = Host(Workers([{"result": {"unmet": ["pip:rich"]}}]))

    found = change(environment(prefix, pip=("rich",)), host)

    assert found is not None
    assert found.current.unmet == {"pip:rich"}


def test_a_package_that_somebody_added_is_no_difference(prefix: Path) -> None:
    note(prefix)
    (prefix / "conda-meta/scipy-1.0-0.json").write_text("{}")
    host = Host()

    assert change(environment(prefix), host) is None
    assert change(environment(prefix), host) is None
    assert len(host.workers.requests) == 1, "one look of the environment is examined once"


def test_a_list_that_became_shorter_is_a_difference(prefix: Path) -> None:
    note(prefix, packages=("numpy >=2", "scipy"))
    host = Host()

    found = change(environment(prefix), host)

    assert found is not None
    assert [each.field for each in found.differences] == ["packages"]


def test_another_channel_is_a_difference_and_another_mirror_is_none(prefix: Path) -> None:
    note(prefix)

    moved = change(environment(prefix, channels=("elsewhere",)), Host())
    mirrored = change(environment(prefix, mirrors=(("conda-forge", ("https://mirror.example",)),)), Host())

    assert moved is not None
    assert [each.field for each in moved.differences] == ["channels"]
    assert mirrored is None


def test_an_environment_left_half_made_has_nothing_of_what_is_asked(prefix: Path) -> None:
    note(prefix, phase=WORKING)
    host = Host()

    found = change(environment(prefix, pip=("rich",)), host)

    assert found is not None
    assert found.current.unmet == {"numpy >=2", "pip:rich"}


def test_an_environment_whose_pip_packages_failed_is_examined(prefix: Path) -> None:
    note(prefix, phase=LINKED, pip=("rich",))
    host = Host(Workers([{"result": {"unmet": ["pip:rich"]}}]))

    found = change(environment(prefix, pip=("rich",)), host)

    assert found is not None
    assert found.current.unmet == {"pip:rich"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b'{"format": 1}',
        b'{"format": 2, "phase": "verified", "channels": [], "packages": [], "pip": [], "held": [], "seen": ""}',
        b'{"format": 1, "phase": 1, "channels": [], "packages": [], "pip": [], "held": [], "seen": ""}',
        b'{"format": 1, "phase": "verified", "channels": {}, "packages": [], "pip": [], "held": [], "seen": ""}',
        b'{"format": 1, "phase": "verified", "channels": [[]], "packages": [], "pip": [], "held": [], "seen": ""}',
        b" " * (receipt.LARGEST + 1),
    ],
    ids=["empty", "cut", "deep", "null", "short", "newer", "number", "mapping", "nested", "long"],
)
def test_a_receipt_that_is_none_is_taken_for_none(prefix: Path, content: bytes) -> None:
    (prefix / ".agent/environment.json").write_bytes(content)

    assert Host().environments.receipt(str(prefix)) == Receipt()


def test_a_pipe_or_a_link_in_place_of_the_receipt_is_not_read(prefix: Path) -> None:
    path = prefix / ".agent/environment.json"
    os.mkfifo(path)
    assert Host().environments.receipt(str(prefix)) == Receipt()
    path.unlink()
    note(prefix)
    path.rename(prefix / "elsewhere")
    path.symlink_to(prefix / "elsewhere")
    assert Host().environments.receipt(str(prefix)) == Receipt()


def test_versions_are_told_from_names_of_files(prefix: Path) -> None:
    (prefix / "conda-meta/history").write_text("")
    (prefix / "conda-meta/odd.json").write_text("")

    assert Host().environments.installed(str(prefix)) == {
        "python": "3.11.2",
        "numpy": "2.1.0",
        "typing_extensions": "4.1",
    }


def test_an_environment_of_nobody_cannot_be_examined_yet(prefix: Path) -> None:
    with pytest.raises(NotYetReadable, match="nb"):
        environment(prefix).read(cast(Any, Host(people=())))


def test_the_worker_is_asked_to_apply_and_to_remove(prefix: Path) -> None:
    resource = environment(prefix, pip=("rich",), mirrors=(("conda-forge", ("https://mirror.example",)),))

    (made,) = resource.steps(Change(resource, Action.CREATE))
    (gone,) = resource.steps(Change(resource, Action.DELETE))

    assert isinstance(made, Work)
    assert isinstance(gone, Work)
    assert (made.worker, made.user, made.label) == ("conda", "nb", "environment:analysis")
    assert dict(made.request) == {
        "verb": "apply",
        "prefix": str(prefix),
        "cache": "/opt/conda/pkgs",
        "channels": ("conda-forge",),
        "mirrors": (("conda-forge", ("https://mirror.example",)),),
        "alias": "https://conda.anaconda.org",
        "packages": ("numpy >=2",),
        "pip": ("rich",),
    }
    assert dict(gone.request)["verb"] == "remove"


def test_progress_is_told_under_the_ref_and_shows_nothing_that_a_terminal_obeys(prefix: Path) -> None:
    host = Host(Workers([{"progress": "linking \x1b[31mnumpy"}, "noise", {"result": {}}]))

    host.environments.work(work(prefix))

    assert host.said == [("environment:analysis", "linking  [31mnumpy")]


def work(prefix: Path) -> Work:
    resource = environment(prefix)
    (step,) = resource.steps(Change(resource, Action.CREATE))
    assert isinstance(step, Work)
    return step


@pytest.mark.parametrize("temporary", [True, False])
def test_a_worker_s_error_is_the_host_s(prefix: Path, temporary: bool) -> None:
    error = {"type": "work", "message": "nothing meets it", "hint": "ask for less", "temporary": temporary}
    host = Host(Workers([{"error": error}], status=1))

    with pytest.raises(HostError, match="nothing meets it") as caught:
        host.environments.work(work(prefix))

    assert caught.value.hint == "ask for less"
    assert isinstance(caught.value, TemporaryError) is temporary


def test_a_worker_without_a_result_names_its_last_words_and_the_way_out(prefix: Path) -> None:
    host = Host(Workers([], status=126))

    with pytest.raises(
        HostError, match="126 without a result: setpriv: failed to execute: Permission denied"
    ) as caught:
        host.environments.work(work(prefix))

    assert "must be able to read the agent's own Python" in caught.value.hint


def test_an_answer_is_not_kept_beyond_a_change(prefix: Path) -> None:
    host = Host(Workers([{"result": {"unmet": ["numpy >=2"]}}]))
    assert change(environment(prefix), host) is not None
    host.environments.work(work(prefix))
    host.workers.lines = [{"result": {"unmet": []}}]

    found = change(environment(prefix), host)

    assert found is not None
    assert found.current.unmet == frozenset()


def test_what_runs_from_it_is_stale_when_its_packages_change_and_not_when_a_mirror_does(prefix: Path) -> None:
    resource = environment(prefix)
    host = cast(Any, Host())

    assert replace(resource, mirrors=(("conda-forge", ("x",)),)).fingerprint(host) == resource.fingerprint(host)
    assert replace(resource, packages=("numpy",)).fingerprint(host) != resource.fingerprint(host)


def test_it_needs_its_owner_and_survives_being_written_down(prefix: Path) -> None:
    resource = environment(prefix, after=(Ref("directory", "/opt/conda/envs"),), mirrors=(("a", ("b", "c")),))

    assert list(resource.needs()) == [Ref("user", "nb"), Ref("directory", "/opt/conda/envs")]
    assert records.from_record(json.loads(json.dumps(records.to_record(resource)))) == resource
    assert resource.desired() == EnvironmentState(("conda-forge",), frozenset({"numpy >=2"}), frozenset())
