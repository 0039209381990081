"""A repository is right when apt's file says what the spec does; hosts without apt are told what would do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.errors import HostError
from agent.kinds.repository import Repository, RepositoryState
from agent.steps import AddRepository, Remove
from tests.kinds.seen import removal_of, steps_for

SOURCE = "Types: deb\nURIs: https://repo.example.org/apt\n"
REPOSITORY = Repository("agent-mysql", SOURCE, "mysql.repository.key (/k.asc)")
PATH = "/etc/apt/sources.list.d/agent-mysql.sources"


def host(content: bytes | None, family: str = "apt") -> Any:
    facts = content is not None and SimpleNamespace(kind="file", owner="root", group="root", mode=0o644)
    return SimpleNamespace(
        packages=SimpleNamespace(family=lambda: family),
        files=SimpleNamespace(facts=lambda _path: facts or None, content=lambda _path, _most: content),
    )


def test_what_was_edited_by_hand_differs() -> None:
    assert REPOSITORY.read(host(SOURCE.encode())) == REPOSITORY.desired()
    edited = REPOSITORY.read(host(SOURCE.replace("https", "http").encode()))
    assert edited is not None
    assert steps_for(REPOSITORY, edited) == [AddRepository(PATH, SOURCE, REPOSITORY.key)]
    assert REPOSITORY.read(host(None)) is None


def test_it_goes_with_its_file() -> None:
    assert removal_of(REPOSITORY, RepositoryState(SOURCE, "root:root 0644")) == [Remove(PATH)]


def test_a_host_with_dnf_is_told_where_to_put_it() -> None:
    with pytest.raises(HostError, match=r"mysql\.repository is for hosts with apt") as caught:
        REPOSITORY.read(host(None, "dnf"))
    assert "yum.repos.d" in caught.value.hint
