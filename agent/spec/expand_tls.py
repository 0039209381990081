"""Certificates of servers as resources and, with `host-ca`, the authority that signs them: the `tls` section, and `mysql.certificate`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.certificate import Authority, Certificate
from agent.resource import Ref

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.sections.tls import Tls

NAME = "jupyter"
AUTHORITY = "host-ca"
_YEAR = 365 * 86400
_HOST_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def default_names(host: Host) -> tuple[str, ...]:
    """localhost and the names of this host: as it calls itself, and the first part of that."""
    full = str(host.looks.ask("hostname")).lower()
    named = (name for name in (full, full.partition(".")[0]) if len(name) <= 253 and _HOST_NAME.fullmatch(name))
    return tuple(dict.fromkeys(("localhost", *named)))


def default_addresses(host: Host) -> tuple[str, ...]:
    """The loopback's addresses, and those that packets of this host leave from (not link-local ones, which nobody types)."""
    own = (address for address in host.looks.ask("address") if not ipaddress.ip_address(address).is_link_local)
    return tuple(dict.fromkeys(("127.0.0.1", "::1", *own)))


def expand_authority(host: Host, *asked: Tls | None) -> Iterator[Authority]:
    """The authority of this host, once for all whose certificates it signs; none when there are none."""
    signed = [tls for tls in asked if tls is not None and tls.mode == "host-ca"]
    if not signed:
        return
    lifetime = max(int(tls.valid_for.total_seconds()) for tls in signed)
    yield Authority(
        AUTHORITY,
        tuple(dict.fromkeys(name for tls in signed for name in _names(tls, host))),
        tuple(dict.fromkeys(address for tls in signed for address in _addresses(tls, host))),
        lifetime=10 * _YEAR,
        # it never ends before what it signs: it is replaced a lifetime of those, at least a year, before its end
        renew_before=max(lifetime, _YEAR),
    )


def expand_tls(tls: Tls, host: Host, group: str, name: str = NAME, after: tuple[Ref, ...] = ()) -> Certificate:
    """A certificate, the Jupyter server's unless ``name`` says otherwise, with a key that ``group`` can read."""
    if tls.certificate is not None and tls.key is not None:
        return Certificate(name, "files", group=group, given=(tls.certificate, tls.key), after=after)
    return Certificate(
        name,
        tls.mode,
        names=_names(tls, host),
        addresses=_addresses(tls, host),
        rsa_bits=tls.rsa_bits,
        lifetime=int(tls.valid_for.total_seconds()),
        renew_before=int(tls.renewed_before.total_seconds()),
        group=group,
        authority=AUTHORITY if tls.mode == "host-ca" else None,
        after=after,
    )


def _names(tls: Tls, host: Host) -> tuple[str, ...]:
    return default_names(host) if tls.names is None else tls.names


def _addresses(tls: Tls, host: Host) -> tuple[str, ...]:
    return default_addresses(host) if tls.addresses is None else tls.addresses
