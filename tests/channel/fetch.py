"""Fetches what the channel is made from, with apt and pip as this machine configures them."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from tests.channel import debian
from tests.channel.debian import InputError
from tests.channel.parts import Part

REQUIREMENTS = Path(__file__).parent / "requirements"
EXACTLY = {"3.11": "3.11.2", "2.7": "2.7.18"}  # as Debian has them; some wheels ask for a later 3.11
ABIS = {"3.11": ("cp311", "abi3", "none"), "2.7": ("cp27mu", "none")}
# pip takes a list of platforms literally; 2.36 is the C library of Debian 12
PLATFORMS = {
    "3.11": tuple(f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)),
    "2.7": ("manylinux_2_17_x86_64",),
}
OLD_PLATFORMS = ("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "any")


def make_venv(directory: Path) -> None:
    """Make the virtual environment that assembles packages. Raises InputError."""
    scratch = directory.with_name(f"{directory.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        venv.create(scratch, with_pip=True, symlinks=True)
    except subprocess.CalledProcessError as error:
        raise InputError(
            f"{sys.executable} -m venv failed: on Debian and Ubuntu, install the package python3-venv"
        ) from error
    _pip(scratch, "install", "--no-deps", "--only-binary=:all:", "-r", str(REQUIREMENTS / "build.txt"))
    scratch.rename(directory)


def fetch_debs(part: Part, root: Path, destination: Path) -> None:
    """Fetch the Debian packages of ``part``; ``root`` is where apt keeps its lists. Raises InputError."""
    scratch = _empty_beside(destination)
    debian.download(root, part.release, part.debs, scratch)
    scratch.rename(destination)


def fetch_wheels(part: Part, environment: Path, destination: Path) -> None:
    """Fetch the wheels and source archives of ``part`` with the pip of ``environment``. Raises InputError."""
    scratch = _empty_beside(destination)
    python = ("--python-version", EXACTLY[part.python], "--implementation", "cp")
    target = [argument for abi in ABIS[part.python] for argument in ("--abi", abi)]
    target += [argument for name in PLATFORMS[part.python] + OLD_PLATFORMS for argument in ("--platform", name)]
    download = ("download", "--no-deps", "--dest", str(scratch))
    wheels = (*download, "--only-binary=:all:", *python)
    _pip(environment, *wheels, *target, "-r", str(REQUIREMENTS / part.wheels))
    if part.pure:
        _pip(environment, *wheels, "--abi", "none", "--platform", "any", "-r", str(REQUIREMENTS / part.pure))
    if part.sources:
        sources = ("--no-binary=:all:", "--no-build-isolation", "-r", str(REQUIREMENTS / part.sources))
        _pip(environment, *download, *sources)
    scratch.rename(destination)


def _empty_beside(destination: Path) -> Path:
    scratch = destination.with_name(f"{destination.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return scratch


def _pip(environment: Path, *arguments: str) -> None:
    command: Sequence[str] = (str(environment / "bin/python"), "-m", "pip", "--quiet", *arguments)
    settings = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "is ignored" not in line]  # index folders without it
        raise InputError(f"pip {arguments[0]} exited {done.returncode}: " + "\n".join(errors[-8:]))
