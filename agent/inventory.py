"""The environments that there are: what is in force, what it is made of, whether it is as the spec wants it. Changes nothing.

What lies in an environment was written by its owner: root reads it as something that anybody may have written, and reaches it
without following a link of theirs.
"""

from __future__ import annotations

import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import plan, solution
from agent.errors import HostError, UsageError
from agent.host import builds, durable, usage
from agent.host.builds import BEFORE, BUILD, Manifest, Place, plain
from agent.kinds.environment import Environment
from agent.kinds.kernelspec import Kernelspec
from agent.resource import NotYetReadable, Ref, Resource
from agent.solution import Package, PackageChange, Solution

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.ledger import Ledger

_LONGEST_LIST = 64 << 20
"""Bytes of a list of files."""
_DAY = 86400


@dataclass(frozen=True)
class Build:
    """One of the builds that are kept. ``changes`` is what differs if it were in force instead of the one that is."""

    name: str
    created: float
    in_force: bool
    changes: tuple[PackageChange, ...] = ()
    running: tuple[int, ...] = ()
    """The pids of programs that run from it."""


@dataclass(frozen=True)
class Failure:
    """An update that failed. Moments in seconds since the epoch; ``again`` is when it is tried next, 0 for never by itself."""

    why: str
    tried: int
    again: int


@dataclass(frozen=True)
class View:
    """One environment of the spec. ``state`` is ``ok``, ``not made``, ``drifted`` (it was right before), ``pending`` (the spec asks for something
    else), ``held`` (an older build was gone back to), ``due`` (its schedule asks for an update) or ``unknown``; ``why`` says more."""

    name: str
    path: str
    owner: str
    build: str | None
    since: int
    """When that build came into force, in seconds since the epoch; 0 without one."""
    versions: Mapping[str, str]
    """Of python and r-base, where they are in it."""
    conda: int
    """How many packages of conda are in it."""
    pip: int
    """How many packages of pip it was made with."""
    kernels: tuple[str, ...]
    """The names that people see."""
    state: str
    why: str
    locked: bool
    failed: Failure | None
    update: float
    """Seconds between scheduled updates; 0 without a schedule."""
    solved: int
    """When its versions were last chosen freely, in seconds since the epoch; 0 if never."""


@dataclass(frozen=True)
class Detail:
    """What `agent env show` says beside the view."""

    view: View
    solution: Solution | None
    """None without a build, or where the list of its packages is not one that the worker writes."""
    builds: tuple[Build, ...]
    tried: tuple[str, ...]
    """What its kernels printed when they were tried."""
    carried: tuple[str, ...]
    lost: tuple[str, ...]
    added: tuple[str, ...]
    """Packages that came by other hands since the build was finished."""
    bytes: int
    """On the disk for this environment alone: what it shares with others by hard links does not count."""
    variables: tuple[tuple[str, str], ...]
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Foreign:
    """Something in the directory of environments that the spec does not name. ``made`` says whether the agent made it for an earlier spec."""

    name: str
    path: str
    made: bool


def environments(resources: Mapping[Ref, Resource]) -> dict[str, Environment]:
    """Those of a spec, by name."""
    return {each.name: each for each in resources.values() if isinstance(each, Environment)}


def named(found: Mapping[str, Environment], names: Iterable[str]) -> dict[str, Environment]:
    """Those with these names; all without names. Raises UsageError for a name that the spec does not have."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise UsageError(f"the spec has no environment {name!r}", hint=f"its environments: {known}")
    return {name: found[name] for name in wanted or sorted(found)}


def view(environment: Environment, resources: Mapping[Ref, Resource], host: Host, ledger: Ledger) -> View:
    """What there is of one environment, and whether it is as the spec wants it. Asks the worker only where something looks changed."""
    place, build, manifest = environment.place, None, None
    state, why = "unknown", ""
    try:
        build, manifest = host.environments.build(place), host.environments.manifest(place)
        state, why = _state(environment, host, ledger)
    except (NotYetReadable, HostError, OSError) as error:
        why = plain(str(error))
    installed = host.environments.installed(place.build(build)) or {} if build else {}
    made_of = solution_of(place, build)
    return View(
        environment.name,
        place.link,
        environment.owner,
        build,
        _stamp(host, place.link) if build else 0,
        {name: installed[name] for name in ("python", "r-base") if name in installed},
        len(installed),
        len(made_of.pip) if made_of else 0,
        tuple(_kernels(environment, resources)),
        state,
        why,
        environment.listing is not None and environment.listing.form == "agent",
        _failure(environment, manifest),
        environment.update,
        manifest.solved if manifest else 0,
    )


def _state(environment: Environment, host: Host, ledger: Ledger) -> tuple[str, str]:
    place = environment.place
    change = plan.examine(environment, host, ledger, {})
    if host.environments.build(place) is None:
        there = host.files.facts(place.link) is not None
        return "not made", "what stands at its place is kept by the first apply" if there else ""
    if change is not None:
        fields = {each.field for each in change.differences}
        if fields == {"due"}:
            return "due", ""
        unmet = next((each.current for each in change.differences if each.field == "unmet"), ())
        why = ", ".join(sorted(map(plain, unmet))) or ", ".join(sorted(fields))
        return ("drifted" if change.drift else "pending"), why
    if host.environments.hold(place, environment.asked) is not None:
        return "held", f"agent env update {environment.name} lifts it"
    return "ok", ""


def _kernels(environment: Environment, resources: Mapping[Ref, Resource]) -> Iterator[str]:
    for each in resources.values():
        if isinstance(each, Kernelspec) and environment.ref in each.needs():
            yield each.display_name


def _failure(environment: Environment, manifest: Manifest | None) -> Failure | None:
    if manifest is None or not manifest.failed:
        return None
    again = manifest.tried + min(int(environment.update), _DAY) if environment.update else 0
    return Failure(plain(manifest.failed), manifest.tried, again)


def _stamp(host: Host, path: str) -> int:
    answer = host.looks.ask("stamp", path)
    return int(answer[2] // 1_000_000_000) if answer else 0


def solution_of(place: Place, build: str | None) -> Solution | None:
    """What a build was made of; None where the worker did not write that down, or somebody else did."""
    if build is None or not re.fullmatch(BUILD, build):
        return None
    content = _owners_file(place.solution(build), solution.LARGEST)
    return solution.parse(content) if content is not None else None


def _owners_file(path: str, limit: int) -> bytes | None:
    try:
        found = durable.read(path, limit)
    except HostError:
        return None
    return found[1] if found is not None and stat.S_ISREG(found[0].st_mode) else None


def finished(place: Place, host: Host) -> dict[str, Manifest]:
    """Manifests of the builds that are kept, newest first."""
    found = {}
    for name in host.files.names(place.builds) or ():
        build = name.removesuffix(".json")
        if name.endswith(".json") and re.fullmatch(BUILD, build):
            manifest = builds.parse(_owners_file(place.manifest(build), builds.LARGEST) or b"")
            if manifest is not None and host.environments.installed(place.build(build)) is not None:
                found[build] = manifest
    return dict(sorted(found.items(), key=lambda each: (-each[1].created, each[0])))


def detail(environment: Environment, found: View, host: Host) -> Detail:
    """Everything about one environment."""
    place, kept = environment.place, finished(environment.place, host)
    manifest = kept.get(found.build or "", Manifest())
    made_of = solution_of(place, found.build)
    pids = usage.running(tuple(place.build(build) for build in (*kept, BEFORE)))
    return Detail(
        found,
        made_of,
        tuple(
            Build(
                build,
                each.created,
                build == found.build,
                () if build == found.build else solution.changes(made_of, solution_of(place, build)),
                pids.get(place.build(build), ()),
            )
            for build, each in kept.items()
        ),
        tuple(map(plain, manifest.kernels)),
        tuple(map(plain, manifest.carried)),
        tuple(map(plain, manifest.lost)),
        tuple(sorted(_added(place, found, made_of, host))),
        usage.own_bytes(place.build(found.build)) if found.build else 0,
        environment.variables,
        environment.channels,
    )


def _added(place: Place, found: View, made_of: Solution | None, host: Host) -> Iterator[str]:
    """Packages that are there now and were not when the build was finished."""
    if found.build is None or made_of is None:
        return
    known = {each.name for each in made_of.conda}
    installed = host.environments.installed(place.build(found.build)) or {}
    yield from (str(Package(name, version)) for name, version in installed.items() if name not in known)
    files = _files(place, found.build)
    if not files or "python" not in installed:
        return
    prefix = place.build(found.build)
    site = builds.site_packages(prefix, installed["python"])
    below = site.removeprefix(f"{prefix}/")
    for name in host.files.names(site) or ():
        if name.endswith(".dist-info") and f"{below}/{name}/".encode() not in files:
            yield plain(name.removesuffix(".dist-info").replace("-", " ", 1)) + " (pip)"


def _files(place: Place, build: str) -> bytes:
    """The files that a build was finished with, one a line; nothing where that was not written down."""
    try:
        unpacker = zlib.decompressobj(wbits=31)  # with the header of gzip
        return unpacker.decompress(_owners_file(place.files(build), _LONGEST_LIST) or b"", _LONGEST_LIST)
    except zlib.error:
        return b""


def foreign(resources: Mapping[Ref, Resource], host: Host) -> Iterator[Foreign]:
    """What stands in the directories of environments and is not in the spec."""
    mine = environments(resources)
    for root in sorted({each.root for each in mine.values()}):
        for name in host.files.names(f"{root}/envs") or ():
            place = Place(root, name)
            if name in mine or name.startswith("."):
                continue
            facts = host.files.facts(place.link)
            made = facts is not None and facts.kind == "link" and place.build_of(facts.target) is not None
            if made or (facts is not None and host.files.names(f"{place.link}/conda-meta") is not None):
                yield Foreign(plain(name), place.link, made)
