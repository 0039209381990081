"""Jupyter kernels that run from conda environments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import Content, MakeDirectory, Remember, Remove, Step, Work, Write

if TYPE_CHECKING:
    from agent.host.machine import Host

LAUNCHER = "/etc/agent/jupyter/in-environment"
"""Runs a command in an environment: ``LAUNCHER LINK COMMAND...``, from the template in-environment.sh.j2."""
OUTDATED = ("launch.sh",)
"""What former releases of the agent wrote beside kernel.json."""
SECONDS = 120.0
"""How long a kernel may take to start and answer: the first time nothing of it is in the disk's cache."""


@dataclass(frozen=True)
class KernelspecState(State):
    spec: str
    """kernel.json, to the letter."""
    access: tuple[str, ...]
    """Owner and mode of the directory and of kernel.json."""
    program: bool
    """Whether the program that the kernel runs is there: Jupyter lists a kernel without one and fails to start it."""
    tried: str
    """The digest of the kernel.json with which it was last started and named its interpreter."""
    outdated: tuple[str, ...] = ()
    others: tuple[str, ...] | None = None
    """What else is in the directory, such as logos; not managed."""


@dataclass(frozen=True)
class Kernelspec(Resource):
    """A kernel called ``name`` in ``directory``, which is root's and on Jupyter's path, from the environment whose link is ``prefix``.

    In ``command``, ``{prefix}`` stands for the link and ``{connection_file}`` for what Jupyter puts there. The kernel starts with
    everything that `conda activate` sets. Once it is registered it is started as ``owner`` and must name its interpreter and version;
    after a change of the environment that is done before the new build is used.
    """

    kind: ClassVar[str] = "kernelspec"

    directory: str
    display_name: str
    prefix: str
    command: tuple[str, ...]
    owner: str
    language: str = "python"
    debugger: bool = False
    """Whether Jupyter offers its debugger: it needs ipykernel 6 or newer."""
    after: tuple[Ref, ...] = ()

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.name}"

    def needs(self) -> Iterable[Ref]:
        return (Ref("user", self.owner), *self.after)

    def original(self) -> str:
        return f"{self.path}/kernel.json"

    def desired(self) -> KernelspecState:
        spec = self._spec()
        return KernelspecState(spec, ("root:root 0755", "root:root 0644"), program=True, tried=_digest(spec))

    def read(self, host: Host) -> KernelspecState | None:
        content = host.files.content(self.original())
        tried = host.memory.get(_key(self.name)) or ""
        if content is None:
            return None
        names = host.files.names(self.path) or ()
        return KernelspecState(
            content.decode(errors="replace"),
            tuple(_access(host, path) for path in (self.path, self.original())),
            self._program(host),
            tried,
            tuple(each for each in names if each in OUTDATED),
            tuple(each for each in names if each not in ("kernel.json", *OUTDATED)),
        )

    def steps(self, change: Change) -> Iterator[Step]:
        spec = self._spec()
        if change.action is Action.DELETE:
            yield Remove(self.original())
            yield from (Remove(f"{self.path}/{name}") for name in OUTDATED)
            if change.current is not None and not change.current.others:
                yield Remove(self.path)
            yield Remember(_key(self.name), None)
            return
        if change.touches("spec", "access"):
            yield MakeDirectory(self.path, 0o755)
            yield Write(self.original(), Content.of(spec), 0o644)
        if change.current is not None:
            yield from (Remove(f"{self.path}/{name}") for name in change.current.outdated)
        if change.touches("spec", "tried"):
            request = (("path", self.original()), ("prefix", self.prefix), ("seconds", SECONDS))
            yield Work("kernel", self.owner, request, label=str(self.ref), timeout=2 * SECONDS)
            yield Remember(_key(self.name), _digest(spec))

    def _spec(self) -> str:
        words = (word.replace("{prefix}", self.prefix) for word in self.command)
        record = {
            "argv": [LAUNCHER, self.prefix, *words],
            "display_name": self.display_name,
            "language": self.language,
            "interrupt_mode": "signal",
            "metadata": {"debugger": self.debugger},
        }
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"

    def _program(self, host: Host) -> bool:
        """By stamps, as an interpreter is too large to read in every pass."""
        program = self.command[0].replace("{prefix}", self.prefix)
        if not program.startswith("/"):
            program = f"{self.prefix}/bin/{program}"
        asked = [("stamp", program)]
        if program == f"{self.prefix}/bin/python":  # a link, which leads nowhere when its package is half there
            version = (host.environments.installed(self.prefix) or {}).get("python", "")
            asked.append(("stamp", f"{program}{'.'.join(version.split('.')[:2])}"))
        return None not in host.looks.ask_all(asked)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _key(name: str) -> str:
    """Under what the agent remembers which kernel.json was tried."""
    return f"kernel.{name}"


def _access(host: Host, path: str) -> str:
    facts = host.files.facts(path)
    return f"{facts.owner}:{facts.group} {facts.mode:04o}" if facts is not None else ""
