"""The ledger: what this agent created or replaced on this host, and when each thing was last seen right.

A file of JSON lines that is only appended to during a pass (one line an entry, the last one for a ref counts) and written anew, whole, when it
has grown to several times what it says. An entry is on the disk before the change it speaks of is made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.records import from_record, to_record
from agent.resource import Ref, Resource

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class Entry:
    """What the agent knows of one resource. ``made``: ``created`` (it was not there), ``replaced`` (something else was; its original is kept) or
    ``adopted`` (it was right when first seen, so it is not the agent's to remove). ``right``: its fingerprint when last seen right."""

    resource: Resource
    made: str
    right: str | None = None

    @property
    def ref(self) -> Ref:
        return self.resource.ref


class Ledger:
    """The entries of one host. ``path`` need not exist; a torn last line is dropped, any other that cannot be read is skipped and kept aside."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._entries: dict[Ref, Entry] = {}
        self._lines = 0
        self._torn = False
        self.damaged = 0
        """Lines that could not be read; the file they were in is kept beside as ``.damaged``."""
        self._load()

    def entries(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def settled(self, ref: Ref) -> bool:
        """Whether this resource was ever seen right."""
        entry = self._entries.get(ref)
        return entry is not None and entry.right is not None

    def was_right(self, resource: Resource, host: Host) -> bool:
        """Whether an earlier pass saw the host in exactly the state that is wanted now: a difference then is drift."""
        entry = self._entries.get(resource.ref)
        return entry is not None and entry.right is not None and entry.right == resource.fingerprint(host)

    def entry(self, ref: Ref) -> Entry | None:
        return self._entries.get(ref)

    def making(self, resource: Resource, *, existed: bool) -> None:
        """Notes that this is about to be made or replaced, unless it is known already."""
        known = self._entries.get(resource.ref)
        if known is None:
            made = "replaced" if existed else "created"
        elif known.made == "adopted":
            made = "replaced" if existed else "adopted"
        else:
            made = known.made
        self._put(Entry(resource.stub(), made, known.right if known else None))

    def seen_right(self, resource: Resource, host: Host) -> None:
        """Notes that this was seen right. Writes only when that is news."""
        right = resource.fingerprint(host)
        known = self._entries.get(resource.ref)
        entry = Entry(resource.stub(), known.made if known else "adopted", right)
        if entry != known:
            self._put(entry)

    def gone(self, ref: Ref) -> None:
        """Forgets one that was removed, or that is not the agent's to keep any longer."""
        if self._entries.pop(ref, None) is not None:
            self._append({"ref": str(ref), "gone": True})

    def _put(self, entry: Entry) -> None:
        self._entries[entry.ref] = entry
        self._append(_to_line(entry))

    def _append(self, line: dict[str, Any]) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            start = b"\n" if self._torn else b""
            os.write(descriptor, start + json.dumps(line, separators=(",", ":")).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._lines += 1 + self._torn
        self.damaged += self._torn
        self._torn = False

    def compact(self) -> None:
        """Writes the file anew when it holds four times as many lines as entries."""
        if self._lines > 4 * len(self._entries) + 100 or self.damaged:
            from agent.host import durable

            lines = [json.dumps(_to_line(entry), separators=(",", ":")) for entry in self._entries.values()]
            durable.replace(self._path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
            self._lines = len(lines)
            self.damaged = 0

    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return
        self._torn = bool(lines.pop())  # a line counts once its newline is on the disk
        for line in lines:
            self._lines += 1
            try:
                self._read(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                self.damaged += 1
        if self.damaged:
            with open(f"{self._path}.damaged", "ab") as aside:
                os.chmod(aside.fileno(), 0o600)
                aside.write(b"\n".join(lines) + b"\n")

    def _read(self, line: dict[str, Any]) -> None:
        if line.get("gone"):
            self._entries.pop(Ref.parse(line["ref"]), None)
            return
        resource = from_record(line["record"])
        self._entries[resource.ref] = Entry(resource, str(line["made"]), line["right"])


def _to_line(entry: Entry) -> dict[str, Any]:
    return {"record": to_record(entry.resource), "made": entry.made, "right": entry.right}
