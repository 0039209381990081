"""What must fit together about the accounts in the `mysql` section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .explain import Finding
from .sections.mysql import Mysql
from .spec import Spec
from .tree import Keys

_ABSENT: Mapping[tuple[str, str], str] = {
    ("mysql", "ed25519"): "is MariaDB's; MySQL has no such plugin",
    ("mysql", "mysql_native_password"): "is a plugin that MySQL 9 has no longer",
    ("mariadb", "caching_sha2_password"): "is MySQL's; MariaDB has no such plugin",
}
"""By server and plugin. What an external server is, only that itself can tell."""


def check_users(spec: Spec, mysql: Mysql) -> Iterator[Finding]:
    """What one account says about its login must fit the server, and the socket is this host's alone."""
    for account, user in mysql.users.items():
        keys: Keys = ("mysql", "users", account)
        if (mysql.server, user.plugin) in _ABSENT:
            hint = "leave it out: the usual one of this server is taken"
            yield Finding((*keys, "plugin"), _ABSENT[mysql.server, user.plugin or ""], hint)
        if user.plugin == "socket" and not account.endswith("@localhost"):
            hint = f"write {account.rpartition('@')[0]}@localhost, or give the account a password"
            yield Finding((*keys, "plugin"), "is for accounts at localhost: others do not come by the socket", hint)
    yield from _client_file(spec, mysql)


def _client_file(spec: Spec, mysql: Mysql) -> Iterator[Finding]:
    account = mysql.client_file.user
    if not mysql.client_file.write or spec.user is None or account not in mysql.users or account is None:
        return
    user, keys = mysql.users[account], ("mysql", "client_file", "user")
    if user.known_to(account, spec.user.name):
        return
    if user.plugin == "socket":
        yield Finding(keys, f"is let in as the system's account of the same name, not as {spec.user.name}")
    else:
        hint = "let mysql.users say where its password is"
        yield Finding(keys, "is an account whose password the agent does not know", hint)
