"""A Jupyter server in a throw-away host, used through its own API: kernels execute code, terminals run commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.sandbox import Machine

CLIENT = Path(__file__).parent / "notebook_client.py"


@dataclass(frozen=True)
class Notebooks:
    """The server of one host. ``trust`` is the file that vouches for its certificate, ``password`` the file that holds the password."""

    machine: Machine
    url: str = "https://127.0.0.1:8888/"
    trust: str = "/etc/agent/tls/jupyter/trust.pem"
    password: str = "/var/lib/agent/secrets/jupyter.password"
    python: str = "/opt/conda/envs/jupyter/bin/python"

    def execute(self, kernel: str, code: str) -> str:
        """What the code prints, then its error's name and text if there is one: in a fresh kernel, or in one that was started."""
        return self._client(kernel, code).strip()

    def start(self, kernel: str) -> str:
        """Starts a kernel that goes on; what is returned stands for it in `execute`."""
        return f"id:{self._client('--start', kernel).strip()}"

    def stop(self, running: str) -> None:
        """Ends a kernel that was started."""
        self._client("--stop", running)

    def value(self, kernel: str, code: str) -> Any:
        """What the code prints as JSON."""
        printed = self.execute(kernel, code)
        try:
            return json.loads(printed)
        except ValueError:
            raise AssertionError(f"this is no JSON: {printed}") from None

    def terminal(self, command: str) -> str:
        """What a command prints in a terminal that the server opens."""
        return self._client("--terminal", command)

    def _client(self, what: str, text: str) -> str:
        run = self.machine.run
        run("cat >/run/notebook_client.py", stdin=CLIENT.read_text())
        port = urlsplit(self.url).port or 443
        # after a start it takes the server its time to listen
        run(f"until [ -n \"$(ss -Hltn 'sport = :{port}')\" ]; do sleep 0.1; done", timeout=90)
        words = [self.python, "-I", "/run/notebook_client.py", self.url, self.trust, self.password, what]
        return run(words, stdin=text, timeout=180).stdout
