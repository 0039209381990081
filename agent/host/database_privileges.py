"""The privileges that MariaDB and MySQL know, by what they can be given on, and which of the two servers knows them.

Sources: GRANT in the MariaDB knowledge base, "Privileges Provided by MySQL" in the MySQL 9 reference manual, SHOW PRIVILEGES of both, and for the
bits of MariaDB privilege.h in its source.
"""

from __future__ import annotations

ALL = "ALL PRIVILEGES"
GRANT_OPTION = "GRANT OPTION"
PROXY = "PROXY"

GLOBAL, DATABASE, TABLE, PROCEDURE, FUNCTION = "global", "database", "table", "procedure", "function"
"""What a privilege can be given on."""

ON_COLUMNS = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
ON_TABLES = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE VIEW",
    "SHOW VIEW", "TRIGGER", "DELETE HISTORY",
)  # fmt: skip
ON_ROUTINES = ("EXECUTE", "ALTER ROUTINE", "SHOW CREATE ROUTINE")
ON_DATABASES = (*ON_TABLES, *ON_ROUTINES, "CREATE TEMPORARY TABLES", "LOCK TABLES", "CREATE ROUTINE", "EVENT")
MARIADB_ONLY = (
    "DELETE HISTORY", "SHOW CREATE ROUTINE", "SET USER", "FEDERATED ADMIN", "CONNECTION ADMIN", "READ_ONLY ADMIN",
    "REPLICATION SLAVE ADMIN", "REPLICATION MASTER ADMIN", "BINLOG ADMIN", "BINLOG REPLAY", "SLAVE MONITOR",
)  # fmt: skip
DYNAMIC = (
    "ALLOW_NONEXISTENT_DEFINER", "APPLICATION_PASSWORD_ADMIN", "AUDIT_ABORT_EXEMPT", "AUDIT_ADMIN",
    "AUTHENTICATION_POLICY_ADMIN", "BACKUP_ADMIN", "BINLOG_ADMIN", "BINLOG_ENCRYPTION_ADMIN", "CLONE_ADMIN",
    "CONNECTION_ADMIN", "CREATE_SPATIAL_REFERENCE_SYSTEM", "ENCRYPTION_KEY_ADMIN", "EXPORT_QUERY_RESULTS",
    "FIREWALL_ADMIN", "FIREWALL_EXEMPT", "FIREWALL_USER", "FLUSH_OPTIMIZER_COSTS", "FLUSH_PRIVILEGES", "FLUSH_STATUS",
    "FLUSH_TABLES", "FLUSH_USER_RESOURCES", "GROUP_REPLICATION_ADMIN", "GROUP_REPLICATION_STREAM",
    "INNODB_REDO_LOG_ARCHIVE", "INNODB_REDO_LOG_ENABLE", "MANAGE_DATA_MASKING_POLICY", "MASKING_DICTIONARIES_ADMIN",
    "NDB_STORED_USER", "OPTIMIZE_LOCAL_TABLE", "OPTION_TRACKER_OBSERVER", "OPTION_TRACKER_UPDATER",
    "PASSWORDLESS_USER_ADMIN", "PERSIST_RO_VARIABLES_ADMIN", "REPLICATION_APPLIER", "REPLICATION_SLAVE_ADMIN",
    "RESOURCE_GROUP_ADMIN", "RESOURCE_GROUP_USER", "ROLE_ADMIN", "SENSITIVE_VARIABLES_OBSERVER",
    "SERVICE_CONNECTION_ADMIN", "SESSION_VARIABLES_ADMIN", "SET_ANY_DEFINER", "SET_USER_ID", "SHOW_ROUTINE",
    "SKIP_QUERY_REWRITE", "SYSTEM_USER", "SYSTEM_VARIABLES_ADMIN", "TABLE_ENCRYPTION_ADMIN", "TELEMETRY_LOG_ADMIN",
    "TP_CONNECTION_ADMIN", "TRANSACTION_GTID_TAG", "VERSION_TOKEN_ADMIN", "XA_RECOVER_ADMIN",
)  # fmt: skip
"""MySQL's, on everything, registered by the server and its components: which are there differs by version and by what is installed."""
MYSQL_ONLY = ("CREATE ROLE", "DROP ROLE", *DYNAMIC)
ON_EVERYTHING = (
    *ON_DATABASES, "RELOAD", "SHUTDOWN", "PROCESS", "FILE", "SHOW DATABASES", "SUPER", "REPLICATION SLAVE",
    "REPLICATION CLIENT", "CREATE USER", "CREATE TABLESPACE", *MARIADB_ONLY[2:], *MYSQL_ONLY,
)  # fmt: skip

KNOWN = {
    GLOBAL: frozenset(ON_EVERYTHING),
    DATABASE: frozenset(ON_DATABASES),
    TABLE: frozenset(ON_TABLES),
    PROCEDURE: frozenset(ON_ROUTINES),
    FUNCTION: frozenset(ON_ROUTINES),
}
"""All that either server knows, without ALL PRIVILEGES and GRANT OPTION, which can be given on each of them."""

SPELLINGS = {
    "ALL": ALL,
    "BINLOG MONITOR": "REPLICATION CLIENT",
    "READ ONLY ADMIN": "READ_ONLY ADMIN",
    "REPLICA MONITOR": "SLAVE MONITOR",
    "REPLICATION REPLICA": "REPLICATION SLAVE",
    "REPLICATION REPLICA ADMIN": "REPLICATION SLAVE ADMIN",
}
"""Other names of one privilege. Of each pair both servers, or the one that knows it, take the one on the right."""

_BITS = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "RELOAD", "SHUTDOWN", "PROCESS", "FILE", GRANT_OPTION,
    "REFERENCES", "INDEX", "ALTER", "SHOW DATABASES", "SUPER", "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE",
    "REPLICATION SLAVE", "REPLICATION CLIENT", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE",
    "CREATE USER", "EVENT", "TRIGGER", "CREATE TABLESPACE", "DELETE HISTORY", "SET USER", "FEDERATED ADMIN",
    "CONNECTION ADMIN", "READ_ONLY ADMIN", "REPLICATION SLAVE ADMIN", "REPLICATION MASTER ADMIN", "BINLOG ADMIN",
    "BINLOG REPLAY", "SLAVE MONITOR", "SHOW CREATE ROUTINE",
)  # fmt: skip
_SUPER = 1 << _BITS.index("SUPER")
_ONCE_SUPER = sum(
    1 << _BITS.index(name) for name in _BITS[_BITS.index("SET USER") : _BITS.index("SHOW CREATE ROUTINE")]
)


def of_access(access: int, version: int) -> frozenset[str]:
    """The privileges in ``access`` of mysql.global_priv, written by that ``version`` of MariaDB (such as 101119; 0 is unknown).

    Up to 10.4 SUPER was what has been several privileges since, and the server reads it so.
    """
    if access & _SUPER and version < 100500:
        access |= _ONCE_SUPER
    return frozenset(name for bit, name in enumerate(_BITS) if access >> bit & 1)


def of_column(column: str) -> str:
    """What a column such as ``Select_priv`` of a table of rights is about."""
    name = column.removesuffix("_priv").replace("_", " ").upper()
    return _COLUMNS.get(name, name)


def of_set(text: str) -> frozenset[str]:
    """A SET column, such as ``Select,Grant``."""
    return frozenset(_WORDS.get(word, word) for word in text.upper().split(",") if word)


_COLUMNS = {
    "CREATE TMP TABLE": "CREATE TEMPORARY TABLES",
    "GRANT": GRANT_OPTION,
    "SHOW DB": "SHOW DATABASES",
    "REPL SLAVE": "REPLICATION SLAVE",
    "REPL CLIENT": "REPLICATION CLIENT",
}
_WORDS = {"GRANT": GRANT_OPTION, "DELETE VERSIONING ROWS": "DELETE HISTORY"}
