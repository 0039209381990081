"""What people do with environments by name: lock, go back, clean. Everything in an environment is done by the worker, as its owner.

After another build was put in force an ordinary pass over the environment and what stands on it follows, so that kernels, services and the
status are those of that build.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent import inventory, plan, solution
from agent.apply import Apply, Report, Request
from agent.errors import AgentError, SpecError
from agent.host import durable
from agent.host.builds import plain
from agent.host.environments import hold_key
from agent.lock import locked
from agent.resource import differences
from agent.solution import PackageChange, Solution
from agent.spec import listing
from agent.specfiles import lock_path
from agent.steps import Remember, Work
from agent.wanted import Wanted, want

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.kinds.environment import Environment


@dataclass(frozen=True)
class Order:
    """What was asked for: a spec, and environments of it by name; all of them without names."""

    spec: str
    names: tuple[str, ...] = ()
    lock_timeout: float = 60.0
    waiting: Callable[[str], None] = lambda _holder: None


@contextmanager
def alone(order: Order, host: Host, verb: str) -> Iterator[None]:
    """Holds the agent's lock. Raises BusyError."""
    os.makedirs(host.paths.state, mode=0o755, exist_ok=True)
    with locked(host.paths.lock, verb, timeout=order.lock_timeout, waiting=order.waiting):
        host.begin({})
        yield


# ---- lock


@dataclass(frozen=True)
class Locked:
    """One environment's entry in the lock file. ``changes`` are those of the entry that was there, if ``known`` says that there was one; ``news`` says
    whether it is not as it was."""

    name: str
    made_of: Solution
    changes: tuple[PackageChange, ...]
    known: bool
    news: bool


def lock(order: Order, host: Host, *, check: bool = False) -> tuple[tuple[Locked, ...], tuple[str, ...]]:
    """Writes what is in force into the lock file beside the spec; with ``check`` only says what it would write.

    Gives the entries, and the names of environments that no lock file describes: those that a schedule updates, that an installer makes, or
    whose packages another list gives.

    All of them or none. Without names, entries of other environments go. Raises AgentError for an environment that is not as the spec wants it.
    """
    with alone(order, host, "env lock"):
        wanted = want(order.spec, host, lock=False)
        host.begin(wanted.resources)
        every = inventory.environments(wanted.resources)
        chosen = _lockable(inventory.named(every, order.names), order)
        path = lock_path(order.spec)
        before = _readable(path, order)
        made_of = {name: _in_force(each, host) for name, each in chosen.items()}
        found = tuple(_entry(name, before.get(name), each) for name, each in made_of.items())
        kept = before if order.names else {}
        entries = {**kept, **{each.name: each.made_of.entry for each in found}}
        if not check and entries != before:
            write_lock(path, entries)
    return found, () if order.names else tuple(sorted(every.keys() - chosen.keys()))


def _readable(path: str, order: Order) -> Mapping[str, Any]:
    """The entries that there are. A damaged file is written anew where all environments are locked; else it raises SpecError."""
    try:
        return listing.read_lock(path)
    except SpecError:
        if order.names:
            raise
        return {}


def write_lock(path: str, entries: Mapping[str, Any]) -> None:
    """Replaces the lock file with exactly these entries. Raises HostError."""
    durable.replace(path, listing.text_of(entries), mode=0o644)


def _entry(name: str, before: Any, made_of: Solution) -> Locked:
    old = solution.of(before) if before is not None and not solution.fault(before) else None
    return Locked(name, made_of, solution.changes(old, made_of), old is not None, before != made_of.entry)


def _in_force(environment: Environment, host: Host) -> Solution:
    """What the environment is made of, if that is what the spec asks for."""
    place = environment.place
    current = environment.read(host)
    if current is None:
        raise AgentError(f"{environment.ref} was never made, so there is nothing to lock", hint="sudo agent apply")
    left = [each for each in differences(environment.desired(), current) if each.field not in ("lock", "due")]
    if left:
        unmet = next((each.current for each in left if each.field == "unmet"), ())
        what = ", ".join(sorted(map(plain, unmet))) or ", ".join(each.field for each in left)
        raise AgentError(
            f"{environment.ref} is not as the spec wants it: {what}", hint="sudo agent apply, then lock it"
        )
    build = host.environments.build(place)
    made_of = inventory.solution_of(place, build)
    if made_of is None:
        raise AgentError(
            f"{place.solution(build or '')} is not the list of packages that was written when the build was made",
            hint=f"sudo agent env update {environment.name}",
        )
    if bare := solution.unhashed(made_of):
        raise AgentError(f"{environment.ref} cannot be locked: its channels give no hash for {', '.join(bare)}")
    asked = environment.asked
    variables = tuple(sorted(asked.variables))
    if made_of.asked() != (asked.channels, asked.packages, asked.pip, variables, asked.activation):
        raise AgentError(
            f"{environment.ref} is held at build {build}, which was made for something else than the spec asks for now",
            hint=f"sudo agent env update {environment.name}, or change the spec back",
        )
    return made_of


# ---- back to an older build


@dataclass(frozen=True)
class RolledBack:
    """That an environment went to another of its builds. ``seconds`` from the request to the build being in force."""

    name: str
    before: str
    build: str
    changes: tuple[PackageChange, ...]
    held: bool
    """Whether the build is kept in force although the spec would have another one."""
    seconds: float
    report: Report | None = None


def rollback(order: Order, host: Host, *, to: str = "") -> RolledBack:
    """Puts the build before the one in force, or ``to`` (as much of its name as tells it from the others), in force and keeps it so.

    Raises AgentError when there is none.
    """
    with alone(order, host, "env rollback"):
        wanted = want(order.spec, host)
        host.begin(wanted.resources)
        (environment,) = inventory.named(inventory.environments(wanted.resources), order.names).values()
        place = environment.place
        begun = time.monotonic()
        current = host.environments.build(place)
        if current is None:
            raise AgentError(f"{environment.ref} was never made", hint="sudo agent apply")
        kept = inventory.finished(place, host)
        build = _target(environment, current, list(kept), to)
        wanted_now = next((name for name, each in kept.items() if each.serves(environment.asked)), None)
        with remembered(host, environment, None if build == wanted_now else build):
            flip(host, environment, build)
        seconds = time.monotonic() - begun
        changes = solution.changes(inventory.solution_of(place, current), inventory.solution_of(place, build))
    report = look_after(order, host, wanted, [environment], "env rollback")
    return RolledBack(environment.name, current, build, changes, build != wanted_now, seconds, report)


def _target(environment: Environment, current: str, kept: Sequence[str], to: str) -> str:
    """The build to go to, of those that are kept, newest first."""
    name = environment.name
    hint = f"those that are kept: {', '.join(kept) or 'none'}; agent env show {name} says more"
    if not to:
        older = kept[kept.index(current) + 1 :] if current in kept else kept
        if not older:
            raise AgentError(f"environment:{name} has no build before {current}", hint=hint)
        return older[0]
    matching = [to] if to in kept else [each for each in kept if each.startswith(to)]
    if len(matching) != 1:
        what = "more than one build" if matching else "no build"
        raise AgentError(f"environment:{name} has {what} that begins with {to!r}", hint=hint)
    if matching[0] == current:
        raise AgentError(f"build {current} of environment:{name} is in force already", hint=hint)
    return matching[0]


# ---- clean


@dataclass(frozen=True)
class Cleaned:
    """Old builds of one environment that were taken away, packages that went from the cache, and the bytes of both."""

    name: str
    builds: tuple[str, ...]
    packages: tuple[str, ...]
    bytes: int
    cache_bytes: int
    """Of these, in the cache, which environments below one root share."""


def clean(order: Order, host: Host, *, keep: int | None = None, dry_run: bool = False) -> tuple[Cleaned, ...]:
    """Takes away builds beyond the newest ``keep`` (else what the spec says) and packages in the cache that no build is made of.

    Never the build in force, one that is held, or one that a program runs from.
    """
    found = []
    with alone(order, host, "env clean"):
        wanted = want(order.spec, host)
        host.begin(wanted.resources)
        for name, each in inventory.named(inventory.environments(wanted.resources), order.names).items():
            if host.files.names(each.place.builds) is None:
                continue
            kept = each.keep if keep is None else keep
            answer = work(host, each, "clean", keep=kept, dry_run=dry_run, listing=None, logins=())
            gone, packages = (tuple(map(plain, map(str, answer.get(what) or ()))) for what in ("builds", "packages"))
            freed, cached = (int(answer.get(what) or 0) for what in ("bytes", "cache_bytes"))
            found.append(Cleaned(name, gone, packages, freed, cached))
    return tuple(found)


def freed(found: Sequence[Cleaned], *, dry_run: bool) -> int:
    """Bytes of all of them together: one that only looks finds the same packages in the cache for each environment."""
    builds = sum(each.bytes - each.cache_bytes for each in found)
    cached = [each.cache_bytes for each in found]
    return builds + (max(cached, default=0) if dry_run else sum(cached))


# ---- what they have in common


def chosen_by_agent(chosen: Mapping[str, Environment], order: Order) -> dict[str, Environment]:
    """Those whose packages the agent chooses. Raises AgentError when one of the others was named."""
    for name in order.names:
        each = chosen[name]
        if each.installer is not None or each.listing is not None:
            source = "an installer" if each.listing is None else f"exactly what {each.listing.path} lists"
            raise AgentError(f"{each.ref} is made of {source}: there is nothing to choose", hint="change that instead")
    return {name: each for name, each in chosen.items() if each.installer is None and each.listing is None}


def _lockable(chosen: Mapping[str, Environment], order: Order) -> dict[str, Environment]:
    """Those that a lock file may describe: not those that a schedule updates. Raises AgentError when one of these was named."""
    for name in order.names:
        if chosen[name].update:
            hint = f"leave 'update' out of conda.environments.{name}; agent env update {name} brings newer versions when you want them"
            raise AgentError(f"{chosen[name].ref} is updated by a schedule, so it cannot be locked", hint=hint)
    return {name: each for name, each in chosen_by_agent(chosen, order).items() if not each.update}


def work(host: Host, environment: Environment, verb: str, **more: object) -> Mapping[str, Any]:
    return host.environments.ask(
        Work("conda", environment.owner, environment.request(verb, **more), label=str(environment.ref))
    )


def flip(host: Host, environment: Environment, build: str) -> None:
    """At least one other build is kept, to be gone back to."""
    keep = max(1, environment.keep)
    work(host, environment, "flip", build=build, keep=keep, listing=None, logins=())


@contextmanager
def remembered(host: Host, environment: Environment, build: str | None) -> Iterator[None]:
    """Notes which build is held, before it is put in force; if that fails, what was noted before."""
    key = hold_key(environment.place)
    before = host.memory.get(key)
    note = None if build is None else json.dumps({"asked": environment.asked.digest(), "build": build})
    host.perform(Remember(key, note))
    try:
        yield
    except BaseException:
        host.perform(Remember(key, before))
        raise


def look_after(order: Order, host: Host, wanted: Wanted, environments: Sequence[Environment], verb: str) -> Report:
    """An ordinary pass over these environments and everything that stands on them."""
    refs = {each.ref for each in environments}
    standing = {ref for ref in wanted.resources if plan.closure([ref], wanted.resources) & refs}
    targets = tuple(sorted(map(str, refs | standing)))
    return Apply(Request(order.spec, verb, targets, order.lock_timeout, waiting=order.waiting), host).run()
