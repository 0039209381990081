"""Prefixes with packages of the tests' channel, made by the library alone: for tests of what comes after linking."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rattler import (
    Channel,
    Gateway,
    MatchSpec,
    PrefixRecord,
    RepoDataRecord,
    SourceConfig,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    install,
    solve,
)

from tests.channel.build import build

PYTHON3 = ("python 3.11.*", "pip", "six", "setuptools", "wheel")
PYTHON2 = ("python 2.7.*", "pip", "six", "setuptools")


@dataclass(frozen=True)
class Prefixes:
    """Makes prefixes below one directory, from one cache."""

    channel: Path
    directory: Path

    @property
    def cache(self) -> Path:
        return self.directory / "cache"

    def solved(self, *specs: str) -> list[RepoDataRecord]:
        return asyncio.run(self._solved(specs))

    def make(self, prefix: Path, *specs: str) -> Path:
        """The prefix, new, with what meets the specs."""
        shutil.rmtree(prefix, ignore_errors=True)
        asyncio.run(self._make(prefix, specs))
        return prefix

    async def _solved(self, specs: Sequence[str]) -> list[RepoDataRecord]:
        return await solve(
            sources=[Channel(self.channel.as_uri())],
            specs=[MatchSpec(spec) for spec in specs],
            gateway=Gateway(
                cache_dir=self.cache / "repodata", default_config=SourceConfig(zstd_enabled=False, bz2_enabled=False)
            ),
            platforms=[Subdir.current(), Subdir("noarch")],
            virtual_packages=VirtualPackage.detect(VirtualPackageOverrides()),
        )

    async def _make(self, prefix: Path, specs: Sequence[str]) -> None:
        await install(
            records=await self._solved(specs),
            target_prefix=prefix,
            cache_dir=self.cache / "pkgs",
            show_progress=False,
            execute_link_scripts=False,
        )


def prefixes(directory: Path) -> Prefixes:
    """With Python 2.7 and 3.11, R and the toys."""
    return Prefixes(build(directory / "channel", ("py311", "py27", "toy", "r")), directory)


def files_of(prefix: Path) -> list[str]:
    """What conda's records say is there."""
    records = [PrefixRecord.from_path(path) for path in sorted((prefix / "conda-meta").glob("*.json"))]
    return [str(file) for record in records for file in record.files]
