"""Makes and examines certificates: pure, no file and no clock. The only module that knows the shape of a certificate.

The profiles are those that all of OpenSSL (strict), GnuTLS, curl, Chromium and Firefox take: RFC 5280 for the fields, and for the
leaf what browsers ask of a server (SAN, serverAuth, no authority). A self-signed leaf is no authority, so GnuTLS does not take it as trusted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

EARLIER = timedelta(hours=1)
"""Valid since before it was made, for clients whose clock is behind."""
_EVERYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


@dataclass(frozen=True)
class Seen:
    """What a certificate says. Times in seconds since the epoch; names and addresses sorted (of an authority: those it may sign for)."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    key: str
    """``P-256``, ``RSA 2048`` and so on."""
    not_before: int
    not_after: int


def new_key(rsa_bits: int | None) -> Key:
    """A fresh key: RSA of so many bits, or ECDSA on P-256."""
    if rsa_bits is None:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)


def self_signed(key: Key, names: Sequence[str], addresses: Sequence[str], lifetime: int, now: int) -> x509.Certificate:
    """A server's certificate that vouches for itself alone: it cannot sign others."""
    subject = _subject(_label(names, addresses))
    builder = _builder(key, subject, subject, lifetime, now)
    builder = _for_server(builder, names, addresses)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    return builder.sign(key, hashes.SHA256())


def authority(key: Key, names: Sequence[str], addresses: Sequence[str], lifetime: int, now: int) -> x509.Certificate:
    """An authority that can sign for these names and addresses only, and for no further authority (RFC 5280 4.2.1.9, 4.2.1.10)."""
    serial = x509.random_serial_number()
    subject = _subject(f"{_label(names, addresses)[:36]} authority {serial & 0xFFFFFFFF:08x}")
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in constraint_names(names)]
    permitted += [x509.IPAddress(ipaddress.ip_network(address)) for address in addresses]
    # a form of name that no constraint speaks of would be free
    excluded: list[x509.GeneralName] = [x509.IPAddress(every) for every in _EVERYWHERE] if not addresses else []
    if not names:
        excluded.append(x509.DNSName(""))
    return (
        _builder(key, subject, subject, lifetime, now, serial=serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted or None, excluded or None), critical=True)
        .sign(key, hashes.SHA256())
    )


def leaf(
    key: Key,
    names: Sequence[str],
    addresses: Sequence[str],
    lifetime: int,
    now: int,
    *,
    signer: tuple[x509.Certificate, Key],
) -> x509.Certificate:
    """A server's certificate signed by an authority; it ends with the authority at the latest."""
    above, above_key = signer
    left = int(above.not_valid_after_utc.timestamp()) - now
    builder = _builder(key, _subject(_label(names, addresses)), above.subject, min(lifetime, left), now)
    identifier = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = _for_server(builder, names, addresses).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )
    return builder.sign(above_key, hashes.SHA256())


def constraint_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names as name constraints write them: a wildcard is covered by what it stands under."""
    return tuple(dict.fromkeys(name.removeprefix("*.") for name in names))


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load(pem: bytes) -> x509.Certificate:
    """The first certificate of a PEM file. Raises ValueError."""
    return x509.load_pem_x509_certificates(pem)[0]


def load_key(pem: bytes) -> Key:
    """Raises ValueError when it is no key, one that needs a passphrase, or of a kind that servers do not use."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("the key needs a passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the key must be ECDSA or RSA")  # noqa: TRY004 - one exception for all that is wrong with it
    return key


def examine(pem: bytes) -> Seen:
    """What a certificate says. Raises ValueError when it is none."""
    certificate = load(pem)
    names, addresses = _names(certificate)
    return Seen(
        tuple(sorted(names)),
        tuple(sorted(addresses)),
        _describe(certificate),
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )


def summary(pem: bytes) -> dict[str, Any]:
    """What a person wants to know of a certificate; the fingerprint is what browsers show. Raises ValueError."""
    certificate, seen = load(pem), examine(pem)
    return {
        "for": [*seen.names, *seen.addresses],
        "until": certificate.not_valid_after_utc.strftime("%Y-%m-%d %H:%M UTC"),
        "key": seen.key,
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    }


def is_pair(certificate_pem: bytes, key_pem: bytes) -> bool:
    """Whether the key is the certificate's. False as well when either cannot be read."""
    try:
        return load(certificate_pem).public_key() == load_key(key_pem).public_key()
    except ValueError:
        return False


def is_signed_by(pem: bytes, above: bytes) -> bool:
    """Whether one certificate is signed with the key of another."""
    try:
        load(pem).verify_directly_issued_by(load(above))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _label(names: Sequence[str], addresses: Sequence[str]) -> str:
    """A name for people; what counts is the SAN. X.520 allows 64 characters."""
    named = [name for name in names if name != "localhost" and not name.startswith("*")]
    return (*named, *names, *addresses)[0][:64]


def _subject(label: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])


def _builder(
    key: Key, subject: x509.Name, issuer: x509.Name, lifetime: int, now: int, *, serial: int | None = None
) -> x509.CertificateBuilder:
    made = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(made - EARLIER)
        .not_valid_after(made + timedelta(seconds=lifetime))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _for_server(
    builder: x509.CertificateBuilder, names: Sequence[str], addresses: Sequence[str]
) -> x509.CertificateBuilder:
    given: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    given += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(given), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            found = extension.value
            return found.get_values_for_type(x509.DNSName), [
                str(ip) for ip in found.get_values_for_type(x509.IPAddress)
            ]
        if isinstance(extension.value, x509.NameConstraints):
            permitted = extension.value.permitted_subtrees or []
            names = [each.value for each in permitted if isinstance(each, x509.DNSName)]
            return names, [str(each.value).partition("/")[0] for each in permitted if isinstance(each, x509.IPAddress)]
    return [], []


def _describe(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "P-256", "secp384r1": "P-384"}.get(key.curve.name, key.curve.name)
    return type(key).__name__
