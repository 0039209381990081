"""Starts the few programs a throw-away host is made with."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from agent.errors import HostError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PACKAGES = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "slirp4netns": "slirp4netns",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "umount": "mount",
    "apt-config": "apt",
}


def require(*names: str) -> None:
    """Raises HostError, with the packages to install as its hint, unless all are installed and we are root."""
    missing = [name for name in names if shutil.which(name, path=PATH) is None]
    if missing:
        packages = sorted({_PACKAGES.get(name, name) for name in missing})
        raise HostError(
            f"a throw-away host needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            hint=f"apt-get install {' '.join(packages)}",
        )
    if os.geteuid() != 0:
        raise HostError("a throw-away host can only be made by root", hint="run the same command with sudo")


def run(*argv: str | os.PathLike[str], env: Mapping[str, str] | None = None, hint: str = "") -> str:
    """Standard output of a short command. Raises HostError with its last words when it fails."""
    words = [os.fspath(word) for word in argv]
    done = subprocess.run(
        words,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {})},
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()
        raise HostError(
            f"{' '.join(words)}: exit status {done.returncode}: {last[-1] if last else 'no output'}",
            hint=hint,
        )
    return done.stdout


def attempt(*argv: str | os.PathLike[str]) -> bool:
    """The same for clearing away, where it is no error that there is nothing to clear."""
    try:
        run(*argv)
    except (HostError, OSError):
        return False
    return True
