"""Serves a channel over HTTP, as a conda mirror does.

    python -m tests.channel.serve DIR [--bind ADDR] [--port 0]

Prints the address and serves until it is stopped.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from agent.sandbox.serve import Fault, address, served, server

__all__ = ["Fault", "address", "served", "server"]


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
