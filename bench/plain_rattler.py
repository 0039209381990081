"""Solves and installs with py-rattler and nothing else: what the agent's own work on environments is compared with.

    plain_rattler.py CHANNEL CACHE PREFIX SPEC... [--only-solve] [--compile]

An environment that is there already keeps its versions. ``--compile`` lets its Python compile everything afterwards, in as many processes as there are
cores. Needs py-rattler.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from rattler import (
    Channel,
    Gateway,
    MatchSpec,
    PrefixRecord,
    SourceConfig,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    install,
    solve,
)

OPTIONS = ("--only-solve", "--compile")


async def main(channel: str, cache: Path, prefix: Path, specs: list[str]) -> None:
    there = [PrefixRecord.from_path(path) for path in sorted(prefix.glob("conda-meta/*.json"))]
    records = await solve(
        sources=[Channel(channel)],
        specs=[MatchSpec(spec) for spec in specs],
        gateway=Gateway(cache_dir=cache / "repodata", default_config=SourceConfig(bz2_enabled=False)),
        platforms=[Subdir.current(), Subdir("noarch")],
        virtual_packages=VirtualPackage.detect(VirtualPackageOverrides()),
        locked_packages=there or None,
    )
    if "--only-solve" not in sys.argv:
        await install(records=records, target_prefix=prefix, cache_dir=cache / "pkgs", show_progress=False)


words = [word for word in sys.argv[1:] if word not in OPTIONS]
asyncio.run(main(words[0], Path(words[1]), Path(words[2]), words[3:]))
if "--compile" in sys.argv:
    subprocess.run(
        [f"{words[2]}/bin/python", "-m", "compileall", "-qj0", f"{words[2]}/lib"],
        check=False,
        stdout=subprocess.DEVNULL,
    )
os._exit(0)  # the library's threads make a normal exit crash now and then
