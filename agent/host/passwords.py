"""How MariaDB and MySQL keep passwords: made and checked here, so that no server, nor its log, ever sees one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string

NATIVE = "mysql_native_password"
CACHING_SHA2 = "caching_sha2_password"

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
    raise ValueError(f"no password can be made for the plugin {plugin!r}; {NATIVE} and {CACHING_SHA2} are known")


def matches(stored: bytes, password: str, plugin: str) -> bool:
    """Whether what a server keeps was made from this password. Takes some 6 ms for caching_sha2_password, by its design."""
    if plugin == NATIVE:
        return hmac.compare_digest(stored.upper(), _native(password).encode())
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
    for number in range(rounds):
        odd = number & 1
        a = sha256(
            (p if odd else a) + (s if number % 3 else b"") + (p if number % 7 else b"") + (a if odd else p)
        ).digest()
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
