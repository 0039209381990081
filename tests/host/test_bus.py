"""Whatever answers on the bus, or does not, the client neither hangs nor fails otherwise than by knowing nothing.

That it reads systemd's answers rightly is seen on a booted host, beside systemctl's.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.host import bus

Behaviour = Callable[[socket.socket], None]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Behaviour], None]]:
    """``serve(behaviour)``: what the client meets on the system bus."""
    path = str(tmp_path / "bus")
    monkeypatch.setattr(bus, "SYSTEM_BUS", path)
    monkeypatch.setattr(bus, "PRIVATE", str(tmp_path / "absent"))
    monkeypatch.setattr(bus, "PATIENCE", 0.3)
    with contextlib.ExitStack() as stack:

        def serve(behaviour: Behaviour) -> None:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(path)
            listener.listen(64)

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        with connection, contextlib.suppress(OSError):
                            behaviour(connection)

            threading.Thread(target=accept, daemon=True).start()

        yield serve


def silent(_connection: socket.socket) -> None:
    time.sleep(0.6)


def refusing(connection: socket.socket) -> None:
    connection.recv(100)
    connection.send(b"REJECTED EXTERNAL\r\n")


def hanging_up(connection: socket.socket) -> None:
    connection.recv(100)
    connection.send(b"OK 1234\r\n")
    connection.recv(100)


def silent_once_known(connection: socket.socket) -> None:
    hanging_up(connection)
    time.sleep(0.6)


def dripping(connection: socket.socket) -> None:
    connection.recv(100)
    for _ in range(20):
        connection.send(b"x")
        time.sleep(0.05)


def endless(connection: socket.socket) -> None:
    hanging_up(connection)
    connection.send(b"l\x02\0\x01" + b"\xff" * 12)


@pytest.mark.parametrize("behaviour", [silent, refusing, hanging_up, silent_once_known, dripping, endless])
def test_who_does_not_answer_is_waited_for_only_so_long(
    serve: Callable[[Behaviour], None], behaviour: Behaviour
) -> None:
    serve(behaviour)
    started = time.monotonic()

    assert bus.unit_states(["a.service"]) == {}

    assert time.monotonic() - started < 0.6


def test_nobody_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "SYSTEM_BUS", str(tmp_path / "absent"))
    monkeypatch.setattr(bus, "PRIVATE", str(tmp_path / "absent"))

    assert bus.unit_states(["a.service"]) == {}
    assert bus.properties(["a.service"], ["Id"]) == {}


def test_nonsense_is_no_answer(serve: Callable[[Behaviour], None]) -> None:
    chance = random.Random(1)

    def nonsense(connection: socket.socket) -> None:
        hanging_up(connection)
        answered = b"\x05\x01u\0" + chance.randrange(1, 4).to_bytes(4, "little")
        for _ in range(8):
            body = chance.randbytes(chance.randrange(80))
            numbers = (len(body), 9, len(answered))
            header = b"l\x02\0\x01" + b"".join(number.to_bytes(4, "little") for number in numbers)
            connection.send(header + answered + body)

    serve(nonsense)

    for _ in range(100):
        assert bus.unit_states(["a.service", "b.service"]) == {}
        for found in bus.properties(["a.service"], ["Id", "Names"]).values():
            assert found.keys() <= {"Id", "Names"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("cron.service", "cron_2eservice"),
        ("-.mount", "_2d_2emount"),
        ("getty@tty1.service", "getty_40tty1_2eservice"),
        ("4ever.timer", "_34ever_2etimer"),
        ("a4.timer", "a4_2etimer"),
    ],
)
def test_the_object_of_a_unit_has_its_name_escaped(name: str, path: str) -> None:
    assert bus.unit_path(name) == f"/org/freedesktop/systemd1/unit/{path}"


@pytest.mark.parametrize("name", ["cron", "a b.service", "a/b.service", "x.unknown", ".service\n", "é.service"])
def test_a_name_that_systemd_would_refuse_is_not_asked_for(name: str) -> None:
    assert not bus.is_unit_name(name)


def test_only_what_is_built_into_the_interpreter_is_imported() -> None:
    script = "import sys; before = set(sys.modules)\nimport agent.host.bus\nprint(*sorted(set(sys.modules) - before))"
    seen = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r})\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert set(seen) <= {"__future__", "_socket", "agent", "agent.host", "agent.host.bus"}
