"""The vocabulary: refs, states, changes, outcomes, and what a kind is. Decides nothing and touches nothing."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.steps import Step


class Ref(NamedTuple):
    """Names one resource: ``kind:name``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Raises ValueError when there is no colon."""
        kind, colon, name = text.partition(":")
        if not (kind and colon and name):
            raise ValueError(f"must be kind:name, such as 'user:alice', got {text!r}")
        return cls(kind, name)


class Action(enum.Enum):
    """What is done about a difference."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RESTART = "restart"

    @property
    def symbol(self) -> str:
        return {"create": "+", "update": "~", "delete": "-", "restart": ">"}[self.value]


class Disruption(enum.IntEnum):
    """What a change costs those who use the service."""

    NONE = 0
    RELOAD = 1
    RESTART = 2


class Loss(enum.Enum):
    """What a person allows to happen to databases that left the spec: to go after a dump, or without one."""

    DUMPED = "after a dump"
    UNDUMPED = "without a dump"


class Hidden:
    """A value that is compared but never shown: its text is always ``********``.

    Two are equal when what they hold is equal.
    """

    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and self.held == other.held

    def __hash__(self) -> int:
        return hash(("Hidden", self.held))

    def __repr__(self) -> str:
        return "********"


class State:
    """Base of all states: a frozen dataclass whose fields are compared one by one.

    In a desired state a field that is None is not managed. A field may carry metadata ``{"disruption": ...}``.
    """


@dataclass(frozen=True)
class Difference:
    """One field that is not as wanted."""

    field: str
    current: Any
    desired: Any


@dataclass(frozen=True)
class Change:
    """One resource's difference, and what caused it."""

    resource: Resource
    action: Action
    current: Any = None
    desired: Any = None
    differences: tuple[Difference, ...] = ()
    drift: bool = False
    """Whether the host left a state that an earlier pass had seen to be right; else the spec asked for the change."""
    disruption: Disruption = Disruption.NONE
    because: tuple[Ref, ...] = ()
    """For a restart: the refs whose change makes the service stale."""
    interrupts: str = ""
    """In a plan: what a restart would interrupt, in words."""
    known_after: Ref | None = None
    """Set in a plan when the current state can only be read once this ref is right."""
    puts_back: bool = False
    """For a delete: whether what stood there before the agent came is put back."""
    loss: Loss | None = None
    """For a delete of what holds work: what a person allowed."""
    loses: str = ""
    """In a plan: what such a delete removes and where a dump of it goes, in words."""

    def touches(self, *names: str) -> bool:
        """Whether any of these fields differs; always true on create."""
        return self.action is Action.CREATE or any(d.field in names for d in self.differences)


@dataclass(frozen=True)
class Resource:
    """One thing on the host, as a kind describes it: a frozen dataclass with plain fields.

    Fields are text, numbers, booleans, None, tuples and frozensets of those, or vocabulary of agent.steps (Content,
    SecretRef ...), so that a resource can be written down (agent.records) and read back to be deleted or restored later.
    """

    kind: ClassVar[str]
    holds_work: ClassVar[bool] = False
    """Whether people's work lives in it (a home, a database): reported as an orphan when it leaves the spec, never removed."""
    expendable: ClassVar[bool] = False
    """Whether it is removed nevertheless, if the agent made it and a person says so with --allow-data-loss."""
    batch: ClassVar[bool] = False
    """Whether changes of this kind that are ready at the same time are made together, by ``steps_together``."""

    name: str

    @property
    def ref(self) -> Ref:
        return Ref(self.kind, self.name)

    def desired(self) -> Any:
        """The state the spec asks for; None when it must not exist. Pure."""
        raise NotImplementedError(self.kind)

    def read(self, host: Host) -> Any:
        """The state on the host; None when it does not exist. Reads only, through ``host`` only.

        Raises NotYetReadable when it can only be read once something in ``needs`` is right.
        """
        raise NotImplementedError(self.kind)

    def steps(self, change: Change) -> Iterable[Step]:
        """What to do, in order. Pure. ``change.action`` is CREATE, UPDATE, DELETE or RESTART."""
        raise NotImplementedError(self.kind)

    def needs(self) -> Iterable[Ref]:
        """Refs that must be right first. One that is not in the spec is taken as given."""
        return ()

    def follows(self) -> Iterable[Ref]:
        """Refs whose change makes this one stale."""
        return ()

    def fingerprint(self, host: Host) -> str | None:  # noqa: ARG002  # kinds with secrets ask it
        """A digest of what this resource is like when it is right, secrets filled in; None while that cannot be known.

        A service is stale when the fingerprints of what it follows are not those it was last started with.
        """
        from agent.records import digest

        return digest(self)

    def aim(self, host: Host) -> str | None:
        """A digest of what the spec asks for: a difference from a state that was right under the same aim is drift."""
        return self.fingerprint(host)

    def stub(self) -> Resource:
        """As much of it as is needed to remove it later, for the ledger."""
        return self

    def original(self) -> str | None:
        """The path whose first occupant is kept before it is replaced, and put back when this leaves the spec."""
        return None

    def interrupts(self, host: Host) -> str:  # noqa: ARG002  # servers ask it
        """What a restart would interrupt just now, in words, for the plan."""
        return ""

    def loses(self, host: Host, loss: Loss) -> str:  # noqa: ARG002  # what is expendable is asked it
        """What its removal takes away and where a dump of it goes, in words. Raises HostError and NotYetReadable when it cannot be looked at."""
        return ""

    def way_back(self, host: Host) -> str:  # noqa: ARG002  # what is expendable is asked it
        """How to get back what was just removed, in words."""
        return ""

    def remains(self, host: Host) -> bool:  # noqa: ARG002  # what can hold other people's files asks it
        """Whether something of others keeps it from being removed, or is left in its place: that stays, and is reported."""
        return False

    def notes(self, host: Host) -> Iterable[str]:  # noqa: ARG002  # environments ask it
        """What people should know of it although nothing differs, in sentences: a build that was gone back to, an update that failed."""
        return ()

    def judges(self) -> bool:
        """Whether it is the look at a service's health: its failing, for whatever reason, means that what was changed does not work."""
        return False

    def outdated(self, host: Host) -> bool:  # noqa: ARG002  # what looks into a running service is asked it
        """Whether a service runs with something else than what it would be started with now."""
        return False

    def disturbed(self, host: Host) -> Iterable[Step]:  # noqa: ARG002  # services ask it
        """Steps to take before drift in something this one follows is repaired: a service notes here that it may have loaded the drift."""
        return ()

    @classmethod
    def steps_together(cls, changes: tuple[Change, ...]) -> Iterator[Step]:
        """The steps for several changes at once, for kinds with ``batch``."""
        for change in changes:
            yield from change.resource.steps(change)


class NotYetReadable(Exception):
    """Raised by ``read``: there is no way to look yet (a database whose server is not up). The text says why."""


class Result(enum.Enum):
    """How a pass left one resource."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """What a pass did about one resource. ``seconds`` are of wall time, ``started`` since the pass began."""

    ref: Ref
    result: Result
    change: Change | None = None
    message: str = ""
    """Why it failed or was skipped; of a removal, how to get back what was in it."""
    hint: str = ""
    unhealthy: bool = False
    """Whether it failed because what was changed does not work; then the previous generation is better."""
    started: float = 0.0
    seconds: float = 0.0


def differences(desired: Any, current: Any) -> tuple[Difference, ...]:
    """Compares two states of one type, field by field; a desired field that is None is not managed."""
    found = []
    for each in fields(desired):
        wanted, seen = getattr(desired, each.name), getattr(current, each.name)
        if wanted is not None and wanted != seen:
            found.append(Difference(each.name, seen, wanted))
    return tuple(found)


def disruptive(disruption: Disruption, **kwargs: Any) -> Any:
    """A dataclass field whose difference costs the given disruption."""
    return field(metadata={"disruption": disruption}, **kwargs)
