"""A stand-in for the installers of Anaconda, Miniconda and Miniforge (standin/installer.sh), the same bytes every time."""

import hashlib
import json
from pathlib import Path

from tests.channel.package import File, Tree, packed
from tests.channel.toys import STANDIN

RECORD = {
    "name": "toyforge", "version": "1.0", "build": "0", "build_number": 0, "subdir": "noarch", "depends": [], "constrains": [],
    "fn": "toyforge-1.0-0.tar.bz2", "url": "https://conda.example.org/noarch/toyforge-1.0-0.tar.bz2", "channel": "https://conda.example.org",
    "files": ["bin/conda"], "paths_data": {"paths_version": 1, "paths": [{"_path": "bin/conda", "path_type": "hardlink"}]},
}  # fmt: skip


def write_installer(path: Path, version: str = "1.0", *, step: str = ":") -> str:
    """Write an installer program to ``path`` and return the SHA-256 of it.

    What it makes is a prefix with ``conda-meta/history``, the record of one package, and a ``bin/conda`` that says its
    version and its prefix. ``step`` is a shell command that it runs when it has unpacked everything.
    """
    files: Tree = {
        "bin/conda": File(f"#!/bin/sh\necho toyforge {version} in @PREFIX@\n".encode(), executable=True),
        "conda-meta/history": File(b"==> 2023-11-14 22:13:20 <==\n"),
        "conda-meta/toyforge-1.0-0.json": File(json.dumps(RECORD, indent=1).encode()),
    }
    head = (STANDIN / "installer.sh").read_text().replace("@VERSION@", version).replace("@STEP@", step)
    content = head.encode() + packed(files)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
