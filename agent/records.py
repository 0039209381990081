"""Resources as plain data and back: for the ledger, for generations and for digests. Knows no kind; kinds are looked up in agent.kinds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from agent import steps
from agent.resource import Ref, Resource

_VOCABULARY: dict[str, type] = {
    "SecretRef": steps.SecretRef,
    "Slot": steps.Slot,
    "Content": steps.Content,
    "Check": steps.Check,
    "Probe": steps.Probe,
    "Idle": steps.Idle,
    "Listing": steps.Listing,
    "Login": steps.Login,
}


def to_record(resource: Resource) -> dict[str, Any]:
    """The resource as JSON data; ``from_record`` gives an equal one."""
    return {
        "kind": resource.kind,
        "fields": {f.name: _encode(getattr(resource, f.name)) for f in dataclasses.fields(resource)},
    }


def from_record(record: dict[str, Any]) -> Resource:
    """The resource that a record describes. Raises ValueError for a kind or a field that this version does not know."""
    from agent.kinds import KINDS

    kind = KINDS.get(record["kind"])
    if kind is None:
        raise ValueError(f"no kind is called {record['kind']!r}")
    values = {name: _decode(value) for name, value in record["fields"].items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{record['kind']}: {error}") from error


def digest(resource: Resource) -> str:
    """A digest of all fields; secrets count by where they are, not by what they are."""
    text = json.dumps(to_record(resource), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Ref):
        return {"ref": str(value)}
    if isinstance(value, tuple):
        return [_encode(each) for each in value]
    if isinstance(value, frozenset):
        return {"set": sorted(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        if _VOCABULARY.get(name) is not type(value):
            raise TypeError(f"{name} is not among the vocabulary of records")
        return {"is": name, **{f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    raise TypeError(f"a resource cannot hold {type(value).__name__}")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(each) for each in value)
    if not isinstance(value, dict):
        return value
    if "ref" in value:
        return Ref.parse(value["ref"])
    if "set" in value:
        return frozenset(value["set"])
    known = _VOCABULARY.get(value["is"])
    if known is None:
        raise ValueError(f"no part of a resource is called {value['is']!r}")
    return known(**{name: _decode(each) for name, each in value.items() if name != "is"})
