"""Debian's R and its kernel for Jupyter as the conda packages ``r-base``, ``r-irkernel`` and what that needs.

R keeps its home in text files only, where the prefix stands in for it. What opens windows (X11, Tk) is left out; the
bitmap devices stay, with a font of their own, as a bare host has none.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.channel.elf import bundle
from tests.channel.interpreters import unpack
from tests.channel.package import PLACEHOLDER, Package, read_tree

HOME = f"{PLACEHOLDER}/lib/R"
UNWANTED = ("COPYING", "R_X11.so", "R_de.so", "demo", "help", "html", "site-library", "tcltk", "translations")
OF_BASE = ("libR.so", "libblas.so.3", "liblapack.so.3")
ELSEWHERE = ("libR.so", "libcurl.so.4")  # R's own, found through ldpaths; for url(), which works where the host has it
FONTS = f"""\
<?xml version="1.0"?>
<fontconfig>
  <dir>{PLACEHOLDER}/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""
KERNELSPEC = {
    "argv": [f"{PLACEHOLDER}/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"],
    "display_name": "R",
    "language": "R",
}
LIBRARY_DEBS = "r-cran-*.deb"


def r_packages(debs: Path) -> Iterator[Package]:
    """Yield r-base and one package for each of Debian's r-cran packages below ``debs``."""
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = Path(scratch)
        unpack(sorted(path for path in debs.glob("*.deb") if not path.match(LIBRARY_DEBS)), unpacked)
        yield _r_base(unpacked, _field(next(debs.glob("r-base-core_*.deb")), "Version"))
        for deb in sorted(debs.glob(LIBRARY_DEBS)):
            yield _r_library(deb, unpacked)


def _r_base(unpacked: Path, version: str) -> Package:
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch)
        home = stage / "lib/R"
        shutil.copytree(unpacked / "usr/lib/R", home, symlinks=True, ignore=shutil.ignore_patterns(*UNWANTED, "etc"))
        shutil.copytree(unpacked / "etc/R", home / "etc")
        shutil.copytree(unpacked / "usr/share/R/share", home / "share", ignore_dangling_symlinks=True)
        shutil.copytree(unpacked / "usr/share/R/include", home / "include")
        (home / "doc").mkdir()
        (home / "doc/README").write_text("The documentation is not part of this package.\n")
        # ucf(1) makes Renviron of it at installation
        environment = (unpacked / "usr/lib/R/etc/Renviron.ucf").read_text()
        fonts = f"FONTCONFIG_FILE=${{FONTCONFIG_FILE-{PLACEHOLDER}/etc/fonts/fonts.conf}}\n"
        (home / "etc/Renviron").write_text(_without(environment, "R_LIBS_SITE", "R_LIBS_USER") + fonts)
        (home / "etc/Renviron.site").write_text("# This environment's own library is the only one.\n")
        (home / "etc/ldpaths").write_text(
            f': "${{R_LD_LIBRARY_PATH={HOME}/lib}}"\n'
            'LD_LIBRARY_PATH="${R_LD_LIBRARY_PATH}${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}"\n'
            "export LD_LIBRARY_PATH\n"
        )
        shutil.copytree(unpacked / "usr/share/fonts", stage / "share/fonts")
        (stage / "etc/fonts").mkdir(parents=True)
        (stage / "etc/fonts/fonts.conf").write_text(FONTS)
        bundle(stage, unpacked, "lib/R/bundled", elsewhere=ELSEWHERE)
        _relocate(home)
        _programs(stage)
        short = re.match(r"\d+\.\d+\.\d+", version)
        return Package(
            name="r-base",
            version=short[0] if short else version,
            depends=("__glibc >=2.36",),
            noarch=None,
            licence="GPL-2.0-or-later",
            files=read_tree(stage),
        )


def _programs(stage: Path) -> None:
    """Put R and Rscript into bin; Rscript has R's home compiled in, which the environment overrides."""
    front_end = stage / "lib/R/bin/R"
    text = front_end.read_text()
    front_end.write_text(
        re.sub(r'if test "\$\{R_HOME_DIR\}" = "[^"]+/lib/R"; then.*?\nfi\n', "", text, flags=re.DOTALL)
    )
    programs = stage / "bin"
    programs.mkdir()
    shutil.copy2(front_end, programs / "R")
    script = programs / "Rscript"
    script.write_text(f'#!/bin/sh\nRHOME="{HOME}" exec "{HOME}/bin/Rscript" "$@"\n')
    script.chmod(0o755)


def _r_library(deb: Path, unpacked: Path) -> Package:
    with tempfile.TemporaryDirectory() as scratch:
        own, stage = Path(scratch, "own"), Path(scratch, "stage")
        unpack([deb], own)
        library = stage / "lib/R/library"
        unwanted = shutil.ignore_patterns("doc", "help", "html", "tests")
        shutil.copytree(own / "usr/lib/R/site-library", library, ignore=unwanted)
        compiled = any(library.rglob("*.so"))
        if compiled:
            bundle(stage, unpacked, f"lib/R/library/{next(library.iterdir()).name}/libs", elsewhere=OF_BASE)
        _relocate(library)
        name = _conda_name(deb.name.partition("_")[0])
        if name == "r-irkernel":
            kernel = stage / "share/jupyter/kernels/ir"
            kernel.mkdir(parents=True)
            (kernel / "kernel.json").write_text(json.dumps(KERNELSPEC, indent=1))
        needed = re.findall(r"r-cran-[a-z0-9.+-]+", _field(deb, "Depends"))
        return Package(
            name=name,
            version=library_version(_field(deb, "Version")),
            build="r42_0",
            depends=("r-base >=4.2,<4.3.0a0", *sorted({_conda_name(each) for each in needed})),
            noarch=None if compiled else "generic",
            files=read_tree(stage),
        )


def library_version(debian: str) -> str:
    """Return the version of an R package from that of its Debian package, spelled as conda-forge does."""
    upstream = debian.partition(":")[2] or debian
    upstream = upstream.rpartition("-")[0]
    return re.sub(r"[+~](dfsg|ds).*", "", upstream).replace("-", "_")


def _conda_name(debian: str) -> str:
    return "r-" + debian.removeprefix("r-cran-")


def _field(deb: Path, name: str) -> str:
    command = ("dpkg-deb", "--field", str(deb), name)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _relocate(top: Path) -> None:
    """Replace Debian's paths of R in text files."""
    for path in top.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if b"\0" in content:
                continue
            moved = content.replace(b"/usr/share/R/", f"{HOME}/".encode()).replace(b"/usr/lib/R", HOME.encode())
            if moved != content:
                path.write_bytes(moved)


def _without(text: str, *variables: str) -> str:
    kept = [line for line in text.splitlines(keepends=True) if not any(name in line for name in variables)]
    return "".join(kept)
