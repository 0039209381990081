"""Starts a kernel as it is registered and says which interpreter and version it named. Runs as the environment's owner, in a process of its own.

A request comes in as JSON on standard input: ``path`` of the kernel.json, ``prefix`` of the environment that it must run from, ``seconds`` that it
may take. Out come lines of JSON, as from the conda worker: ``{"progress": text}``, and at last ``{"result": {"kernel": "Python 3.11.2 (...)"}}`` or
``{"error": ...}``.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from typing import Any

from agent.workers.problems import WorkError, explained
from agent.workers.request import speak


def main() -> None:
    """Ends the process."""
    os.umask(0o077)
    try:
        speak({"progress": "starting it"})
        kernel = work(json.load(sys.stdin))
        speak({"progress": kernel})
        answer: dict[str, Any] = {"result": {"kernel": kernel}}
        status = 0
    except Exception as error:
        told = explained(error)
        said = {"type": told.kind, "message": str(told), "hint": told.hint, "temporary": told.temporary}
        answer, status = {"error": said}, 1
    speak(answer)
    sys.exit(status)


def work(request: dict[str, Any]) -> str:
    """Does one request: what the kernel says it is. Raises WorkError."""
    from agent.workers.kernels import try_registered

    if os.geteuid() == 0:
        raise WorkError("kernels are never started by root", hint="run this as the environment's owner")
    # with the account's own home: what it has there may be in a kernel's way
    home = {"HOME": pwd.getpwuid(os.geteuid()).pw_dir}
    return try_registered(request["path"], request["prefix"], request["seconds"], home)


if __name__ == "__main__":
    main()
