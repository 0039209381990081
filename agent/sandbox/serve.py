"""Serves a directory over HTTP, as a mirror of a conda channel does."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


@contextlib.contextmanager
def served(directory: Path, bind: str = "127.0.0.1") -> Iterator[str]:
    """Serves ``directory`` in this process while the block runs; gives its URL."""
    listening = _Server((bind, 0), functools.partial(_Files, directory=str(directory)))
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{bind}:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
