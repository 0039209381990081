"""Variables of the database server: those that are known, with their types, and any others as an option file has them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from ..base import Spelled, refuse
from ..fields import listen_address


def _setting(value: Any) -> Any:
    """As it is written in an option file: ON and OFF, numbers, text. Quotes and '#' have a meaning there."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_.,:/@%+*=|() -]{0,500}", value, re.ASCII):
        raise refuse("must be letters, digits and _.,:/@%+*=|()- in one line")
    if isinstance(value, str) and value != value.strip():
        raise refuse("must not begin or end with a blank", show=False)
    return value


def _words(value: Any) -> Any:
    """A list is a set of words, as of sql_mode."""
    if isinstance(value, list) and all(isinstance(word, str) and "," not in word for word in value):
        return ",".join(value)
    return value


def _bind(text: str) -> str:
    return text if text == NOWHERE else listen_address(text)


def underscored(name: str) -> str:
    """Option names are the same with '-' and '_'; returned with '_'."""
    return name.replace("-", "_")


NOWHERE = "none"
"""The address of a server that listens on its socket alone."""
Variable = Annotated[
    str,
    Spelled(r"[a-z][a-z0-9_.-]{0,63}", "a variable of the server, such as innodb_buffer_pool_size"),
    AfterValidator(underscored),
]
Value = Annotated[str, BeforeValidator(_setting, json_schema_input_type=str | int | bool)]
TypedValue = Annotated[
    str, BeforeValidator(lambda value: _setting(_words(value)), json_schema_input_type=str | int | bool | list[str])
]
"""What it must be is a matter of the variable: see agent.host.database_variables."""
BindAddress = Annotated[str, AfterValidator(_bind)]
