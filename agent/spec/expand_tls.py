"""The `tls` section as resources: the certificate of the Jupyter server and, with `host-ca`, the authority that signs it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.certificate import Authority, Certificate
from agent.resource import Resource

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


def expand_tls(tls: Tls, host: Host, group: str) -> Iterator[Resource]:
    """The certificate, called ``jupyter``, with a key that ``group`` can read."""
    if tls.certificate is not None and tls.key is not None:
        yield Certificate(NAME, "files", group=group, given=(tls.certificate, tls.key))
        return
    names = default_names(host) if tls.names is None else tls.names
    addresses = default_addresses(host) if tls.addresses is None else tls.addresses
    lifetime = int(tls.valid_for.total_seconds())
    if tls.mode == "host-ca":
        # it never ends before what it signs: it is replaced a lifetime of those, at least a year, before its end
        yield Authority(AUTHORITY, names, addresses, lifetime=10 * _YEAR, renew_before=max(lifetime, _YEAR))
    yield Certificate(
        NAME,
        tls.mode,
        names=names,
        addresses=addresses,
        rsa_bits=tls.rsa_bits,
        lifetime=lifetime,
        renew_before=int(tls.renewed_before.total_seconds()),
        group=group,
        authority=AUTHORITY if tls.mode == "host-ca" else None,
    )
