"""The index of a channel, repodata.json, one for each of its subdirectories."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.channel.package import Record

SUBDIRS = ("linux-64", "noarch")
SECTIONS = ("packages", "packages.conda")
"""Where repodata.json lists packages of the older and of the newer format."""

Written = tuple[str, Record]
"""A package's file name and its record."""


def write_repodata(records: Iterable[Written], channel: Path) -> None:
    """Write repodata.json for every subdirectory, whether it holds packages or not."""
    chosen = sorted(records, key=lambda written: written[0])
    for subdir in SUBDIRS:
        repodata = _empty(subdir)
        for name, record in chosen:
            if record["subdir"] == subdir:
                repodata[SECTIONS[name.endswith(".conda")]][name] = record
        _save(channel / subdir, repodata)


def merge_repodata(channels: Iterable[Path], merged: Path) -> list[tuple[Path, str]]:
    """Write the index of all ``channels`` to ``merged``; return each package's channel and its path there."""
    sources = list(channels)
    packages = []
    for subdir in SUBDIRS:
        repodata = _empty(subdir)
        for source in sources:
            theirs = json.loads((source / subdir / "repodata.json").read_text())
            for section in SECTIONS:
                repodata[section].update(theirs[section])
                packages += [(source, f"{subdir}/{name}") for name in theirs[section]]
        _save(merged / subdir, repodata)
    return packages


def _empty(subdir: str) -> dict[str, Any]:
    return {
        "info": {"subdir": subdir},
        "packages": {},
        "packages.conda": {},
        "removed": [],
        "repodata_version": 1,
    }


def _save(directory: Path, repodata: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "repodata.json").write_text(json.dumps(repodata, indent=1, sort_keys=True))
