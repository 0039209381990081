"""A small channel over HTTP, and a way to run the conda worker in it as an account without rights."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.host import builds
from agent.host.builds import Asked, Manifest, Place
from tests.channel.build import build
from tests.channel.serve import Mirror

CHECKOUT = Path(__file__).parents[2]
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from agent.workers.conda import main; main()"
NOBODY = 65534


_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@dataclass
class Worker:
    """Runs the worker on one environment; ``calls`` keeps its progress."""

    home: Path
    channel: Mirror
    progress: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return Place(str(self.home), "one")

    @property
    def prefix(self) -> Path:
        return Path(self.place.link)

    @property
    def build(self) -> str:
        """The one in force."""
        found = self.place.in_force()
        assert found, "nothing is in force"
        return found

    @property
    def manifest(self) -> Manifest:
        found = builds.read(self.place.manifest(self.build))
        assert found, "the build in force has no manifest"
        return found

    def builds(self) -> list[str]:
        """The directories of builds, finished or not."""
        return sorted(path.name for path in Path(self.place.builds).iterdir() if path.is_dir())

    def start(self, verb: str = "apply", **request: Any) -> subprocess.Popen[str]:
        names = {each.name for each in dataclasses.fields(Asked)}
        asked = {"channels": [self.channel.url], **{name: request.pop(name) for name in names & set(request)}}
        if "installer" in asked:
            request["installer"] = asked["installer"]
            asked["installer"] = asked["installer"][1]
        wanted = {"root": str(self.home), "name": "one", "asked": asked, **request}
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        process = subprocess.Popen(
            [*drop, sys.executable, "-I", "-c", PROGRAM, str(CHECKOUT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **self.variables},
            cwd="/",
        )
        assert process.stdin
        process.stdin.write(json.dumps({"verb": verb, **wanted}))
        process.stdin.close()
        process.stdin = None
        return process

    def end(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        output, errors = process.communicate(timeout=300)
        lines = [json.loads(line) for line in output.splitlines()]
        assert lines, f"the worker exited {process.returncode} and said: {errors}"
        self.progress = [line["progress"] for line in lines[:-1]]
        return dict(lines[-1])

    def run(self, verb: str = "apply", **request: Any) -> dict[str, Any]:
        return self.end(self.start(verb, **request))

    def apply(self, *packages: str, **request: Any) -> dict[str, Any]:
        """The result of an apply that must succeed."""
        answer = self.run(packages=packages, **request)
        assert "result" in answer, answer
        return dict(answer["result"])

    def refused(self, *packages: str, **request: Any) -> dict[str, Any]:
        """The error of an apply that must fail."""
        answer = self.run(packages=packages, **request)
        assert "error" in answer, answer
        return dict(answer["error"])

    def unmet(self, **request: Any) -> list[str]:
        """What the build in force lacks of what it was made for."""
        answer = self.run("check", **request)
        assert "result" in answer, answer
        return list(answer["result"]["unmet"])

    def versions(self) -> dict[str, str]:
        records = [json.loads(path.read_text()) for path in (self.prefix / "conda-meta").glob("*.json")]
        return {record["name"]: record["version"] for record in records}

    def kill_when_it_says(self, beginning: str, *packages: str) -> None:
        process = self.start(packages=packages)
        assert process.stdout
        for line in process.stdout:
            if json.loads(line).get("progress", "").startswith(beginning):
                process.send_signal(signal.SIGKILL)
                break
        process.wait(timeout=60)
        assert process.returncode == -signal.SIGKILL, "the worker ended before it could be killed"


def _with_rights(directory: Path) -> None:
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(*parts: str) -> Path:
        return build(tmp_path_factory.getbasetemp() / f"channel-{'-'.join(parts)}", parts)

    return make


@pytest.fixture
def serve(_built: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[..., Mirror]]:
    """``serve("toy")``: a channel of one's own, to be spoiled at will."""
    with contextlib.ExitStack() as running:
        count = itertools.count()

        def start(*parts: str) -> Mirror:
            directory = tmp_path / f"channel-{next(count)}"
            shutil.copytree(_built(*parts), directory)
            return running.enter_context(Mirror(directory))

        yield start


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the worker's account: pytest's own are closed to it."""
    directory = Path(tempfile.mkdtemp(prefix="agent-worker-"))
    _with_rights(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def worker(serve: Callable[..., Mirror], home: Path) -> Worker:
    """With the toy channel."""
    return Worker(home, serve("toy"))


@pytest.fixture
def python_worker(serve: Callable[..., Mirror], home: Path) -> Worker:
    """With Python 2.7 and 3.11 and the toys; pip sees nothing but the wheels in ``wheels``."""
    worker = Worker(home, serve("py311", "py27", "toy"))
    wheels = home / "wheels"
    wheels.mkdir()
    worker.variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    return worker
