"""A host that a spec governs, for tests that change it behind the agent's back: what each verb says, and which services were started anew."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from agent.sandbox import Machine
from agent.sandbox.result import Result
from tests.system import roots

SPEC = (
    """
user:
  name: notebook
  shell: /bin/bash
  groups: [research]
  authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII someone@laptop]
jupyter:
  interface: lab
conda:
  environments:
    analysis:
      packages: [python 3.11.*, ipykernel, pip, pymysql, mysql-connector-python]
      kernel: Python 3.11
    tools:
      packages: [python 3.11.*, pip, six]
      pip: [humanize]
mysql:
  databases: [analysis]
  users:
    notebook:
      grants: {analysis: [ALL]}
    reader:
      grants: {analysis: [SELECT, SHOW VIEW]}
packages: [tree]
files:
  /etc/ticker.conf: {content: "rate = 1\\n", mode: "0640", group: research}
  /srv/shared: {directory: true, owner: notebook, group: research, mode: "2770"}
  /srv/shared/rules: {content: "be kind\\n", owner: notebook}
units:
  ticker.service:
    content: |
      [Service]
      ExecStart=/bin/sleep infinity
      [Install]
      WantedBy=multi-user.target
    enabled: true
    active: true
    restart_on: ["file:/etc/ticker.conf"]
"""
    + roots.PINNED
)
"""Every section, and of every kind at least one resource."""
SERVICES = ("jupyter.service", "mariadb.service", "ticker.service")


class Host:
    """A booted machine with the agent on it. Each verb fails the test when it exits otherwise than it should."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def run(self, script: str) -> str:
        return self.machine.run(script).stdout

    def agent(self, *words: str, status: int = 0) -> str:
        """What a verb says on standard output."""
        done = self.machine.run(["agent", *words], check=False)
        assert done.status == status, f"agent {' '.join(words)} exited {done.status}\n{done.stdout}{done.stderr}"
        return done.stdout

    def plan(self, *words: str, status: int = 2) -> dict[str, Any]:
        """``agent plan --json``; that nothing is pending is ``status`` 0."""
        return dict(json.loads(self.agent("plan", "--json", "--detailed-exitcode", *words, status=status)))

    def apply(self, *words: str, status: int = 0) -> dict[str, Any]:
        """``agent apply --json``, as a service would run it."""
        done: Result = self.machine.unit_run(["agent", "apply", "--yes", "--json", *words], check=False)
        assert done.status == status, f"agent apply exited {done.status}\n{done.stderr}"
        return dict(json.loads(done.stdout))

    def write_spec(self, text: str) -> None:
        roots.write_spec(self.machine, text)

    def status(self, status: int = 0) -> dict[str, Any]:
        """``agent status --json``."""
        return dict(json.loads(self.agent("status", "--json", status=status)))

    def invocations(self) -> dict[str, str]:
        """The invocation of each service: another one after every start."""
        show = f"systemctl show -p InvocationID --value {' '.join(SERVICES)}"
        return dict(zip(SERVICES, self.run(show).splitlines()[::2], strict=True))

    def starts(self, unit: str) -> int:
        """How often it was started, as the journal has it."""
        unit_started = "39f53479d3a045ac8e11786248231fbf"  # of sd-messages.h
        self.run("journalctl --sync")
        return self.run(f"journalctl --output=cat MESSAGE_ID={unit_started} UNIT={unit}").count("\n")

    def assert_as_wanted(self) -> None:
        """Every verb says so, and a further apply does nothing."""
        before = self.invocations()
        assert "No changes. " in self.agent("apply")
        self.agent("verify", "--quiet")
        assert all(condition["status"] for condition in self.status()["conditions"])
        assert self.invocations() == before


@contextlib.contextmanager
def governed(spec: str = SPEC, *, suite: str = "bookworm", network: bool = False) -> Iterator[Host]:
    """A booted host on which the spec was applied, and whose services the agent has started itself."""
    root = roots.applied_root(suite, spec)
    with Machine(root, network=network, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        host = Host(machine)
        host.run(f"systemctl stop {' '.join(SERVICES)}")
        host.apply()
        host.assert_as_wanted()
        yield host


def changes(outcome: dict[str, Any]) -> dict[str, str]:
    """Action by ref: of a plan, or of what an apply did."""
    if "changes" in outcome:
        removed = dict.fromkeys(outcome["removals"], "delete")
        return {each["ref"]: each["action"] for each in outcome["changes"]} | removed
    done = (each for each in outcome["outcomes"] if each["result"] == "changed")
    return {each["ref"]: each["change"]["action"] for each in done}
