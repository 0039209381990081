"""What every section stands on: the frozen model, refusals that hold no value, patterns that say what would do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Section(BaseModel):
    """A part of the spec: frozen, unknown keys refused. Whole numbers are taken as text where text is wanted."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, hide_input_in_errors=True, use_enum_values=True
    )


def refuse(message: str, hint: str = "", *, show: bool = True, at: str = "") -> PydanticCustomError:
    """What a validator raises. ``message`` says what would do; what was given is added by the reader of the error,
    who knows whether it is a secret, unless ``show`` is false. So no validator ever puts a value into a text.
    ``at`` is the field to point at, for a validator of the whole model."""
    return PydanticCustomError("refused", "{message}", {"message": message, "hint": hint, "show": show, "at": at})


@dataclass(frozen=True)
class Spelled:
    """Text that matches a pattern from end to end, in ASCII; ``must`` finishes the sentence 'must be ...'."""

    pattern: str
    must: str
    hint: str = ""
    longest: int = 255

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        written = handler(schema)
        return {**written, "pattern": f"^(?:{self.pattern})$"}

    def check(self, text: str) -> str:
        if len(text) > self.longest:
            raise refuse(f"is {len(text)} characters long; at most {self.longest} will do", show=False)
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise refuse(f"must be {self.must}", self.hint)
        return text


@dataclass(frozen=True)
class OneOf:
    """Text that is one of a list; the reader of the error suggests the nearest."""

    choices: tuple[str, ...]
    must: str = ""
    """Said instead of the choices where they are many."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.choices)}

    def check(self, text: str) -> str:
        if text not in self.choices:
            expected = ", ".join(f"'{choice}'" for choice in self.choices)
            raise PydanticCustomError("literal_error", "one of {expected}", {"expected": expected, "must": self.must})
        return text


@dataclass(frozen=True)
class Between:
    """A number from ``least`` to ``most``."""

    least: int
    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "minimum": self.least, "maximum": self.most}

    def check(self, number: int) -> int:
        if not self.least <= number <= self.most:
            raise refuse(f"must be {self.least} to {self.most}")
        return number
