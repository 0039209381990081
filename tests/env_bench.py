"""A host whose environments are links and notes below a directory: what the tests of `agent env` work on."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import os
from pathlib import Path
from typing import Any

import pytest

from agent import environments, inventory, update
from agent.apply import Report, Request
from agent.cli import arguments, env
from agent.environments import Order
from agent.errors import Exit, Problem, SpecError
from agent.host import builds
from agent.host.builds import Asked
from agent.host.machine import Host, Paths
from agent.kinds.environment import Environment
from agent.ledger import Ledger
from agent.spec import listing
from agent.spec.spec import Spec
from agent.steps import Listing
from agent.wanted import Wanted
from tests import made

ASKED = Asked(channels=("main",), packages=("numpy",))
OLD, NOW = "a" * 12, "b" * 12
TWO_ZERO, TWO_ONE, TWO_TWO = (made.package("numpy", version) for version in ("2.0", "2.1", "2.2"))


class Bench:
    """A host whose environments are links and notes below a directory, a spec with one environment, and the worker."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spec = str(directory / "spec.yaml")
        self.lock = directory / "spec.lock"
        self.host = Host(Paths(state=str(directory / "state"), logs=str(directory / "log")))
        self.worker = made.Worker()
        monkeypatch.setattr(self.host.environments, "_ask", self.worker)
        self.environment = Environment(
            "analysis",
            root=str(directory / "conda"),
            owner=getpass.getuser(),
            channels=ASKED.channels,
            packages=ASKED.packages,
        )
        self.problem: Problem | None = None
        """What is wrong with the spec beside the environment."""
        self.contradiction = False
        """Whether a lock file that is not one for the spec counts as wrong."""
        self.passes: list[Request] = []
        self.report = Report(Exit.OK)
        for module in (environments, update):
            monkeypatch.setattr(module, "want", self._want)
        monkeypatch.setattr(environments, "Apply", self._apply)
        monkeypatch.setattr(env, "want", self._want)

    def _want(self, _path: str, _host: Host, *, lock: bool = True, trusted_only: bool = True) -> Wanted:
        entry = listing.read_lock(str(self.lock)).get("analysis") if lock else None
        if lock and self.problem:
            raise SpecError((self.problem,))
        if lock and self.contradiction and entry and entry["packages"] != list(self.environment.packages):
            raise SpecError((Problem(None, "conda.environments.analysis", "has changed"),))
        exact = Listing(str(self.lock), builds.digest(entry), "agent", "analysis") if entry else None
        environment = self.with_(listing=exact)
        return Wanted(Spec(), (), {environment.ref: environment})

    def with_(self, **fields: Any) -> Environment:
        return dataclasses.replace(self.environment, **fields)

    def _apply(self, request: Request, _host: Host) -> Any:
        self.passes.append(request)
        return argparse.Namespace(run=lambda: self.report)

    @property
    def place(self) -> builds.Place:
        return self.environment.place

    def order(self, *names: str) -> Order:
        return Order(self.spec, names, lock_timeout=1)

    def make(self, build: str, package: dict[str, Any], asked: Asked = ASKED, **manifest: Any) -> dict[str, Any]:
        entry = made.make(self.place, build, asked, [package], **manifest)
        builds.point(self.place, build)
        return entry

    def two_builds(self) -> None:
        self.make(OLD, TWO_ZERO, created=1000.0)
        self.make(NOW, TWO_ONE, created=2000.0)

    def view(self) -> inventory.View:
        self.host.begin({})
        wanted = self._want("", self.host)
        os.makedirs(self.host.paths.state, exist_ok=True)
        environment = inventory.environments(wanted.resources)["analysis"]
        return inventory.view(environment, wanted.resources, self.host, Ledger(f"{self.host.paths.state}/ledger.jsonl"))

    def run(self, *words: str) -> int:
        return env._ACTIONS[words[0]](arguments.parser().parse_args(["env", *words, "--spec", self.spec]), self.host)
