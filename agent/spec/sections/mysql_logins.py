"""How an account of the database server logs in, and within which limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from ..base import Between, Section, refuse
from ..fields import DURATION, Flag, Whole, duration, flag
from ..secrets import Secret, secret

Plugin = Literal["caching_sha2_password", "mysql_native_password", "ed25519", "socket"]
_SOCKETS = ("socket", "unix_socket", "auth_socket")
_LONGEST = 65535
"""Days; MySQL has two bytes for them."""


def _plugin(value: Any) -> Any:
    return "socket" if value in _SOCKETS else value


def _require_ssl(value: Any) -> Any:
    if isinstance(value, str) and value.lower() == "x509":
        return "x509"
    try:
        return flag(value)
    except ValueError:
        raise refuse("must be true, false or x509") from None


def _expires(value: Any) -> Any:
    if value in ("default", "never"):
        return value
    try:
        length: timedelta = duration(value)
    except ValueError:
        raise refuse("must be 'never', 'default' or days such as 90d") from None
    if length % timedelta(days=1) or length.days > _LONGEST:
        raise refuse(f"must be whole days, at most {_LONGEST} of them")
    return f"{length.days}d"


class AccountPassword(Secret):
    """Where the password of an account is, or that the account keeps the one that it has. Exactly one of the fields is given."""

    keep: Flag | None = Field(
        default=None,
        description="For an account that is there already: how it logs in is not looked at. `password: keep` is short for it.",
        examples=[True],
    )

    @model_validator(mode="after")
    def _kept(self) -> AccountPassword:
        if self.keep is False:
            raise refuse("must be true, or left out", show=False, at="keep")
        return self


def _password(value: Any) -> Any:
    return {"keep": True} if value == "keep" else secret(value)


Password = Annotated[AccountPassword, BeforeValidator(_password, json_schema_input_type=AccountPassword | str)]
AnyPlugin = Annotated[
    Plugin, BeforeValidator(_plugin), WithJsonSchema({"enum": sorted({*get_args(Plugin), *_SOCKETS})})
]
RequireSsl = Annotated[
    bool | Literal["x509"], BeforeValidator(_require_ssl, json_schema_input_type=bool | Literal["x509"])
]
Expires = Annotated[
    str,
    BeforeValidator(_expires),
    WithJsonSchema({"type": "string", "pattern": f"^(never|default|{DURATION})$"}),
]
_Most = Annotated[Whole, Between(0, 2**31 - 1)]


class Limits(Section):
    """The most that one account may do; 0 is no limit."""

    max_queries_per_hour: _Most = Field(default=0, description="Statements in an hour.", examples=[10000])
    max_updates_per_hour: _Most = Field(default=0, description="Statements that change something, in an hour.")
    max_connections_per_hour: _Most = Field(default=0, description="Logins in an hour.", examples=[600])
    max_user_connections: _Most = Field(default=0, description="Connections at one time.", examples=[20])
