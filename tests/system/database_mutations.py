"""What a person may do to accounts, privileges and databases by SQL, drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

ON_TABLE = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "INDEX", "ALTER", "CREATE VIEW", "SHOW VIEW", "TRIGGER", "REFERENCES",
)  # fmt: skip
ON_DATABASE = (
    *ON_TABLE, "EVENT", "EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "LOCK TABLES", "CREATE TEMPORARY TABLES",
)  # fmt: skip
ON_SERVER = (
    "PROCESS", "RELOAD", "FILE", "CREATE USER", "SHOW DATABASES", "SUPER", "REPLICATION CLIENT", "SHUTDOWN", "SELECT", "DROP", "ALL PRIVILEGES",
)  # fmt: skip
DYNAMIC = {
    True: ("BACKUP_ADMIN", "CONNECTION_ADMIN", "ROLE_ADMIN"),  # MySQL
    False: ("BINLOG ADMIN", "CONNECTION ADMIN", "FEDERATED ADMIN"),
}


def named(account: str) -> str:
    """For a statement."""
    user, _, host = account.rpartition("@")
    return f"'{user}'@'{host}'"


class Mutations:
    """``one()`` is a change as the statements that make it; its last one makes the difference."""

    def __init__(
        self,
        chance: random.Random,
        users: Sequence[str],
        roles: Sequence[str],
        databases: Sequence[str],
        *,
        mysql: bool,
    ) -> None:
        self._chance = chance
        self._users = users
        self._roles = roles
        self._databases = databases
        self._mysql = mysql
        self._number = 0
        self._ways: list[Callable[[str], Sequence[str]]] = [
            self._dropped, self._renamed, self._password, self._plugin, self._require, self._limits, self._locked, self._expired,
            self._on_database, self._on_database, self._on_another, self._on_pattern, self._on_table, self._on_columns, self._on_routine,
            self._on_server, self._on_server, self._revoked, self._revoked, self._revoked_all, self._role, self._role_taken, self._role_passed_on,
            self._role_changed, self._role_gone, self._role_default, self._proxy,
            self._character_set, self._database_gone, self._nobody, self._remote_root, self._local_infile, self._by_row,
        ]  # fmt: skip

    def one(self) -> Sequence[str]:
        self._number += 1
        return self._pick(self._ways)(named(self._pick(self._users)))

    def farewell(self, strangers: Iterable[str]) -> list[str]:
        """Away with the accounts and roles that came up, which are none of the spec's."""
        roles = [f"DROP ROLE `{name.removeprefix('role ')}`" for name in strangers if name.startswith("role ")]
        return roles + [f"DROP USER {named(name)}" for name in strangers if not name.startswith("role ")]

    def _pick(self, from_: Sequence[T]) -> T:
        return self._chance.choice(from_)

    def _some(self, words: Sequence[str]) -> str:
        return ", ".join(self._chance.sample(words, self._chance.randrange(1, 4)))

    # ---- accounts

    def _dropped(self, who: str) -> Sequence[str]:
        return [f"DROP USER {who}"]

    def _renamed(self, who: str) -> Sequence[str]:
        return [f"RENAME USER {who} TO {who.partition('@')[0]}@'moved{self._number}.example.org'"]

    def _password(self, who: str) -> Sequence[str]:
        return [f"ALTER USER {who} IDENTIFIED BY 'Guessed-{self._number}'"]

    def _plugin(self, who: str) -> Sequence[str]:
        if self._mysql:
            other = self._pick(("auth_socket", "sha256_password BY 'x'", "caching_sha2_password BY ''"))
            return [f"ALTER USER {who} IDENTIFIED WITH {other}"]
        other = self._pick(
            ("unix_socket", "unix_socket OR mysql_native_password USING PASSWORD('x')", "mysql_native_password")
        )
        return [f"ALTER USER {who} IDENTIFIED VIA {other}"]

    def _require(self, who: str) -> Sequence[str]:
        demand = self._pick(("X509", "ISSUER '/CN=x'", "CIPHER 'AES256-SHA'"))
        return [f"ALTER USER {who} REQUIRE {demand}"]

    def _limits(self, who: str) -> Sequence[str]:
        limit = self._pick(
            ("MAX_USER_CONNECTIONS", "MAX_QUERIES_PER_HOUR", "MAX_UPDATES_PER_HOUR", "MAX_CONNECTIONS_PER_HOUR")
        )
        return [f"ALTER USER {who} WITH {limit} {self._number}"]

    def _locked(self, who: str) -> Sequence[str]:
        return [f"ALTER USER {who} ACCOUNT {self._pick(('LOCK', 'UNLOCK'))}"]

    def _expired(self, who: str) -> Sequence[str]:
        return [f"ALTER USER {who} PASSWORD EXPIRE{self._pick(('', ' NEVER', f' INTERVAL {self._number} DAY'))}"]

    # ---- privileges

    def _on_database(self, who: str) -> Sequence[str]:
        name = self._pick(self._databases).replace("_", "\\_")
        return [f"GRANT {self._some(ON_DATABASE)} ON `{name}`.* TO {who}{self._pick(('', ' WITH GRANT OPTION'))}"]

    def _on_another(self, who: str) -> Sequence[str]:
        return [f"GRANT {self._some(ON_DATABASE)} ON other.* TO {who}"]

    def _on_pattern(self, who: str) -> Sequence[str]:
        return [f"GRANT {self._some(ON_DATABASE)} ON `{self._pick(('shop_db', '%', 'shop%', 'ana%'))}`.* TO {who}"]

    def _on_table(self, who: str) -> Sequence[str]:
        return [
            f"GRANT {self._some(ON_TABLE)} ON {self._pick(('shop_db.orders', 'shop_db.goods', 'other.t'))} TO {who}"
        ]

    def _on_columns(self, who: str) -> Sequence[str]:
        return [
            f"GRANT {self._pick(('SELECT', 'UPDATE', 'INSERT'))} (id, {self._pick(('price', 'note'))}) ON shop_db.orders TO {who}"
        ]

    def _on_routine(self, who: str) -> Sequence[str]:
        return [f"GRANT {self._pick(('EXECUTE', 'ALTER ROUTINE'))} ON PROCEDURE shop_db.total TO {who}"]

    def _on_server(self, who: str) -> Sequence[str]:
        words = self._pick((*ON_SERVER, *DYNAMIC[self._mysql]))
        return [f"GRANT {words} ON *.* TO {who}{self._pick(('', ' WITH GRANT OPTION'))}"]

    def _revoked(self, who: str) -> Sequence[str]:
        name = self._pick(self._databases).replace("_", "\\_")
        return [f"REVOKE {self._some(ON_DATABASE[:4])} ON `{name}`.* FROM {who}"]

    def _revoked_all(self, who: str) -> Sequence[str]:
        return [f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}"]

    def _role(self, who: str) -> Sequence[str]:
        role = f"role{self._number}"
        statements = [f"CREATE ROLE {role}", f"GRANT SELECT ON other.* TO {role}", f"GRANT {role} TO {who}"]
        return statements if self._mysql else [*statements, f"SET DEFAULT ROLE {role} FOR {who}"]

    def _role_taken(self, who: str) -> Sequence[str]:
        return [f"REVOKE {self._pick(self._roles)} FROM {who}"]

    def _role_passed_on(self, who: str) -> Sequence[str]:
        return [f"GRANT {self._pick(self._roles)} TO {who} WITH ADMIN OPTION"]

    def _role_default(self, who: str) -> Sequence[str]:
        return [f"SET DEFAULT ROLE NONE {'TO' if self._mysql else 'FOR'} {who}"]

    def _role_changed(self, _who: str) -> Sequence[str]:
        return [
            self._pick((self._on_database, self._on_server, self._on_columns, self._revoked))(self._pick(self._roles))[
                0
            ]
        ]

    def _role_gone(self, _who: str) -> Sequence[str]:
        return [f"DROP ROLE {self._pick(self._roles)}"]

    def _proxy(self, who: str) -> Sequence[str]:
        return [
            f"CREATE USER proxied{self._number}@localhost",
            f"GRANT PROXY ON proxied{self._number}@localhost TO {who}",
        ]

    def _by_row(self, who: str) -> Sequence[str]:
        user, host = (part.strip("'") for part in who.split("@"))
        columns = "(Host, Db, User, Select_priv, Drop_priv)"
        return [f"REPLACE INTO mysql.db {columns} VALUES ('{host}', 'anal%', '{user}', 'Y', 'Y')", "FLUSH PRIVILEGES"]  # noqa: S608

    # ---- databases and the server

    def _character_set(self, _who: str) -> Sequence[str]:
        return [
            f"ALTER DATABASE {self._pick(self._databases)} CHARACTER SET {self._pick(('ascii', 'utf8mb4 COLLATE utf8mb4_bin'))}"
        ]

    def _database_gone(self, _who: str) -> Sequence[str]:
        return ["DROP DATABASE old_one"]

    def _nobody(self, _who: str) -> Sequence[str]:
        host = self._pick(("localhost", "%", f"h{self._number}"))
        return [f"CREATE USER ''@'{host}'", f"GRANT SELECT ON analysis.* TO ''@'{host}'"]

    def _remote_root(self, _who: str) -> Sequence[str]:
        return [f"CREATE USER root@'10.0.0.{self._number}' IDENTIFIED BY 'x'"]

    def _local_infile(self, _who: str) -> Sequence[str]:
        return ["SET GLOBAL local_infile = 1"]
