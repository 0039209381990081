from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.host.looks import Looks
from agent.host.secrets import Secrets
from agent.kinds.health import Health
from agent.kinds.notebooks import Notebooks
from agent.kinds.password_hash import PasswordHash
from agent.kinds.secret import Secret
from agent.plan import compare
from agent.records import from_record, to_record
from agent.resource import Action, Change, NotYetReadable
from agent.steps import Await, ForgetSecret, Idle, MakeDirectory, Probe, SecretRef, StoreHash, StoreSecret


class Host:
    def __init__(self, store: Path) -> None:
        self.looks = Looks()
        self.secrets = Secrets(str(store), self.looks)


@pytest.fixture
def host(tmp_path: Path) -> Any:
    return Host(tmp_path / "store")


STORED = Secret("jupyter.password", SecretRef("stored", "jupyter.password"), 30)


def test_a_secret_is_made_once_and_kept(host: Any) -> None:
    change = compare(STORED, STORED.read(host))
    assert change is not None and change.action is Action.CREATE
    (step,) = STORED.steps(change)
    assert step == StoreSecret("jupyter.password", 30)
    host.secrets.generate(step)
    assert compare(STORED, STORED.read(host)) is None
    longer = Secret(STORED.name, STORED.at, 60)
    assert compare(longer, longer.read(host)) is None, "somebody may know the one that is kept"


def test_its_state_does_not_hold_it(host: Any) -> None:
    host.secrets.generate(StoreSecret("jupyter.password", 30))
    value = host.secrets.value(STORED.at)
    assert value not in repr(STORED.read(host)) + repr(STORED) + repr(to_record(STORED))


def test_an_opened_mode_is_repaired(host: Any, tmp_path: Path) -> None:
    host.secrets.generate(StoreSecret("jupyter.password", 30))
    (tmp_path / "store/jupyter.password").chmod(0o604)
    change = compare(STORED, STORED.read(host))
    assert change is not None and change.touches("private")
    host.secrets.generate(next(iter(STORED.steps(change))))
    assert compare(STORED, STORED.read(host)) is None


def test_what_a_person_provides_is_never_made_or_removed(host: Any, tmp_path: Path) -> None:
    given = Secret("jupyter.password", SecretRef("file", str(tmp_path / "password")))
    with pytest.raises(NotYetReadable, match="does not exist"):
        given.read(host)
    (tmp_path / "password").write_text("x\n")
    (tmp_path / "password").chmod(0o600)
    assert compare(given, given.read(host)) is None
    assert list(given.steps(Change(given, Action.DELETE))) == []


def test_a_stored_secret_that_left_the_spec_is_forgotten() -> None:
    assert list(STORED.steps(Change(STORED, Action.DELETE))) == [ForgetSecret("jupyter.password")]


def test_a_hash_follows_its_password(host: Any, tmp_path: Path) -> None:
    hashed = PasswordHash("jupyter.password.hash", STORED.at, STORED.ref)
    assert list(hashed.needs()) == [STORED.ref]
    host.secrets.generate(StoreSecret("jupyter.password", 30))
    change = compare(hashed, hashed.read(host))
    assert change is not None and change.action is Action.CREATE
    (step,) = hashed.steps(change)
    assert step == StoreHash("jupyter.password.hash", STORED.at)
    host.secrets.store_hash(step)
    assert compare(hashed, hashed.read(host)) is None
    (tmp_path / "store/jupyter.password").write_text("another\n")
    assert compare(hashed, hashed.read(host)) is not None
    assert list(hashed.steps(Change(hashed, Action.DELETE))) == [ForgetSecret("jupyter.password.hash")]


# ---- health

PROBE = Probe("127.0.0.1", 8888, "/", "/etc/agent/tls/jupyter/cert.pem", STORED.at, "jupyter.service")
HEALTH = Health("jupyter", PROBE, 60)


class Facts:
    def __init__(self, active: str) -> None:
        self.active = active


class Running:
    """A host whose unit is in some state, and whose server has something to say."""

    def __init__(self, active: str, reason: str | None) -> None:
        self.looks = Looks()
        self.units = self.probes = self
        self._facts, self._reason = Facts(active), reason

    def show(self, _name: str) -> Facts:
        return self._facts

    def once(self, _probe: Probe) -> str | None:
        return self._reason


def test_a_server_that_answers_is_as_wanted_and_its_certificate_is_asked_about() -> None:
    host: Any = Running("active", None)
    assert compare(HEALTH, HEALTH.read(host)) is None
    assert ("file", PROBE.certificate) in host.looks.answers


def test_one_that_does_not_is_waited_for() -> None:
    host: Any = Running("active", "nothing answers")
    change = compare(HEALTH, HEALTH.read(host))
    assert change is not None
    assert [each.field for each in change.differences] == ["healthy"]
    assert list(HEALTH.steps(change)) == [Await(PROBE, 60)]
    assert HEALTH.judges()


def test_one_that_does_not_run_cannot_be_asked() -> None:
    host: Any = Running("inactive", None)
    with pytest.raises(NotYetReadable, match=r"jupyter\.service is not running"):
        HEALTH.read(host)


def test_removing_health_does_nothing() -> None:
    assert list(HEALTH.steps(Change(HEALTH, Action.DELETE))) == []


def test_all_can_be_written_down_and_read_back() -> None:
    from agent.kinds.unit import Unit

    unit = Unit("jupyter.service", active=True, idle=Idle(PROBE))
    for each in (HEALTH, STORED, PasswordHash("h", STORED.at, STORED.ref), Notebooks("/srv/work", "alice"), unit):
        assert from_record(to_record(each)) == each


# ---- notebooks


def test_notebooks_are_made_once_and_never_removed() -> None:
    work = Notebooks("/home/alice/work", "alice", below="alice")
    assert work.holds_work
    assert list(work.steps(Change(work, Action.CREATE))) == [MakeDirectory(work.name, 0o750, "alice", "alice", "alice")]
    assert list(work.steps(Change(work, Action.DELETE))) == []


@pytest.mark.parametrize(("kind", "right"), [("directory", True), ("link", True), ("file", False), ("other", False)])
def test_what_a_person_did_to_the_directory_is_theirs(kind: str, right: bool) -> None:
    class There:
        files: Any

        def facts(self, _path: str) -> Any:
            found: Any = Facts("")
            found.kind = kind
            return found

    host: Any = There()
    host.files = host
    work = Notebooks("/srv/work", "alice")
    assert (compare(work, work.read(host)) is None) is right
