"""The JSON Schema of the spec, for editors and for `agent schema`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from .fields import spell_duration
from .spec import Spec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Titles(GenerateJsonSchema):
    """Without the titles that pydantic makes of field names: editors show the description."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return spell_duration(dft)
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", exclude_none=True)
        return super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - asked with it
        return False


def spec_schema() -> dict[str, Any]:
    """Draft 2020-12. Describes the shorthands too; what it cannot say (checks between fields) `agent validate` does."""
    made = Spec.model_json_schema(schema_generator=_Titles)
    made["title"] = "agent spec"
    for definition in made["$defs"].values():
        definition["title"] = _spaced(definition.get("title", ""))
    return {"$schema": DIALECT, **_tidy(made)}


def _tidy(node: Any) -> Any:
    """Defaults as a person would write them, without the fields that are left out; misspelt names marked."""
    if isinstance(node, list):
        return [_tidy(member) for member in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value if key == "default" else _tidy(value) for key, value in node.items()}
    if kept.get("default", ...) in (None, {}):
        del kept["default"]
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept


def text() -> str:
    """As `docs/spec.schema.json` holds it."""
    return json.dumps(spec_schema(), indent=2, ensure_ascii=False) + "\n"


def _spaced(title: str) -> str:
    """``DatabaseUser`` as ``database user``."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in title).strip()
