"""Generations: each spec that was applied and found healthy, kept with the resources it stood for, so that it can be gone back to.

STATE/generations/7/spec/*.yaml     the files of the spec as they were read
STATE/generations/7/resources.json  the resources as records (secrets by name only)
STATE/bad.json                      the last spec that was rolled back, why, and which resources went back
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.host import durable
from agent.records import from_record, to_record
from agent.resource import Ref, Resource
from agent.status import now

KEPT = 10
"""How many generations are kept."""


@dataclass(frozen=True)
class Generation:
    """One that was good."""

    number: int
    digest: str
    resources: Mapping[Ref, Resource]


@dataclass(frozen=True)
class Rejection:
    """That a spec was applied, found unhealthy and rolled back: why, when (in UTC), and which of its resources."""

    reason: str
    since: str
    refs: frozenset[Ref]


def digest(resources: Iterable[Resource]) -> str:
    """What tells one generation from another."""
    records = sorted(json.dumps(to_record(resource), sort_keys=True) for resource in resources)
    return hashlib.blake2b("\n".join(records).encode(), digest_size=16).hexdigest()


class Generations:
    """The generations of one host, under ``state``."""

    def __init__(self, state: str) -> None:
        self._directory = f"{state}/generations"
        self._bad = f"{state}/bad.json"

    def numbers(self) -> list[int]:
        """Those there are, oldest first."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def current(self) -> Generation | None:
        """The newest one that can be read."""
        for number in reversed(self.numbers()):
            if (found := self._load(number)) is not None:
                return found
        return None

    def keep(self, resources: Mapping[Ref, Resource], documents: Iterable[tuple[str, bytes]]) -> int:
        """Keeps these as a new generation unless they are the current one; its number. Durable once it returns."""
        self._clear_away()
        current, new = self.current(), digest(resources.values())
        if current is not None and current.digest == new:
            return current.number
        number = max(self.numbers(), default=0) + 1
        making = f"{self._directory}/.{number}"
        os.makedirs(f"{making}/spec", mode=0o700)
        for index, (name, content) in enumerate(documents):
            durable.replace(f"{making}/spec/{index:02d}-{os.path.basename(name)}", content, mode=0o600)
        records = [to_record(resources[ref]) for ref in sorted(resources)]
        document = {"digest": new, "applied": now(), "resources": records}
        durable.replace(f"{making}/resources.json", json.dumps(document).encode(), mode=0o600)
        os.rename(making, f"{self._directory}/{number}")
        durable.sync_directory(self._directory)
        for old in self.numbers()[:-KEPT]:
            shutil.rmtree(f"{self._directory}/{old}", ignore_errors=True)
        return number

    def _clear_away(self) -> None:
        """What a run that was killed left half made."""
        for name in os.listdir(self._directory) if os.path.isdir(self._directory) else ():
            if name.startswith("."):
                shutil.rmtree(f"{self._directory}/{name}", ignore_errors=True)

    def mark_bad(self, resources: Mapping[Ref, Resource], reason: str, refs: Iterable[Ref]) -> None:
        """Notes that these were applied and found unhealthy, so that ``refs`` of them go back to the previous generation."""
        back = sorted(str(ref) for ref in refs)
        note = {"digest": digest(resources.values()), "reason": reason, "since": now(), "refs": back}
        durable.replace(self._bad, json.dumps(note).encode(), mode=0o600)

    def forgive(self) -> None:
        """Forgets which spec was rolled back."""
        durable.unlink(self._bad)

    def bad(self, resources: Mapping[Ref, Resource]) -> Rejection | None:
        """The note made by ``mark_bad`` if it is about exactly these; a damaged one counts as none."""
        try:
            with open(self._bad, "rb") as file:
                note = json.load(file)
            if note["digest"] == digest(resources.values()):
                return Rejection(str(note["reason"]), str(note["since"]), frozenset(map(Ref.parse, note["refs"])))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return None

    def _load(self, number: int) -> Generation | None:
        try:
            with open(f"{self._directory}/{number}/resources.json", "rb") as file:
                found = json.load(file)
            resources = [from_record(record) for record in found["resources"]]
            return Generation(number, str(found["digest"]), {resource.ref: resource for resource in resources})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
