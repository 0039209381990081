"""Builds the channel, or takes it from the cache.

    python -m tests.channel.build OUT [--with py311,jupyter,...]

Needs a Python with nothing but its standard library, apt and pip. What was fetched and what was made is kept below
$AGENT_CACHE (/var/cache/agent) and used again as long as this package and its lists of requirements stay the same.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.channel import fetch
from tests.channel.debian import InputError
from tests.channel.parts import PARTS, Part, check_parts
from tests.channel.repodata import merge_repodata
from tests.channel.toys import write_other, write_toys

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
NOT_INPUTS = {
    "build.py",
    "installer.py",
    "installer.sh",
    "publish.py",
    "serve.py",
    "smoke.py",
}  # what these say does not end up in a package
KEY_FILE = ".built-from"
WRITERS: dict[str, Callable[[Path], None]] = {"toy": write_toys, "other": write_other}


def cache_directory() -> Path:
    """Return where inputs and finished parts are kept."""
    return Path(os.environ.get("AGENT_CACHE", "/var/cache/agent")) / "channel"


def digest(*texts: bytes) -> str:
    """Return a short name for ``texts``, other for other ones."""
    total = hashlib.sha256()
    for text in texts:
        total.update(len(text).to_bytes(8, "big") + text)
    return total.hexdigest()[:16]


def part_key(name: str) -> str:
    """Return the part's name with the digest of everything in this package that it is made by."""
    part = PARTS[name]
    modules = sorted(path for path in [*HERE.glob("*.py"), *HERE.glob("standin/*")] if path.name not in NOT_INPUTS)
    lists = [HERE / "requirements" / file for file in (*part.lists, "build.txt")]
    return f"{name}-{digest(*(path.read_bytes() for path in [*modules, *lists]))}"


def build(out: Path, parts: Iterable[str]) -> Path:
    """Make ``out`` a channel that holds ``parts`` and return it.

    What stood there is replaced as a whole if it was built here, and left alone if it already is what was asked
    for. Raises InputError if something cannot be fetched, ValueError for an unknown part, FileExistsError if
    ``out`` is something else.
    """
    keys = [part_key(name) for name in check_parts(parts)]
    wanted = "\n".join(keys) + "\n"
    key_file = out / KEY_FILE
    if key_file.exists() and key_file.read_text() == wanted:
        return out
    if out.exists() and not key_file.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not a channel built here: choose another directory")
    cache = cache_directory()
    with _locked(cache / "lock"):
        missing = [key for key in keys if not (cache / "parts" / key).is_dir()]
        if missing:
            _make_parts(cache, missing)
        _publish([cache / "parts" / key for key in keys], out, wanted)
    return out


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError as error:
        raise InputError(f"{path.parent} cannot be written: set AGENT_CACHE to a directory that can") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_parts(cache: Path, keys: list[str]) -> None:
    """Fetch the inputs of all parts side by side, then assemble one part after the other."""
    names = [key.rpartition("-")[0] for key in keys]
    environment = _environment(cache)
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        fetching = [pool.submit(_fetch_debs, cache, PARTS[name]) for name in names if PARTS[name].debs]
        if fetching or any(PARTS[name].wheels for name in names):
            if not environment.is_dir():
                _say(started, "making the builder's virtual environment")
                fetch.make_venv(environment)
            _say(started, f"fetching what {', '.join(names)} is made from")
        wheels = [name for name in names if PARTS[name].wheels]
        fetching += [pool.submit(_fetch_wheels, cache, PARTS[name], environment) for name in wheels]
        for future in fetching:
            future.result()
    for name, key in zip(names, keys, strict=True):
        _say(started, f"assembling {name}")
        _make_part(cache, name, key)
    _say(started, "done")


def _environment(cache: Path) -> Path:
    requirements = (fetch.REQUIREMENTS / "build.txt").read_bytes()
    return cache / f"venv-{digest(requirements, sys.version.encode(), sys.base_prefix.encode())}"


def _fetch_debs(cache: Path, part: Part) -> Path:
    directory = cache / "debs" / f"{part.release}-{digest(*(name.encode() for name in part.debs))}"
    if not directory.is_dir():
        fetch.fetch_debs(part, cache / "apt" / directory.name, directory)
    return directory


def _fetch_wheels(cache: Path, part: Part, environment: Path) -> Path:
    lists = [(fetch.REQUIREMENTS / file).read_bytes() for file in part.lists]
    directory = cache / "wheels" / f"{Path(part.wheels).stem}-{digest(*lists)}"
    if not directory.is_dir():
        fetch.fetch_wheels(part, environment, directory)
    return directory


def _make_part(cache: Path, name: str, key: str) -> None:
    scratch = cache / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    out = scratch / "out"
    out.mkdir(parents=True)
    part = PARTS[name]
    if part.debs or part.wheels:
        _assemble(cache, name, scratch / "inputs", out)
    else:
        WRITERS[name](out)
    for older in (cache / "parts").glob(f"{name}-*"):
        shutil.rmtree(older)
    (cache / "parts").mkdir(exist_ok=True)
    out.rename(cache / "parts" / key)
    shutil.rmtree(scratch)


def _assemble(cache: Path, name: str, inputs: Path, out: Path) -> None:
    """Run the assembler in the builder's own virtual environment."""
    part = PARTS[name]
    environment = _environment(cache)
    inputs.mkdir()
    if part.debs:
        (inputs / "debs").symlink_to(_fetch_debs(cache, part))
    if part.wheels:
        (inputs / "wheels").symlink_to(_fetch_wheels(cache, part, environment))
    path = f"{environment / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(
        (environment / "bin/python", "-m", "tests.channel.assemble", name, inputs, out),
        cwd=CHECKOUT,
        env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=sys.stderr,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise InputError(f"the packages of {name} could not be made: see above")


def _publish(parts: list[Path], out: Path, key: str) -> None:
    scratch, replaced = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    for left_over in (scratch, replaced):
        shutil.rmtree(left_over, ignore_errors=True)
    for part, name in merge_repodata(parts, scratch):
        _link_or_copy(part / name, scratch / name)
    (scratch / KEY_FILE).write_text(key)
    if out.exists():
        out.rename(replaced)
    scratch.rename(out)
    shutil.rmtree(replaced, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _say(started: float, text: str) -> None:
    print(f"channel: {time.monotonic() - started:5.1f} s  {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Build the channel that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.channel.build", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="the channel's directory")
    parser.add_argument("--with", dest="parts", default="py311,jupyter", help=f"of {','.join(PARTS)}; %(default)s")
    arguments = parser.parse_args()
    try:
        build(arguments.out.absolute(), arguments.parts.split(","))
    except (InputError, FileExistsError, ValueError) as error:
        print(f"channel: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
