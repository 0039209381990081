"""How MariaDB and MySQL keep passwords: made and checked here, so that no server, nor its log, ever sees one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import string

NATIVE = "mysql_native_password"
CACHING_SHA2 = "caching_sha2_password"
ED25519 = "ed25519"

_SALT_LENGTH = 20
_SHA2_PREFIX = b"$A$"
_SHA2_LENGTH = 70
_DIGITS = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def stored_form(password: str, plugin: str) -> str:
    """The text that a server keeps for this password. Raises ValueError for a plugin that is not known here."""
    if plugin == NATIVE:
        return _native(password)
    if plugin == CACHING_SHA2:
        salt = "".join(secrets.choice(string.ascii_letters) for _ in range(_SALT_LENGTH)).encode()
        return _caching_sha2(password, salt, thousands=5).decode()
    if plugin == ED25519:
        return _ed25519(password)
    known = f"{NATIVE}, {CACHING_SHA2} and {ED25519}"
    raise ValueError(f"no password can be made for the plugin {plugin!r}; {known} are known")


def matches(stored: bytes, password: str, plugin: str) -> bool:
    """Whether what a server keeps was made from this password. Takes some 3 to 6 ms, but for mysql_native_password."""
    if plugin == NATIVE:
        return hmac.compare_digest(stored.upper(), _native(password).encode())
    if plugin == ED25519:
        return hmac.compare_digest(stored, _ed25519(password).encode())
    if plugin == CACHING_SHA2 and stored.startswith(_SHA2_PREFIX) and len(stored) == _SHA2_LENGTH:
        try:
            thousands = int(stored[3:6], 16)
        except ValueError:
            return False
        return hmac.compare_digest(stored, _caching_sha2(password, stored[7:27], thousands))
    return False


def _native(password: str) -> str:
    """``*`` and SHA1(SHA1(password)) in hexadecimal; nothing for an empty password, as the server has it."""
    if not password:
        return ""
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def _caching_sha2(password: str, salt: bytes, thousands: int) -> bytes:
    """``$A$``, rounds in thousands (3 hexadecimal digits), ``$``, 20 bytes of salt and 43 characters of SHA-256-crypt."""
    return b"$A$%03X$" % thousands + salt + _sha256_crypt(password.encode(), salt, thousands * 1000)


def _sha256_crypt(password: bytes, salt: bytes, rounds: int) -> bytes:
    """The last part of crypt(3) with ``$5$``: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", names and all.

    crypt(3) itself takes at most 16 bytes of salt where MySQL has 20, and Python's crypt module is gone since 3.13.
    """
    sha256 = hashlib.sha256
    length = len(password)
    b = sha256(password + salt + password).digest()
    mixed = sha256(password + salt + b * (length // 32) + b[: length % 32])
    bits = length
    while bits:
        mixed.update(b if bits & 1 else password)
        bits >>= 1
    a = mixed.digest()
    dp = sha256(password * length).digest()
    p = dp * (length // 32) + dp[: length % 32]
    ds = sha256(salt * (16 + a[0])).digest()
    s = ds * (len(salt) // 32) + ds[: len(salt) % 32]
    # what is mixed into a round recurs every 42 rounds, and stands before the digest in odd ones
    recurring = []
    for number in range(42):
        mixed_in = (s if number % 3 else b"") + (p if number % 7 else b"")
        recurring.append(p + mixed_in if number & 1 else mixed_in + p)
    for number in range(rounds):
        mixed_in = recurring[number % 42]
        a = sha256(mixed_in + a if number & 1 else a + mixed_in).digest()
    return _crypt_text(a)


def _crypt_text(digest: bytes) -> bytes:
    """32 bytes as 43 characters, in the order that crypt(3) shuffles them to."""
    text = bytearray()
    x, y, z = 0, 10, 20
    for _group in range(10):
        text += _six_bits(digest[x] << 16 | digest[y] << 8 | digest[z], 4)
        x, y, z = z + 1, x + 1, y + 1
    return bytes(text + _six_bits(digest[31] << 8 | digest[30], 3))


def _six_bits(word: int, count: int) -> bytes:
    return bytes(_DIGITS[word >> 6 * place & 63] for place in range(count))


# ---- ed25519: RFC 8032, section 5.1; the curve is -x² + y² = 1 + d·x²·y² over the integers modulo 2²⁵⁵ - 19

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_BASE_Y = 4 * pow(5, -1, _P) % _P
_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202

_Point = tuple[int, int, int, int]
"""X, Y, Z and T with x = X/Z, y = Y/Z and x·y = T/Z."""


def _ed25519(password: str) -> str:
    """The public key in base64 without padding, as MariaDB has it; the password of any length stands where RFC 8032 has 32 random bytes.

    That is why no library can be asked. It need not take the same time for every password: whoever could measure that is root.
    """
    if not password:
        return ""
    head = bytearray(hashlib.sha512(password.encode()).digest()[:32])
    head[0] &= 248
    head[31] = head[31] & 127 | 64
    scalar = int.from_bytes(head, "little")
    x, y, z, _ = _multiplied((_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P), scalar)
    inverse = pow(z, -1, _P)
    key = y * inverse % _P | (x * inverse % _P & 1) << 255
    return base64.b64encode(key.to_bytes(32, "little")).decode().rstrip("=")


def _multiplied(point: _Point, scalar: int) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _sum(total, point)
        point = _sum(point, point)
        scalar >>= 1
    return total


def _sum(left: _Point, right: _Point) -> _Point:
    """Section 5.1.4, which holds for a point and itself, too."""
    x1, y1, z1, t1 = left
    x2, y2, z2, t2 = right
    a, b = (y1 - x1) * (y2 - x2) % _P, (y1 + x1) * (y2 + x2) % _P
    c, d = 2 * t1 * t2 * _D % _P, 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P
