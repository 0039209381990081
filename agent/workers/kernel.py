"""Starts a kernel as it is registered and says which interpreter and version it named. Runs as the environment's owner, in a process of its own.

A request comes in as JSON on standard input: ``path`` of the kernel.json, ``prefix`` of the environment that it must run from, ``seconds`` that it
may take. Out comes a line of JSON, as from the conda worker: ``{"result": {"kernel": "Python 3.11.2 (...)"}}`` or ``{"error": ...}``.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from typing import Any

from agent.workers.problems import WorkError, explained


def main() -> None:
    """Ends the process."""
    os.umask(0o077)
    try:
        answer, status = {"result": work(json.load(sys.stdin))}, 0
    except Exception as error:
        told = explained(error)
        said = {"type": told.kind, "message": str(told), "hint": told.hint, "temporary": told.temporary}
        answer, status = {"error": said}, 1
    print(json.dumps(answer), flush=True)
    sys.exit(status)


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Does one request. Raises WorkError."""
    from agent.workers.kernels import try_registered

    if os.geteuid() == 0:
        raise WorkError("kernels are never started by root", hint="run this as the environment's owner")
    # with the account's own home: what it has there may be in a kernel's way
    home = {"HOME": pwd.getpwuid(os.geteuid()).pw_dir}
    return {"kernel": try_registered(request["path"], request["prefix"], request["seconds"], home)}


if __name__ == "__main__":
    main()
