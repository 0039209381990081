"""Serves a directory over HTTP, as a mirror of a conda channel does."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Fault = Callable[[str], HTTPStatus | None]
"""Given the path of a request, the status to answer with instead of the file, or None."""


class _Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections

    def __init__(self, *arguments: object, fault: Fault | None, **named: object) -> None:
        self._fault = fault
        super().__init__(*arguments, **named)  # type: ignore[arg-type]  # passed on as they came

    def do_GET(self) -> None:
        status = self._fault(self.path) if self._fault else None
        if status is None:
            super().do_GET()
        else:
            self.send_error(status)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


def server(directory: Path, bind: str = "127.0.0.1", port: int = 0, fault: Fault | None = None) -> ThreadingHTTPServer:
    """A server for ``directory`` that listens already; port 0 is any free one. It serves when it is told to."""
    return _Server((bind, port), functools.partial(_Files, directory=str(directory), fault=fault))


def address(listening: ThreadingHTTPServer) -> str:
    """The URL of what is served, without a slash at its end."""
    host, port = listening.server_address[:2]
    return f"http://{host!s}:{port}"


@contextlib.contextmanager
def served(directory: Path, bind: str = "127.0.0.1", fault: Fault | None = None) -> Iterator[str]:
    """Serves ``directory`` in this process while the block runs; gives its URL."""
    listening = server(directory, bind, fault=fault)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield address(listening)
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
