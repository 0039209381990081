"""Changes a channel while it is served: what comes out, and what is taken back."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from tests.channel.build import KEY_FILE
from tests.channel.package import Package, Record, write
from tests.channel.repodata import SECTIONS


def publish(channel: Path, packages: Iterable[Package]) -> list[Record]:
    """Add ``packages`` to the ``channel``, in place of those of the same name, version and build; return their records.

    The next `build` there makes it anew. What it shares with the cache is left alone.
    """
    records = []
    for package in packages:
        (channel / package.subdir / f"{package.stem}.tar.bz2").unlink(missing_ok=True)
        name, record = write(package, channel, "tar.bz2")
        _change(channel, package.subdir, add={name: record})
        records.append(record)
    return records


def withdraw(channel: Path, name: str) -> None:
    """Take every package called ``name`` out of the ``channel``: out of its index, and the files. Raises KeyError without one."""
    gone = [file for subdir in ("linux-64", "noarch") for file in _change(channel, subdir, without=name)]
    if not gone:
        raise KeyError(name)
    for file in gone:
        file.unlink()


def _change(channel: Path, subdir: str, *, add: dict[str, Record] | None = None, without: str = "") -> list[Path]:
    path = channel / subdir / "repodata.json"
    repodata = json.loads(path.read_text())
    gone = []
    for section in SECTIONS:
        gone += [name for name, record in repodata[section].items() if record["name"] == without]
        repodata[section] = {name: each for name, each in repodata[section].items() if each["name"] != without}
    repodata["packages"].update(add or {})
    (channel / KEY_FILE).unlink(missing_ok=True)
    (channel / KEY_FILE).write_text("changed\n")
    before = path.stat().st_mtime
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(repodata, indent=1, sort_keys=True))
    # HTTP tells versions apart by whole seconds
    os.utime(scratch, (before + 2, before + 2) if scratch.stat().st_mtime < before + 2 else None)
    scratch.replace(path)
    return [channel / subdir / name for name in gone]
