"""Jupyter kernels that run from conda environments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Content, MakeDirectory, Remove, Step, Write

if TYPE_CHECKING:
    from agent.host.machine import Host

_PROGRAMS = {
    "python": ("{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"),
    "R": ("{prefix}/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{{connection_file}}"),
}

LAUNCHER = r"""#!/bin/bash
# Starts a kernel as after `conda activate`: with what the environment's packages set, whatever those are by now.
# CONDA_PREFIX and PATH come from kernel.json beside this file. Written by agent; changes are undone.
activate() {
    local script=$1
    shift
    source "$script" </dev/null >&2
}

variables=("$CONDA_PREFIX"/etc/conda/env_vars.d/*.json)
if [ -e "${variables[0]}" ]; then
    for python in "$CONDA_PREFIX/bin/python" /usr/bin/python3; do
        [ -x "$python" ] && break
    done
    eval "$("$python" -E -s -c '
import json, re, sys
for path in sys.argv[1:]:
    for name, value in sorted(json.load(open(path)).items()):
        if re.match("[A-Za-z_][A-Za-z0-9_]*$", name):
            quote = chr(39)
            print("export %s=%s" % (name, quote + value.replace(quote, quote + chr(92) + quote + quote) + quote))
' "${variables[@]}")"
fi
for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do
    [ -r "$script" ] && activate "$script"
done
exec "$@"
"""


@dataclass(frozen=True)
class KernelspecState(State):
    spec: str
    """kernel.json, to the letter."""
    launcher: str
    access: tuple[str, ...]
    """Owner and mode of the directory, kernel.json and the launcher."""
    interpreter: bool
    """Whether the program that the kernel runs is there: Jupyter lists a kernel without one and fails to start it."""
    others: tuple[str, ...] | None = None
    """What else is in the directory, such as logos; not managed."""


@dataclass(frozen=True)
class Kernelspec(Resource):
    """A kernel called ``name`` in ``directory``, which is root's and on Jupyter's path, from the environment at ``prefix``.

    ``language`` is ``python`` (2.7 to current) or ``R``. The kernel starts with everything that `conda activate` sets.
    """

    kind: ClassVar[str] = "kernelspec"

    directory: str
    display_name: str
    prefix: str
    language: str = "python"
    debugger: bool = True
    """Whether Jupyter offers its debugger: not with Python 2.7, never with R."""
    after: tuple[Ref, ...] = ()

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.name}"

    def needs(self) -> Iterable[Ref]:
        return self.after

    def original(self) -> str:
        return f"{self.path}/kernel.json"

    def desired(self) -> KernelspecState:
        return KernelspecState(
            self._spec(), LAUNCHER, ("root:root 0755", "root:root 0644", "root:root 0755"), interpreter=True
        )

    def read(self, host: Host) -> KernelspecState | None:
        content = host.files.content(f"{self.path}/kernel.json")
        if content is None:
            return None
        launcher = host.files.content(f"{self.path}/launch.sh") or b""
        return KernelspecState(
            content.decode(errors="replace"),
            launcher.decode(errors="replace"),
            tuple(_access(host, path) for path in (self.path, f"{self.path}/kernel.json", f"{self.path}/launch.sh")),
            self._interpreter(host),
            tuple(each for each in host.files.names(self.path) or () if each not in ("kernel.json", "launch.sh")),
        )

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield Remove(f"{self.path}/kernel.json")
            yield Remove(f"{self.path}/launch.sh")
            if change.current is not None and not change.current.others:
                yield Remove(self.path)
            return
        if change.touches("spec", "launcher", "access"):
            yield MakeDirectory(self.path, 0o755)
            yield Write(f"{self.path}/launch.sh", Content.of(LAUNCHER), 0o755)
            yield Write(f"{self.path}/kernel.json", Content.of(self._spec()), 0o644)

    def _spec(self) -> str:
        argv = [word.format(prefix=self.prefix) for word in _PROGRAMS[self.language]]
        record = {
            "argv": [f"{self.path}/launch.sh", *argv],
            "display_name": self.display_name,
            "language": self.language,
            "interrupt_mode": "signal",
            "env": {
                # expanded by Jupyter when the kernel starts
                "PATH": f"{self.prefix}/bin:${{PATH}}",
                "CONDA_PREFIX": self.prefix,
                "CONDA_DEFAULT_ENV": self.prefix.rpartition("/")[2],
                "CONDA_SHLVL": "1",
            },
            "metadata": {"debugger": self.debugger and self.language == "python"},
        }
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"

    def _interpreter(self, host: Host) -> bool:
        """By stamps, as an interpreter is too large to read in every pass."""
        if self.language == "R":
            return host.looks.ask("stamp", f"{self.prefix}/bin/R") is not None
        version = (host.environments.installed(self.prefix) or {}).get("python", "")
        program = f"{self.prefix}/bin/python{'.'.join(version.split('.')[:2])}"
        asked = [("stamp", f"{self.prefix}/bin/python"), ("stamp", program)]
        return bool(version) and None not in host.looks.ask_all(asked)


def _access(host: Host, path: str) -> str:
    facts = host.files.facts(path)
    return f"{facts.owner}:{facts.group} {facts.mode:04o}" if facts is not None else ""
