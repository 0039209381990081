"""Writes conda packages, the same bytes every time.

The formats are those of conda's package specification: ``.conda`` (a zip of two zstd-compressed tars, CEP 26/27)
and ``.tar.bz2``, which needs nothing beyond the standard library.
"""

import bz2
import hashlib
import importlib
import io
import json
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# As long as conda-build's own, 255 bytes: a prefix replaces it inside binaries only if it is not longer.
PLACEHOLDER = ("/opt/channel_placeholder" + "_placehold" * 30)[:255]
WRITTEN_AT = 1_700_000_000  # seconds since the epoch; a fixed time keeps archives byte for byte equal
ZSTD_LEVEL = 3

Record = dict[str, Any]
"""A package as repodata.json describes it."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file of a package."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of a package."""

    target: str


Tree = Mapping[str, File | Link]
"""The files of a package by their path below the prefix."""


@dataclass(frozen=True, slots=True)
class Package:
    """A conda package before it is packed."""

    name: str
    version: str
    files: Tree = field(repr=False)
    build: str = "0"
    depends: tuple[str, ...] = ()
    noarch: Literal["python", "generic"] | None = "generic"
    entry_points: tuple[str, ...] = ()
    licence: str | None = None

    @property
    def subdir(self) -> str:
        """The channel's directory it belongs to."""
        return "noarch" if self.noarch else "linux-64"

    @property
    def stem(self) -> str:
        """The file name without its ending."""
        return f"{self.name}-{self.version}-{self.build}"


def read_tree(top: Path) -> dict[str, File | Link]:
    """Return the files below ``top``; empty directories are not kept, as conda packages have none."""
    tree: dict[str, File | Link] = {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if path.is_symlink():
            tree[name] = Link(os.readlink(path))
        elif path.is_file():
            tree[name] = File(path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
    return tree


def write(package: Package, channel: Path, archive: Literal["conda", "tar.bz2"] = "conda") -> tuple[str, Record]:
    """Pack ``package`` into its subdirectory of ``channel``; return the file's name and its repodata record."""
    index = _index(package)
    metadata = _metadata(package, index)
    pack = _conda if archive == "conda" else _tar_bz2
    content = pack(package.stem, package.files, metadata)
    directory = channel / package.subdir
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{package.stem}.{archive}"
    (directory / name).write_bytes(content)
    record = {
        **index,
        "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }
    return name, record


def _index(package: Package) -> Record:
    index: Record = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": int(package.build.rpartition("_")[2]) if package.build[-1].isdigit() else 0,
        "depends": list(package.depends),
        "constrains": [],
        "subdir": package.subdir,
        "timestamp": WRITTEN_AT * 1000,
        "arch": None if package.noarch else "x86_64",
        "platform": None if package.noarch else "linux",
    }
    if package.noarch:
        index["noarch"] = package.noarch
    if package.licence:
        index["license"] = package.licence
    return index


def _metadata(package: Package, index: Record) -> Tree:
    paths = [_path_entry(name, file) for name, file in sorted(package.files.items())]
    metadata: dict[str, File | Link] = {
        "info/index.json": _json(index),
        "info/paths.json": _json({"paths": paths, "paths_version": 1}),
        "info/about.json": _json({"summary": f"{package.name}, packed for tests"}),
        "info/files": File("".join(f"{name}\n" for name in sorted(package.files)).encode()),
    }
    if package.noarch == "python":
        noarch: Record = {"type": "python"}
        if package.entry_points:
            noarch["entry_points"] = list(package.entry_points)
        metadata["info/link.json"] = _json({"noarch": noarch, "package_metadata_version": 1})
    return metadata


def _path_entry(name: str, file: File | Link) -> Record:
    content = file.content if isinstance(file, File) else b""
    entry: Record = {
        "_path": name,
        "path_type": "hardlink" if isinstance(file, File) else "softlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    if PLACEHOLDER.encode() in content:
        entry["prefix_placeholder"] = PLACEHOLDER
        entry["file_mode"] = "binary" if b"\0" in content else "text"
    return entry


def _json(value: Any) -> File:
    return File(json.dumps(value, indent=1, sort_keys=True).encode())


def packed(files: Tree) -> bytes:
    """Return a tar archive of ``files``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, file in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.mtime = WRITTEN_AT
            if isinstance(file, Link):
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, file.target, 0o777
                tar.addfile(member)
            else:
                member.size = len(file.content)
                member.mode = 0o755 if file.executable else 0o644
                tar.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


def _tar_bz2(_: str, payload: Tree, metadata: Tree) -> bytes:
    return bz2.compress(packed({**metadata, **payload}))


def _conda(stem: str, payload: Tree, metadata: Tree) -> bytes:
    compress: Callable[[bytes, int], bytes] = importlib.import_module("backports.zstd").compress
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as outer:
        for name, content in (
            ("metadata.json", b'{"conda_pkg_format_version": 2}'),
            (f"pkg-{stem}.tar.zst", compress(packed(payload), ZSTD_LEVEL)),
            (f"info-{stem}.tar.zst", compress(packed(metadata), ZSTD_LEVEL)),
        ):
            outer.writestr(zipfile.ZipInfo(name, (2023, 11, 14, 0, 0, 0)), content)
    return buffer.getvalue()
