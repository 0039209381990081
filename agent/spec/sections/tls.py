"""The certificate of the Jupyter server."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..base import Between, Section, refuse
from ..fields import AbsolutePath, Address, DnsName, Duration, Whole

DAY = timedelta(days=1)


def _mode(value: Any) -> Any:
    if value is False or value in ("none", "off", "no", "disabled", "http"):
        raise refuse(
            "must be self-signed, host-ca or files; there is no mode without encryption",
            "behind a proxy on this host, set jupyter.address to 127.0.0.1",
        )
    return value


def _key_bits(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2048:
        raise refuse(
            "must be at least 2048: RSA keys shorter than that are refused by current browsers and OpenSSL",
            "leave out key_type and key_bits for an ECDSA key, which is shorter, faster and stronger",
        )
    return value


class Tls(Section):
    """The certificate of the Jupyter server. HTTPS is always on; a certificate that is still good is never replaced."""

    mode: Annotated[Literal["self-signed", "host-ca", "files"], BeforeValidator(_mode)] = Field(
        default="self-signed",
        description=(
            "`self-signed`: one certificate, which each browser asks about once per renewal. `host-ca`: an authority "
            "of this host, limited to its names, signs the certificate; import it once, renewals go unnoticed. "
            "`files`: a certificate of your own."
        ),
        examples=["self-signed", "host-ca", "files"],
    )
    names: tuple[DnsName, ...] | None = Field(
        default=None,
        description="Host names the certificate is for. Left out: localhost and the names of this host.",
        examples=[["notebooks.example.org", "localhost"]],
    )
    addresses: tuple[Address, ...] | None = Field(
        default=None,
        description="Addresses the certificate is for. Left out: 127.0.0.1, ::1 and the addresses of this host.",
        examples=[["192.0.2.10", "127.0.0.1"]],
    )
    key_type: Literal["ecdsa-p256", "rsa"] = Field(
        default="ecdsa-p256", description="Kind of key.", examples=["ecdsa-p256", "rsa"]
    )
    key_bits: Annotated[Whole, BeforeValidator(_key_bits), Between(2048, 8192)] | None = Field(
        default=None, description="Length of an RSA key, 2048 and more. Left out: 2048.", examples=[2048, 3072]
    )
    lifetime: Duration | None = Field(
        default=None,
        description="How long a new certificate is valid. Left out: 1y for self-signed, 90d for host-ca. At most 825d.",
        examples=["90d", "1y"],
    )
    renew_before: Duration | None = Field(
        default=None,
        description="How long before its end it is replaced. Left out: a third of its lifetime.",
        examples=["30d"],
    )
    certificate: AbsolutePath | None = Field(
        default=None,
        description="With `mode: files`: the certificate in PEM form, followed by its chain.",
        examples=["/etc/ssl/notebooks.pem"],
    )
    key: AbsolutePath | None = Field(
        default=None,
        description="With `mode: files`: its private key in PEM form.",
        examples=["/etc/ssl/private/notebooks.key"],
    )

    @property
    def rsa_bits(self) -> int | None:
        """Length of the RSA key, decided; None for ECDSA."""
        return (self.key_bits or 2048) if self.key_type == "rsa" else None

    @property
    def valid_for(self) -> timedelta:
        """The lifetime of a new certificate, decided."""
        return self.lifetime or (365 * DAY if self.mode == "self-signed" else 90 * DAY)

    @property
    def renewed_before(self) -> timedelta:
        """How long before its end the certificate is replaced, decided."""
        return self.renew_before or self.valid_for / 3

    @model_validator(mode="after")
    def _fits_mode(self) -> Tls:
        if self.mode == "files" and not (self.certificate and self.key):
            raise refuse("needs certificate and key with 'mode: files'", show=False)
        for field in ("certificate", "key"):
            if self.mode != "files" and field in self.model_fields_set:
                raise refuse("goes with 'mode: files'", show=False, at=field)
        for field in ("names", "addresses", "key_type", "key_bits", "lifetime", "renew_before"):
            if self.mode == "files" and field in self.model_fields_set:
                message = "describes a certificate that the agent makes; with 'mode: files' it makes none"
                raise refuse(message, show=False, at=field)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Tls:
        if self.key_bits is not None and self.key_type != "rsa":
            raise refuse("goes with 'key_type: rsa'", show=False, at="key_bits")
        if self.valid_for > 825 * DAY:
            raise refuse("must be at most 825d, or browsers refuse the certificate", at="lifetime")
        if self.renewed_before >= self.valid_for:
            raise refuse("must be shorter than the lifetime", at="renew_before")
        if self.names == () and self.addresses == ():
            raise refuse("needs at least one name or address", show=False)
        return self
