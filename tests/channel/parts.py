"""What the channel can be made of: the inputs of each part."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the channel; without inputs it is made from nothing."""

    python: str = "3.11"
    release: str = ""
    """The Debian release that ``debs`` come from."""
    debs: tuple[str, ...] = ()
    wheels: str = ""
    """The file below requirements/ that names the wheels."""
    sources: str = ""
    """The same for packages that have no wheel."""


PYTHON_LIBRARIES = (
    "libbz2-1.0",
    "libcrypt1",
    "libdb5.3",
    "libexpat1",
    "liblzma5",
    "libncursesw6",
    "libreadline8",
    "libsqlite3-0",
    "libtinfo6",
    "libuuid1",
    "zlib1g",
)

PARTS = {
    "py311": Part(
        release="bookworm",
        debs=(
            "python3.11-minimal",
            "libpython3.11-minimal",
            "libpython3.11-stdlib",
            "libssl3",
            "libffi8",
            *PYTHON_LIBRARIES,
        ),
        wheels="py311.txt",
    ),
    "jupyter": Part(wheels="jupyter.txt"),
}


def check_parts(names: Iterable[str]) -> tuple[str, ...]:
    """Return ``names`` without repetition, in the order of PARTS. Raises ValueError for one that is not a part."""
    wanted = set(names)
    if unknown := wanted - PARTS.keys():
        raise ValueError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in wanted)
