"""Certificates on the host: what is published, and publishing a new one so that certificate and key change as one."""

from __future__ import annotations

import hashlib
import os
import ssl
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import HostError
from agent.host import durable, look

if TYPE_CHECKING:
    from agent.host.looks import Looks
    from agent.kinds.certificate import Order
    from agent.steps import IssueCertificate

MACHINE_ID = "/etc/machine-id"
LARGEST = 1 << 18
"""Bytes of a file with certificates or a key."""
_LINKS = 8


@dataclass(frozen=True)
class CertificateFacts:
    """What is published. Names and addresses sorted; ``not_before`` and ``not_after`` in seconds since the epoch."""

    generation: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    key: str
    signer: str
    """``itself``, ``authority`` or ``another``."""
    not_after: int
    pair: bool
    of_this_host: bool
    as_given: bool
    not_before: int
    access: tuple[tuple[int, int, int], ...]
    """Mode, uid and gid of the directory of generations, the generation, the certificate and the key."""


class Certificates:
    """Reads certificates through questions about their files, and makes new ones."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks

    def facts(
        self, directory: str, authority: str | None = None, given: tuple[str, str] | None = None
    ) -> CertificateFacts | None:
        """What is published at ``directory``; None when there is nothing that can be read as a certificate with a key.

        ``authority`` is the directory of the one that should have signed it, ``given`` are the files it should be a copy of. Raises HostError.
        """
        from agent.host import x509

        link = self._looks.ask("file", directory)
        if link is None or not stat.S_ISLNK(link[0]):
            return None
        generation = os.path.join(os.path.dirname(directory), os.fsdecode(link[4]))
        certificate, key = self._content(f"{generation}/cert.pem"), self._content(f"{generation}/key.pem")
        if certificate is None or key is None:
            return None
        try:
            seen = x509.examine(certificate)
        except ValueError:
            return None
        paths = (os.path.dirname(generation), generation, f"{generation}/cert.pem", f"{generation}/key.pem")
        answers = self._looks.ask_all([("file", path) for path in paths])
        return CertificateFacts(
            generation=generation,
            names=seen.names,
            addresses=seen.addresses,
            key=seen.key,
            signer=self._signer(certificate, authority),
            not_after=seen.not_after,
            pair=x509.is_pair(certificate, key),
            of_this_host=self._content(f"{generation}/machine") == self._machine(),
            not_before=seen.not_before,
            as_given=given is not None and (certificate, key) == tuple(map(self._followed, given)),
            access=tuple((stat.S_IMODE(each[0]), each[1], each[2]) for each in answers if each is not None),
        )

    def issue(self, step: IssueCertificate) -> None:
        """Makes what is ordered and publishes it. Whatever fails leaves what was published as it was. Raises HostError."""
        order: Order = step.order
        published = self._looks.ask("file", order.directory)
        current = os.path.basename(os.fsdecode(published[4])) if published and stat.S_ISLNK(published[0]) else ""
        certificate, key, trust = self._make(order)
        generations = f"{order.directory}.d"
        durable.make_directory(generations, 0o755, os.geteuid(), os.getegid())
        numbers = sorted((int(name) for name in os.listdir(generations) if name.isdigit()), reverse=True)
        for number in numbers:
            if str(number) != current:  # the current one stays until the next: a server may be reading it
                durable.remove(f"{generations}/{number}", tree=True)
        number = max(numbers, default=0) + 1
        fresh = f"{generations}/{number}"
        durable.make_directory(fresh, 0o755, os.geteuid(), os.getegid())
        group = _gid(order.group)
        _place(f"{fresh}/key.pem", key, 0o640 if group else 0o600, group)
        for name, content in (("cert.pem", certificate), ("trust.pem", trust), ("machine", self._machine())):
            if content:
                _place(f"{fresh}/{name}", content, 0o644)
        _check_pair(f"{fresh}/cert.pem", f"{fresh}/key.pem")
        durable.replace_link(order.directory, f"{os.path.basename(generations)}/{number}")

    # ---- making

    def _make(self, order: Order) -> tuple[bytes, bytes, bytes]:
        """Certificate, key and what a client imports."""
        from agent.host import x509

        if order.given is not None:
            return (*self._given(*order.given), b"")
        now = int(time.time())
        key = x509.new_key(order.rsa_bits)
        if order.mode == "host-ca":
            above, above_key = self._authority(order.authority or "")
            made = x509.leaf(
                key, order.names, order.addresses, order.lifetime, now,
                signer=(x509.load(above), x509.load_key(above_key)),
            )  # fmt: skip
            return x509.certificate_pem(made), x509.key_pem(key), above
        make = x509.authority if order.mode == "authority" else x509.self_signed
        made = make(key, order.names, order.addresses, order.lifetime, now)
        return x509.certificate_pem(made), x509.key_pem(key), x509.certificate_pem(made)

    def _authority(self, directory: str) -> tuple[bytes, bytes]:
        above, key = self._content(f"{directory}/cert.pem"), self._content(f"{directory}/key.pem")
        if above is None or key is None:
            raise HostError(f"there is no authority at {directory} to sign the certificate")
        return above, key

    def _given(self, certificate: str, key: str) -> tuple[bytes, bytes]:
        """A certificate and a key of one's own, if they can be used. Raises HostError with the reason if not."""
        from agent.host import x509

        found = [self._followed(path) for path in (certificate, key)]
        for path, content in zip((certificate, key), found, strict=True):
            if content is None:
                raise HostError(f"{path} does not exist", hint="tls.certificate and tls.key name files on this host")
        chain, secret = found[0] or b"", found[1] or b""
        for path, content, read in ((certificate, chain, x509.examine), (key, secret, x509.load_key)):
            try:
                read(content)
            except ValueError as error:
                raise HostError(f"{path} cannot be used: {str(error).splitlines()[0]}", hint="it must be PEM") from None
        seen = x509.examine(chain)
        if not x509.is_pair(chain, secret):
            raise HostError(
                f"{key} is not the key of {certificate}", hint="its own certificate comes first, then its chain"
            )
        if seen.key.startswith("RSA ") and int(seen.key[4:]) < 2048:
            raise HostError(f"{certificate} has a key of {seen.key[4:]} bits: RSA below 2048 is refused by browsers")
        now = time.time()
        if not seen.not_before <= now < seen.not_after:
            when = time.strftime("%Y-%m-%d", time.gmtime(seen.not_after if now >= seen.not_after else seen.not_before))
            raise HostError(f"{certificate} {'expired on' if now >= seen.not_after else 'is not valid before'} {when}")
        return chain, secret

    # ---- reading

    def _signer(self, certificate: bytes, authority: str | None) -> str:
        from agent.host import x509

        if authority is not None:
            link = self._looks.ask("file", authority)
            above = self._content(f"{authority}/cert.pem") if link is not None else None
            return "authority" if above is not None and x509.is_signed_by(certificate, above) else "another"
        return "itself" if x509.is_signed_by(certificate, certificate) else "another"

    def _machine(self) -> bytes:
        """A name for this machine that does not tell its machine-id, as machine-id(5) asks for."""
        identity = self._content(MACHINE_ID) or b""
        return hashlib.blake2b(identity.strip(), digest_size=16, person=b"agent-tls").hexdigest().encode() + b"\n"

    def _content(self, path: str) -> bytes | None:
        """Content of a regular file, with the question noted; None when nothing or something else stands there."""
        found = durable.read(path, LARGEST)
        if found is None or not stat.S_ISREG(found[0].st_mode):
            self._looks.ask("file", path)
            return None
        status, content = found
        seen = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, look.digest(content))
        self._looks.saw(("file", path), seen)
        return content

    def _followed(self, path: str) -> bytes | None:
        """Content of a file that root's links may lead to, as the clients of ACME publish them."""
        for _ in range(_LINKS):
            answer = self._looks.ask("file", path)
            if answer is None or not stat.S_ISLNK(answer[0]):
                return self._content(path)
            if answer[1] not in (0, os.geteuid()):
                raise HostError(f"{path} is a link of uid {answer[1]}; only root's are followed")
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.fsdecode(answer[4])))
        raise HostError(f"too many links on the way to {path}")


def _place(path: str, content: bytes, mode: int, group: int | None = None) -> None:
    durable.replace(path, content, mode=mode, owner=os.geteuid(), group=group or os.getegid())


def _gid(group: str) -> int:
    """0 stands for root: then the key is nobody else's."""
    import grp

    try:
        return 0 if group == "root" else grp.getgrnam(group).gr_gid
    except KeyError:
        raise HostError(f"there is no group {group} to read the key") from None


def _check_pair(certificate: str, key: str) -> None:
    """What a server does when it loads them."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise HostError(f"the new certificate {certificate} cannot be loaded: {error}") from None
