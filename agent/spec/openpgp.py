"""Public keys of package archives as files have them: armored or not, and whose they are. RFC 9580 (OpenPGP). Verifies nothing: apt does."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
END = "-----END PGP PUBLIC KEY BLOCK-----"

_BLOCK = re.compile(rf"{BEGIN}[ \t]*\r?\n(?:[^\r\n]+:[^\r\n]*\r?\n)*[ \t]*\r?\n(.*?){END}", re.DOTALL)
_PUBLIC_KEY = 6
_PARTIAL = 224
"""First octet of a length that is not yet known, which keys do not have."""


def armored(content: bytes) -> str:
    """The same keys as text. Raises ValueError when there are no public keys in it."""
    if content.lstrip().startswith(b"-----"):
        text = content.decode("ascii", errors="strict").strip() + "\n"
        fingerprints(text)
        return text
    whole = base64.b64encode(content).decode()
    lines = "\n".join(whole[at : at + 64] for at in range(0, len(whole), 64))
    check = base64.b64encode(_crc24(content).to_bytes(3)).decode()
    text = f"{BEGIN}\n\n{lines}\n={check}\n{END}\n"
    fingerprints(text)
    return text


def fingerprints(text: str) -> tuple[str, ...]:
    """Of the primary keys in armored text, in capitals. Raises ValueError when there are none."""
    found = []
    for block in _BLOCK.finditer(text):
        lines = [line.strip() for line in block[1].splitlines()]
        body = "".join(line for line in lines if not re.fullmatch("=[A-Za-z0-9+/]{4}", line))
        found += [
            _fingerprint(packet)
            for tag, packet in _packets(base64.b64decode(body, validate=True))
            if tag == _PUBLIC_KEY
        ]
    if not found:
        raise ValueError("there is no public key in it")
    return tuple(found)


def _fingerprint(packet: bytes) -> str:
    if packet[:1] == b"\x04":
        return hashlib.sha1(b"\x99" + len(packet).to_bytes(2) + packet, usedforsecurity=False).hexdigest().upper()
    return hashlib.sha256(b"\x9b" + len(packet).to_bytes(4) + packet).hexdigest().upper()


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet (RFC 9580, 4.2). Raises ValueError."""
    at = 0
    while at < len(data):
        first = data[at]
        if not first & 0x80:
            raise ValueError("it is not made of OpenPGP packets")
        if first & 0x40:
            tag, length, at = first & 0x3F, *_new_length(data, at + 1)
        else:
            size = 1 << (first & 3)
            tag, length, at = (first >> 2) & 0xF, int.from_bytes(data[at + 1 : at + 1 + size]), at + 1 + size
        if at + length > len(data):
            raise ValueError("it ends in the middle")
        yield tag, data[at : at + length]
        at += length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at] if at < len(data) else _PARTIAL
    if first < 192:
        return first, at + 1
    if first < _PARTIAL:
        return ((first - 192) << 8) + int.from_bytes(data[at + 1 : at + 2]) + 192, at + 2
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5]), at + 5
    raise ValueError("it ends in the middle")


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for octet in data:
        crc ^= octet << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF
