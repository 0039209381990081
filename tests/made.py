"""Environments as the conda worker leaves them, without packages: for what only looks at names, links and notes. And a worker that makes such ones."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.errors import HostError
from agent.host import builds, look
from agent.host.builds import Asked, Manifest, Place

CHANNEL = "https://conda.example.org/main"


def package(name: str, version: str, build: str = "h1_0") -> dict[str, Any]:
    """A record as a lock entry has it."""
    fn = f"{name}-{version}-{build}.conda"
    return {
        "name": name, "version": version, "build": build, "build_number": 0, "subdir": "linux-64", "fn": fn,
        "url": f"{CHANNEL}/linux-64/{fn}", "channel": f"{CHANNEL}/", "sha256": "0" * 64, "md5": None,
    }  # fmt: skip


def entry(build: str, asked: Asked, conda: Sequence[dict[str, Any]], pypi: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "build": build,
        "channels": list(asked.channels),
        "packages": list(asked.packages),
        "pip": list(asked.pip),
        "variables": dict(asked.variables),
        "activation": asked.activation,
        "conda": list(conda),
        "pypi": list(pypi),
    }


def make(
    place: Place,
    build: str,
    asked: Asked,
    conda: Sequence[dict[str, Any]],
    pypi: Sequence[str] = (),
    **manifest: Any,
) -> dict[str, Any]:
    """A finished build; its lock entry."""
    meta = f"{place.build(build)}/conda-meta"
    os.makedirs(meta)
    os.makedirs(f"{place.root}/envs", exist_ok=True)
    for each in conda:
        with open(f"{meta}/{each['fn'].removesuffix('.conda')}.json", "w", encoding="utf-8") as file:
            json.dump(each, file)
    made_of = entry(build, asked, conda, pypi)
    builds.save(place.solution(build), json.dumps(made_of))
    python = next((each["version"] for each in conda if each["name"] == "python"), None)
    names = look.names(builds.site_packages(place.build(build), python)) if python else ()
    seen = builds.seen(look.stamps(meta) or (), names or ())
    fields: dict[str, Any] = {
        "asked": asked,
        "seen": seen,
        "created": 1000.0,
        "entry": builds.digest(made_of),
    } | manifest
    builds.write(place.manifest(build), dataclasses.replace(Manifest(), **fields))
    return made_of


@dataclass
class Worker:
    """Stands for the conda worker: ``newest`` are the packages that an update finds, ``refuse`` what it says instead, by verb."""

    newest: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[str, HostError] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Verb and build of each request."""

    def __call__(self, _worker: str, _user: str, request: Mapping[str, Any], _label: str, _timeout: float) -> Any:
        place, verb = Place(request["root"], request["name"]), request["verb"]
        self.asked.append((verb, request.get("build", "")))
        if verb in self.refuse:
            raise self.refuse[verb]
        return getattr(self, f"_{verb}")(place, request)

    def _propose(self, place: Place, request: Mapping[str, Any]) -> dict[str, Any]:
        asked = Asked(**request["asked"])
        build = "f" * 12
        now = place.in_force()
        made_of = make(place, build, asked, self.newest, created=9000.0)
        before = None
        if now is not None:
            with open(place.solution(now), encoding="utf-8") as file:
                before = json.load(file)
        same = before is not None and {**before, "build": ""} == {**made_of, "build": ""}
        return {"build": build, "entry": made_of, "before": before, "same": same}

    def _flip(self, place: Place, request: Mapping[str, Any]) -> dict[str, Any]:
        builds.point(place, request["build"])
        return {"build": request["build"]}

    def _discard(self, place: Place, request: Mapping[str, Any]) -> dict[str, Any]:
        for path in (place.manifest(request["build"]), place.solution(request["build"])):
            os.unlink(path)
        shutil.rmtree(place.build(request["build"]))
        return {}

    def _check(self, _place: Place, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {"unmet": ["numpy >=2"]}

    def _clean(self, place: Place, request: Mapping[str, Any]) -> dict[str, Any]:
        others = [build for build in place.finished() if build not in (place.in_force(), request["hold"])]
        gone = others[request["keep"] :]
        return {"builds": gone, "packages": ["numpy-2.0-h1_0"], "bytes": 100 * len(gone) + 30, "cache_bytes": 30}
