"""The verb `try`: a spec applied in a throw-away host, its Jupyter server opened here."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.console import paint, say
from agent.errors import AgentError, UsageError
from agent.host.machine import Host
from agent.specfiles import drop_ins, lock_path
from agent.wanted import Wanted, want

if TYPE_CHECKING:
    from agent.sandbox import Machine

SPEC = "/etc/agent/spec.yaml"


def attempt(options: argparse.Namespace) -> int:
    """Boots a throw-away host, applies the spec in it, and shows how to reach what came up. Leaves nothing behind."""
    if os.geteuid() != 0:
        raise AgentError("a throw-away host needs root on this machine", hint="sudo agent try SPEC")
    from agent.sandbox import Machine, sweep
    from agent.sandbox.installed import agent_root

    path = os.path.abspath(options.spec)
    wanted = want(path, Host(), trusted_only=False)
    sweep()
    root = agent_root(options.suite, tell=say)
    with (
        Machine(root, network=True, prepare=lambda top: _put_spec(top, path, wanted.documents)) as machine,
        _mirrors(options.mirror, machine),
    ):
        say(f"Booted {machine.name}; applying {options.spec}")
        status = _apply(machine)
        if status:
            print(machine.run(["agent", "status"], check=False).stdout, end="")
            return status
        _show(machine, wanted, options)
        if options.once:
            return _check(machine)
        _stay(machine)
    return 0


def _put_spec(top: Path, path: str, documents: tuple[tuple[str, bytes], ...]) -> None:
    """The spec and what stands beside it, where the agent in the host looks for them."""
    for name, content in documents:
        target = top / _inside(name, path).lstrip("/")
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o600)


def _inside(name: str, path: str) -> str:
    """Where a file of the spec at ``path`` is in the host. What the spec names by an absolute path is there, too."""
    for own, there in ((path, SPEC), (lock_path(path), lock_path(SPEC))):
        if name == own:
            return there
    if os.path.dirname(name) == drop_ins(path):
        return f"{drop_ins(SPEC)}/{os.path.basename(name)}"
    relative = os.path.relpath(name, os.path.dirname(path))
    return name if relative.startswith("../") else os.path.join(os.path.dirname(SPEC), relative)


@contextlib.contextmanager
def _mirrors(given: list[str], machine: Machine) -> Iterator[None]:
    """A drop-in beside the spec in the host; a mirror that is a directory here is served to the host alone."""
    from agent.sandbox.serve import served

    mirrors: dict[str, list[str]] = {}
    with contextlib.ExitStack() as stack:
        for each in given:
            channel, equals, place = each.partition("=")
            if not (channel and equals and place):
                raise UsageError(
                    f"--mirror wants CHANNEL=URL, such as conda-forge=https://conda.example.org/mirror, got {each!r}"
                )
            url = stack.enter_context(served(Path(place), machine.gateway)) if os.path.isdir(place) else place
            mirrors.setdefault(channel, []).append(url)
        if mirrors:
            target = machine.root / f"{drop_ins(SPEC).lstrip('/')}/90-mirrors.yaml"
            target.parent.mkdir(mode=0o755, exist_ok=True)
            target.write_text(
                json.dumps({"conda": {"mirrors": mirrors}}) + "\n"
            )  # JSON is YAML, and quotes what needs it
        yield


def _apply(machine: Machine) -> int:
    """`agent apply` as systemd would run it, its output passed on as it comes."""
    unit = ["systemd-run", "--pipe", "--wait", "--quiet", "--collect"]
    words = [*unit, "agent", "apply", "--yes", "--color=never"]
    return subprocess.run(machine.argv(words), check=False, stdin=subprocess.DEVNULL).returncode


def _show(machine: Machine, wanted: Wanted, options: argparse.Namespace) -> None:
    """URL and password."""
    jupyter = wanted.spec.jupyter
    if jupyter is None:
        return
    local = _forward(machine, jupyter.port, options.port)
    print()
    print(f"  {paint('URL', '1')}       https://127.0.0.1:{local}{jupyter.base_url}")
    shown = machine.run(["agent", "secret", "show", "jupyter.password"], check=False)
    print(f"  {paint('Password', '1')}  {shown.stdout.strip() if shown.status == 0 else 'as your spec says'}")
    print("  The certificate is the host's own: the browser asks about it once.")
    print(flush=True)


def _forward(machine: Machine, port: int, wanted: int) -> int:
    if wanted:
        return machine.forward(port, local=wanted)
    try:
        return machine.forward(port, local=port)
    except OSError:  # the port is taken here; any other will do
        return machine.forward(port)


def _check(machine: Machine) -> int:
    """For scripts: the host is as wanted, and a second apply changes nothing."""
    for words in (["agent", "verify"], ["agent", "apply", "--yes"]):
        done = machine.run(words, check=False)
        print(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}", end="", flush=True)
        if done.status:
            return done.status
    return 0


def _stay(machine: Machine) -> None:
    """Until the person has seen enough; offers a shell where there is a terminal."""
    if not sys.stdin.isatty():
        say("Running until it is stopped (SIGTERM).")
        with contextlib.suppress(KeyboardInterrupt):
            while machine.running:
                time.sleep(1)
        return
    while True:
        try:
            answer = input("Enter s for a shell in the host, q to end it: ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            return
        if answer == "s":
            machine.shell()
        elif answer == "q":
            return
