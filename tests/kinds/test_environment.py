"""An environment is right when everything asked of it is there; what changes is told as packages, not as digests."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent import plan, records
from agent.errors import HostError, TemporaryError
from agent.host import builds
from agent.host.builds import Asked, Manifest, Place
from agent.host.environments import Environments, hold_key
from agent.host.looks import Looks
from agent.host.machine import Progress
from agent.host.memory import Memory
from agent.host.programs import Finished
from agent.kinds.environment import Environment, EnvironmentState
from agent.resource import Action, Change, NotYetReadable, Ref
from agent.steps import Listing, Login, Remember, SecretRef, Work


@dataclass
class Workers:
    """Programs whose only one is a worker that says these lines."""

    lines: list[Any] = field(default_factory=lambda: [{"result": {"unmet": []}}])
    status: int = 0
    requests: list[Any] = field(default_factory=list)
    errors: str = "setpriv: failed to execute: Permission denied\n"

    def run(self, argv: list[str], *, stdin: bytes, user: str | None, on_line: Any, **_: Any) -> Finished:
        self.requests.append((user, json.loads(stdin)))
        self.argv = argv
        for line in self.lines:
            on_line(line if isinstance(line, str) else json.dumps(line))
        return Finished(self.status, "", self.errors if self.status else "")


@dataclass
class Host:
    """Looks at real directories; ``accounts`` knows everybody in ``people``."""

    workers: Workers = field(default_factory=Workers)
    people: tuple[str, ...] = ("nb",)
    notes: str = "/nonexistent"
    """Where its memory is."""
    said: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.looks = Looks()
        progress = Progress(lambda ref, text: self.said.append((ref, text)))
        self.memory = Memory(self.notes, self.looks)
        secrets = cast(Any, self)
        self.environments = Environments(self.looks, cast(Any, self.workers), secrets, self.memory, progress)
        self.accounts = self

    def value(self, secret: SecretRef) -> str | None:
        return "s3cret" if secret.at == "there" else None

    def user(self, name: str) -> str | None:
        return name if name in self.people else None


BUILD = "0123456789ab"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A build with numpy and python, which is in force, and nothing says who made it."""
    prefix = tmp_path / "builds/analysis" / BUILD
    for directory in ("conda-meta", "lib/python3.11/site-packages/rich-14.0.dist-info"):
        (prefix / directory).mkdir(parents=True)
    for name in ("python-3.11.2-0_cpython", "numpy-2.1.0-py311_0", "typing_extensions-4.1-pyh_0"):
        (prefix / f"conda-meta/{name}.json").write_text("{}")
    (tmp_path / "envs").mkdir()
    builds.point(Place(str(tmp_path), "analysis"), BUILD)
    return prefix


def root(prefix: Path) -> str:
    return str(prefix.parents[2])


def environment(prefix: Path, **fields: Any) -> Environment:
    wanted: dict[str, Any] = {"channels": ("conda-forge",), "packages": ("numpy >=2",), **fields}
    return Environment("analysis", root(prefix), "nb", **wanted)


def note(prefix: Path, **fields: Any) -> None:
    """A manifest that says: all of this was seen to be as it is now."""
    seen = Host().environments._seen(str(prefix))
    more = {name: fields.pop(name) for name in ("solved", "tried", "entry") if name in fields}
    asked = Asked(**{"channels": ("conda-forge",), "packages": ("numpy >=2",), **fields})
    builds.write(Place(root(prefix), "analysis").manifest(BUILD), Manifest(asked=asked, seen=seen, **more))


def change(resource: Environment, host: Host) -> Change | None:
    return plan.compare(resource, resource.read(cast(Any, host)))


def test_without_an_environment_there_is_no_state(tmp_path: Path) -> None:
    host = Host()

    assert environment(tmp_path / "builds/analysis" / BUILD).read(cast(Any, host)) is None
    assert not host.workers.requests


def test_what_was_seen_to_be_right_is_right_without_a_worker(prefix: Path) -> None:
    note(prefix)
    host = Host()

    assert change(environment(prefix), host) is None
    assert not host.workers.requests


def test_a_new_pass_asks_questions_and_no_worker(prefix: Path) -> None:
    note(prefix, pip=("rich",))
    host = Host()

    assert change(environment(prefix, pip=("rich",)), host) is None

    asked = {question[0] for question in host.looks.answers}
    assert asked == {"stamps", "file", "stamp"}


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
    note(prefix, pip=("rich",))
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


def test_a_build_that_nothing_is_said_of_has_nothing_of_what_is_asked(prefix: Path) -> None:
    found = change(environment(prefix, pip=("rich",)), Host())

    assert found is not None
    assert found.current.unmet == {"numpy >=2", "pip:rich"}


@pytest.mark.parametrize("target", ["/etc", "../builds/other/0123456789ab", f"../builds/analysis/{BUILD}/lib"])
def test_a_link_to_something_else_is_no_environment(prefix: Path, target: str) -> None:
    note(prefix)
    link = Path(Place(root(prefix), "analysis").link)
    link.unlink()
    link.symlink_to(target)

    assert environment(prefix).read(cast(Any, Host())) is None


def test_a_pipe_or_a_link_in_place_of_the_manifest_is_not_read(prefix: Path) -> None:
    place = Place(root(prefix), "analysis")
    path = Path(place.manifest(BUILD))
    os.mkfifo(path)
    assert Host().environments.manifest(place) is None
    path.unlink()
    note(prefix)
    path.rename(prefix / "elsewhere")
    path.symlink_to(prefix / "elsewhere")
    assert Host().environments.manifest(place) is None


def test_newer_versions_are_due_by_the_schedule_and_a_day_after_a_failure(prefix: Path) -> None:
    week, now = 7 * 86400.0, int(time.time())

    def due(**fields: int) -> bool:
        note(prefix, **fields)
        return change(environment(prefix, update=week), Host()) is not None

    assert not due(solved=now - 6 * 86400)
    assert due(solved=now - 8 * 86400)
    assert not due(solved=now - 8 * 86400, tried=now - 3600)
    assert due(solved=now - 8 * 86400, tried=now - 2 * 86400)
    assert change(environment(prefix), Host()) is None, "without a schedule nothing is ever due"


def test_what_was_needed_to_make_it_is_not_needed_to_take_it_away(prefix: Path) -> None:
    login = Login("conda.example.org", "bearer", SecretRef("file", "/gone"))
    listed = environment(prefix, listing=Listing("/gone", "0" * 32, "explicit"), logins=(login,))

    for verb in ("check", "remove"):
        asked = dict(listed.request(verb))
        assert (asked["listing"], asked["logins"]) == (None, ())
    assert dict(listed.request("apply"))["logins"] == (login,)


def test_a_lock_is_met_by_a_build_of_the_same_packages(prefix: Path) -> None:
    note(prefix, entry="e1")

    def locked(digest: str) -> Change | None:
        return change(environment(prefix, listing=Listing("/etc/agent/spec.lock", digest, "agent", "analysis")), Host())

    assert locked("e1") is None
    found = locked("e2")
    assert found is not None
    assert [each.field for each in found.differences] == ["lock"]


def test_what_a_person_went_back_to_is_as_wanted_until_the_spec_asks_for_something_else(
    prefix: Path, tmp_path: Path
) -> None:
    note(prefix, packages=("numpy <2",))
    host = Host(notes=str(tmp_path / "memory"))
    place, wanted = Place(root(prefix), "analysis"), environment(prefix)
    held = json.dumps({"asked": wanted.asked.digest(), "build": BUILD})
    assert change(wanted, host) is not None

    host.memory.perform(Remember(hold_key(place), held))

    assert change(wanted, host) is None
    assert change(environment(prefix, packages=("numpy >=3",)), host) is not None
    host.memory.perform(Remember(hold_key(place), held.replace(BUILD, "ba9876543210")))
    assert change(wanted, host) is not None, "another build is in force than the one gone back to"


def test_what_was_gone_back_to_is_forgotten_once_the_spec_asked_for_something_else(
    prefix: Path, tmp_path: Path
) -> None:
    note(prefix, packages=("numpy <2",))
    host = Host(Workers([{"result": {"build": BUILD}}]), notes=str(tmp_path / "memory"))
    wanted = environment(prefix)
    key, held = hold_key(wanted.place), json.dumps({"asked": wanted.asked.digest(), "build": BUILD})

    host.memory.perform(Remember(key, held))
    host.environments.work(Work("conda", "nb", wanted.request("apply")))
    assert host.memory.get(key) == held

    host.environments.work(Work("conda", "nb", environment(prefix, packages=("numpy >=3",)).request("apply")))
    assert host.memory.get(key) is None

    host.memory.perform(Remember(key, held))
    host.environments.work(Work("conda", "nb", wanted.request("remove")))
    assert host.memory.get(key) is None


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
    request = dict(made.request)
    assert (request["verb"], request["root"], request["name"]) == ("apply", root(prefix), "analysis")
    assert request["asked"]["pip"] == ("rich",)
    assert request["mirrors"] == (("conda-forge", ("https://mirror.example",)),)
    assert dict(gone.request)["verb"] == "remove"


def test_progress_is_told_under_the_ref_and_shows_nothing_that_a_terminal_obeys(prefix: Path) -> None:
    host = Host(Workers([{"progress": "linking \x1b[31mnumpy"}, "noise", {"result": {}}]))

    host.environments.work(work(prefix))

    assert host.said == [("environment:analysis", "linking  [31mnumpy")]


def work(prefix: Path, **fields: Any) -> Work:
    resource = environment(prefix, **fields)
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


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Finished with result: oom-kill\n", "killed for lack of memory"),
        ("Finished with result: signal\nMain processes terminated with: code=killed/status=KILL\n", "or by somebody"),
        ("Finished with result: timeout\n", "did not end in time"),
    ],
)
def test_a_worker_that_was_killed_may_go_through_later(prefix: Path, said: str, told: str) -> None:
    with pytest.raises(TemporaryError, match=told):
        Host(Workers([], status=255, errors=said)).environments.work(work(prefix))


def test_an_answer_is_not_kept_beyond_a_change(prefix: Path) -> None:
    note(prefix)
    (prefix / "conda-meta/scipy-1.0-0.json").write_text("{}")
    host = Host(Workers([{"result": {"unmet": ["numpy >=2"]}}]))
    assert change(environment(prefix), host) is not None
    host.environments.work(work(prefix))
    host.workers.lines = [{"result": {"unmet": []}}]

    assert change(environment(prefix), host) is None


def test_what_runs_from_it_is_stale_when_its_packages_change_and_not_when_a_mirror_does(prefix: Path) -> None:
    note(prefix)
    resource = environment(prefix)
    host = cast(Any, Host())

    assert replace(resource, mirrors=(("conda-forge", ("x",)),)).fingerprint(host) == resource.fingerprint(host)
    assert replace(resource, packages=("numpy",)).fingerprint(host) != resource.fingerprint(host)


def test_a_repair_makes_what_runs_from_it_stale_and_is_drift_all_the_same(prefix: Path) -> None:
    note(prefix)
    resource, host = environment(prefix), cast(Any, Host(Workers([{"result": {"unmet": ["numpy >=2"]}}])))
    right, aim = resource.fingerprint(host), resource.aim(host)

    (prefix / "conda-meta/numpy-2.1.0-py311_0.json").unlink()

    assert resource.fingerprint(host) != right
    assert resource.aim(host) == aim


def test_a_password_reaches_the_worker_by_its_standard_input_alone(prefix: Path) -> None:
    host = Host()
    login = Login("conda.example.org", "basic", SecretRef("file", "there"), "me")

    host.environments.work(work(prefix, logins=(login,)))

    assert host.workers.requests[0][1]["logins"][0]["secret"] == "s3cret"
    assert "s3cret" not in " ".join(host.workers.argv)
    with pytest.raises(HostError, match="no secret at file:elsewhere"):
        host.environments.work(work(prefix, logins=(replace(login, secret=SecretRef("file", "elsewhere")),)))


def test_on_a_host_with_systemd_the_worker_has_a_unit_of_its_own(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.host.environments._SYSTEMD", str(tmp_path))
    host = Host()

    host.environments.work(work(prefix))

    assert host.workers.requests[0][0] is None, "systemd drops to the account"
    assert host.workers.argv[0] == "/usr/bin/systemd-run"
    assert {"User=nb", "NoNewPrivileges=yes", "ProtectSystem=strict"} <= set(host.workers.argv)
    assert "RuntimeMaxSec=3600" in host.workers.argv, "systemd ends it where nobody is left to"


def test_it_needs_its_owner_and_survives_being_written_down(prefix: Path) -> None:
    resource = environment(prefix, after=(Ref("directory", "/opt/conda/envs"),), mirrors=(("a", ("b", "c")),))

    assert list(resource.needs()) == [Ref("user", "nb"), Ref("directory", "/opt/conda/envs")]
    assert records.from_record(json.loads(json.dumps(records.to_record(resource)))) == resource
    assert resource.desired() == EnvironmentState(("conda-forge",), frozenset({"numpy >=2"}), frozenset())


def test_one_that_was_half_taken_away_is_there_until_somebody_finishes_it(prefix: Path) -> None:
    resource = environment(prefix)
    shutil.rmtree(prefix)
    assert resource.read(cast(Any, Host())) is None

    Path(resource.place.removing).touch()

    assert resource.read(cast(Any, Host())) is not None
