"""Serves a channel over HTTP, as a conda mirror does.

    python -m tests.channel.serve DIR [--bind ADDR] [--port 0]

Prints the address and serves until it is stopped.
"""

import argparse
import contextlib
import functools
import sys
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
        super().__init__(*arguments, **named)  # type: ignore[arg-type]

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
    request_queue_size = 128  # solvers open dozens of connections at once; past five, each waits for a second

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


def server(directory: Path, bind: str = "127.0.0.1", port: int = 0, fault: Fault | None = None) -> ThreadingHTTPServer:
    """Return a server for ``directory`` that listens already; 0 is any free port. It serves when it is told to."""
    return _Server((bind, port), functools.partial(_Files, directory=str(directory), fault=fault))


def address(listening: ThreadingHTTPServer) -> str:
    """Return the URL of the channel, without a slash at its end."""
    host, port = listening.server_address[:2]
    return f"http://{host!s}:{port}"


@contextlib.contextmanager
def served(directory: Path, bind: str = "127.0.0.1", fault: Fault | None = None) -> Iterator[str]:
    """Serve ``directory`` in this process; gives its URL."""
    listening = server(directory, bind, fault=fault)
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield address(listening)
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def main() -> int:
    """Serve the directory that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.channel.serve", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDR", help="the address to listen on; %(default)s")
    parser.add_argument("--port", type=int, default=0, help="0 is any free one")
    arguments = parser.parse_args()
    with server(arguments.directory, arguments.bind, arguments.port) as listening:
        print(address(listening), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            listening.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
