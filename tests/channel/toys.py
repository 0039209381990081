"""Tiny packages that show one trait each: versions, conflicts, scripts, activation, prefixes. Standard library only."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tests.channel.package import PLACEHOLDER, File, Link, Package, Tree, write
from tests.channel.repodata import write_repodata

STANDIN = Path(__file__).parent / "standin"
RUDE = """\
echo this is printed while the environment is activated
declare -A toy=([rude]=yes)
[[ $toy_is_set_nowhere == "" ]] && export TOY_RUDE=${toy[rude]}
false
"""
WHERE_A_KERNEL_STARTS = """\
import os, sys
with open("/proc/self/cmdline", "rb") as _file:
    if b"ipykernel" in _file.read():
        {code}
"""
DIES = """sys.stderr.write("ImportError: libtoy.so.1: cannot open shared object file\\n"); sys.stderr.flush(); os._exit(1)"""


def toys() -> Iterator[Package]:
    """Yield the toy packages.

    * toy-lib 1.0, 1.1, 2.0; toy-app 1.0 and 2.0, which need toy-lib 1 and 2; toy-old, which refuses toy-lib 2
    * toy-broken needs what does not exist; toy-clobber owns a file of toy-app
    * toy-prefix has the prefix in a text, in a binary and in a script, and a link
    * toy-activate sets variables on activation, in both ways; toy-link has a post-link script
    * toy-rude has an activation script that prints, fails, and is for bash alone
    * toy-big is a mebibyte that does not compress; toy-many is 1,000 files
    * toy-module is a module for any Python; toy-bad-kernel lets no kernel of Python start, toy-mute-kernel none answer
    * conda stands in for the real one (standin/conda.py)
    """
    for version in ("1.0", "1.1", "2.0"):
        yield _toy("toy-lib", version, {"share/toy-lib/VERSION": _text(f"{version}\n")})
    yield _app("1.0", "toy-lib >=1.0,<2.0a0")
    yield _app("2.0", "toy-lib >=2.0,<3.0a0")
    yield _toy("toy-old", "1.0", {"share/toy-old/VERSION": _text("1.0\n")}, "toy-lib <2.0a0")
    yield _toy("toy-broken", "1.0", {"share/toy-broken/VERSION": _text("1.0\n")}, "no-such-package >=1")
    yield _toy("toy-clobber", "1.0", {"bin/toy-app": _script("echo clobbered")})
    yield _toy(
        "toy-prefix",
        "1.0",
        {
            "bin/toy-prefix": _script(f"exec cat {PLACEHOLDER}/share/toy-prefix/text"),
            "lib/toy-prefix.bin": File(b"\0\1" + PLACEHOLDER.encode() + b"/lib\0end"),
            "share/toy-prefix/link": Link("text"),
            "share/toy-prefix/text": _text(f"{PLACEHOLDER}\n"),
        },
    )
    yield _toy(
        "toy-activate",
        "1.0",
        {
            "etc/conda/activate.d/toy.sh": _text('export TOY_HOME="$CONDA_PREFIX/share/toy"\n'),
            "etc/conda/deactivate.d/toy.sh": _text("unset TOY_HOME\n"),
            "etc/conda/env_vars.d/toy.json": _text('{"TOY_VAR": "from-env-vars.d"}\n'),
        },
    )
    yield _toy(
        "toy-link",
        "1.0",
        {
            "bin/.toy-link-post-link.sh": _script('echo ran > "$PREFIX/post-link-ran"'),
            "share/toy-link/VERSION": _text("1.0\n"),
        },
    )
    yield _toy("toy-rude", "1.0", {"etc/conda/activate.d/toy-rude.sh": _text(RUDE), "share/toy-rude": _text("1.0\n")})
    yield _toy("toy-big", "1.0", {"share/toy-big/noise": File(hashlib.shake_256(b"toy").digest(1 << 20))})
    yield _toy("toy-many", "1.0", {f"share/toy-many/{number:04}": _text(f"{number}\n") for number in range(1000)})
    yield toy_module("1.0")
    yield _kernel_stopper("toy-bad-kernel", DIES)
    yield _kernel_stopper("toy-mute-kernel", "import time; time.sleep(3600)")
    yield conda()


def later_toys() -> Iterator[Package]:
    """Yield what comes out after `toys`, to be published while a channel is served."""
    yield _toy("toy-lib", "2.1", {"share/toy-lib/VERSION": _text("2.1\n")})
    yield _app("2.1", "toy-lib >=2.1,<3.0a0")
    yield toy_module("2.0")


def other_toys() -> Iterator[Package]:
    """Yield the packages of a second channel: toy-lib 3.0 and another build of toy-app 2.0, and toy-extra, which only it has."""
    yield _toy("toy-lib", "3.0", {"share/toy-lib/VERSION": _text("3.0\n")})
    script = _script(f"echo toy-app 2.0 of another channel in {PLACEHOLDER}")
    yield Package(
        name="toy-app", version="2.0", build="other_1", depends=("toy-lib >=2.0",), files={"bin/toy-app": script}
    )
    yield _toy("toy-extra", "1.0", {"share/toy-extra/VERSION": _text("1.0\n")}, "toy-lib")


def toy_module(version: str) -> Package:
    """Return a package for any Python whose module ``toy_module`` knows its version."""
    files = {"site-packages/toy_module.py": _text(f"version = {version!r}\n")}
    return Package(name="toy-module", version=version, noarch="python", depends=("python",), files=files)


def conda() -> Package:
    """Return the stand-in for conda: the program, and what shells source."""
    program, profile = ((STANDIN / name).read_text() for name in ("conda.py", "conda.sh"))
    program = program.replace("#!/usr/bin/env python3", f"#!{PLACEHOLDER}/bin/python", 1)
    files: Tree = {
        "bin/conda": File(program.encode(), executable=True),
        "condabin/conda": Link("../bin/conda"),
        "etc/profile.d/conda.sh": _text(profile.replace("@PREFIX@", PLACEHOLDER)),
    }
    return Package(name="conda", version="26.7.1", build="standin_0", depends=("python >=3.9",), files=files)


def _kernel_stopper(name: str, code: str) -> Package:
    """Return a package for any Python that runs ``code`` where ipykernel is about to start; beside ipykernel, or in its place."""
    module = name.replace("-", "_")
    files = {
        f"site-packages/{name}.pth": _text(f"import {module}\n"),
        f"site-packages/{module}.py": _text(WHERE_A_KERNEL_STARTS.format(code=code)),
    }
    return Package(name=name, version="1.0", noarch="python", depends=("python",), files=files)


def write_toys(channel: Path) -> None:
    """Write the toy packages and their index to ``channel``."""
    write_repodata([write(package, channel, "tar.bz2") for package in toys()], channel)


def write_other(channel: Path) -> None:
    """Write the packages of the second channel and their index to ``channel``."""
    write_repodata([write(package, channel, "tar.bz2") for package in other_toys()], channel)


def _app(version: str, needs: str) -> Package:
    script = _script(f"echo toy-app {version} in {PLACEHOLDER}")
    return _toy("toy-app", version, {"bin/toy-app": script}, needs)


def _toy(name: str, version: str, files: Tree, *depends: str) -> Package:
    return Package(name=name, version=version, files=files, depends=depends)


def _text(text: str) -> File:
    return File(text.encode())


def _script(line: str) -> File:
    return File(f"#!/bin/sh\n{line}\n".encode(), executable=True)
