"""Variables of the database server, as an option file has them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from ..base import Spelled, refuse


def _setting(value: Any) -> Any:
    """As it is written in an option file: ON and OFF, numbers, text. Quotes and '#' have a meaning there."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_.,:/@%+*=|() -]{0,500}", value, re.ASCII):
        raise refuse("must be letters, digits and _.,:/@%+*=|()- in one line")
    if isinstance(value, str) and value != value.strip():
        raise refuse("must not begin or end with a blank", show=False)
    return value


def underscored(name: str) -> str:
    """Option names are the same with '-' and '_'; returned with '_'."""
    return name.replace("-", "_")


Variable = Annotated[
    str,
    Spelled(r"[a-z][a-z0-9_.-]{0,63}", "a variable of the server, such as innodb_buffer_pool_size"),
    AfterValidator(underscored),
]
Value = Annotated[str, BeforeValidator(_setting, json_schema_input_type=str | int | bool)]
