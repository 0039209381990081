"""Byte-code is there before anybody imports, is the same in every build and on every host, and costs nothing where nothing changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from agent.workers import bytecode
from tests.workers.prefixes import PYTHON2, PYTHON3, Prefixes, prefixes

PYTHONS = pytest.mark.parametrize("python", [PYTHON2, PYTHON3], ids=["2.7", "3.11"])


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prefixes:
    return prefixes(tmp_path_factory.mktemp("bytecode"))


def compiled(prefix: Path, *others: Path) -> list[str]:
    """Settles and compiles; what was said."""
    said: list[str] = []
    bytecode.settle_times(str(prefix))
    bytecode.compile_all(str(prefix), [str(each) for each in others], said.append)
    return said


def tree(prefix: Path) -> dict[str, str]:
    return {
        str(path.relative_to(prefix)): hashlib.sha256(path.read_bytes()).hexdigest() for path in prefix.rglob("*.pyc")
    }


def with_prefix(prefix: Path) -> set[str]:
    """Names of the files that have the prefix in them, which are other ones in every build."""
    records = [json.loads(path.read_text()) for path in (prefix / "conda-meta").glob("*.json")]
    return {
        Path(path["_path"]).stem
        for record in records
        for path in record["paths_data"]["paths"]
        if path.get("prefix_placeholder")
    }


def runs(prefix: Path, code: str) -> str:
    """As a person would, with byte-code being written."""
    python = [f"{prefix}/bin/python", "-c", code]
    return subprocess.run(
        python, check=True, capture_output=True, text=True, cwd="/", env={"PATH": "/usr/bin:/bin"}
    ).stdout


def code_of(library: Path, module: str) -> Path:
    (found,) = [*library.glob(f"{module}.pyc"), *library.glob(f"__pycache__/{module}.*.pyc")]
    return found


def cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)))


@PYTHONS
def test_two_builds_on_hosts_of_other_sizes_have_the_same(
    made: Prefixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: tuple[str, ...]
) -> None:
    """Marshal tells which texts are shared in a process, so what else it compiled must not show; sets have an order of their own."""
    one, other = made.make(tmp_path / "1", *python), made.make(tmp_path / "2", *python)
    cores(monkeypatch, 1)
    compiled(one)
    cores(monkeypatch, 3)
    compiled(other)

    first, second = tree(one), tree(other)
    assert first.keys() == second.keys() and len(first) > 1000
    differ = {Path(path).name.partition(".")[0] for path in first if first[path] != second[path]}
    assert differ <= with_prefix(one)
    compiled(one)
    assert tree(one) == first, "and again the same in the same place"


@PYTHONS
def test_every_module_has_it_and_python_takes_it(made: Prefixes, tmp_path: Path, python: tuple[str, ...]) -> None:
    prefix = made.make(tmp_path / "1", *python)
    compiled(prefix)

    before = {path: path.stat().st_ino for path in prefix.rglob("*.pyc")}
    runs(prefix, "import six, json, ctypes, pip")

    assert {path: path.stat().st_ino for path in prefix.rglob("*.pyc")} == before, "nothing was compiled again"


@PYTHONS
def test_it_says_no_build_s_place_and_python_says_the_right_one(
    made: Prefixes, tmp_path: Path, python: tuple[str, ...]
) -> None:
    prefix = made.make(tmp_path / "1", *python)
    compiled(prefix)
    site = next(prefix.glob("lib/python*/site-packages"))

    code = code_of(site, "six").read_bytes()

    shown = f"{bytecode.SHOWN}/{site.relative_to(prefix)}/six.py"
    assert shown.encode() in code and str(prefix).encode() not in code
    assert runs(prefix, "import six; print(six.add_move.__code__.co_filename)") == f"{site}/six.py\n"


@PYTHONS
def test_that_of_unchanged_files_is_linked_from_another_build(
    made: Prefixes, tmp_path: Path, python: tuple[str, ...]
) -> None:
    old = made.make(tmp_path / "1", *python)
    compiled(old)
    library = next(old.glob("lib/python*"))
    # what Python compiled by itself names another file
    code_of(library, "bisect").unlink()
    runs(old, "import bisect")
    assert code_of(library, "bisect").exists()
    fresh = made.make(tmp_path / "2", *python)
    compiled(fresh)
    new = made.make(tmp_path / "3", *python)
    changed = next(new.glob("lib/python*")) / "this.py"
    changed.unlink()
    changed.write_text("changed = True\n")
    os.utime(changed, (1_700_000_000, 1_700_000_000))

    said = compiled(new, made.directory / "no-such-build", old)

    (words,) = said
    assert int(words.split()[1]) <= 2 + len(with_prefix(new)), (
        "the changed one, the one with another name, those with the prefix"
    )
    here = next(new.glob("lib/python*"))
    assert code_of(here, "pprint").samefile(code_of(library, "pprint"))
    assert not code_of(here, "this").samefile(code_of(library, "this"))
    linked, direct = tree(new), tree(fresh)
    this = str(code_of(here, "this").relative_to(new))
    differ = {Path(path).name.partition(".")[0] for path in linked if linked[path] != direct[path] and path != this}
    assert differ <= with_prefix(new), "linked or compiled, it is the same"


def test_the_same_size_and_time_are_not_the_same_file(made: Prefixes, tmp_path: Path) -> None:
    """All files that pip writes have one time."""
    old, new = made.make(tmp_path / "1", *PYTHON3), made.make(tmp_path / "2", *PYTHON3)
    for prefix, text in ((old, "version = 1\n"), (new, "version = 2\n")):
        file = prefix / "lib/python3.11/site-packages/spam.py"
        file.write_text(text)
        os.utime(file, (bytecode.LINKED, bytecode.LINKED))
    compiled(old)

    compiled(new, old)

    assert runs(new, "import spam; print(spam.version)") == "2\n"


def test_another_python_makes_its_own(made: Prefixes, tmp_path: Path) -> None:
    old, new = made.make(tmp_path / "1", *PYTHON3), made.make(tmp_path / "2", *PYTHON3)
    compiled(old)
    (record,) = (old / "conda-meta").glob("python-3*.json")
    record.rename(old / "conda-meta/python-3.11.1-0.json")

    compiled(new, old)

    assert not code_of(new / "lib/python3.11", "this").samefile(code_of(old / "lib/python3.11", "this"))


def test_the_cache_s_own_files_are_never_written(made: Prefixes, tmp_path: Path) -> None:
    """A package's byte-code that is too old is replaced in the build, not in what it is linked from."""
    prefix = made.make(tmp_path / "1", *PYTHON2)
    compiled(prefix)
    cached = tmp_path / "cached.pyc"
    code_of(prefix / "lib/python2.7", "this").rename(cached)
    content = b"stale" + cached.read_bytes()
    cached.write_bytes(content)
    (prefix / "lib/python2.7/this.pyc").hardlink_to(cached)

    compiled(prefix)

    assert cached.read_bytes() == content
    assert (prefix / "lib/python2.7/this.pyc").read_bytes() != content


def test_what_a_package_brought_stays(made: Prefixes, tmp_path: Path) -> None:
    prefix = made.make(tmp_path / "1", *PYTHON3)
    runs(prefix, "import six")
    own = code_of(prefix / "lib/python3.11/site-packages", "six")
    brought = own.read_bytes()
    (record,) = (prefix / "conda-meta").glob("six-*.json")
    content = json.loads(record.read_text())
    content["files"].append(str(own.relative_to(prefix)))
    record.unlink()
    record.write_text(json.dumps(content))

    compiled(prefix)

    assert own.read_bytes() == brought


def test_what_does_not_compile_is_no_failure_and_leaves_nothing(made: Prefixes, tmp_path: Path) -> None:
    prefix = made.make(tmp_path / "1", *PYTHON3)
    site = prefix / "lib/python3.11/site-packages"
    (site / "template.py").write_text("{{ name }} = {% x %}\n")
    (site / "binary.py").write_bytes(bytes(range(256)))
    (site / "line\nend.py").write_text("x = 1\n")
    (site / "ümlaut.py").write_text("x = 1\n")

    compiled(prefix)

    assert [
        path.name for path in site.glob("__pycache__/*") if path.name.startswith(("template", "binary", "line"))
    ] == []
    assert list(site.glob("__pycache__/*.new")) == []
    assert code_of(site, "ümlaut").exists() and code_of(site, "six").exists()


def test_without_python_there_is_nothing_to_do(made: Prefixes, tmp_path: Path) -> None:
    prefix = made.make(tmp_path / "1", "toy-lib")

    assert compiled(prefix) == []
    assert tree(prefix) == {}


def test_it_ends_in_time(made: Prefixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = made.make(tmp_path / "1", *PYTHON3)
    monkeypatch.setattr(bytecode, "SECONDS", 0.2)
    began = time.monotonic()

    compiled(prefix)

    assert time.monotonic() - began < 20
    assert len(tree(prefix)) < len(list(prefix.rglob("*.py")))
    assert list(prefix.rglob("*.pyc.new")) == []


def test_files_with_the_prefix_have_the_time_of_their_package(made: Prefixes, tmp_path: Path) -> None:
    prefix = made.make(tmp_path / "1", "toy-prefix", "toy-lib")
    (record,) = (prefix / "conda-meta").glob("toy-prefix-*.json")
    moment = json.loads(record.read_text())["timestamp"] // 1000
    untouched = (prefix / "share/toy-lib/VERSION").stat().st_mtime_ns
    link = (prefix / "share/toy-prefix/link").lstat().st_mtime_ns

    bytecode.settle_times(str(prefix))

    for path in ("bin/toy-prefix", "lib/toy-prefix.bin", "share/toy-prefix/text"):
        assert (prefix / path).stat().st_mtime == moment, path
    assert (prefix / "share/toy-lib/VERSION").stat().st_mtime_ns == untouched
    assert (prefix / "share/toy-prefix/link").lstat().st_mtime_ns == link


def test_a_file_that_others_share_keeps_its_time(made: Prefixes, tmp_path: Path) -> None:
    prefix = made.make(tmp_path / "1", "toy-prefix")
    shared = tmp_path / "shared"
    shared.hardlink_to(prefix / "bin/toy-prefix")
    os.utime(shared, (1_600_000_000, 1_600_000_000))

    bytecode.settle_times(str(prefix))

    assert shared.stat().st_mtime == 1_600_000_000


def test_a_package_without_a_time_gets_a_fixed_one(made: Prefixes, tmp_path: Path) -> None:
    prefix = made.make(tmp_path / "1", "toy-prefix")
    (path,) = (prefix / "conda-meta").glob("toy-prefix-*.json")
    record = json.loads(path.read_text())
    del record["timestamp"]
    path.unlink()
    path.write_text(json.dumps(record))
    shutil.copy(path, prefix / "conda-meta/none.json")
    (prefix / "conda-meta/broken.json").write_text("{")

    bytecode.settle_times(str(prefix))

    assert (prefix / "bin/toy-prefix").stat().st_mtime == bytecode.LINKED
