"""Builds the channel, or takes it from the cache.

    python -m tests.channel.build OUT [--with py311,jupyter,...]

Needs a Python with nothing but its standard library, apt and pip. What was fetched and what was made is kept below
$AGENT_CACHE (/var/cache/agent) and used again as long as this package and its lists of requirements stay the same.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.channel import fetch
from tests.channel.debian import InputError
from tests.channel.parts import PARTS, Part, check_parts

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
NOT_INPUTS = {"build.py", "serve.py", "smoke.py"}  # what these say does not end up in a package
KEY_FILE = ".built-from"


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
    modules = sorted(path for path in HERE.glob("*.py") if path.name not in NOT_INPUTS)
    lists = [HERE / "requirements" / file for file in (part.wheels, part.sources, "build.txt") if file]
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
    requirements = fetch.REQUIREMENTS
    environment = cache / f"venv-{digest((requirements / 'build.txt').read_bytes(), sys.version.encode())}"
    names = [key.rpartition("-")[0] for key in keys]
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        debs = [pool.submit(_fetch_debs, cache, PARTS[name]) for name in names if PARTS[name].debs]
        if not environment.is_dir():
            _say(started, "making the builder's virtual environment")
            fetch.make_venv(environment)
        wheels = [pool.submit(_fetch_wheels, cache, PARTS[name], environment) for name in names if PARTS[name].wheels]
        _say(started, f"fetching the inputs of {', '.join(names)}")
        _wait_for([*debs, *wheels])
    for name, key in zip(names, keys, strict=True):
        _say(started, f"assembling {name}")
        _assemble(cache, name, key, environment)
    _say(started, "done")


def _fetch_debs(cache: Path, part: Part) -> Path:
    directory = cache / "debs" / f"{part.release}-{digest(*(name.encode() for name in part.debs))}"
    if not directory.is_dir():
        fetch.fetch_debs(part, cache / "apt" / directory.name, directory)
    return directory


def _fetch_wheels(cache: Path, part: Part, environment: Path) -> Path:
    lists = [(fetch.REQUIREMENTS / file).read_bytes() for file in (part.wheels, part.sources) if file]
    directory = cache / "wheels" / f"{Path(part.wheels).stem}-{digest(*lists)}"
    if not directory.is_dir():
        fetch.fetch_wheels(part, environment, directory)
    return directory


def _wait_for(futures: list[Future[Path]]) -> None:
    for future in futures:
        future.result()


def _assemble(cache: Path, name: str, key: str, environment: Path) -> None:
    part = PARTS[name]
    scratch = cache / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "inputs").mkdir(parents=True)
    if part.debs:
        (scratch / "inputs/debs").symlink_to(_fetch_debs(cache, part))
    if part.wheels:
        (scratch / "inputs/wheels").symlink_to(_fetch_wheels(cache, part, environment))
    program = (environment / "bin/python", "-m", "tests.channel.assemble", name, scratch / "inputs", scratch / "out")
    path = f"{environment / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(
        program,
        cwd=CHECKOUT,
        env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=sys.stderr,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise InputError(f"the packages of {name} could not be made: see above")
    for older in (cache / "parts").glob(f"{name}-*"):
        shutil.rmtree(older)
    (cache / "parts").mkdir(exist_ok=True)
    (scratch / "out").rename(cache / "parts" / key)
    shutil.rmtree(scratch)


def _publish(parts: list[Path], out: Path, key: str) -> None:
    scratch = out.with_name(f".{out.name}.{os.getpid()}.new")
    for subdir in ("linux-64", "noarch"):
        (scratch / subdir).mkdir(parents=True)
        merged = {
            "packages": {},
            "packages.conda": {},
            "info": {"subdir": subdir},
            "removed": [],
            "repodata_version": 1,
        }
        for part in parts:
            repodata = json.loads((part / subdir / "repodata.json").read_text())
            for section in ("packages", "packages.conda"):
                merged[section].update(repodata[section])  # type: ignore[attr-defined]
                for name in repodata[section]:
                    _link_or_copy(part / subdir / name, scratch / subdir / name)
        (scratch / subdir / "repodata.json").write_text(json.dumps(merged, indent=1, sort_keys=True))
    (scratch / KEY_FILE).write_text(key)
    replaced = out.with_name(f".{out.name}.{os.getpid()}.old")
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
