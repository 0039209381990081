"""Accounts of the database server: who they are, how they log in and what they may do."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from ..base import Section, refuse
from ..fields import Flag
from ..secrets import Password, Secret
from .mysql_grants import GrantTarget, Privilege, privileges

SYSTEM_ACCOUNTS = {
    "root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint",
}  # fmt: skip


def with_host(text: str) -> str:
    """``name`` or ``name@host``; always returned with its host."""
    name, at, host = text.partition("@")
    if not re.fullmatch(r"[A-Za-z0-9_.$-]{1,32}", name, re.ASCII):
        raise refuse("must be a name such as 'analyst' or 'analyst@10.0.0.%': letters, digits and _.$-, at most 32")
    if name.lower() in SYSTEM_ACCOUNTS:
        raise refuse("must be an account of yours; this one belongs to the server")
    if at and not _is_host(host):
        raise refuse(
            "must have a host after '@': localhost, a name, an address, a network such as 10.0.0.% or "
            "10.0.0.0/255.255.255.0, or % for any"
        )
    return f"{name}@{host.lower() or 'localhost'}"


def _is_host(host: str) -> bool:
    if host == "%" or re.fullmatch(r"([0-9]{1,3}\.){1,3}%", host):
        return True
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        pass
    address, slash, mask = host.partition("/")
    if slash:
        try:
            ipaddress.ip_network(f"{address}/{mask}")
        except ValueError:
            return False
        return "." in mask
    return (
        bool(re.fullmatch(r"(?!.*\.[0-9]+$)(%\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+", host, re.ASCII))
        and len(host) <= 60
    )


Account = Annotated[str, AfterValidator(with_host)]
"""``name@host``."""


class DatabaseUser(Section):
    """One account of the database server."""

    password: Password = Field(
        default=Secret.model_validate({"generate": {}}),
        description="Where its password is. Left out: the agent makes one up.",
        examples=[{"generate": {"length": 24}}, {"file": "/etc/agent/secrets/analyst"}],
    )
    require_ssl: Flag | None = Field(
        default=None,
        description="Refuse connections without TLS. Left out: for every host but this one.",
        examples=[True],
    )
    grants: Mapping[
        GrantTarget,
        Annotated[
            tuple[Privilege, ...],
            Field(min_length=1),
            BeforeValidator(privileges, json_schema_input_type=tuple[Privilege, ...] | Privilege),
        ],
    ] = Field(
        default={},
        description="Exactly what it may do: privileges by database, or by `database.table`.",
        examples=[{"analysis": ["ALL"]}, {"analysis.results": ["SELECT", "INSERT"]}],
    )
