"""A database server that runs already: how to reach it, and as whom."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from ..base import Section, Spelled, refuse
from ..fields import plain_path
from ..secrets import Secret, secret

SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""What the distribution's ca-certificates keeps of all authorities that it trusts."""


def _reached_by_network(host: str) -> str:
    if host.lower() == "localhost":
        raise refuse("must be a name or an address of the server", "for this host, write 127.0.0.1, or give its socket")
    return host.lower()


def _authorities(value: Any) -> Any:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    if not isinstance(value, bool) and not (isinstance(value, str) and value.startswith("/")):
        raise refuse("must be true, false, or the absolute path of a file")
    return plain_path(value) if isinstance(value, str) else value


def _provided(value: Secret) -> Secret:
    if value.generate is not None:
        raise refuse(
            "must be a file or a credential: the agent cannot make up a password that it is let in by", show=False
        )
    return value


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address_or_name(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return _NAME.check(host)


_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = Spelled(
    rf"(?!.*\.[0-9]+$)({_LABEL}\.)*{_LABEL}", "the name of a host, such as db.example.org, or its address", longest=253
)
ServerHost = Annotated[str, AfterValidator(_address_or_name), AfterValidator(_reached_by_network)]
Authorities = Annotated[bool | str, BeforeValidator(_authorities, json_schema_input_type=bool | str)]
ProvidedPassword = Annotated[Secret, BeforeValidator(secret, json_schema_input_type=Secret), AfterValidator(_provided)]


class Administrator(Section):
    """The account that the agent logs in as on an external server. It never changes this one."""

    user: Annotated[
        str, Spelled(r"[A-Za-z0-9_.$@-]{1,80}", "the name of an account, without a host: letters, digits and _.$@-")
    ] = Field(description="Its name, without a host.", examples=["admin"])
    password: ProvidedPassword = Field(
        description="Where its password is: a file or a credential.", examples=[{"file": "/etc/agent/secrets/db-admin"}]
    )
