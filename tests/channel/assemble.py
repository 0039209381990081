"""Makes the packages of one part from its inputs; runs in the builder's own virtual environment.

    python -m tests.channel.assemble PART INPUTS OUT

INPUTS holds ``debs`` and ``wheels``, as far as the part has them. OUT gets the packages and, for each of its
subdirectories, their records as repodata.json.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.channel.interpreters import python27, python311
from tests.channel.package import Package, write
from tests.channel.parts import PARTS
from tests.channel.repodata import Written, write_repodata
from tests.channel.rlang import r_packages
from tests.channel.sources import source_package
from tests.channel.wheels import Extra, Wheel, extras_asked_for

FROM_DEBS: dict[str, Callable[[Path], Iterable[Package]]] = {
    "py311": lambda debs: [python311(debs)],
    "py27": lambda debs: [python27(debs)],
    "r": r_packages,
}


def convert_wheel(path: Path, python: str, out: Path) -> tuple[Written, set[Extra]]:
    """Write the package of one wheel; return it with the extras of others that it asks for."""
    wheel = Wheel(path, python)
    return write(wheel.package(), out), extras_asked_for(wheel)


def assemble(part_name: str, inputs: Path, out: Path) -> None:
    """Make every package of the part."""
    part = PARTS[part_name]
    wheels = sorted(inputs.glob("wheels/*.whl"), key=lambda path: path.stat().st_size, reverse=True)
    with ProcessPoolExecutor() as pool:
        from_debs = pool.submit(_from_debs, part_name, inputs / "debs", out)
        converted = list(pool.map(convert_wheel, wheels, [part.python] * len(wheels), [out] * len(wheels)))
        records = [*from_debs.result(), *(written for written, _ in converted)]
    wanted = set[Extra]().union(*(extras for _, extras in converted))
    archives = sorted(path for path in inputs.glob("wheels/*") if path.suffix != ".whl")
    records += [write(source_package(path), out) for path in archives]
    records += _extras(wheels, part.python, wanted, out)
    write_repodata(records, out)


def _from_debs(part_name: str, debs: Path, out: Path) -> list[Written]:
    return [write(package, out) for package in FROM_DEBS[part_name](debs)] if part_name in FROM_DEBS else []


def _extras(paths: Iterable[Path], python: str, wanted: set[Extra], out: Path) -> Iterator[Written]:
    for path in paths:
        wheel = Wheel(path, python)
        for name, extra in sorted(wanted):
            if wheel.package().name == name:
                yield write(wheel.package_with(extra), out)


if __name__ == "__main__":
    assemble(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
