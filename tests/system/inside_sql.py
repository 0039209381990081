"""Runs inside a host with a database server: statements as a person would type them, and all that the server says of accounts and databases.

    inside_sql.py < {"statements": [...], "snapshot": true, "logins": {"alice": "/path/of/password"}, "socket": "..."}

Prints a JSON object: for each statement its rows or its error, the snapshot, and as whom each login was let in. It knows nothing of the agent.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from MySQLdb import _mysql

COLUMNS = re.compile(r"\(([^()]*)\)")
HASH = re.compile(r"0x[0-9A-F]{40,}|'(\$A\$[^']*)'")
PRIVILEGES = (
    "SELECT GRANTEE, '*.*', PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES",
    "SELECT GRANTEE, CONCAT(TABLE_SCHEMA, '.*'), PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.SCHEMA_PRIVILEGES",
    "SELECT GRANTEE, CONCAT_WS('.', TABLE_SCHEMA, TABLE_NAME), PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.TABLE_PRIVILEGES",
    "SELECT GRANTEE, CONCAT_WS('.', TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME), PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.COLUMN_PRIVILEGES",
    "SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)), CONCAT_WS('.', Db, Routine_name, Routine_type), Proc_priv, '' FROM mysql.procs_priv",
    "SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)), CONCAT('proxy ', Proxied_user, '@', Proxied_host), 'PROXY', 'NO' FROM mysql.proxies_priv",
)
ROLES = {
    True: "SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)), CONCAT('role ', Role), 'ROLE', Admin_option FROM mysql.roles_mapping",
    False: "SELECT CONCAT(QUOTE(TO_USER), '@', QUOTE(TO_HOST)), CONCAT('role ', FROM_USER), 'ROLE', WITH_ADMIN_OPTION FROM mysql.role_edges",
}
SOCKET = "/run/mysqld/mysqld.sock"


class Server:
    """One connection, of root's by the socket if no other account and password are given."""

    def __init__(self, socket: str, user: str = "root", password: str = "") -> None:
        self.connection = _mysql.connect(user=user, passwd=password, unix_socket=socket, connect_timeout=10, conv={})
        self.connection.set_character_set("utf8mb4")
        self.mariadb = "mariadb" in self.connection.get_server_info().lower()
        if not self.mariadb:
            self.rows("SET SESSION print_identified_with_as_hex = ON")

    def rows(self, statement: str) -> list[list[str | None]]:
        self.connection.query(statement.encode())
        result = self.connection.store_result()
        found = result.fetch_row(maxrows=0) if result else ()
        return [[None if value is None else value.decode(errors="replace") for value in row] for row in found]

    def attempt(self, statement: str) -> Any:
        """The rows, or the error's text."""
        try:
            return self.rows(statement)
        except _mysql.MySQLError as error:
            return f"{error.args[0]}: {error.args[-1]}"

    def snapshot(self) -> dict[str, Any]:
        """Accounts and databases in the server's own words; of a salted password only that there is one."""
        accounts = {
            f"{user}@{host}": (str(user), str(host))
            for user, host in self.rows("SELECT User, Host FROM mysql.user")
            if host
        }
        roles = [str(name) for name, host in self.rows("SELECT User, Host FROM mysql.user") if not host]
        words = "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA ORDER BY 1"
        return {
            "accounts": {name: self.account(*account) for name, account in sorted(accounts.items())}
            | {f"role {name}": self.shown(f"SHOW GRANTS FOR `{name}`") for name in sorted(roles)},
            "defaults": self.rows(
                "SELECT User, Host, default_role FROM mysql.user WHERE default_role <> '' ORDER BY 1, 2"
                if self.mariadb
                else "SELECT USER, HOST, DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles ORDER BY 1, 2, 3"
            ),
            "databases": self.rows(words),
            "local_infile": self.rows("SELECT @@GLOBAL.local_infile"),
            "privileges": [
                [who, what, privilege, *rest]
                for asked in (*PRIVILEGES, ROLES[self.mariadb])
                for who, what, privileges, *rest in self.rows(asked)
                for privilege in str(privileges).split(",")
            ],
        }

    def account(self, user: str, host: str) -> list[str]:
        name = "{}@{}".format(*("'" + part.replace("\\", "\\\\").replace("'", "\\'") + "'" for part in (user, host)))
        return self.shown(f"SHOW CREATE USER {name}") + self.shown(f"SHOW GRANTS FOR {name}")

    def shown(self, statement: str) -> list[str]:
        said = self.attempt(statement)
        return [said] if isinstance(said, str) else sorted(alike(str(row[0])) for row in said)


def alike(line: str) -> str:
    """Without salted passwords, and with columns in an order: servers have none."""
    return COLUMNS.sub(lambda found: f"({', '.join(sorted(found[1].split(', ')))})", HASH.sub("<hash>", line))


def gets_in(user: str, path: str, socket: str) -> str:
    """As whom the server knows the client with the password in a file; else its error."""
    try:
        with open(path) as file:
            password = file.read().removesuffix("\n")
        connection = _mysql.connect(user=user, passwd=password, unix_socket=socket, connect_timeout=10)
        connection.query("SELECT CURRENT_USER()")
        ((who,),) = connection.store_result().fetch_row()
        connection.close()
    except (_mysql.MySQLError, OSError) as error:
        return str(error)
    return str(who.decode())


def main() -> None:
    asked = json.load(sys.stdin)
    socket = asked.get("socket", SOCKET)
    server = Server(socket, asked.get("user", "root"), asked.get("password", ""))
    answer = {
        "statements": [server.attempt(each) for each in asked.get("statements", ())],
        "logins": {user: gets_in(user, path, socket) for user, path in asked.get("logins", {}).items()},
        "snapshot": server.snapshot() if asked.get("snapshot") else {},
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
