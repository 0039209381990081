"""Fetches Debian packages of a given release with apt, through a root of its own: nothing on the machine changes."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
MIRROR_VARIABLE = "AGENT_DEBIAN_MIRROR"
# Hooks and the paths of the machine's own root stay out; how it reaches its mirror (proxies, methods) comes in.
SETTINGS = re.compile(r"^Acquire::(?!IndexTargets|Languages|Changelogs|CompressionTypes)\S")


class InputError(Exception):
    """Something the channel is made from cannot be had on this machine; the text says what and the way out."""


def choose_mirror(targets: str, codename: str) -> str | None:
    """Return the archive among apt's index ``targets`` that Debian's releases come from.

    ``targets`` holds lines ``URI|release|component|origin``. Other archives use Debian's code names too: prefer what
    calls itself Debian, then a path that ends as Debian's mirrors do.
    """
    rows = [line.split("|") for line in targets.splitlines() if line.count("|") == 3]
    main = [(uri, origin) for uri, release, component, origin in rows if component == "main" and release == codename]
    for uri, origin in main:
        if origin == "Debian":
            return uri
    for uri, _ in main:
        if uri.rstrip("/").endswith("/debian") or re.search(r"/archive/debian/[^/]+/?$", uri):
            return uri
    return None


def download(root: Path, release: str, packages: Sequence[str], destination: Path) -> None:
    """Fetch ``packages`` of Debian ``release`` for amd64 into ``destination``.

    ``root`` keeps apt's lists between calls. Raises InputError.
    """
    configuration = root / "apt.conf"
    if not configuration.exists():
        _prepare(root, release)
    _apt(configuration, "update")
    destination.mkdir(parents=True, exist_ok=True)
    _apt(configuration, "download", *packages, cwd=destination)


def _prepare(root: Path, release: str) -> None:
    keyring = next((path for path in KEYRINGS if os.path.exists(path)), None)
    if keyring is None:
        raise InputError(
            f"no keyring of Debian's archive at {' or '.join(KEYRINGS)}: "
            "install the package debian-archive-keyring (Ubuntu has it too)"
        )
    for directory in ("lists/partial", "archives/partial", "etc"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    (root / "sources.list").write_text(f"deb [arch=amd64 signed-by={keyring}] {_mirror()} {release} main\n")
    machine = _output("apt-config", "dump").splitlines()
    settings = {
        "Dir": str(root),
        "Dir::State": str(root),
        "Dir::State::status": str(root / "status"),
        "Dir::State::lists": str(root / "lists"),
        "Dir::Cache": str(root),
        "Dir::Cache::archives": str(root / "archives"),
        "Dir::Etc": str(root / "etc"),
        "Dir::Etc::sourcelist": str(root / "sources.list"),
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::netrc": "/etc/apt/auth.conf",
        "Dir::Etc::netrcparts": "/etc/apt/auth.conf.d",
        "Acquire::Languages": "none",
        "APT::Architecture": "amd64",
    }
    if os.geteuid() == 0:
        settings["APT::Sandbox::User"] = "root"  # the cache need not be readable for _apt
    lines = [line for line in machine if SETTINGS.match(line)]
    lines += [f'{key} "{value}";' for key, value in settings.items()]
    (root / "apt.conf").write_text("\n".join([*lines, 'APT::Architectures { "amd64"; };', ""]))


def _mirror() -> str:
    if platform.machine() != "x86_64":
        raise InputError(f"the channel is for x86_64, this machine is {platform.machine()}")
    given = os.environ.get(MIRROR_VARIABLE)
    if given:
        return given
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    targets = _output("apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)")
    mirror = choose_mirror(targets, codename)
    if mirror is None:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "this machine")
        raise InputError(
            f"{system} names no Debian mirror among its apt sources: set {MIRROR_VARIABLE} to the address of one"
        )
    return mirror


def _apt(configuration: Path, *arguments: str, cwd: Path | None = None) -> None:
    environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C.UTF-8"}
    done = _run(("apt-get", "-q", "-y", *arguments), environment, cwd)
    # "update" counts a mirror that does not answer among its warnings and exits with 0
    failed = done.returncode or re.search(r"^(E:|W: Failed to fetch)", done.stderr, re.MULTILINE)
    if failed:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        sources = (configuration.parent / "sources.list").read_text().strip()
        raise InputError(f"apt-get {arguments[0]} exited {done.returncode}: {last}\nsource: {sources}")


def _run(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path | None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            arguments, env=environment, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{arguments[0]} is not here: the channel is made on Debian or a system derived from it"
        ) from error


def _output(*arguments: str) -> str:
    done = _run(arguments, {**os.environ, "LC_ALL": "C.UTF-8"}, None)
    if done.returncode:
        raise InputError(f"{arguments[0]} exited {done.returncode}: {done.stderr.strip()}")
    return done.stdout
