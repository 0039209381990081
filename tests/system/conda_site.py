"""A host with the agent, and a conda channel beside it that can be changed, spoilt and asked what was asked of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.sandbox import Machine
from agent.sandbox.installed import agent_root
from tests.channel.serve import Mirror
from tests.system import roots

SPEC = "/etc/agent/spec.yaml"
ROOT = "/opt/conda"
PREFIX = f"{ROOT}/envs/analysis"
BUILDS = f"{ROOT}/builds/analysis"
BASE = """
user:
  name: nb
conda:
  mirrors:
    conda-forge: [{channel}]
  environments:
    analysis:
      packages: {packages}
      kernel: {kernel}
"""

# Run by an environment that has jupyter_client: starts the kernel of sys.argv[1], runs sys.argv[2], prints its output.
CLIENT = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name=sys.argv[1], startup_timeout=60)
said = []
client.execute_interactive(sys.argv[2], timeout=60, output_hook=lambda m: said.append(m["content"].get("text", "")))
client.stop_channels()
manager.shutdown_kernel(now=True)
print("".join(said).strip())
"""


def own_copy(parts: Sequence[str], directory: Path) -> Path:
    """A channel of one's own, which may be published to: its packages are shared with the one that is built once for all."""
    try:
        shutil.copytree(roots.channel(*parts), directory, copy_function=os.link)
    except (OSError, shutil.Error):  # another file system
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(roots.channel(*parts), directory)
    return directory


class Site:
    """A booted host and its channel, whose mirror is seen from it."""

    def __init__(self, machine: Machine, mirror: Mirror) -> None:
        self.machine, self.mirror = machine, mirror

    @property
    def channel(self) -> str:
        return self.mirror.url

    def declare(self, *packages: str, kernel: bool = False) -> None:
        """A spec with one environment, ``analysis``."""
        self.write(BASE.format(channel=self.channel, packages=json.dumps(packages), kernel=str(kernel).lower()))

    def write(self, spec: str) -> None:
        self.machine.run(f"mkdir -p /etc/agent; cat >{SPEC}; chmod 0644 {SPEC}", stdin=spec)

    def agent(self, verb: str, *words: str, status: int = 0) -> dict[str, Any]:
        """What a verb says in JSON; fails unless it exits with ``status``."""
        done = self.machine.run(["agent", *verb.split(), "--json", *words], check=False)
        assert done.status == status, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def apply(self, status: int = 0, *words: str) -> str:
        done = self.machine.unit_run(["agent", "apply", *words], check=False, timeout=600)
        assert done.status == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def pending(self) -> str:
        """What a plan says, of a host that is not as wanted."""
        done = self.machine.run(["agent", "plan", "--detailed-exitcode"], check=False)
        assert done.status == 2, done.stdout + done.stderr
        return done.stdout

    def assert_as_wanted(self) -> None:
        done = self.machine.run(["agent", "plan", "--detailed-exitcode"], check=False)
        assert done.status == 0, done.stdout + done.stderr

    def build(self, name: str = "analysis") -> str:
        """The directory of the build in force; the environment is nothing but a link to it."""
        target = self.machine.run(["readlink", f"{ROOT}/envs/{name}"]).stdout.strip()
        assert target.startswith(f"../builds/{name}/"), target
        return f"{ROOT}/{target.removeprefix('../')}"

    def builds(self, name: str = "analysis") -> set[str]:
        """Every directory of builds, finished or not."""
        found = self.machine.run(f"find {ROOT}/builds/{name} -mindepth 1 -maxdepth 1 -type d").stdout
        return set(found.split())

    def versions(self, name: str = "analysis") -> dict[str, str]:
        text = self.machine.run(f"cat {ROOT}/envs/{name}/conda-meta/*.json | tr -d '\\n'").stdout
        decoder, found = json.JSONDecoder(), {}
        while text:
            record, end = decoder.raw_decode(text)
            found[record["name"]] = record["version"]
            text = text[end:]
        return found

    def in_kernel(self, code: str, kernel: str = "analysis", client: str = PREFIX) -> str:
        """What code prints in the kernel, started by Jupyter's own client as the notebook account."""
        words = ["runuser", "-u", "nb", "--", "env", "JUPYTER_PATH=/etc/agent/jupyter/share"]
        return self.machine.run([*words, f"{client}/bin/python", "-c", CLIENT, kernel, code]).stdout.strip()


@contextmanager
def served(machine: Machine, directory: Path) -> Iterator[Site]:
    """The channel is served to the host alone."""
    with Mirror(directory, bind=machine.gateway) as mirror:
        yield Site(machine, mirror)


@contextmanager
def booted(directory: Path) -> Iterator[Site]:
    """A host with the agent, and a channel of its own below the directory."""
    with Machine(agent_root()) as machine, served(machine, own_copy((), directory / "channel")) as site:
        yield site
