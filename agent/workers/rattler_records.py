"""Records of conda packages as py-rattler has them: what a prefix holds, what a spec means, and both as plain data. With rattler_api the only module that
knows the library, whose names change often."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rattler import LockFile, MatchSpec, PackageRecord, PrefixRecord, RepoDataRecord, Subdir
from rattler.exceptions import InvalidMatchSpecError, ValidatePackageRecordsError

from agent.workers.problems import WorkError

_OF_A_PREFIX = (
    "extracted_package_dir", "package_tarball_full_path", "requested_spec", "requested_specs", "files", "paths_data", "link",
)  # fmt: skip
"""What a record of an installed package says beside what its channel said."""


def parse(spec: str) -> MatchSpec:
    """Raises WorkError that names the spec."""
    try:
        return MatchSpec(spec)
    except InvalidMatchSpecError as error:
        raise WorkError(
            f"package {spec!r}: {error}", kind="spec", hint="a match spec looks like 'numpy >=2,<3'"
        ) from error


def name_of(spec: str) -> str:
    """The package a spec is about."""
    name = parse(spec).name
    return name.normalized if name is not None else ""


def installed(prefix: str) -> tuple[list[PrefixRecord], list[str]]:
    """What conda-meta says is there, and the files in it that cannot be read as a record."""
    records, unreadable = [], []
    try:
        names = sorted(os.listdir(f"{prefix}/conda-meta"))
    except FileNotFoundError:
        return [], []
    for name in names:
        if name.endswith(".json"):
            path = f"{prefix}/conda-meta/{name}"
            try:
                records.append(PrefixRecord.from_path(Path(path)))
            except Exception:  # the library has many ways to say that a record is not one
                unreadable.append(path)
    return records, unreadable


def unmet(
    records: Sequence[PrefixRecord], specs: Sequence[str], serves: Callable[[MatchSpec, RepoDataRecord], bool]
) -> list[str]:
    """The specs that the installed packages do not meet; and if they lack something themselves, what."""
    by_name = {record.name.normalized: record for record in records}
    missing = []
    for text in specs:
        spec = parse(text)
        record = by_name.get(spec.name.normalized if spec.name is not None else "")
        if record is None or not spec.matches(record) or not serves(spec, record):
            missing.append(text)
    try:
        PackageRecord.validate(list(records))
    except ValidatePackageRecordsError as error:
        missing.append(str(error).splitlines()[0])
    return missing


def identity(record: RepoDataRecord) -> tuple[str, str, str, str]:
    return (record.name.normalized, str(record.version), str(record.build), record.subdir)


def verify_local(records: Iterable[RepoDataRecord]) -> None:
    """Checks digests of packages in a channel that is a directory: the library checks only what it downloads.

    Raises WorkError.
    """
    for record in records:
        address = urllib.parse.urlsplit(record.url)
        if address.scheme == "file" and record.sha256 is not None:
            path = urllib.request.url2pathname(address.path)
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").digest() != record.sha256:
                    raise WorkError(
                        f"hash mismatch: {path} is not the package that the channel's index describes",
                        hint="index the channel again, or put the package back",
                    )


def to_entry(record: RepoDataRecord) -> dict[str, Any]:
    """A record as plain data, as in an index of a channel with the address beside it."""
    whole = json.loads(record.to_json())
    return {name: value for name, value in sorted(whole.items()) if name not in _OF_A_PREFIX}


def from_entry(entry: Mapping[str, Any]) -> RepoDataRecord:
    """The record that ``to_entry`` was made of. Raises WorkError for anything else."""
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(entry, file)
            file.flush()
            record = RepoDataRecord(
                PackageRecord.from_index_json(Path(file.name)), entry["fn"], entry["url"], entry.get("channel") or ""
            )
        for name in ("sha256", "md5"):
            if entry.get(name):
                setattr(record, name, bytes.fromhex(entry[name]))
        if entry.get("size"):
            record.size = int(entry["size"])
    except Exception as error:  # the library has many ways to say that a record is not one
        raise WorkError(f"a lock entry is not one of a package: {error}", kind="spec") from error
    return record


def from_lock_file(content: str, environment: str) -> tuple[list[RepoDataRecord], list[str]]:
    """The conda packages of one environment in a lock file of rattler or pixi, and its packages from PyPI as pins. Raises WorkError."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "pixi.lock")
        path.write_text(content, encoding="utf-8")
        try:
            found = LockFile.from_path(path).environment(environment or "default")
        except Exception as error:
            raise WorkError(f"the lock file cannot be read: {error}", kind="spec") from error
    if found is None:
        raise WorkError(f"the lock file has no environment {environment or 'default'!r}", kind="spec")
    here = str(Subdir.current())
    platform = next((each for each in found.platforms() if str(each.name) == here), None)
    if platform is None:
        raise WorkError(f"the lock file has nothing for {here}", kind="spec")
    pins = []
    for package in found.pypi_packages().get(here, ()):
        hashes = package.hashes
        digest = f" --hash=sha256:{as_hex(hashes.sha256)}" if hashes and hashes.sha256 else ""
        pins.append(f"{package.name}=={package.version}{digest}")
    return list(found.conda_repodata_records_for_platform(platform) or ()), pins


def unpacked_name(file_name: str) -> str:
    """What a package's directory in the cache is called."""
    return file_name.removesuffix(".conda").removesuffix(".tar.bz2")


def as_hex(digest: bytes | None) -> str:
    """Nothing for no digest."""
    return digest.hex() if digest else ""
