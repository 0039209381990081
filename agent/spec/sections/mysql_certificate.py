"""The certificate that the database server shows to clients."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ..base import refuse
from .tls import Tls


def _mode(value: Any) -> Any:
    if value is False or value in ("none", "off", "no", "disabled"):
        raise refuse(
            "must be host-ca, self-signed or files",
            "without this field there is a certificate only if an account needs it",
        )
    return value


def by_mode(value: Any) -> Any:
    """``true`` and a mode are short for a mapping."""
    if value is True:
        return {}
    return {"mode": value} if isinstance(value, str) else value


class ServerCertificate(Tls):
    """The certificate of the database server. Renewed in time, and then taken up by the running server: no session ends."""

    mode: Annotated[Literal["host-ca", "self-signed", "files"], BeforeValidator(_mode)] = Field(
        default="host-ca",
        description=(
            "`host-ca`: an authority of this host, limited to its names, signs the certificate; clients are given its "
            "`trust.pem` once. `self-signed`: clients need the new one after each renewal. `files`: a certificate of your own."
        ),
        examples=["host-ca", "files"],
    )
