"""Tiny packages that show one trait each: versions, conflicts, scripts, activation, prefixes. Standard library only."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tests.channel.package import PLACEHOLDER, File, Link, Package, Tree, write
from tests.channel.repodata import write_repodata


def toys() -> Iterator[Package]:
    """Yield the toy packages.

    * toy-lib 1.0, 1.1, 2.0; toy-app 1.0 and 2.0, which need toy-lib 1 and 2; toy-old, which refuses toy-lib 2
    * toy-broken needs what does not exist; toy-clobber owns a file of toy-app
    * toy-prefix has the prefix in a text, in a binary and in a script, and a link
    * toy-activate sets variables on activation, in both ways; toy-link has a post-link script
    * toy-big is a mebibyte that does not compress; toy-many is 1,000 files
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
    yield _toy("toy-big", "1.0", {"share/toy-big/noise": File(hashlib.shake_256(b"toy").digest(1 << 20))})
    yield _toy("toy-many", "1.0", {f"share/toy-many/{number:04}": _text(f"{number}\n") for number in range(1000)})


def write_toys(channel: Path) -> None:
    """Write the toy packages and their index to ``channel``."""
    write_repodata([write(package, channel, "tar.bz2") for package in toys()], channel)


def _app(version: str, needs: str) -> Package:
    script = _script(f"echo toy-app {version} in {PLACEHOLDER}")
    return _toy("toy-app", version, {"bin/toy-app": script}, needs)


def _toy(name: str, version: str, files: Tree, *depends: str) -> Package:
    return Package(name=name, version=version, files=files, depends=depends)


def _text(text: str) -> File:
    return File(text.encode())


def _script(line: str) -> File:
    return File(f"#!/bin/sh\n{line}\n".encode(), executable=True)
