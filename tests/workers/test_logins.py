"""Channels that not everybody may read: a login goes to the server that it is for, and is written down nowhere."""

from __future__ import annotations

import json
import os
import urllib.parse
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.channel.serve import Basic, Bearer, Door, Mirror, Token
from tests.workers.conftest import Worker

SECRET = "cAnArY/of+a:channel%1"
BASIC = (Basic("reader", SECRET), {"scheme": "basic", "username": "reader"})
BEARER = (Bearer(SECRET), {"scheme": "bearer", "username": ""})
IN_PATH = (Token("cAnArY-token"), {"scheme": "token", "username": ""})
DOORS = pytest.mark.parametrize(("door", "login"), [BASIC, BEARER, IN_PATH], ids=["basic", "bearer", "token"])


@pytest.fixture
def mirror(worker: Worker) -> Mirror:
    return worker.channel


def known(door: Door, login: dict[str, str], host: str = "127.0.0.1") -> list[dict[str, Any]]:
    secret = door.password if isinstance(door, Basic) else door.token
    return [{"host": host, "secret": secret, **login}]


def assert_nowhere(worker: Worker, text: str) -> None:
    for form in (text, urllib.parse.quote(text, safe="")):
        for directory, _, names in os.walk(worker.home):
            for name in names:
                path = Path(directory, name)
                assert path.is_symlink() or form.encode() not in path.read_bytes(), path
        assert form not in json.dumps(worker.progress)


@DOORS
@pytest.mark.parametrize("by_mirror", [False, True], ids=["channel", "mirror"])
def test_a_login_opens_the_server_that_it_is_for(
    worker: Worker, mirror: Mirror, door: Door, login: dict[str, str], by_mirror: bool
) -> None:
    mirror.door = door
    where: dict[str, Any] = (
        {"channels": ["conda-forge"], "mirrors": [["conda-forge", [mirror.url]]]} if by_mirror else {}
    )

    answer = worker.run(packages=["toy-app"], logins=known(door, login), **where)

    assert "result" in answer, answer
    assert worker.versions() == {"toy-app": "2.0", "toy-lib": "2.0"}
    assert_nowhere(worker, known(door, login)[0]["secret"])


@DOORS
def test_a_login_goes_to_no_other_server(worker: Worker, mirror: Mirror, door: Door, login: dict[str, str]) -> None:
    mirror.door = door
    logins = known(door, login, "conda.anaconda.org")

    error = worker.refused("toy-app", channels=["conda-forge"], mirrors=[["conda-forge", [mirror.url]]], logins=logins)

    assert "401" in error["message"]
    assert {request.status for request in mirror.requests} == {401}
    assert not any("/t/" in request.path for request in mirror.requests)


def test_a_token_in_an_address_is_left_out_of_what_is_said(worker: Worker, mirror: Mirror) -> None:
    mirror.door, login = IN_PATH
    mirror.faults["toy-lib-2.0-0.tar.bz2"] = HTTPStatus.NOT_FOUND

    error = worker.refused("toy-app", logins=known(mirror.door, login))

    assert "toy-lib-2.0-0.tar.bz2" in error["message"]
    assert mirror.door.token not in json.dumps(error)
    assert mirror.asked(f"/t/{mirror.door.token}/noarch/toy-lib-2.0-0.tar.bz2")


def test_a_wrong_password_is_said_and_is_no_temporary_failure(worker: Worker, mirror: Mirror) -> None:
    mirror.door = Basic("reader", "another")

    error = worker.refused("toy-app", logins=known(*BASIC))

    assert "401" in error["message"]
    assert not error["temporary"]
