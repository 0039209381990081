"""A server's certificate with its key, and the authority of a host that signs such certificates.

Both are published as one: ``DIRECTORY`` is a link to ``DIRECTORY.d/NUMBER``, which holds ``cert.pem``, ``key.pem`` and ``trust.pem`` (what a client
imports). A new certificate has a new key and a new directory, and the link is exchanged once both are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import IssueCertificate, Remove, SetAccess

if TYPE_CHECKING:
    from agent.host.certificates import CertificateFacts
    from agent.host.machine import Host

TLS = "/etc/agent/tls"
"""Where certificates are published."""


@dataclass(frozen=True)
class Order:
    """What is to be made. ``mode`` is ``self-signed``, ``host-ca``, ``files`` or ``authority``; ``lifetime`` in seconds."""

    directory: str
    mode: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    rsa_bits: int | None
    lifetime: int
    group: str
    authority: str | None = None
    """Directory of the authority that signs."""
    given: tuple[str, str] | None = None
    """Paths of a certificate and a key of one's own."""


@dataclass(frozen=True)
class CertificateState(State):
    """What it is for and whether it is still good. None: not managed (a certificate of one's own is taken as it is)."""

    names: tuple[str, ...] | None
    addresses: tuple[str, ...] | None
    key: str | None
    signer: str | None
    """``itself``, ``authority`` (the one of this host, as it is now) or ``another``."""
    as_given: bool | None
    """Whether it is the one that the files of one's own hold."""
    due: bool
    """Whether it is time for a new one."""
    pair: bool
    """Whether the key is the certificate's."""
    of_this_host: bool | None
    """Whether it was made here: a copied disk gets a key of its own."""
    access: tuple[str, ...]
    """Owner and mode of the directories, the certificate and the key."""
    generation: str | None = None
    """The directory it is in; any will do."""


@dataclass(frozen=True)
class AuthorityState(State):
    """``covers``: it can sign for all names and addresses that are asked for. The others as those of a certificate."""

    covers: bool
    due: bool
    pair: bool
    of_this_host: bool
    access: tuple[str, ...]
    generation: str | None = None


@dataclass(frozen=True)
class Certificate(Resource):
    """``mode`` as in the spec. ``lifetime`` and ``renew_before`` in seconds. The key is readable by ``group``; with None by root alone."""

    kind: ClassVar[str] = "certificate"

    mode: str
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    rsa_bits: int | None = None
    lifetime: int = 0
    renew_before: int = 0
    group: str | None = None
    authority: str | None = None
    """Name of the authority that signs, with ``host-ca``."""
    given: tuple[str, str] | None = None
    """With ``files``: where the certificate and its key are."""
    after: tuple[Ref, ...] = ()
    under: str = TLS

    @property
    def directory(self) -> str:
        return f"{self.under}/{self.name}"

    @property
    def certificate(self) -> str:
        """Path that a server is given; always that of the newest."""
        return f"{self.directory}/cert.pem"

    @property
    def key(self) -> str:
        return f"{self.directory}/key.pem"

    def desired(self) -> CertificateState:
        own = self.mode == "files"
        kind_of_key = "P-256" if self.rsa_bits is None else f"RSA {self.rsa_bits}"
        return CertificateState(
            names=None if own else tuple(sorted(self.names)),
            addresses=None if own else tuple(sorted(self.addresses)),
            key=None if own else kind_of_key,
            signer={"self-signed": "itself", "host-ca": "authority"}.get(self.mode),
            as_given=True if own else None,
            due=False,
            pair=True,
            of_this_host=None if own else True,
            access=_access(self.group),
        )

    def read(self, host: Host) -> CertificateState | None:
        authority = f"{self.under}/{self.authority}" if self.authority else None
        facts = host.certificates.facts(self.directory, authority, self.given)
        if facts is None:
            return None
        return CertificateState(
            facts.names,
            facts.addresses,
            facts.key,
            facts.signer,
            facts.as_given,
            due=not host.clock.before(facts.not_after - self.renew_before),
            pair=facts.pair,
            of_this_host=facts.of_this_host,
            access=_access_seen(facts, host),
            generation=facts.generation,
        )

    def steps(self, change: Change) -> Iterator[IssueCertificate | SetAccess | Remove]:
        group = self.group or "root"
        order = Order(
            self.directory, self.mode, self.names, self.addresses, self.rsa_bits, self.lifetime, group,
            f"{self.under}/{self.authority}" if self.authority else None, self.given,
        )  # fmt: skip
        return _steps(change, order, self.group)

    def needs(self) -> Iterator[Ref]:
        yield from self.after
        if self.authority:
            yield Ref("authority", self.authority)
        if self.group:
            yield Ref("group", self.group)


@dataclass(frozen=True)
class Authority(Resource):
    """The authority of this host: it can sign for ``names`` and ``addresses`` only. Its key is root's alone."""

    kind: ClassVar[str] = "authority"

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    lifetime: int = 0
    renew_before: int = 0
    under: str = TLS

    @property
    def directory(self) -> str:
        return f"{self.under}/{self.name}"

    @property
    def trust(self) -> str:
        """Path of the certificate that a person imports, once."""
        return f"{self.directory}/trust.pem"

    def desired(self) -> AuthorityState:
        return AuthorityState(covers=True, due=False, pair=True, of_this_host=True, access=_access(None))

    def read(self, host: Host) -> AuthorityState | None:
        facts = host.certificates.facts(self.directory)
        if facts is None:
            return None
        return AuthorityState(
            covers=self._covered_by(facts),
            due=not host.clock.before(facts.not_after - self.renew_before),
            pair=facts.pair and facts.signer == "itself",
            of_this_host=facts.of_this_host,
            access=_access_seen(facts, host),
            generation=facts.generation,
        )

    def steps(self, change: Change) -> Iterator[IssueCertificate | SetAccess | Remove]:
        order = Order(self.directory, "authority", self.names, self.addresses, None, self.lifetime, "root")
        return _steps(change, order, None)

    def _covered_by(self, facts: CertificateFacts) -> bool:
        """A permitted name permits what is below it too (RFC 5280 4.2.1.10)."""
        names = [name.removeprefix("*.") for name in self.names]
        return set(self.addresses) <= set(facts.addresses) and all(
            any(name == permitted or name.endswith(f".{permitted}") for permitted in facts.names) for name in names
        )


def _steps(change: Change, order: Order, group: str | None) -> Iterator[IssueCertificate | SetAccess | Remove]:
    if change.action is Action.DELETE:
        yield Remove(order.directory)
        yield Remove(f"{order.directory}.d", tree=True)
    elif change.action is Action.UPDATE and {each.field for each in change.differences} == {"access"}:
        generation = change.current.generation
        for path, mode in (
            (f"{order.directory}.d", 0o755),
            (generation, 0o755),
            (f"{generation}/cert.pem", 0o644),
            (f"{generation}/key.pem", _key_mode(group)),
        ):
            yield SetAccess(path, mode, "root", order.group if path.endswith("/key.pem") else "root")
    else:
        yield IssueCertificate(order)


def _key_mode(group: str | None) -> int:
    return 0o640 if group else 0o600


def _access(group: str | None) -> tuple[str, ...]:
    key = f"root:{group or 'root'} {_key_mode(group):04o}"
    return ("root:root 0755", "root:root 0755", "root:root 0644", key)


def _access_seen(facts: CertificateFacts, host: Host) -> tuple[str, ...]:
    return tuple(
        f"{host.accounts.user_name(uid)}:{host.accounts.group_name(gid)} {mode:04o}" for mode, uid, gid in facts.access
    )
