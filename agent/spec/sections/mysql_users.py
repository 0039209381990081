"""Accounts of the database server: who they are, how they log in and what they may do."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from ..base import Section, refuse
from ..fields import Flag
from .mysql_grants import SYSTEM_ACCOUNTS, DefaultRoles, Grants, Roles
from .mysql_logins import AccountPassword, AnyPlugin, Expires, Limits, Password, RequireSsl


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
    except ValueError:  # then a network, or a name
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
    """One account of the database server. What is left out is as usual, and made so again where it was changed by hand."""

    password: Password = Field(
        default=AccountPassword.model_validate({"generate": {}}),
        description="Where its password is, or `keep` for an account that has one. Left out: the agent makes one up.",
        examples=[{"generate": {"length": 24}}, {"file": "/etc/agent/secrets/analyst"}, "keep"],
    )
    plugin: AnyPlugin | None = Field(
        default=None,
        description=(
            "How it logs in. Left out: by a password, kept as is usual for the server (`caching_sha2_password` on MySQL, "
            "`mysql_native_password` on MariaDB). `ed25519`: by a password, on MariaDB, for clients that know it. `socket`: without one, "
            "as the system's account of the same name."
        ),
        examples=["socket", "ed25519"],
    )
    require_ssl: RequireSsl | None = Field(
        default=None,
        description=(
            "Refuse connections without TLS; `x509`: and without a client's certificate that the server trusts. "
            "Left out: TLS for every host but this one."
        ),
        examples=[True],
    )
    limits: Limits = Field(
        default=Limits(),
        description="The most that it may do; what is left out has no limit.",
        examples=[{"max_user_connections": 20}],
    )
    locked: Flag = Field(
        default=False,
        description="Nobody is let in. An account that was locked by hand is unlocked where this is left out.",
    )
    password_expires: Expires = Field(
        default="default",
        description="When the password must be changed: `never`, after days such as `90d`, or as is the server's `default`.",
        examples=["never", "90d"],
    )
    grants: Grants = Field(
        default={},
        description=(
            "Exactly what it may do: privileges by what they are on. `'*'` is everything; `GRANT OPTION` lets it pass them on; "
            "`SELECT (id, name)` is for columns of a table."
        ),
        examples=[
            {"analysis": ["ALL"]},
            {"analysis.results": ["SELECT (id, name)", "INSERT"], "procedure analysis.refresh": "EXECUTE"},
        ],
    )
    roles: Roles = Field(
        default=(), description="Roles that it has.", examples=["reader", [{"name": "reader", "admin": True}]]
    )
    default_role: DefaultRoles | None = Field(
        default=None,
        description="Those of its roles that are active from login on: one on MariaDB; a list on MySQL, or `ALL`; or `NONE`. Left out: all.",
        examples=["reader", "NONE"],
    )

    def known_to(self, account: str, system: str) -> bool:
        """Whether somebody who runs as this account of the system can log in with what the agent knows."""
        return account.rpartition("@")[0] == system if self.plugin == "socket" else not self.password.keep

    @model_validator(mode="after")
    def _one_login(self) -> DatabaseUser:
        given = self.model_fields_set
        if self.plugin == "socket" and "password" in given:
            raise refuse("goes with a plugin that has one; socket lets in without", show=False, at="password")
        if self.plugin == "socket" and "password_expires" in given:
            raise refuse("goes with a password; plugin socket has none", show=False, at="password_expires")
        if self.plugin and self.password.keep:
            raise refuse("goes with a password that the agent sets, not with 'password: keep'", show=False, at="plugin")
        return self
