"""A host that is a table, and a kind to go with it. Kept small on purpose: what needs more is a system test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from agent.errors import HostError
from agent.host.looks import Looks
from agent.host.machine import Progress
from agent.kinds import KINDS
from agent.resource import Action, Change, Disruption, Loss, NotYetReadable, Ref, Resource, State, disruptive
from agent.steps import Keep, PutBack, Remember, Step


@dataclass(frozen=True)
class ToyState(State):
    value: str
    stale: bool | None = disruptive(Disruption.RESTART, default=None)


@dataclass(frozen=True)
class Toy(Resource):
    """A thing with a value; with ``inputs`` it is a service that must be restarted when they change."""

    kind: ClassVar[str] = "toy"
    value: str = ""
    after: tuple[Ref, ...] = ()
    inputs: tuple[Ref, ...] = ()
    judge: bool = False
    keeps: bool = False

    def needs(self) -> tuple[Ref, ...]:
        return self.after

    def follows(self) -> tuple[Ref, ...]:
        return self.inputs

    def judges(self) -> bool:
        return self.judge

    def original(self) -> str | None:
        return self.name if self.keeps else None

    def desired(self) -> ToyState:
        return ToyState(self.value, stale=False if self.inputs else None)

    def remains(self, host: Any) -> bool:
        return self.name in host.crowded

    def _digest(self, host: Any) -> str:
        return " ".join(host.fingerprint(ref) or "" for ref in self.inputs)

    def read(self, host: Any) -> ToyState | None:
        if self.name in host.unreadable:
            raise NotYetReadable(f"{self.name} cannot be read yet")
        if self.name not in host.table:
            return None
        return ToyState(
            host.table[self.name], stale=host.memory.get(self.name) != self._digest(host) if self.inputs else None
        )

    def steps(self, change: Change) -> Iterator[Step]:
        yield Remember(
            f"{self.name}={None if change.action is Action.DELETE else self.value}", ",".join(map(str, self.inputs))
        )


@dataclass(frozen=True)
class Batched(Toy):
    kind: ClassVar[str] = "batched"
    batch: ClassVar[bool] = True


@dataclass(frozen=True)
class Precious(Toy):
    kind: ClassVar[str] = "precious"
    holds_work: ClassVar[bool] = True


@dataclass(frozen=True)
class Expendable(Precious):
    kind: ClassVar[str] = "expendable"
    expendable: ClassVar[bool] = True

    def loses(self, host: Any, loss: Loss) -> str:
        return f"all of {self.name}"

    def way_back(self, host: Any) -> str:
        return f"{self.name} is kept elsewhere"


KINDS.update({"toy": Toy, "batched": Batched, "precious": Precious, "expendable": Expendable})


@dataclass
class FakeHost:
    """``refuse`` names things whose steps fail; ``ignore`` those whose steps do nothing; ``crowded`` those that cannot be
    removed for what is in them; ``hook`` runs before each step."""

    table: dict[str, str] = field(default_factory=dict)
    memory: dict[str, str] = field(default_factory=dict)
    refuse: set[str] = field(default_factory=set)
    ignore: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    crowded: set[str] = field(default_factory=set)
    performed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    looks: Looks = field(default_factory=Looks)
    desired: Any = None
    barrier: threading.Barrier | None = None

    def begin(self, desired: Any) -> None:
        self.desired = desired

    def fingerprint(self, ref: Ref) -> str | None:
        wanted = self.desired.get(ref)
        return wanted.fingerprint(self) if wanted else ""

    def perform(self, step: Any) -> None:
        if isinstance(step, Keep):
            self.kept[step.ref] = self.table[step.path]
            return
        if isinstance(step, PutBack):
            self.table[step.path] = self.kept.pop(step.ref)
            return
        name, _, value = step.key.partition("=")
        if self.barrier is not None:
            self.barrier.wait(timeout=5)
        self.performed.append(step.key)
        if name in self.refuse or (value == "None" and name in self.crowded):
            raise HostError(f"{name} refuses", hint="ask nicely")
        if name in self.ignore:
            return
        if value == "None":
            self.table.pop(name, None)
        else:
            self.table[name] = value
        if step.value:
            refs = [Ref.parse(text) for text in step.value.split(",")]
            self.memory[name] = " ".join(self.fingerprint(ref) or "" for ref in refs)
