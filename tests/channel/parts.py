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
    pure: str = ""
    """The same for packages whose wheel for any platform is wanted although there is a compiled one."""

    @property
    def lists(self) -> tuple[str, ...]:
        """The files below requirements/."""
        return tuple(name for name in (self.wheels, self.pure, self.sources) if name)


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

R_LIBRARIES = (
    "libblas3",
    "libbz2-1.0",
    "libcom-err2",
    "libgfortran5",
    "libgomp1",
    "libgssapi-krb5-2",
    "libicu72",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "liblapack3",
    "liblzma5",
    "libpcre2-8-0",
    "libquadmath0",
    "libreadline8",
    "libssl3",
    "libtinfo6",
    "libtirpc3",
    "libtre5",
    "zlib1g",
)
# Its kernel opens a bitmap device before it runs anything, and those draw with Pango and Cairo.
R_DRAWING = (
    "fonts-dejavu-core",
    "libblkid1",
    "libbrotli1",
    "libbsd0",
    "libcairo2",
    "libdatrie1",
    "libdeflate0",
    "libexpat1",
    "libffi8",
    "libfontconfig1",
    "libfreetype6",
    "libfribidi0",
    "libglib2.0-0",
    "libgraphite2-3",
    "libharfbuzz0b",
    "libjbig0",
    "libjpeg62-turbo",
    "liblerc4",
    "libmd0",
    "libmount1",
    "libpango-1.0-0",
    "libpangocairo-1.0-0",
    "libpangoft2-1.0-0",
    "libpixman-1-0",
    "libpng16-16",
    "libselinux1",
    "libthai0",
    "libtiff6",
    "libuuid1",
    "libwebp7",
    "libx11-6",
    "libxau6",
    "libxcb-render0",
    "libxcb-shm0",
    "libxcb1",
    "libxdmcp6",
    "libxext6",
    "libxrender1",
    "libzstd1",
)
PBDZMQ_LIBRARIES = ("libnorm1", "libpgm-5.3-0", "libsodium23", "libzmq5")
R_KERNEL = (
    "base64enc",
    "cli",
    "crayon",
    "digest",
    "ellipsis",
    "evaluate",
    "fansi",
    "fastmap",
    "glue",
    "htmltools",
    "irdisplay",
    "irkernel",
    "jsonlite",
    "lifecycle",
    "pbdzmq",
    "pillar",
    "repr",
    "rlang",
    "utf8",
    "uuid",
    "vctrs",
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
    "py27": Part(
        python="2.7",
        release="bullseye",
        debs=(
            "python2.7-minimal",
            "libpython2.7-minimal",
            "libpython2.7-stdlib",
            "libssl1.1",
            "libffi7",
            *PYTHON_LIBRARIES,
        ),
        wheels="py27.txt",
        sources="py27-sources.txt",
        pure="py27-pure.txt",
    ),
    "r": Part(
        release="bookworm",
        debs=("r-base-core", *R_LIBRARIES, *R_DRAWING, *PBDZMQ_LIBRARIES, *(f"r-cran-{name}" for name in R_KERNEL)),
    ),
    "toy": Part(),
    "other": Part(),
}


def check_parts(names: Iterable[str]) -> tuple[str, ...]:
    """Return ``names`` without repetition, in the order of PARTS. Raises ValueError for one that is not a part."""
    wanted = set(names)
    if unknown := wanted - PARTS.keys():
        raise ValueError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in wanted)
