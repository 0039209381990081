from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host import look
from agent.host.looks import Looks
from agent.host.secrets import Secrets
from agent.resource import NotYetReadable
from agent.steps import ForgetSecret, SecretRef, StoreHash, StoreSecret


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(str(tmp_path / "store"), Looks())


def given(path: Path, text: str = "canary-71\n", mode: int = 0o600) -> SecretRef:
    path.write_text(text)
    path.chmod(mode)
    return SecretRef("file", str(path))


def test_a_file_is_its_only_line(secrets: Secrets, tmp_path: Path) -> None:
    assert secrets.value(given(tmp_path / "a", "pa ss\n")) == "pa ss"
    assert secrets.value(given(tmp_path / "b", "pa ss\r\n")) == "pa ss"
    assert secrets.value(given(tmp_path / "c", "pä😀")) == "pä😀"


def test_what_is_missing_is_none_and_says_how_to_make_it(secrets: Secrets, tmp_path: Path) -> None:
    ref = SecretRef("file", str(tmp_path / "none"))
    assert secrets.value(ref) is None
    with pytest.raises(NotYetReadable, match="install -m 0600"):
        secrets.exists(ref)
    with pytest.raises(NotYetReadable, match="/etc/credstore"):
        secrets.exists(SecretRef("credential", "there.is.no.such.credential"))
    assert secrets.exists(SecretRef("stored", "none")) is False


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_read_or_write_is_refused(secrets: Secrets, tmp_path: Path, mode: int) -> None:
    ref = given(tmp_path / "a", mode=mode)
    with pytest.raises(HostError, match=f"readable by root alone, and has mode {mode:04o}") as caught:
        secrets.value(ref)
    assert "canary" not in str(caught.value) + caught.value.hint
    assert "chmod 0600" in caught.value.hint


@pytest.mark.parametrize("text", ["", "\n", "a\nb\n", "a\0b", "a\x1bb", "a" * 5000])
def test_what_is_no_line_of_text_is_refused_without_being_shown(secrets: Secrets, tmp_path: Path, text: str) -> None:
    ref = given(tmp_path / "a", text)
    with pytest.raises(HostError) as caught:
        secrets.value(ref)
    assert "aaaa" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(secrets: Secrets, tmp_path: Path) -> None:
    ref = given(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    with pytest.raises(HostError, match="UTF-8"):
        secrets.value(ref)


def test_links_directories_and_second_names_are_refused(secrets: Secrets, tmp_path: Path) -> None:
    given(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "directory").mkdir()
    with pytest.raises(HostError, match="is a link"):
        secrets.value(SecretRef("file", str(tmp_path / "link")))
    with pytest.raises(HostError, match="regular file"):
        secrets.value(SecretRef("file", str(tmp_path / "directory")))
    os.link(tmp_path / "a", tmp_path / "second")
    with pytest.raises(HostError, match="2 names"):
        secrets.value(SecretRef("file", str(tmp_path / "a")))


def test_reading_leaves_a_question_that_is_answered_the_same_until_the_secret_changes(tmp_path: Path) -> None:
    looks = Looks()
    secrets = Secrets(str(tmp_path / "store"), looks)
    ref = given(tmp_path / "a")
    secrets.value(ref)
    secrets.value(SecretRef("file", str(tmp_path / "missing")))
    questions = list(looks.answers)
    assert ("file", ref.at) in questions
    assert look.answer_all(questions) == list(looks.answers.values())
    (tmp_path / "a").write_text("another\n")
    assert look.answer_all(questions) != list(looks.answers.values())


def test_a_new_secret_is_long_random_and_private(secrets: Secrets, tmp_path: Path) -> None:
    secrets.generate(StoreSecret("one", 32))
    secrets.generate(StoreSecret("two", 32))
    one, two = secrets.value(SecretRef("stored", "one")), secrets.value(SecretRef("stored", "two"))
    assert one and two and one != two
    assert len(one) == 32 and one.isalnum() and one.isascii()
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "store/one").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_is_kept_is_not_made_anew(secrets: Secrets) -> None:
    ref = SecretRef("stored", "one")
    secrets.generate(StoreSecret("one", 20))
    first = secrets.value(ref)
    for length in (12, 20, 40):
        secrets.generate(StoreSecret("one", length))
        assert secrets.value(ref) == first


def test_an_opened_mode_is_seen_and_closed_without_a_new_secret(secrets: Secrets, tmp_path: Path) -> None:
    secrets.generate(StoreSecret("one", 20))
    first = secrets.value(SecretRef("stored", "one"))
    (tmp_path / "store/one").chmod(0o644)
    assert not secrets.private("one")
    secrets.generate(StoreSecret("one", 20))
    assert secrets.private("one")
    assert secrets.value(SecretRef("stored", "one")) == first


def test_a_hash_is_right_until_the_password_changes_and_is_kept_while_right(secrets: Secrets, tmp_path: Path) -> None:
    password = given(tmp_path / "password", "pass wörd\n")
    at = SecretRef("stored", "hash")
    assert not secrets.matches("hash", password)
    secrets.store_hash(StoreHash("hash", password))
    first = secrets.value(at) or ""
    assert first.startswith("argon2:$argon2id$v=19$m=10240,t=10,p=8$")
    assert secrets.matches("hash", password)
    secrets.store_hash(StoreHash("hash", password))
    assert secrets.value(at) == first
    given(tmp_path / "password", "another\n")
    assert not secrets.matches("hash", password)
    secrets.store_hash(StoreHash("hash", password))
    assert secrets.matches("hash", password)


def test_a_damaged_hash_is_not_right(secrets: Secrets, tmp_path: Path) -> None:
    password = given(tmp_path / "password")
    secrets.store_hash(StoreHash("hash", password))
    for damage in ("argon2:$argon2id$v=19$m=1", "sha1:abc:def", "argon2:"):
        (tmp_path / "store/hash").write_text(f"{damage}\n")
        assert not secrets.matches("hash", password)


def test_a_hash_of_what_does_not_exist_is_refused(secrets: Secrets, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="does not exist"):
        secrets.store_hash(StoreHash("hash", SecretRef("file", str(tmp_path / "none"))))


def test_what_is_forgotten_is_gone_and_may_be_forgotten_twice(secrets: Secrets) -> None:
    secrets.generate(StoreSecret("one", 20))
    secrets.forget(ForgetSecret("one"))
    secrets.forget(ForgetSecret("one"))
    assert secrets.value(SecretRef("stored", "one")) is None


@pytest.mark.parametrize("name", ["../shadow", "a/b", "", ".hidden", "a\nb", "a" * 200])
def test_a_name_cannot_leave_the_store(secrets: Secrets, name: str) -> None:
    for source in ("stored", "credential"):
        with pytest.raises(HostError, match="must be named"):
            secrets.value(SecretRef(source, name))


def test_a_credential_that_was_passed_comes_first(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.host.secrets.CREDENTIALS", (str(tmp_path / "store-of-system"),))
    (tmp_path / "passed").mkdir()
    (tmp_path / "store-of-system").mkdir()
    given(tmp_path / "store-of-system/pw", "from the store\n")
    ref = SecretRef("credential", "pw")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert secrets.value(ref) == "from the store"
    given(tmp_path / "passed/pw", "passed\n", 0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "passed"))
    assert secrets.value(ref) == "passed"


def test_no_secret_is_in_a_step_s_or_a_part_s_text(secrets: Secrets, tmp_path: Path) -> None:
    ref = given(tmp_path / "a")
    secrets.value(ref)
    assert "canary" not in repr(StoreHash("hash", ref)) + repr(secrets) + repr(ref)
