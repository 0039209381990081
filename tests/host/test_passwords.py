"""What a server keeps of a password is made, and recognised, as the servers themselves do it."""

from __future__ import annotations

import pytest

from agent.host import passwords
from agent.host.passwords import CACHING_SHA2, ED25519, NATIVE

HOSTILE = [
    "'",
    '"',
    "\\",
    "a'b\"c\\",
    "%s",
    "%",
    "`",
    "-- ",
    "; DROP TABLE x",
    "pä§§wörd",
    "🐧" * 30,
    " both ends ",
    "x" * 255,
]

LONGER = "we have a short salt string but not a short password"


def test_a_native_password_is_what_the_servers_own_function_gives() -> None:
    assert passwords.stored_form("password", NATIVE) == "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"


# the first three are those of Ulrich Drepper's specification, the others what glibc's crypt gives
@pytest.mark.parametrize(
    ("salt", "rounds", "password", "wanted"),
    [
        ("saltstring", 5000, "Hello world!", "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        ("saltstringsaltst", 10000, "Hello world!", "3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
        ("short", 77777, LONGER, "JiO1O3ZpDAxGJeaDIuqCoEFysAe1mZNJRs3pw0KQRd/"),
        ("abcdefghijklmnop", 5000, "x" * 64, "J3/eHvHaDqtlpedzeXC4LYj7z5vweELBYLkseqI.9U7"),
        ("abcdefghijklmnop", 5000, "x" * 65, "Z8XSXhK0SFxUkGsBLmEvvIRkssA0bAqR9wUTeyUVrA1"),
    ],
)
def test_the_crypt_within_is_the_one_that_others_compute(salt: str, rounds: int, password: str, wanted: str) -> None:
    assert passwords._sha256_crypt(password.encode(), salt.encode(), rounds) == wanted.encode()


# what MariaDB 10.11 and 11.8 keep after IDENTIFIED VIA ed25519 USING PASSWORD(...)
@pytest.mark.parametrize(
    ("password", "wanted"),
    [
        ("secret", "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"),
        ("pä§§wörd", "Cl8wZYwECryR89y4aE7dwmRWtSUIDBJW8DWD009qLYc"),
        ("🐧" * 30, "o1qVmo6IsvOXo8hyTddCWUtySGq7XgF2W1T7zdj9O3c"),
        ("x" * 255, "EKa27M0O0LafYywElUG3n+ePXgMqyDT8bHOLkPiG+Bk"),
        (" both ends ", "S8cZBwV7xQ5W73dYtnKpMZPbH8DAqNotk10E00Tzzsw"),
        ("a'b", "grCriy1yfyXG63R1+vAGbvTyRqhEb7sBKDi6gsLZorE"),
    ],
)
def test_an_ed25519_password_is_what_mariadb_itself_stored(password: str, wanted: str) -> None:
    assert passwords.stored_form(password, ED25519) == wanted


@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2, ED25519])
@pytest.mark.parametrize("password", HOSTILE)
def test_a_password_is_recognised_and_its_neighbours_are_not(password: str, plugin: str) -> None:
    stored = passwords.stored_form(password, plugin)

    assert stored.isascii()
    assert stored.isprintable()
    assert passwords.matches(stored.encode(), password, plugin)
    assert not passwords.matches(stored.encode(), password + " ", plugin)
    assert not passwords.matches(stored.encode(), password[:-1], plugin)


def test_two_accounts_with_one_password_do_not_show_it() -> None:
    assert passwords.stored_form("same", CACHING_SHA2) != passwords.stored_form("same", CACHING_SHA2)


def test_what_mysql_itself_stored_is_recognised() -> None:
    salt = bytes(range(1, 21))  # salts of MySQL's own may hold control characters
    stored = b"$A$00A$" + salt + passwords._sha256_crypt(b"pw1", salt, 10000)

    assert passwords.matches(stored, "pw1", CACHING_SHA2)
    assert not passwords.matches(stored, "pw2", CACHING_SHA2)


@pytest.mark.parametrize(
    "stored", [b"", b"*", b"invalid", b"$A$005$short", b"$A$XYZ$" + b"x" * 63, b"$5$005$" + b"x" * 63]
)
@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2, ED25519, ""])
def test_what_is_not_a_stored_password_matches_nothing(stored: bytes, plugin: str) -> None:
    assert not passwords.matches(stored, "password", plugin)


def test_an_account_without_a_password_matches_only_the_empty_one() -> None:
    assert passwords.matches(b"", "", NATIVE)
    assert not passwords.matches(b"", "x", NATIVE)


def test_an_unknown_plugin_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="sha256_password"):
        passwords.stored_form("x", "sha256_password")
