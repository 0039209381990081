from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import Deferred, HostError
from agent.host import x509
from agent.host.looks import Looks
from agent.host.probe import Probes
from agent.host.secrets import Secrets
from agent.steps import Await, Idle, Probe, SecretRef, StoreSecret

TOKEN = SecretRef("stored", "token")
UNIT = "there-is-no-such.service"


class Answers:
    """What the toy server says: status by path, without and with the token."""

    def __init__(self) -> None:
        self.api = (200, '{"version": "2.21.1"}')
        self.stranger = 403
        self.agent = 200
        self.seen: list[str | None] = []


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    found = Secrets(str(tmp_path / "store"), Looks())
    found.generate(StoreSecret("token", 24))
    return found


def make(path: Path) -> None:
    key = x509.new_key(None)
    made = x509.self_signed(key, ["localhost"], ["127.0.0.1"], 86400, int(time.time()))
    path.write_bytes(x509.certificate_pem(made) + x509.key_pem(key))


@contextmanager
def server(answers: Answers, certificate: Path, token: str | None) -> Iterator[int]:
    class Toy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            answers.seen.append(given)
            status, body = answers.api
            if self.path == "/nb/api/status":
                status, body = (answers.agent if given == f"token {token}" else answers.stranger), "{}"
            elif self.path == "/nb/api/kernels":
                states = ("idle", "busy", "starting", "dead")
                status, body = 200, json.dumps([{"execution_state": each} for each in states])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Toy)
    listening.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield listening.server_address[1]
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def once(answers: Answers, secrets: Secrets, tmp_path: Path, *, expected: str = "cert.pem") -> str | None:
    make(tmp_path / "cert.pem")
    with server(answers, tmp_path / "cert.pem", secrets.value(TOKEN)) as port:
        return Probes(secrets).once(Probe("127.0.0.1", port, "/nb/", str(tmp_path / expected), TOKEN, UNIT))


def test_a_server_that_answers_as_it_should_is_healthy(answers: Answers, secrets: Secrets, tmp_path: Path) -> None:
    assert once(answers, secrets, tmp_path) is None


def test_a_server_that_lets_anyone_in_is_not(answers: Answers, secrets: Secrets, tmp_path: Path) -> None:
    answers.stranger = 200
    assert "lets anyone in" in (once(answers, secrets, tmp_path) or "")


def test_a_server_that_does_not_know_the_token_is_not(answers: Answers, secrets: Secrets, tmp_path: Path) -> None:
    answers.agent = 403
    assert "another configuration" in (once(answers, secrets, tmp_path) or "")


@pytest.mark.parametrize("api", [(404, "{}"), (200, "<html>"), (200, "[]"), (302, "{}"), (200, '"x"')])
def test_another_server_is_not(api: tuple[int, str], answers: Answers, secrets: Secrets, tmp_path: Path) -> None:
    answers.api = api
    assert "not the server" in (once(answers, secrets, tmp_path) or "")


def test_another_certificate_is_seen_and_no_token_is_sent(answers: Answers, secrets: Secrets, tmp_path: Path) -> None:
    make(tmp_path / "other.pem")
    assert "another certificate" in (once(answers, secrets, tmp_path, expected="other.pem") or "")
    assert answers.seen == []


def test_no_reason_ever_holds_the_token(answers: Answers, secrets: Secrets, tmp_path: Path) -> None:
    answers.agent = 500
    token = secrets.value(TOKEN)
    assert token and token not in (once(answers, secrets, tmp_path) or "")


def test_nobody_listening_is_said_plainly(secrets: Secrets, tmp_path: Path) -> None:
    make(tmp_path / "cert.pem")
    said = Probes(secrets).once(Probe("127.0.0.1", 1, "/", str(tmp_path / "cert.pem"), TOKEN, UNIT))
    assert said == "nothing answers at 127.0.0.1:1: Connection refused"


def test_a_missing_certificate_or_token_is_said_plainly(secrets: Secrets, tmp_path: Path) -> None:
    said = Probes(secrets).once(Probe("127.0.0.1", 1, "/", str(tmp_path / "none.pem"), TOKEN, UNIT))
    assert said is not None and "cannot be read: No such file" in said
    said = Probes(secrets).once(
        Probe("127.0.0.1", 1, "/", str(tmp_path / "none.pem"), SecretRef("stored", "none"), UNIT)
    )
    assert said is not None and "does not exist yet" in said


def test_waiting_ends_with_the_last_words(secrets: Secrets, tmp_path: Path) -> None:
    make(tmp_path / "cert.pem")
    probe = Probe("127.0.0.1", 1, "/", str(tmp_path / "cert.pem"), TOKEN, UNIT)
    with pytest.raises(HostError, match="not healthy: nothing answers"):
        Probes(secrets).wait(Await(probe, timeout=0.3))


def test_waiting_for_idle_kernels_is_put_off_and_ends_at_once_when_there_are_none(
    answers: Answers, secrets: Secrets, tmp_path: Path
) -> None:
    make(tmp_path / "cert.pem")
    with server(answers, tmp_path / "cert.pem", secrets.value(TOKEN)) as port:
        probe = Probe("127.0.0.1", port, "/nb/", str(tmp_path / "cert.pem"), TOKEN, UNIT)
        with pytest.raises(Deferred, match="1 of 4 kernels compute"):
            Probes(secrets).wait(Await(Idle(probe), timeout=0))
    Probes(secrets).wait(Await(Idle(probe), timeout=0))


def test_kernels_are_counted(answers: Answers, secrets: Secrets, tmp_path: Path) -> None:
    make(tmp_path / "cert.pem")
    with server(answers, tmp_path / "cert.pem", secrets.value(TOKEN)) as port:
        found = Probes(secrets).kernels(Probe("127.0.0.1", port, "/nb/", str(tmp_path / "cert.pem"), TOKEN, UNIT))
    assert found is not None and (found.running, found.busy) == (4, 1)
