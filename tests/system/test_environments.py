"""Conda environments and kernels on a real host: made as their owner, seen with the tools a person uses, repaired, removed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import Machine
from agent.sandbox.installed import agent_root
from tests.channel.build import build
from tests.channel.serve import address, server
from tests.system.conftest import Boot

SPEC = "/etc/agent/spec.yaml"
PREFIX = "/opt/conda/envs/analysis"
KERNEL = "/etc/agent/jupyter/share/kernels/analysis/kernel.json"
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


class Site:
    """A booted host with the agent, and a channel that it reaches; ``faults`` are statuses by the end of a path."""

    def __init__(self, machine: Machine, channel: str, faults: dict[str, HTTPStatus]) -> None:
        self.machine, self.channel, self.faults = machine, channel, faults

    def declare(self, *packages: str, kernel: bool = False) -> None:
        self.write(BASE.format(channel=self.channel, packages=json.dumps(packages), kernel=str(kernel).lower()))

    def write(self, spec: str) -> None:
        self.machine.run(f"mkdir -p /etc/agent; cat >{SPEC}; chmod 0644 {SPEC}", stdin=spec)

    def agent(self, verb: str, *words: str, status: int = 0) -> dict[str, Any]:
        """What a verb says in JSON; fails unless it exits with ``status``."""
        done = self.machine.run(["agent", verb, "--json", *words], check=False)
        assert done.status == status, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def apply(self, status: int = 0) -> str:
        done = self.machine.run(["agent", "apply"], check=False)
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

    def versions(self) -> dict[str, str]:
        script = f"cat {PREFIX}/conda-meta/*.json | tr -d '\\n'"
        decoder, text, found = json.JSONDecoder(), self.machine.run(script).stdout, {}
        while text:
            record, end = decoder.raw_decode(text)
            found[record["name"]] = record["version"]
            text = text[end:]
        return found


@pytest.fixture
def site(request: pytest.FixtureRequest, boot: Boot, tmp_path: Path) -> Iterator[Site]:
    channel = build(tmp_path / "channel", getattr(request, "param", ("py311", "toy")))
    machine = boot(agent_root())
    faults: dict[str, HTTPStatus] = {}
    listening = server(
        channel,
        bind=machine.gateway,
        fault=lambda path: next((status for end, status in faults.items() if path.endswith(end)), None),
    )
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield Site(machine, address(listening), faults)
    finally:
        listening.shutdown()
        listening.server_close()


def test_an_environment_lives_from_the_spec_to_its_removal(site: Site) -> None:
    run = site.machine.run
    site.declare("toy-app 1.*")
    assert "environment:analysis" in site.pending()
    site.apply()

    assert f"toy-app 1.0 in {PREFIX}" in run(f"{PREFIX}/bin/toy-app").stdout
    strangers = run(f"find {PREFIX} /opt/conda/pkgs ! -user nb | head").stdout
    assert strangers == "", "all of it belongs to its owner"
    site.assert_as_wanted()

    before = run(f"find {PREFIX} -printf '%p %i %T@ %C@\\n' | sort | sha256sum").stdout
    site.apply()
    assert run(f"find {PREFIX} -printf '%p %i %T@ %C@\\n' | sort | sha256sum").stdout == before

    run(f"rm {PREFIX}/conda-meta/toy-lib-*.json")
    assert "toy-lib" in site.pending()
    site.apply()
    assert site.versions() == {"toy-app": "1.0", "toy-lib": "1.1"}

    site.declare("toy-app 2.*", "toy-many")
    site.apply()
    assert site.versions() == {"toy-app": "2.0", "toy-lib": "2.0", "toy-many": "1.0"}

    site.write("user:\n  name: nb\n")
    site.apply()
    assert run("test -e /opt/conda", check=False).status == 1
    site.assert_as_wanted()


def test_a_failed_update_costs_nobody_a_working_environment(site: Site) -> None:
    site.declare("toy-app 1.*")
    site.apply()
    site.declare("toy-app 2.*")
    site.faults["toy-lib-2.0-0.tar.bz2"] = HTTPStatus.NOT_FOUND

    said = site.apply(status=3)

    assert "toy-lib-2.0-0.tar.bz2" in said
    assert f"toy-app 1.0 in {PREFIX}" in site.machine.run(f"{PREFIX}/bin/toy-app").stdout
    site.faults.clear()
    site.apply()
    assert site.versions()["toy-app"] == "2.0"


def test_packages_that_contradict_each_other_are_explained(site: Site) -> None:
    site.declare("toy-app 2.*", "toy-old")

    said = site.apply(status=3)

    assert "no set of packages meets the request" in said
    assert "toy-lib" in said


def test_an_agent_killed_in_the_middle_is_made_up_for(site: Site) -> None:
    run = site.machine.run
    site.declare("toy-app", "toy-big", "toy-many")
    phases = []
    for milliseconds in (0, 10, 30, 60, 100):
        run("systemd-run --quiet --collect --unit=apply agent apply")
        run(f"until grep -q working {PREFIX}/.agent/environment.json 2>/dev/null; do :; done", timeout=30)
        run(f"sleep {milliseconds / 1000}; systemctl kill --signal=KILL apply", check=False)
        run("while systemctl -q is-active apply; do sleep 0.05; done")
        phases.append(
            run(f"sed -n 's/.*phase.: .\\([a-z]*\\).*/\\1/p' {PREFIX}/.agent/environment.json", check=False).stdout
        )

        site.apply()

        site.assert_as_wanted()
        assert run(f"ls {PREFIX}/share/toy-many | wc -l").stdout.strip() == "1000"
        run(f"rm -rf {PREFIX} /opt/conda/pkgs/*")
    assert "working\n" in phases, phases


def test_a_kernel_runs_in_its_environment_and_comes_back_when_it_is_deleted(site: Site) -> None:
    run = site.machine.run
    site.declare("python 3.11.*", "ipykernel", "toy-activate", kernel=True)
    site.apply()

    spec = json.loads(run(f"cat {KERNEL}").stdout)
    assert spec["argv"][1] == f"{PREFIX}/bin/python"
    seen = run_in_kernel(site, "import os, sys; print(sys.prefix, os.environ['TOY_HOME'])")
    assert seen == f"{PREFIX} {PREFIX}/share/toy"

    run(f"rm {KERNEL}")
    assert "kernelspec:analysis" in site.pending()
    site.apply()
    assert json.loads(run(f"cat {KERNEL}").stdout) == spec

    run(f"chmod 0666 {KERNEL}")
    assert "kernelspec:analysis" in site.pending()
    site.apply()
    assert run(f"stat -c '%a %U' {KERNEL}").stdout == "644 root\n"

    site.declare("python 3.11.*", "ipykernel")
    site.apply()
    assert run(f"test -e {KERNEL}", check=False).status == 1


def test_a_full_disk_costs_nobody_a_working_environment(site: Site) -> None:
    run = site.machine.run
    run("mkdir /opt/conda; mount -t tmpfs -o size=8m,mode=0755 conda /opt/conda")
    site.declare("toy-app")
    site.apply()
    run("cat /dev/zero >/opt/conda/filler || true; truncate -s -500K /opt/conda/filler")
    site.declare("toy-app", "toy-big")

    said = site.apply(status=3)

    assert "No space left on device" in said
    assert "make room" in said
    assert f"toy-app 2.0 in {PREFIX}" in run(f"{PREFIX}/bin/toy-app").stdout
    run("rm /opt/conda/filler")
    site.apply()
    assert "toy-big" in site.versions()


LANGUAGES = """
user:
  name: nb
conda:
  mirrors:
    conda-forge: [{channel}]
  environments:
    analysis: {{packages: [python 3.11.*, ipykernel]}}
    old: {{packages: [python 2.7.*, ipykernel]}}
    stats: {{packages: [r-irkernel]}}
"""


@pytest.mark.parametrize("site", [("py311", "py27", "r")], indirect=True, ids=["all"])
def test_every_language_has_its_kernel(site: Site) -> None:
    site.write(LANGUAGES.format(channel=site.channel))
    site.apply()
    site.assert_as_wanted()

    assert run_in_kernel(site, "import sys; print(sys.version_info[:2])") == "(3, 11)"
    assert run_in_kernel(site, "import sys; print sys.version_info[:2]", "old") == "(2, 7)"
    assert run_in_kernel(site, "cat(Sys.getenv('CONDA_PREFIX'))", "stats") == "/opt/conda/envs/stats"


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


def run_in_kernel(site: Site, code: str, kernel: str = "analysis") -> str:
    """What code prints in the kernel, started by Jupyter's own client as the notebook account."""
    environment = "JUPYTER_PATH=/etc/agent/jupyter/share"
    client = ["runuser", "-u", "nb", "--", "env", environment, f"{PREFIX}/bin/python", "-c", CLIENT, kernel, code]
    return site.machine.run(client).stdout.strip()
