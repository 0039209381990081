"""Passwords in option files that many clients read, each in its own way.

The clients in C (mysql, mariadb, mysqlclient, RMariaDB) undo backslashes, PyMySQL does not; PyMySQL takes off one pair of quotes and encodes what is left as
Latin-1. Sections are told apart alike, but for a blank: ``[client ]`` is ``[client]`` to those in C, and nothing to the others.
Seen with MariaDB 10.11 and 11.8, MySQL 9.7, PyMySQL 1.2 and mysql-connector-python 26.10.
"""

from __future__ import annotations


def quoted_for_c(text: str) -> str:
    """A value as the clients in C read it. Holds everything but control characters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def password_of_client(password: str) -> str:
    """What follows ``password = `` at the end of the section ``[client]``: one value if one can be right for all, else one for each kind of client."""
    for quote in "\"'":
        if password.isascii() and "\\" not in password and quote not in password:
            return f"{quote}{password}{quote}"
    latin = password.encode().decode("latin-1")  # PyMySQL's way back gives the bytes of UTF-8
    return (
        f'"{latin}"\n\n'
        "# this password has letters that PyMySQL reads in another way: the line above is for it, and this one, by the blank, for the rest\n"
        f"[client ]\npassword = {quoted_for_c(password)}"
    )
