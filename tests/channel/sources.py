"""Source archives without a wheel as conda packages for Python 2.7: their Python files, without compiled speed-ups."""

import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.channel.names import conda_name
from tests.channel.package import File, Package


@dataclass(frozen=True, slots=True)
class Source:
    """What of a source archive is the package, and what it needs."""

    top: str
    depends: tuple[str, ...] = ()


SOURCES: Mapping[str, Source] = {
    "scandir": Source("scandir.py"),
    "simplegeneric": Source("simplegeneric.py"),
    "tornado": Source("tornado/", ("backports_abc >=0.4", "futures", "singledispatch")),
}


def source_package(archive: Path) -> Package:
    """Return the package of the source ``archive``, named ``name-version`` and an ending."""
    name, version = archive.name.removesuffix(".tar.gz").removesuffix(".zip").rsplit("-", 1)
    source = SOURCES[name]
    files = {
        f"site-packages/{path}": File(content)
        for path, content in _contents(archive)
        if path.startswith(source.top) and path.endswith(".py") and "/test/" not in path
    }
    metadata = f"Metadata-Version: 1.1\nName: {name}\nVersion: {version}\n".encode()
    return Package(
        name=conda_name(name),
        version=version,
        build="py27_0",
        depends=(*source.depends, "python >=2.7,<2.8.0a0"),
        noarch="python",
        files={**files, f"site-packages/{name}-{version}-py2.7.egg-info": File(metadata)},
    )


def _contents(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of ``archive`` by their path below its one directory."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                if not entry.is_dir():
                    yield entry.filename.partition("/")[2], zipped.read(entry)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                yield member.name.partition("/")[2], content.read()
