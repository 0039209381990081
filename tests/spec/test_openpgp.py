"""Public keys are understood as far as the spec needs them: as text, and whose they are."""

from __future__ import annotations

import base64

import pytest

from agent.spec.openpgp import armored, fingerprints

FINGERPRINT = "A8CEE58EAE128EEB4E6261BC4BAF135D89195FB3"
"""What gpg --fingerprint says of it."""
KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawPLTBYJKwYBBAHaRw8BAQdAf1QtIOvl+BzDlljUIPA0Xv6Hiv9WJ4nujX+3
a9fP3JG0E2FyY2hpdmVAZXhhbXBsZS5vcmeIkAQTFgoAOBYhBKjO5Y6uEo7rTmJh
vEuvE12JGV+zBQJrA8tMAhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJEEuv
E12JGV+zfZABAKKRC7KLZKkYe6aboH8t6bgZY5rzBYQK0ZfLjctg/uc0APwLRsx9
hYkvyFIfcrZWCSayV9LVYRO1cZTCpXmwajQnBQ==
=BVUV
-----END PGP PUBLIC KEY BLOCK-----
"""
BINARY = base64.b64decode("".join(KEY.splitlines()[2:-2]))


def test_text_stays_and_bytes_become_the_same_text() -> None:
    assert armored(KEY.encode()) == KEY
    assert armored(BINARY) == KEY


def test_the_fingerprint_is_that_of_the_primary_key() -> None:
    assert fingerprints(KEY) == (FINGERPRINT,)
    assert fingerprints(KEY.replace("\n\n", "\nComment: an archive\n\n", 1)) == (FINGERPRINT,)
    assert fingerprints(KEY + KEY) == (FINGERPRINT, FINGERPRINT)


@pytest.mark.parametrize(
    "content", [b"", b"ssh-ed25519 AAAA", BINARY[:-9], b"-----BEGIN CERTIFICATE-----\n", b"\xff\xff"]
)
def test_what_is_no_public_key_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="it"):
        armored(content)
