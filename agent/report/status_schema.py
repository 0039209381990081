"""The JSON Schema of the status document and of its conditions. Fields are added within a format; a changed meaning is a new format."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Status of agent",
    "description": "The last pass, written down. /var/lib/agent/status.json; everybody may read it, it holds no secret.",
    "type": "object",
    "required": ["format", "agent", "verb", "spec", "last_pass", "counts", "conditions", "resources", "orphans"],
    "properties": {
        "format": {"const": 1},
        "agent": {"description": "Version of the agent.", **_TEXT},
        "verb": {"description": "What made the pass.", **_TEXT},
        "spec": {"description": "Path of the spec.", **_TEXT},
        "spec_digest": {"description": "Digest of the spec's files.", **_TEXT},
        "generation": {"description": "The generation that is in force.", "type": ["integer", "null"]},
        "last_pass": {"description": "When it ended, in UTC.", **_MOMENT},
        "seconds": {"description": "How long it took.", "type": "number"},
        "interval": {"description": "Seconds between full passes of the daemon.", "type": "number"},
        "splay": {"description": "At most so many seconds more.", "type": "number"},
        "counts": {
            "description": "How many resources had each result.",
            "type": "object",
            "additionalProperties": {"type": "integer"},
        },
        "conditions": {
            "description": "SpecValid, AsWanted, Healthy: whether each holds, since when, and if not, why.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "status", "reason", "message", "since"],
                "properties": {
                    "type": _TEXT,
                    "status": {"type": "boolean"},
                    "reason": _TEXT,
                    "message": _TEXT,
                    "since": _MOMENT,
                },
            },
        },
        "problems": {
            "description": "What is wrong with the spec, if anything: file:line:column first.",
            "type": "array",
            "items": _TEXT,
        },
        "resources": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["ref", "result"],
                "properties": {
                    "ref": {"description": "kind:name", **_TEXT},
                    "result": {"enum": ["unchanged", "changed", "failed", "skipped"]},
                    "action": {"enum": ["create", "update", "delete", "restart"]},
                    "cause": {"enum": ["drift", "intended"]},
                    "fields": {"description": "The fields that differed.", "type": "array", "items": _TEXT},
                    "message": {"description": "Why it failed or was skipped.", **_TEXT},
                    "hint": {"description": "The way out.", **_TEXT},
                    "seconds": {"type": "number"},
                },
            },
        },
        "notes": {
            "description": "What people should know although nothing differs: a build that was gone back to, an update that failed.",
            "type": "array",
            "items": _TEXT,
        },
        "orphans": {
            "description": "What left the spec and stays, because it may hold someone's work.",
            "type": "array",
            "items": _TEXT,
        },
    },
}
