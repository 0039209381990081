"""Running commands in a throw-away host."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from agent.errors import HostError
from agent.sandbox.programs import PATH
from agent.sandbox.result import Result

_NEVER = "-sys_time,-sys_module,-wake_alarm"  # there is one clock and one kernel, and they are this system's


class Commands(ABC):
    """What can be run in a host whose first process has the ID ``_leader`` on this system."""

    _leader: int

    @property
    @abstractmethod
    def name(self) -> str:
        """For messages."""

    def argv(self, command: Sequence[str], **variables: str) -> list[str]:
        """How this system runs a command in the host: what ``run`` uses, for terminals and pipes of one's own."""
        spelled = {
            "PATH": PATH,
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "SYSTEMD_PAGER": "",
            "SYSTEMD_COLORS": "0",
            **variables,
        }
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wdns=/"]
        return [
            "setpriv",
            f"--bounding-set={_NEVER}",
            *enter,
            "env",
            "-i",
            *(f"{name}={value}" for name, value in spelled.items()),
            *command,
        ]

    def run(self, command: Sequence[str] | str, *, check: bool = True, timeout: float = 300, stdin: str = "") -> Result:
        """Runs a command beside the host's services; a string is a script for its /bin/sh -e.

        Quick, and good for looking, but more powerful than the host's own root: it has nearly all capabilities and is
        outside every unit. Raises HostError when the command fails, unless ``check`` is off.
        """
        words = ["/bin/sh", "-ec", command] if isinstance(command, str) else list(command)
        begun = time.monotonic()
        try:
            done = subprocess.run(
                self.argv(words),
                check=False,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(f"{self.name}: {shlex.join(words)}: not finished after {timeout:g} s") from error
        result = Result(words, done.returncode, done.stdout, done.stderr, time.monotonic() - begun)
        return result.check() if check else result

    def unit_run(
        self,
        command: Sequence[str] | str,
        *properties: str,
        check: bool = True,
        timeout: float = 300,
        stdin: str = "",
    ) -> Result:
        """Runs a command as a transient unit, as a service would run: systemd-run(1) with ``properties``.

        The status is 255 when a signal ended the command; its own otherwise.
        """
        words = ["/bin/sh", "-ec", command] if isinstance(command, str) else list(command)
        options = [f"--property={text}" for text in properties]
        unit = ["systemd-run", "--pipe", "--wait", "--quiet", "--collect", *options, "--", *words]
        return self.run(unit, check=check, timeout=timeout, stdin=stdin)

    def shell(self) -> int:
        """An interactive shell of root on the caller's terminal. Returns its exit status."""
        return subprocess.run(
            self.argv(["/bin/bash", "-l"], TERM=os.environ.get("TERM", "dumb")), check=False
        ).returncode
