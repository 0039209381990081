"""One machine: its parts together, and who does which step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agent import steps

if TYPE_CHECKING:
    from agent.host.dumps import Dumps
    from agent.resource import Outcome, Ref, Resource


_ASIDE = (steps.StoreSecret, steps.StoreHash, steps.ForgetSecret, steps.Keep, steps.Remember)
"""Steps that change nothing of what is read together: units, database servers, packages."""


@dataclass(frozen=True)
class Paths:
    """Where the agent keeps what it keeps."""

    state: str = "/var/lib/agent"
    spec: str = "/etc/agent/spec.yaml"
    logs: str = "/var/log/agent"

    @property
    def secrets(self) -> str:
        return f"{self.state}/secrets"

    @property
    def memory(self) -> str:
        return f"{self.state}/memory"

    @property
    def originals(self) -> str:
        return f"{self.state}/originals"

    @property
    def dumps(self) -> str:
        return f"{self.state}/dumps"

    @property
    def status(self) -> str:
        return f"{self.state}/status.json"

    @property
    def lock(self) -> str:
        return f"{self.state}/lock"


@dataclass(frozen=True)
class Progress:
    """How a pass tells what it is at and how far long steps are, and what came of each resource that was not as wanted. The default tells nobody."""

    say: Callable[[str, str], None] = field(default=lambda _ref, _text: None)
    ended: Callable[[Outcome], None] = field(default=lambda _outcome: None)


class Host:
    """One machine. Reading goes through its parts and is noted in ``looks``; changing goes through ``perform``.

    Safe to use from several threads. ``desired`` is what the pass wants, by ref, for kinds whose state depends on their inputs.
    """

    def __init__(self, paths: Paths | None = None, progress: Progress | None = None) -> None:
        from agent.host.accounts import Accounts
        from agent.host.certificates import Certificates
        from agent.host.clock import Clock
        from agent.host.databases import Databases
        from agent.host.environments import Environments
        from agent.host.files import Files
        from agent.host.looks import Looks
        from agent.host.memory import Memory
        from agent.host.originals import Originals
        from agent.host.packages import Packages
        from agent.host.probe import Probes
        from agent.host.programs import Programs
        from agent.host.secrets import Secrets
        from agent.host.units import Units

        self.paths = paths or Paths()
        self.progress = progress or Progress()
        self.desired: Mapping[Ref, Resource] = {}
        self.looks = Looks()
        self.clock = Clock(self.looks)
        self.secrets = Secrets(self.paths.secrets, self.looks)
        self.programs = Programs(self.paths.logs, self.secrets, self.progress.say)
        self.secrets.programs = self.programs
        self.accounts = Accounts(self.looks)
        self.files = Files(self.looks, self.accounts, self.secrets, self.programs)
        self.memory = Memory(self.paths.memory, self.looks)
        self.originals = Originals(self.paths.originals)
        self.packages = Packages(self.looks, self.programs)
        self.units = Units(self.looks, self.programs, self.memory)
        self.databases = Databases(self.looks, self.secrets)
        self.environments = Environments(self.looks, self.programs, self.secrets, self.memory, self.progress)
        self.certificates = Certificates(self.looks)
        self.probes = Probes(self.secrets)
        self._performers: dict[type, Callable[[Any], None]] = {
            steps.Run: self.programs.perform,
            steps.Write: self.files.write,
            steps.MakeDirectory: self.files.make_directory,
            steps.SetAccess: self.files.set_access,
            steps.Remove: self.files.remove,
            steps.Keep: self.originals.keep,
            steps.PutBack: self.originals.put_back,
            steps.Unit: self.units.perform,
            steps.Packages: self.packages.perform,
            steps.AddRepository: self.packages.add_repository,
            steps.Remember: self.memory.perform,
            steps.Sql: self.databases.perform,
            steps.Dump: self._dump,
            steps.StoreSecret: self.secrets.generate,
            steps.StoreHash: self.secrets.store_hash,
            steps.ForgetSecret: self.secrets.forget,
            steps.IssueCertificate: self.certificates.issue,
            steps.Work: self.environments.work,
            steps.Await: self.probes.wait,
        }

    @cached_property
    def dumps(self) -> Dumps:
        """Made when it is asked for, which is seldom."""
        from agent.host.dumps import Dumps

        return Dumps(self.paths.dumps, self.databases, self.secrets, self.programs)

    def _dump(self, step: steps.Dump) -> None:
        self.dumps.perform(step)

    def perform(self, step: steps.Step) -> None:
        """Does one step, wholly or not at all where the host allows it. Raises HostError (TemporaryError when worth trying again)."""
        self._performers[type(step)](step)
        if not isinstance(step, _ASIDE):
            self.forget()

    def forget(self) -> None:
        """What was read together is read anew at the next question: something was changed."""
        self.units.forget()
        self.databases.forget()
        self.packages.forget()

    def begin(self, desired: Mapping[Ref, Resource]) -> None:
        """A new pass: nothing read before counts."""
        self.desired = desired
        self.looks.restart()
        self.forget()

    def fingerprint(self, ref: Ref) -> str | None:
        """What the resource behind a ref will be like when it is right, as a digest; None while that is not known (a secret is still to be made)."""
        wanted = self.desired.get(ref)
        return wanted.fingerprint(self) if wanted is not None else ""
