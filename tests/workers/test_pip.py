"""Packages from pip live beside conda's: chosen once with their hashes, never in place of conda's, and the same files wherever they are installed."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import socketserver
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from agent.workers import pip
from agent.workers.archives import Pin
from agent.workers.problems import WorkError
from tests.workers.prefixes import PYTHON2, PYTHON3, Prefixes, files_of, prefixes

PYTHONS = {"2.7": PYTHON2, "3.11": PYTHON3}


@dataclass
class Environment:
    """A prefix with Python, pip and six, and the wheels that pip may see."""

    prefix: Path
    wheels: Path
    index: pip.Index
    said: list[str] = field(default_factory=list)

    @property
    def owned(self) -> dict[str, str]:
        return pip.owned_by_conda(files_of(self.prefix))

    def resolve(self, *requirements: str, keep: tuple[str, ...] | list[str] = ()) -> list[str]:
        return pip.resolve(str(self.prefix), requirements, self.owned, keep, self.said.append, index=self.index)

    def install(self, pins: list[str]) -> None:
        pip.install(str(self.prefix), pins, self.said.append, index=self.index)

    def refused(self, *requirements: str) -> WorkError:
        with pytest.raises(WorkError) as caught:
            self.resolve(*requirements)
        return caught.value

    def runs(self, code: str) -> str:
        python = self.prefix / "bin/python"
        return subprocess.run(
            [python, "-B", "-c", code], check=True, capture_output=True, text=True, cwd="/"
        ).stdout.strip()

    def wheel(self, name: str, version: str, *requires: str, entry: str = "") -> Path:
        """With one module that knows its version, for every Python."""
        path = self.wheels / f"{name}-{version}-py2.py3-none-any.whl"
        meta = f"{name}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        files = {
            f"{name}.py": f"version = {version!r}\ndef main():\n    print(version)\n",
            f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
            f"{meta}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n",
        }
        if entry:
            files[f"{meta}/entry_points.txt"] = f"[console_scripts]\n{entry} = {name}:main\n"
        record = "".join(f"{each},,\n" for each in [*files, f"{meta}/RECORD"])
        with zipfile.ZipFile(path, "w") as archive:
            for each, content in {**files, f"{meta}/RECORD": record}.items():
                archive.writestr(each, content)
        return path

    def sources(self, name: str, version: str) -> Path:
        """An archive of sources with one module."""
        path, stem = self.wheels / f"{name}-{version}.tar.gz", f"{name}-{version}"
        files = {
            "setup.py": f"from setuptools import setup\nsetup(name={name!r}, version={version!r}, py_modules=[{name!r}])\n",
            "PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n",
            f"{name}.py": f"version = {version!r}\n",
        }
        with tarfile.open(path, "w:gz") as archive:
            for each, text in files.items():
                member = tarfile.TarInfo(f"{stem}/{each}")
                member.size = len(text)
                archive.addfile(member, BytesIO(text.encode()))
        return path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prefixes:
    return prefixes(tmp_path_factory.mktemp("pip"))


@pytest.fixture(scope="session")
def pristine(made: Prefixes) -> Callable[[str], Path]:
    """A prefix of each Python that no test changes."""
    return lambda python: (
        path if (path := made.directory / f"pristine-{python}").is_dir() else made.make(path, *PYTHONS[python])
    )


@pytest.fixture(params=list(PYTHONS))
def untouched(
    request: pytest.FixtureRequest, pristine: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Environment:
    """For choosing, which changes nothing."""
    return environment(pristine(request.param), tmp_path, monkeypatch)


@pytest.fixture(params=list(PYTHONS))
def changing(
    request: pytest.FixtureRequest, made: Prefixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Environment:
    """For installing."""
    return environment(made.make(tmp_path / "prefix", *PYTHONS[request.param]), tmp_path, monkeypatch)


def environment(prefix: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """pip sees nothing but the wheels that the test makes."""
    wheels = directory / "wheels"
    wheels.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return Environment(prefix, wheels, pip.Index(str(directory / "cache"), retries=0, timeout=5))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(prefix: Path) -> dict[str, tuple[str, int, int]]:
    """Digest, mode and time of each file; conda's own files have been there before."""
    found = {}
    for path in prefix.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[str(path.relative_to(prefix))] = (digest(path), status.st_mode, int(status.st_mtime))
    return found


# ---- choosing


def test_what_is_needed_comes_with_its_hash_and_what_conda_has_does_not(untouched: Environment) -> None:
    spam, eggs = untouched.wheel("spam", "1.0", "eggs", "six"), untouched.wheel("eggs", "2.0")
    untouched.wheel("six", "99.0")

    pins = untouched.resolve("spam", "six>=1")

    assert pins == [f"eggs==2.0 --hash=sha256:{digest(eggs)}", f"spam==1.0 --hash=sha256:{digest(spam)}"]
    assert "spam" not in pip.distributions(str(untouched.prefix)), "choosing installs nothing"


def test_versions_of_the_build_before_stay_as_long_as_they_can(untouched: Environment) -> None:
    for version in ("1.0", "2.0"):
        untouched.wheel("eggs", version)
        untouched.wheel("spam", version, f"eggs>={version}")
    before = untouched.resolve("spam<2", "eggs<2")

    assert untouched.resolve("spam", keep=before) == before
    assert [pin.split()[0] for pin in untouched.resolve("spam>=2", keep=before)] == ["eggs==2.0", "spam==2.0"]


def test_a_version_that_nobody_has_any_more_is_not_kept(untouched: Environment) -> None:
    untouched.wheel("spam", "2.0", "eggs")
    untouched.wheel("eggs", "2.0")

    pins = untouched.resolve("spam", keep=["eggs==1.5 --hash=sha256:00", "spam==1.5 --hash=sha256:00"])

    assert [pin.split()[0] for pin in pins] == ["eggs==2.0", "spam==2.0"]


def test_another_version_of_what_conda_brought_is_refused(untouched: Environment) -> None:
    untouched.wheel("six", "99.0")
    untouched.wheel("spam", "1.0", "six>=99")
    have = untouched.owned["six"]

    asked, needed = untouched.refused("six>=99"), untouched.refused("spam")

    for error in (asked, needed):
        assert error.kind == "pip"
        assert "under 'packages'" in error.hint
        assert have in str(error) and not error.temporary
    assert "'six>=99'" in str(asked)
    assert "spam" in str(needed) and "six>=99" in str(needed), needed


def test_an_address_for_what_conda_brought_is_refused(untouched: Environment) -> None:
    six = untouched.wheel("six", untouched.owned["six"])

    assert "under 'packages'" in untouched.refused(f"six @ {six.as_uri()}").hint


def test_an_address_stays_one(untouched: Environment) -> None:
    spam = untouched.wheel("spam", "1.0")

    assert untouched.resolve(f"spam @ {spam.as_uri()}") == [f"spam @ {spam.as_uri()} --hash=sha256:{digest(spam)}"]


def test_an_archive_of_sources_has_its_own_hash(changing: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    spam = changing.sources("spam", "1.0")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's own way to say yes: what builds is not among the wheels

    pins = changing.resolve("spam")
    changing.install(pins)

    assert pins == [f"spam==1.0 --hash=sha256:{digest(spam)}"]
    assert changing.runs("import spam; print(spam.version)") == "1.0"


def test_what_is_for_another_python_is_left_out(untouched: Environment) -> None:
    spam = untouched.wheel("spam", "1.0")

    pins = untouched.resolve("no-such-package; python_version < '2'", "spam; python_version > '2'")

    assert pins == [f"spam==1.0 --hash=sha256:{digest(spam)}"]


def test_what_an_extra_of_a_conda_package_needs_comes(untouched: Environment) -> None:
    """conda's requests without its optional parts, say."""
    spam = untouched.wheel("spam", "1.0")
    (metadata,) = [
        untouched.prefix / file for file in files_of(untouched.prefix) if "/six-" in file and file.endswith("METADATA")
    ]
    kept = metadata.read_bytes()
    metadata.unlink()  # it is linked from the cache
    headers, _, rest = kept.partition(b"\n\n")
    metadata.write_bytes(headers + b"\nProvides-Extra: more\nRequires-Dist: spam ; extra == 'more'\n\n" + rest)
    try:
        assert untouched.resolve("six[more]", "spam") == [f"spam==1.0 --hash=sha256:{digest(spam)}"]
    finally:
        metadata.write_bytes(kept)


def test_what_cannot_be_had_is_said_in_pip_s_words(untouched: Environment) -> None:
    error = untouched.refused("no-such-package")

    assert "no-such-package" in str(error) and not error.temporary


@pytest.mark.parametrize("requirement", ["spam @ git+https://x.test/spam", "git+https://x.test/spam#egg=spam", "-e ."])
def test_what_has_no_hash_is_refused(untouched: Environment, requirement: str) -> None:
    error = untouched.refused(requirement)

    assert error.about == (requirement,) and "archive" in error.hint


@pytest.fixture
def broken() -> Iterator[str]:
    """The address of an index that has nothing but bad days."""

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    server.shutdown()
    server.server_close()


def test_an_index_that_does_not_answer_is_a_temporary_failure(
    untouched: Environment, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")

    for address in ("http://127.0.0.1:9/simple", broken):
        monkeypatch.setenv("PIP_INDEX_URL", address)
        assert untouched.refused("spam").temporary, address


# ---- installing


def test_pins_are_installed_exactly_and_twice_give_the_same_files(changing: Environment, made: Prefixes) -> None:
    changing.wheel("spam", "1.0", "eggs", entry="spam")
    direct = changing.wheel("eggs", "1.0")
    before = set(tree(changing.prefix))
    pins = changing.resolve("spam", f"eggs @ {direct.as_uri()}")
    python = "2.7" if (changing.prefix / "bin/python2.7").exists() else "3.11"

    trees = []
    for _ in range(2):
        changing.install(pins)
        trees.append({name: facts for name, facts in tree(changing.prefix).items() if name not in before})
        assert changing.runs("import spam, eggs; print(spam.version + eggs.version)") == "1.01.0"
        made.make(changing.prefix, *PYTHONS[python])

    assert trees[0] == trees[1]
    assert {time for _, _, time in trees[0].values()} == {pip.WRITTEN}
    assert "bin/spam" in trees[0]
    assert not [name for name in trees[0] if name.endswith(".pyc")]


def test_an_archive_is_said_to_come_from_its_address_and_not_from_the_cache(changing: Environment) -> None:
    spam = changing.wheel("spam", "1.0")
    requirement = f"spam @ {spam.as_uri()}"

    changing.install(changing.resolve(requirement))

    site = next(changing.prefix.glob("lib/python*/site-packages"))
    text = (site / "spam-1.0.dist-info/direct_url.json").read_text()
    assert spam.as_uri() in text and "archives" not in text
    assert "direct_url.json,sha256=" in (site / "spam-1.0.dist-info/RECORD").read_text()
    assert pip.unmet(str(changing.prefix), [requirement]) == []
    assert pip.unmet(str(changing.prefix), ["spam @ https://x.test/spam-1.0.tar.gz"]) != []


def test_another_archive_of_the_same_name_is_refused(changing: Environment) -> None:
    changing.wheel("spam", "1.0")
    pins = changing.resolve("spam")
    shutil.rmtree(changing.index.cache)
    changing.wheel("spam", "1.0", "eggs")

    with pytest.raises(WorkError, match=r"(?i)hash"):
        changing.install(pins)

    assert "spam" not in pip.distributions(str(changing.prefix))


def test_a_pin_without_a_hash_is_refused(changing: Environment) -> None:
    with pytest.raises(WorkError, match="exact archive"):
        changing.install(["spam==1.0"])


class Served(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(changing: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[socketserver.TCPServer]:
    """The wheels by HTTP instead of from a directory."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Served, directory=str(changing.wheels)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_FIND_LINKS", f"http://127.0.0.1:{server.server_address[1]}/")
    yield server
    server.shutdown()
    server.server_close()


def test_what_was_downloaded_once_needs_no_network(changing: Environment, served: socketserver.TCPServer) -> None:
    changing.wheel("spam", "1.0", "eggs")
    changing.wheel("eggs", "1.0")
    pins = changing.resolve("spam")
    site = next(changing.prefix.glob("lib/python*/site-packages"))
    changing.install(pins)
    for path in (*site.glob("spam*"), *site.glob("eggs*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    served.shutdown()
    served.server_close()
    offline = pip.Index(changing.index.cache, offline=True)

    pip.install(str(changing.prefix), pins, changing.said.append, index=offline)

    assert pip.unmet(str(changing.prefix), pins) == []
    again = pip.resolve(
        str(changing.prefix), ["eggs", "ham"][:1], changing.owned, (), changing.said.append, index=offline
    )
    assert again == [] or again[0].startswith("eggs==1.0 ")
    with pytest.raises(WorkError) as caught:
        pip.install(str(changing.prefix), ["ham==1.0 --hash=sha256:00"], changing.said.append, index=offline)
    assert caught.value.temporary and "ham 1.0" in str(caught.value)


def test_an_archive_that_was_spoiled_is_fetched_again(changing: Environment) -> None:
    """A loss of power may leave a file empty."""
    changing.wheel("spam", "1.0")
    pins = changing.resolve("spam")
    archives = changing.index.archives
    pip.install(str(changing.prefix), pins, changing.said.append, index=changing.index)
    kept = archives.path(Pin.of(pins[0]))
    assert kept is not None
    Path(kept).write_bytes(b"")
    site = next(changing.prefix.glob("lib/python*/site-packages"))
    shutil.rmtree(site / "spam-1.0.dist-info")

    changing.install(pins)

    assert pip.unmet(str(changing.prefix), pins) == []
    assert archives.sound(Pin.of(pins[0]))


def test_archives_that_no_pin_names_go(changing: Environment) -> None:
    changing.wheel("spam", "1.0")
    changing.wheel("eggs", "1.0")
    pins = changing.resolve("spam", "eggs")
    changing.install(pins)
    archives = changing.index.archives

    would, size = archives.forget([pins[1]], dry_run=True)
    assert archives.forget([pins[1]]) == (would, size)

    assert would == ["eggs-1.0-py2.py3-none-any.whl"] and size > 0
    assert archives.forget([pins[1]]) == ([], 0)


# ---- what is there


def test_drift_is_seen(changing: Environment) -> None:
    changing.wheel("spam", "1.0", "eggs")
    changing.wheel("eggs", "1.0")
    pins = changing.resolve("spam==1.0")
    changing.install(pins)
    prefix, site = str(changing.prefix), next(changing.prefix.glob("lib/python*/site-packages"))
    assert pip.unmet(prefix, ["spam==1.0", *pins]) == []

    shutil.rmtree(site / "eggs-1.0.dist-info")
    assert pip.unmet(prefix, pins) == [pins[0]]

    (site / "spam-1.0.dist-info").rename(site / "spam-2.0.dist-info")
    metadata = site / "spam-2.0.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 2.0"))
    assert pip.unmet(prefix, ["spam==1.0"]) == ["spam==1.0"]
    assert pip.unmet(prefix, ["spam>1"]) == []


def test_what_pip_did_to_conda_s_packages_is_seen(changing: Environment) -> None:
    files, have = files_of(changing.prefix), changing.owned["six"]
    assert pip.replaced(str(changing.prefix), files) == []
    changing.wheel("six", "99.0")

    subprocess.run(
        [changing.prefix / "bin/python", "-B", "-m", "pip", "install", "-q", "six==99.0"],
        check=True, capture_output=True, cwd="/",
    )  # fmt: skip

    assert pip.replaced(str(changing.prefix), files) == [f"six {have}"]


def test_packages_of_the_account_do_not_pass_for_the_environment_s(
    untouched: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spam = untouched.wheel("spam", "1.0")
    version = "2.7" if (untouched.prefix / "bin/python2.7").exists() else "3.11"
    site = tmp_path / f"home/.local/lib/python{version}/site-packages"
    with zipfile.ZipFile(spam) as archive:
        for name in archive.namelist():
            archive.extract(name, site)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(site))

    assert pip.unmet(str(untouched.prefix), ["spam"]) == ["spam"]
    assert len(untouched.resolve("spam")) == 1


def test_an_environment_without_python_or_pip_is_told_so(made: Prefixes, tmp_path: Path) -> None:
    toy = made.make(tmp_path / "toy", "toy-lib")
    bare = made.make(tmp_path / "bare", "python 3.11.*")

    for prefix, package in ((toy, "python"), (bare, "pip")):
        assert pip.unmet(str(prefix), ["spam"]) == ["spam"]
        with pytest.raises(WorkError) as caught:
            pip.resolve(str(prefix), ["spam"], {}, (), print)
        assert f"'{package}'" in caught.value.hint


def test_names_of_distributions_are_told_from_names_of_files() -> None:
    assert pip.owned_by_conda(
        [
            "lib/python3.11/site-packages/ruamel.yaml-0.18.6.dist-info/METADATA",
            "site-packages/typing_extensions-4.1.dist-info/METADATA",
            "lib/python2.7/site-packages/tornado-5.1.1-py2.7.egg-info/PKG-INFO",
            "lib/python2.7/site-packages/wsgiref.egg-info",
            "lib/python2.7/site-packages/argparse-1.2.1.egg-info",
            "lib/x-1.0.dist-info/RECORD",
            "lib/python3.11/site-packages/setuptools/_vendor/wheel-0.45.dist-info/METADATA",
        ]
    ) == {"ruamel-yaml": "0.18.6", "typing-extensions": "4.1", "tornado": "5.1.1", "argparse": "1.2.1"}
    assert pip.name_of("Ruamel.Yaml[x] >=1") == "ruamel-yaml"
