"""Makes one build: chooses packages, links them, lets pip add its own, takes along what the owner had added, compiles, tries the kernels.

Nothing that is in force is touched. What goes wrong costs the new build alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.host import builds
from agent.host.builds import BEFORE, Manifest
from agent.workers import bytecode, carry, keeping, pip, settled, space
from agent.workers import rattler_records as records_of
from agent.workers.kernels import try_kernel
from agent.workers.problems import WorkError
from agent.workers.rattler_api import Channels
from agent.workers.request import Request, say

if TYPE_CHECKING:
    from rattler import PrefixRecord, RepoDataRecord

FROZEN = "This environment is kept by agent: change its packages in the spec, then `agent apply`. What you add with pip is taken along."
"""For `conda install` and its like (CEP 22)."""
ACTIVATION = "etc/conda/activate.d/zz-agent.sh"
_SCRIPT_SECONDS = 300
_MOST_NAMES = 200
"""Of what was carried along or lost that a manifest names."""


@dataclass(frozen=True)
class Chosen:
    """What a build is to be made of. ``pins`` are None while pip has still to choose; ``name`` is what the build is called if that is free."""

    records: tuple[RepoDataRecord, ...]
    name: str
    pins: tuple[str, ...] | None = None
    added: frozenset[str] = frozenset()
    """Names of those that the owner had added by hand."""


class Making:
    """One build in the making. ``again``: the build whose packages it shall have, ``newest``: versions are chosen without regard to what there is."""

    def __init__(self, request: Request, *, again: str | None, newest: bool) -> None:
        self._request, self._again, self._newest = request, again, newest
        self._place, self._asked = request.place, request.asked
        base = again or request.place.in_force()
        self._base = base if base and base != BEFORE and os.path.isdir(request.place.build(base)) else None
        self._before = (builds.read(self._place.manifest(self._base)) if self._base else None) or Manifest()
        self._channels = channels_of(request)
        self._carried: tuple[str, ...] = ()
        self._lost: list[str] = []

    async def run(self, finished: Sequence[str] = ()) -> dict[str, Any]:
        """Makes nothing, and answers with ``reused``, if one of the ``finished`` builds for the same request has the very packages that are chosen.

        Raises WorkError and whatever the library raises; then nothing is left of it.
        """
        have = records_of.installed(self._place.build(self._base))[0] if self._base else []
        chosen = Chosen((), self._stem_of_installer()) if self._request.installer else await self._choose(have)
        for build in finished:
            if self._has(build, chosen):
                return {"build": build, "reused": True, "linked": [], "removed": [], "carried": [], "lost": self._lost}
        self._check_space(chosen)
        build = self._free_name(chosen.name)
        prefix = self._place.build(build)
        settled.begin(self._place)
        try:
            manifest, entry = await self._fill(prefix, build, chosen)
            keeping.note_files(self._place, build, sorted(set(carry.listed(prefix)).difference(self._carried)))
            keeping.note_solution(self._place, build, entry)
            settled.settle(self._place)
            builds.write(self._place.manifest(build), manifest)
        except BaseException:
            await _clear(prefix)
            raise
        there = {records_of.identity(record) for record in have}
        names = {record.name.normalized for record in chosen.records}
        return {
            "build": build,
            "linked": sorted(r.name.normalized for r in chosen.records if records_of.identity(r) not in there),
            "removed": sorted({record.name.normalized for record in have} - names),
            "carried": list(manifest.carried),
            "lost": list(manifest.lost),
        }

    # ---- which packages

    async def _choose(self, have: Sequence[PrefixRecord]) -> Chosen:
        listing = self._request.listing
        if listing is not None:
            return await self._listed(listing)
        held = set(self._before.held)
        added = [record for record in have if self._base and record.name.normalized not in held]
        if self._again and (entry := keeping.solution(self._place, self._again)):
            mine = [records_of.from_entry(each) for each in entry.get("conda", ())]
            names = {record.name.normalized for record in mine}
            extra = [r for r in added if r.name.normalized not in names]
            records = (*mine, *(records_of.from_entry(records_of.to_entry(record)) for record in extra))
            pins = tuple(map(str, entry.get("pypi", ())))
            return Chosen(records, self._again, pins, frozenset(r.name.normalized for r in extra))
        say("solving")
        specs = specs_of(self._asked)
        found, kept = await self._solved(specs, have, {record.name.normalized for record in added})
        return Chosen(tuple(found), self._digest(found), None, frozenset(kept))

    async def _listed(self, listing: Mapping[str, Any]) -> Chosen:
        form, content = listing["form"], listing["content"]
        if content is None:
            raise WorkError(listing["why"], hint="apply again")
        if form == "agent":
            records = tuple(records_of.from_entry(each) for each in content["conda"])
            return Chosen(records, str(content["build"]), tuple(map(str, content["pypi"])))
        if form == "rattler":
            found, pins = records_of.from_lock_file(content, listing["entry"])
            return Chosen(tuple(found), self._digest(found), tuple(pins))
        addresses = {}
        for line in map(str.strip, content.splitlines()):
            if line.startswith(("http://", "https://", "file://")):
                address, _, digest = line.partition("#")
                addresses[address] = digest.removeprefix("sha256:")
        found = await self._channels.listed(addresses)
        return Chosen(tuple(found), self._digest(found), ())

    async def _solved(
        self, specs: list[str], have: Sequence[PrefixRecord], added: set[str]
    ) -> tuple[list[RepoDataRecord], set[str]]:
        """The packages to have, and those among them that stay because the owner added them by hand.

        What was added gives way only if nothing meets the request beside it.
        """
        locked = () if self._newest else have
        extra = sorted(added - set(map(records_of.name_of, specs)))
        if extra:
            try:
                found = await self._channels.solve([*specs, *extra], locked, say)
                return found, set(extra)
            except WorkError as error:
                if error.kind != "solve":
                    raise
        found = await self._channels.solve(specs, locked, say)
        if lost := sorted(set(extra) - {record.name.normalized for record in found}):
            say(f"gives way to what was asked for: {', '.join(lost)}")
            self._lost += lost
        return found, set()

    def _has(self, build: str, chosen: Chosen) -> bool:
        """Whether a build has what is chosen. Nobody knows that where pip has a say."""
        if self._request.installer or self._asked.pip or chosen.pins:
            return False
        there, _ = records_of.installed(self._place.build(build))
        return self._digest(there) == self._digest(chosen.records)

    # ---- what a build is made of

    async def _fill(self, prefix: str, build: str, chosen: Chosen) -> tuple[Manifest, dict[str, Any]]:
        pins = await self._put_files(prefix, chosen)
        return self._write_down(prefix, build, chosen, pins)

    async def _put_files(self, prefix: str, chosen: Chosen) -> tuple[str, ...]:
        """Everything that a build is made of; returns what pip added."""
        old = self._place.build(self._base) if self._base else None
        if self._request.installer:
            from agent.workers import installer

            os.makedirs(self._place.builds, exist_ok=True)
            installer.run(*self._request.installer, prefix, self._place.cache, say)
            return ()
        os.makedirs(prefix)
        await self._channels.link(chosen.records, prefix, specs_of(self._asked), say)
        self._finish_linking(prefix, chosen)
        pins = self._pip(prefix, chosen)
        if old and self._request.listing is None:
            taken = carry.carry(old, prefix, keeping.files(self._place, self._base or ""), say)
            self._carried = tuple(taken.files)
            self._lost += taken.lost
        bytecode.settle_times(prefix)
        bytecode.compile_all(prefix, [*([old] if old else []), *keeping.others(self._place)], say)
        return pins

    def _write_down(
        self, prefix: str, build: str, chosen: Chosen, pins: tuple[str, ...]
    ) -> tuple[Manifest, dict[str, Any]]:
        """What a build has, once that is seen to be all it was made for and its kernels were tried. Raises WorkError."""
        there, _ = records_of.installed(prefix)
        now = int(time.time())
        names = {record.name.normalized for record in there}
        manifest = Manifest(
            asked=self._asked, held=tuple(sorted(names - chosen.added)), seen=keeping.seen(prefix), created=time.time()
        )
        entry = self._entry(build, there, chosen, pins)
        if left := missing(self._request, build, manifest, entry):
            raise WorkError(f"everything was done and still not there: {', '.join(left)}")
        banners = []
        for command in self._request.kernels:
            say("trying its kernel")
            banners.append(try_kernel(command, prefix, self._place.name))
        solved = now if self._newest or not self._before.solved else self._before.solved
        return replace(
            manifest,
            entry=builds.digest(entry),
            seen=keeping.seen(prefix),
            solved=solved,
            kernels=tuple(banners),
            carried=self._carried[:_MOST_NAMES],
            lost=tuple(self._lost)[:_MOST_NAMES],
        ), entry

    def _finish_linking(self, prefix: str, chosen: Chosen) -> None:
        """What belongs to a prefix beside its packages; and their records are made readable for others."""
        meta = f"{prefix}/conda-meta"
        for name in os.listdir(meta):
            if name.endswith(".json"):
                os.chmod(f"{meta}/{name}", 0o644)
        _write(f"{meta}/frozen", json.dumps({"message": FROZEN}) + "\n")
        if self._asked.variables:
            _write(f"{meta}/state", json.dumps({"env_vars": dict(self._asked.variables)}, indent=1) + "\n")
        if self._asked.activation:
            _write(f"{prefix}/{ACTIVATION}", self._asked.activation.rstrip("\n") + "\n")
        for record in chosen.records:
            if record.name.normalized in self._request.link_scripts:
                _run_link_script(prefix, record)

    def _pip(self, prefix: str, chosen: Chosen) -> tuple[str, ...]:
        if not self._asked.pip and not chosen.pins:
            return ()
        there, _ = records_of.installed(prefix)
        owned = pip.owned_by_conda(str(file) for record in there for file in record.files)
        pins, request = chosen.pins, self._request
        index = pip.Index(self._place.cache, request.offline, request.timeout, request.retries)
        if pins is None:
            before = (keeping.solution(self._place, self._base) or {}) if self._base and not self._newest else {}
            keep = [str(each) for each in before.get("pypi", ())]
            try:
                pins = tuple(pip.resolve(prefix, self._asked.pip, owned, keep, say, index=index))
            except WorkError as error:
                if not (error.temporary and keep and self._before.asked.pip == self._asked.pip):
                    raise
                say("pip's index does not answer: going on with what was chosen earlier")
                pins = tuple(keep)
        pip.install(prefix, pins, say, index=index)
        return pins

    def _entry(
        self, build: str, there: Sequence[PrefixRecord], chosen: Chosen, pins: tuple[str, ...]
    ) -> dict[str, Any]:
        asked = self._asked
        packages = [records_of.to_entry(r) for r in there if r.name.normalized not in chosen.added]
        return {
            "build": build,
            "channels": list(asked.channels),
            "packages": list(asked.packages),
            "pip": list(asked.pip),
            "variables": dict(asked.variables),
            "activation": asked.activation,
            "conda": sorted(packages, key=lambda each: str(each["name"])),
            "pypi": list(pins),
        }

    def _check_space(self, chosen: Chosen) -> None:
        new = [record for record in chosen.records if not self._channels.cached(record)]
        space.check_disk(
            self._place,
            packages=[record.size or 0 for record in new],
            linked=len(chosen.records),
        )
        space.check_memory(self._place.cache)

    # ---- what it is called

    def _digest(self, records: Sequence[RepoDataRecord]) -> str:
        packages = sorted([record.url, records_of.as_hex(record.sha256)] for record in records)
        text = json.dumps([packages, self._asked.pip, self._asked.variables, self._asked.activation])
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def _stem_of_installer(self) -> str:
        return hashlib.blake2b(self._asked.installer.encode(), digest_size=6).hexdigest()

    def _free_name(self, name: str) -> str:
        stem, number = name.partition(".")[0], 0
        while any(os.path.lexists(path) for path in (self._place.build(name), self._place.manifest(name))):
            number += 1
            name = f"{stem}.{number}"
        return name


def specs_of(asked: builds.Asked) -> list[str]:
    """Match specs, with pip where something is asked of it."""
    extra = ["pip"] if asked.pip and "pip" not in map(records_of.name_of, asked.packages) else []
    return [*asked.packages, *extra]


def channels_of(request: Request) -> Channels:
    """Where a request's packages come from."""
    return Channels(
        request.asked.channels,
        request.mirrors,
        request.alias,
        request.place.cache,
        logins=request.logins,
        offline=request.offline,
        timeout=request.timeout,
        retries=request.retries,
    )


def missing(request: Request, build: str, manifest: Manifest, entry: dict[str, Any] | None = None) -> list[str]:
    """What a build was made for and does not have."""
    prefix, asked = request.place.build(build), manifest.asked
    records, unreadable = records_of.installed(prefix)
    lacks = [f"record {os.path.basename(path)}" for path in unreadable]
    if asked.installer:
        return lacks + sorted(set(manifest.held) - {record.name.normalized for record in records})
    requirements: Sequence[str] = asked.pip
    if asked.lock:
        there = {records_of.identity(record) for record in records}
        whole = entry or keeping.solution(request.place, build) or {}
        exact = [records_of.from_entry(each) for each in whole.get("conda", ())]
        lacks += [f"{r.name.normalized} {r.version}" for r in exact if records_of.identity(r) not in there]
        requirements = [str(each) for each in whole.get("pypi", ())]
    else:
        channels = channels_of(replace(request, asked=asked, mirrors=()))
        lacks += records_of.unmet(records, specs_of(asked), channels.serves)
    lacks += [f"pip:{each}" for each in pip.unmet(prefix, requirements)]
    return lacks + pip.replaced(prefix, [str(file) for record in records for file in record.files])


def _run_link_script(prefix: str, record: RepoDataRecord) -> None:
    """A package's post-link script, which the spec allows by name. Raises WorkError when it fails."""
    name = record.name.normalized
    script = f"{prefix}/bin/.{name}-post-link.sh"
    if not os.path.isfile(script):
        return
    say(f"running the post-link script of {name}")
    surroundings = {
        "PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "PREFIX": prefix,
        "PKG_NAME": name, "PKG_VERSION": str(record.version), "PKG_BUILDNUM": str(record.build_number),
    }  # fmt: skip
    done = subprocess.run(
        ["/bin/bash", script], env=surroundings, cwd=prefix, check=False, capture_output=True, text=True,
        errors="replace", timeout=_SCRIPT_SECONDS, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-500:] or "no words"
        raise WorkError(f"the post-link script of {name} exited {done.returncode}: {words}")


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


async def _clear(prefix: str) -> None:
    """Links that were under way when another package failed are still made after that: the directory must stay gone for a moment."""
    gone = 0
    for _ in range(100):
        shutil.rmtree(prefix, ignore_errors=True)
        await asyncio.sleep(0.05)
        gone = 0 if os.path.exists(prefix) else gone + 1
        if gone == 6:
            return
