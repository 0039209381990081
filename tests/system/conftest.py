"""Throw-away hosts for system tests, and what a failed one leaves to read.

The journal and console of each host of a failed test are kept below $AGENT_TEST_LOGS, or a new temporary directory,
and the report says where.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import Machine, Root, base_root, living, sweep
from tests.system import roots

_HERE = Path(__file__).parent
_LOGS = pytest.StashKey[Path]()

Boot = Callable[..., Machine]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_from_before() -> None:
    sweep()


@pytest.fixture
def boot() -> Iterator[Boot]:
    """``boot(suite_or_root="bookworm", **options) -> Machine``: hosts that end with the test."""
    with contextlib.ExitStack() as stack:

        def boot(root: str | Root = "bookworm", **options: Any) -> Machine:
            return stack.enter_context(Machine(base_root(root) if isinstance(root, str) else root, **options))

        yield boot


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Saves the logs as soon as a test has failed, while its hosts still run: all there are, whoever started them."""
    report = yield
    if report.failed and call.when != "teardown" and living():
        folder = _logs(item.config) / re.sub(r"[^\w.-]+", "_", item.nodeid)
        for machine in living():
            with contextlib.suppress(OSError):
                machine.save_logs(folder / machine.name)
        report.sections.append(("hosts of this test", f"journal.txt and console.log are in {folder}"))
    return report


def _logs(config: pytest.Config) -> Path:
    if _LOGS not in config.stash:
        named = os.environ.get("AGENT_TEST_LOGS")
        config.stash[_LOGS] = Path(named) if named else Path(tempfile.mkdtemp(prefix="agent-test-logs-"))
    return config.stash[_LOGS]


@pytest.fixture
def bare(boot: Boot) -> Boot:
    """``bare(suite="bookworm", **options) -> Machine``: the agent is installed, with a way out and the conda channel; nothing was applied."""

    def bare(suite: str = "bookworm", **options: Any) -> Machine:
        return boot(roots.bare_root(suite), network=True, binds=[roots.channel_bind()], **options)

    return bare


@pytest.fixture
def applied(boot: Boot) -> Boot:
    """``applied(suite="bookworm", spec=QUICKSTART, **options) -> Machine``: the spec was applied before the host was booted."""

    def applied(suite: str = "bookworm", spec: str = roots.QUICKSTART, **options: Any) -> Machine:
        root = roots.applied_root(suite, spec)
        options = {"binds": [roots.channel_bind()], "prepare": roots.same_host(root), **options}
        machine = boot(root, **options)
        machine.wait_booted()
        return machine

    return applied
