"""The ledger: what this agent created or replaced on this host, and when each thing was last seen right.

A file of JSON lines that is only appended to during a pass (one line an entry, the last one for a ref counts) and written anew, whole, when it
has grown to several times what it says. An entry is on the disk before the change it speaks of is made; that something was seen right is there at the end
of the pass. Threads that wait for the disk at the same time wait together.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.host import durable
from agent.records import from_record, to_record
from agent.resource import Ref, Resource

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class Entry:
    """What the agent knows of one resource. ``made``: ``created`` (it was not there), ``replaced`` (something else was; its original is kept),
    ``adopted`` (it was right when first seen, so it is not the agent's to remove) or ``left`` (created, and gone from the spec since, but something of
    others is in it, so that it stays). ``right``: its aim when last seen right."""

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
        self._torn = self._untidy = self._new = False
        self._lock = threading.Lock()
        self._disk = threading.Lock()
        self._written = self._safe = 0
        """Lines appended since the start, and how many of these are on the disk."""
        self.damaged: list[bytes] = []
        """Lines that could not be read; they are kept beside as ``.damaged`` when the file is written anew."""
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
        return entry is not None and entry.right is not None and entry.right == resource.aim(host)

    def entry(self, ref: Ref) -> Entry | None:
        return self._entries.get(ref)

    def making(self, resource: Resource, *, existed: bool) -> None:
        """Notes that this is about to be made or replaced, unless it is known already. Once it returns, a power cut does not undo the note."""
        known = self._known(resource.ref)
        if known is None:
            made = "replaced" if existed else "created"
        elif known.made == "adopted":
            made = "replaced" if existed else "adopted"
        else:
            made = known.made
        self._put(Entry(resource.stub(), made, known.right if known else None))
        self.flush()

    def seen_right(self, resource: Resource, host: Host) -> None:
        """Notes that this was seen right. Writes only when that is news."""
        right = resource.aim(host)
        known = self._known(resource.ref)
        entry = Entry(resource.stub(), known.made if known else "adopted", right)
        if entry != self._entries.get(resource.ref):
            self._put(entry)

    def left(self, ref: Ref) -> None:
        """Notes that this left the spec and stays for what is in it."""
        entry = self._entries[ref]
        if entry.made != "left":
            self._put(replace(entry, made="left"))

    def gone(self, ref: Ref) -> None:
        """Forgets one that was removed, or that is not the agent's to keep any longer."""
        if ref in self._entries:
            self._append({"ref": str(ref), "gone": True})
            del self._entries[ref]

    def _known(self, ref: Ref) -> Entry | None:
        """The entry of one that is in the spec, perhaps again."""
        entry = self._entries.get(ref)
        return replace(entry, made="created") if entry is not None and entry.made == "left" else entry

    def _put(self, entry: Entry) -> None:
        self._append(_to_line(entry))
        self._entries[entry.ref] = entry

    def _append(self, line: dict[str, Any]) -> None:
        with self._lock:
            descriptor = self._open()
            try:
                text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
                rest = memoryview(b"\n" + text if self._torn else text)
                self._untidy = self._untidy or self._torn
                self._torn = True  # until all of it is there
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                self._torn = False
            except OSError as error:
                error.filename = self._path
                raise
            finally:
                os.close(descriptor)
            self._lines += 1
            self._written += 1

    def flush(self) -> None:
        """Everything that was noted before is on the disk when it returns. One wait does for all threads that came to it meanwhile."""
        written = self._written
        with self._disk:
            if self._safe >= written:
                return
            written = self._written
            descriptor = self._open()
            try:
                os.fsync(descriptor)
            except OSError as error:
                error.filename = self._path
                self._torn = True
                raise
            finally:
                os.close(descriptor)
            if self._new:
                durable.sync_directory(os.path.dirname(self._path))
                self._new = False
            self._safe = written

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)

    def compact(self) -> None:
        """Writes the file anew when it holds four times as many lines as entries, or anything that cannot be read."""
        if not (self._lines > 4 * len(self._entries) + 100 or self._untidy or self._torn):
            return
        if self.damaged:
            durable.replace(f"{self._path}.damaged", b"\n".join(self.damaged) + b"\n", mode=0o600)
        lines = [json.dumps(_to_line(entry), separators=(",", ":")) for entry in self._entries.values()]
        durable.replace(self._path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
        self._lines, self._torn, self._untidy = len(lines), False, False
        self.damaged.clear()

    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            self._new = True
            return
        self._torn = bool(lines.pop())  # a line counts once its newline is on the disk
        self._lines = len(lines)
        for line in filter(None, lines):
            try:
                self._read(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self.damaged.append(line)
        self._untidy = self._torn or bool(self.damaged)

    def _read(self, line: dict[str, Any]) -> None:
        if line.get("gone"):
            self._entries.pop(Ref.parse(line["ref"]), None)
            return
        resource = from_record(line["record"])
        self._entries[resource.ref] = Entry(resource, str(line["made"]), line["right"])


def _to_line(entry: Entry) -> dict[str, Any]:
    return {"record": to_record(entry.resource), "made": entry.made, "right": entry.right}
