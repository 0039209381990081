"""Makes programs taken out of Debian packages carry the shared libraries they need, except the C library's."""

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

# In every Debian and Ubuntu root: glibc itself and the two runtime libraries that apt needs.
OF_THE_HOST = frozenset(
    {
        "ld-linux-x86-64.so.2",
        "libc.so.6",
        "libdl.so.2",
        "libgcc_s.so.1",
        "libm.so.6",
        "libpthread.so.0",
        "libresolv.so.2",
        "librt.so.1",
        "libstdc++.so.6",
        "libutil.so.1",
    }
)


def bundle(stage: Path, libraries: Path, into: str, *, elsewhere: Collection[str] = ()) -> None:
    """Copy what the programs below ``stage`` need from ``libraries`` to its directory ``into``; they look there.

    Two packages of one environment must not share that directory. ``elsewhere`` names libraries that are found
    without a path, or done without. Any other one that is neither in ``libraries`` nor on every host raises
    FileNotFoundError.
    """
    available = {path.name: path.resolve() for path in sorted(libraries.rglob("*.so*")) if path.exists()}
    found_elsewhere = OF_THE_HOST.union(elsewhere)
    library_directory = stage / into
    library_directory.mkdir(exist_ok=True)
    queue = list(_programs(stage))
    while queue:
        program = queue.pop()
        needed = [name for name in _patchelf("--print-needed", str(program)).split() if name not in found_elsewhere]
        for name in needed:
            target = library_directory / name
            if not target.exists():
                if name not in available:
                    raise FileNotFoundError(
                        f"{program.relative_to(stage)} needs {name}, which is in no package fetched"
                    )
                shutil.copyfile(available[name], target)
                target.chmod(0o755)
                queue.append(target)
        if needed:
            below = os.path.relpath(library_directory, program.parent)
            _patchelf("--set-rpath", "$ORIGIN" if below == "." else f"$ORIGIN/{below}", str(program))


def _programs(stage: Path) -> Iterator[Path]:
    for path in sorted(stage.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                magic = file.read(18)
            # e_type 2 and 3: executables and shared objects, not object files
            if magic[:4] == b"\x7fELF" and magic[16] in {2, 3}:
                yield path


def _patchelf(*arguments: str) -> str:
    return subprocess.run(("patchelf", *arguments), check=True, capture_output=True, text=True).stdout
