"""Accounts and groups are read from their files, once for each content."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host import look
from agent.host.accounts import Account, parse_group, parse_passwd
from tests.host.parts import Parts

ALICE = Account("alice", 1000, 1000, "Alice,,,", "/home/alice", "/bin/bash")


def test_an_account_is_found_by_name_and_number(tmp_path: Path) -> None:
    accounts = Parts(tmp_path).accounts

    assert accounts.user("alice") == ALICE
    assert accounts.user_name(1000) == "alice"
    assert accounts.user("bob") is None
    assert accounts.groups_of("alice") == {"research"}


def test_a_number_without_a_name_stays_a_number(tmp_path: Path) -> None:
    accounts = Parts(tmp_path).accounts

    assert (accounts.user_name(4711), accounts.group_name(4712)) == ("4711", "4712")


def test_a_name_that_is_missing_is_named(tmp_path: Path) -> None:
    accounts = Parts(tmp_path).accounts

    with pytest.raises(HostError, match="no account 'bob'"):
        accounts.uid("bob")
    with pytest.raises(HostError, match="no group 'bob'"):
        accounts.gid("bob")


def test_a_changed_file_is_read_again_and_noted(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    passwd = tmp_path / "etc/passwd"
    assert parts.accounts.user("bob") is None
    assert parts.looks.answers[("file", str(passwd))] == look.file(str(passwd))

    passwd.write_text(passwd.read_text() + "bob:x:1001:1001::/home/bob:/bin/sh\n")

    assert parts.accounts.user("bob") is not None
    assert not parts.looks.steady


def test_a_pass_that_begins_notes_the_question_anew(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.accounts.user("alice")

    parts.looks.restart()
    parts.accounts.user("alice")

    assert ("file", str(tmp_path / "etc/passwd")) in parts.looks.answers


def test_lines_that_are_no_accounts_are_passed_over() -> None:
    table = parse_passwd("# comment\n\n+::::::\nbad:x:NaN:1:::\nalice:x:1000:1000:Alice,,,:/home/alice:/bin/bash\n")

    assert list(table.names.values()) == [ALICE]


def test_the_first_line_of_a_number_counts() -> None:
    table = parse_group("adm:x:4:\nalias:x:4:alice\n")

    assert table.numbers[4].name == "adm"
    assert table.names["alias"].members == {"alice"}
