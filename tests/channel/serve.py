"""Serves a channel over HTTP, as a conda mirror does: with its doors, with its faults, and with a log of what was asked.

    python -m tests.channel.serve DIR [--bind ADDR] [--port 0]

Prints the address and serves until it is stopped.
"""

import argparse
import base64
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Truncated:
    """The body ends, and the connection with it, after this many bytes."""

    after: int = 100


@dataclass(frozen=True, slots=True)
class Slow:
    """The body comes in pieces of 1 KiB, each after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Mute:
    """The request is read and never answered."""


@dataclass(frozen=True, slots=True)
class Altered:
    """The body has one byte that is another one; its length is right."""


@dataclass(slots=True)
class Times:
    """Another fault, for the first so many requests."""

    left: int
    fault: "Fault"


Fault = HTTPStatus | Truncated | Slow | Mute | Altered | Times


@dataclass(frozen=True, slots=True)
class Basic:
    """Opens for a name and a password."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Bearer:
    """Opens for a token in a header."""

    token: str


@dataclass(frozen=True, slots=True)
class Token:
    """Opens for ``/t/TOKEN/`` before the path, as anaconda.org's private channels do."""

    token: str


Door = Basic | Bearer | Token


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came: the path with ``/t/TOKEN/`` if there was one."""

    method: str
    path: str
    status: int = 0
    """Of the answer; 0 where there was none."""


@dataclass
class Mirror:
    """A channel that is served while the block runs: ``with Mirror(directory) as mirror``.

    ``faults`` maps the end of a path to what goes wrong with it, ``door`` is what stands before everything; both may be
    changed at any time. ``requests`` lists what was asked, oldest first.
    """

    directory: Path
    bind: str = "127.0.0.1"
    port: int = 0
    """0 is any free one, which is kept when the mirror is started again."""
    faults: dict[str, Fault] = field(default_factory=dict)
    door: Door | None = None
    requests: list[Request] = field(default_factory=list)
    _server: "_Server | None" = None

    @property
    def url(self) -> str:
        """Without a slash at its end, and without credentials."""
        return f"http://{self.bind}:{self.port}"

    def asked(self, end: str = "") -> list[str]:
        """The paths that were asked for and end so."""
        return [each.path for each in self.requests if each.path.endswith(end)]

    def start(self) -> "Mirror":
        """Listen and serve from a thread. Nothing happens where it does already."""
        if self._server is None:
            self._server = _Server((self.bind, self.port), self)
            self.port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuse connections from now on; whoever waits for an answer is cut off."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def __enter__(self) -> "Mirror":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _opens(self, path: str, authorization: str) -> bool:
        match self.door:
            case Basic(username, password):
                return authorization == f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
            case Bearer(token):
                return authorization == f"Bearer {token}"
            case Token(token):
                return path.startswith(f"/t/{token}/")
        return True

    def _fault(self, path: str) -> Fault | None:
        found = next((fault for end, fault in self.faults.items() if path.endswith(end)), None)
        while isinstance(found, Times):
            found.left -= 1
            found = found.fault if found.left >= 0 else None
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, place: tuple[str, int], mirror: Mirror) -> None:
        self.mirror = mirror
        self.ended = threading.Event()
        super().__init__(place, _Answers)

    def end(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


class _Answers(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections
    server: _Server

    def __init__(self, request: object, client: object, server: _Server) -> None:
        self._path = ""
        super().__init__(request, client, server, directory=str(server.mirror.directory))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer(super().do_GET)

    def do_HEAD(self) -> None:
        self._answer(super().do_HEAD)

    def _answer(self, answer: Callable[[], None]) -> None:
        mirror, self._path = self.server.mirror, self.path
        if self.server.ended.is_set():
            self.close_connection = True
            return
        if not mirror._opens(self.path, self.headers.get("Authorization", "")):
            self.send_error(HTTPStatus.UNAUTHORIZED)
            return
        if isinstance(mirror.door, Token):
            self.path = self.path.removeprefix(f"/t/{mirror.door.token}")
        match mirror._fault(self.path):
            case None:
                answer()
            case HTTPStatus() as status:
                self.send_error(status)
            case Mute():
                self._note(0)
                self.server.ended.wait()
                self.close_connection = True
            case Truncated() | Slow() | Altered() as fault:
                self._spoil(fault)

    def _spoil(self, fault: Truncated | Slow | Altered) -> None:
        try:
            body = Path(self.translate_path(self.path)).read_bytes()
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        match fault:
            case Truncated(after):
                self.wfile.write(body[:after])
                self.close_connection = True
            case Altered():
                self.wfile.write(body[:-1] + bytes([body[-1] ^ 1]))
            case Slow(seconds):
                for start in range(0, len(body), 1024):
                    if self.server.ended.wait(seconds):
                        self.close_connection = True
                        return
                    self.wfile.write(body[start : start + 1024])

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # so that what is published is seen
        super().end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        self._note(int(code) if isinstance(code, int) else 0)

    def _note(self, status: int) -> None:
        self.server.mirror.requests.append(Request(self.command or "", self._path or self.path, status))

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(directory: Path, bind: str = "127.0.0.1") -> Iterator[str]:
    """Serve ``directory`` in this process while the block runs; gives its URL."""
    with Mirror(directory, bind) as mirror:
        yield mirror.url


def main() -> int:
    """Serve the directory that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.channel.serve", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDR", help="the address to listen on; %(default)s")
    parser.add_argument("--port", type=int, default=0, help="0 is any free one")
    arguments = parser.parse_args()
    with Mirror(arguments.directory, arguments.bind, arguments.port) as mirror:
        print(mirror.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
