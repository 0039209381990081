"""The MySQL or MariaDB server: databases, accounts and what they may do."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..base import OneOf, Section, Spelled, refuse
from ..fields import AbsolutePath, Flag, HomePath, ListenAddress, Port
from ..secrets import Password, Secret

SYSTEM_DATABASES = {"mysql", "information_schema", "performance_schema", "sys"}
SYSTEM_ACCOUNTS = {
    "root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint",
}  # fmt: skip
ON_TABLES = (
    "ALL", "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES",
    "CREATE VIEW", "SHOW VIEW", "TRIGGER",
)  # fmt: skip
PRIVILEGES = (
    *ON_TABLES, "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT",
)  # fmt: skip
SERVER_WIDE = {
    "GRANT OPTION", "SUPER", "FILE", "PROCESS", "RELOAD", "SHUTDOWN", "CREATE USER", "SHOW DATABASES",
    "REPLICATION CLIENT", "REPLICATION SLAVE", "PROXY", "CREATE TABLESPACE",
}  # fmt: skip
NAME = r"[A-Za-z0-9_$-]{1,64}"


def _database(name: str) -> str:
    if name.lower() in SYSTEM_DATABASES:
        raise refuse("must be a database of yours; this one belongs to the server")
    return name


def with_host(text: str) -> str:
    """``name`` or ``name@host``; always returned with its host."""
    name, at, host = text.partition("@")
    if not re.fullmatch(r"[A-Za-z0-9_.$-]{1,32}", name, re.ASCII):
        raise refuse("must be a name such as 'analyst' or 'analyst@10.0.0.%': letters, digits and _.$-, at most 32")
    if name.lower() in SYSTEM_ACCOUNTS:
        raise refuse("must be an account of yours; this one belongs to the server")
    if at and not _is_host(host):
        raise refuse(
            "must have a host after '@': localhost, a name, an address, a network such as 10.0.0.% or "
            "10.0.0.0/255.255.255.0, or % for any"
        )
    return f"{name}@{host.lower() or 'localhost'}"


def _is_host(host: str) -> bool:
    if host == "%" or re.fullmatch(r"([0-9]{1,3}\.){1,3}%", host):
        return True
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        pass
    address, slash, mask = host.partition("/")
    if slash:
        try:
            ipaddress.ip_network(f"{address}/{mask}")
        except ValueError:
            return False
        return "." in mask
    return (
        bool(re.fullmatch(r"(?!.*\.[0-9]+$)(%\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+", host, re.ASCII))
        and len(host) <= 60
    )


def with_tables(text: str) -> str:
    """``db``, ``db.*`` or ``db.table``; always returned with its second half."""
    if text.startswith("*"):
        raise refuse(
            "must name one database: 'analysis' or 'analysis.table'",
            "rights over the whole server are not given out here",
        )
    database, dot, table = text.partition(".")
    if not re.fullmatch(NAME, database, re.ASCII) or (
        dot and not (table == "*" or re.fullmatch(NAME, table, re.ASCII))
    ):
        raise refuse("must be a database or a table of it: 'analysis', 'analysis.*' or 'analysis.results'")
    _database(database)
    return f"{database}.{table or '*'}"


def _privileges(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _privilege(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = " ".join(value.upper().split())
    if name in SERVER_WIDE:
        raise refuse("is a right over the whole server, which the spec does not give out")
    return "ALL" if name == "ALL PRIVILEGES" else name


def _named(value: Any) -> Any:
    """A list of names, or names with nothing after them, is short for a mapping with defaults."""
    if isinstance(value, list) and all(isinstance(name, str | int) and not isinstance(name, bool) for name in value):
        if len(set(value)) != len(value):
            raise refuse("must not name one database twice", show=False)
        return {str(name): {} for name in value}
    if isinstance(value, dict):
        return {name: {} if settings is None else settings for name, settings in value.items()}
    return value


def _unnamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: {} if settings is None else settings for name, settings in value.items()}
    return value


def _client_file(value: Any) -> Any:
    if value is True:
        return {}
    if value is False:
        return {"write": False}
    return {"path": value} if isinstance(value, str) else value


def _setting(value: Any) -> Any:
    """As it is written in an option file: ON and OFF, numbers, text. Quotes and '#' have a meaning there."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_.,:/@%+*=|() -]{0,500}", value, re.ASCII):
        raise refuse("must be letters, digits and _.,:/@%+*=|()- in one line")
    if isinstance(value, str) and value != value.strip():
        raise refuse("must not begin or end with a blank", show=False)
    return value


def underscored(name: str) -> str:
    """Option names are the same with '-' and '_'; returned with '_'."""
    return name.replace("-", "_")


Privilege = Annotated[str, OneOf(PRIVILEGES, "a privilege such as SELECT, INSERT or ALL"), BeforeValidator(_privilege)]
DatabaseName = Annotated[
    str,
    Spelled(NAME, "the name of a database, such as 'analysis': letters, digits and _$-, at most 64", longest=10000),
    AfterValidator(_database),
]
Account = Annotated[str, AfterValidator(with_host)]
"""``name@host``."""
GrantTarget = Annotated[str, AfterValidator(with_tables)]
"""``database.*`` or ``database.table``."""
Variable = Annotated[
    str,
    Spelled(r"[a-z][a-z0-9_.-]{0,63}", "a variable of the server, such as innodb_buffer_pool_size"),
    AfterValidator(underscored),
]
WordName = Annotated[str, Spelled(r"[a-z0-9_]{1,64}", "a name such as utf8mb4 or utf8mb4_unicode_ci")]


class Database(Section):
    """One database. It is created if it is not there, and never dropped."""

    charset: WordName = Field(default="utf8mb4", description="Character set of new tables.", examples=["utf8mb4"])
    collation: WordName | None = Field(
        default=None,
        description="How text is sorted and compared. Left out: utf8mb4_unicode_ci with utf8mb4, else the usual one.",
        examples=["utf8mb4_unicode_ci", "utf8mb4_bin"],
    )

    @property
    def collates(self) -> str | None:
        """The collation, decided; None leaves it to the server."""
        return self.collation or ("utf8mb4_unicode_ci" if self.charset == "utf8mb4" else None)

    @model_validator(mode="after")
    def _one_family(self) -> Database:
        if self.collation and self.collation != "binary" and not self.collation.startswith(f"{self.charset}_"):
            raise refuse("must belong to the charset", at="collation")
        return self


class DatabaseUser(Section):
    """One account of the database server."""

    password: Password = Field(
        default=Secret.model_validate({"generate": {}}),
        description="Where its password is. Left out: the agent makes one up.",
        examples=[{"generate": {"length": 24}}, {"file": "/etc/agent/secrets/analyst"}],
    )
    require_ssl: Flag | None = Field(
        default=None,
        description="Refuse connections without TLS. Left out: for every host but this one.",
        examples=[True],
    )
    grants: Mapping[
        GrantTarget,
        Annotated[
            tuple[Privilege, ...],
            Field(min_length=1),
            BeforeValidator(_privileges, json_schema_input_type=tuple[Privilege, ...] | Privilege),
        ],
    ] = Field(
        default={},
        description="Exactly what it may do: privileges by database, or by `database.table`.",
        examples=[{"analysis": ["ALL"]}, {"analysis.results": ["SELECT", "INSERT"]}],
    )


class ClientFile(Section):
    """An option file for the notebook account, so that code in notebooks connects without a password in it."""

    write: Flag = Field(default=True, description="False: no such file (`client_file: false` says the same).")
    path: HomePath = Field(
        default="~/.my.cnf",
        description="Where it goes; readable by the notebook account alone.",
        examples=["~/.my.cnf"],
    )
    user: Account | None = Field(
        default=None,
        description="The database account in it. Left out: the one called like the notebook account, else the first.",
        examples=["notebook", "analyst@localhost"],
    )
    database: DatabaseName | None = Field(default=None, description="The database to start in.", examples=["analysis"])


class Mysql(Section):
    """A MySQL-compatible server with databases and accounts. Databases and their content are never removed."""

    server: Literal["mariadb", "mysql", "external"] = Field(
        default="mariadb",
        description="`mariadb`, `mysql`: the distribution's. `external`: one that runs already, reached by `socket`.",
        examples=["mariadb"],
    )
    socket: AbsolutePath | None = Field(
        default=None, description="With `server: external`: its socket.", examples=["/run/mysqld/mysqld.sock"]
    )
    bind_address: ListenAddress = Field(
        default="127.0.0.1", description="Address to listen on; `*` is all of them.", examples=["127.0.0.1", "10.0.0.5"]
    )
    port: Port = Field(default=3306, description="Port to listen on.", examples=[3306])
    settings: Mapping[Variable, Annotated[str, BeforeValidator(_setting, json_schema_input_type=str | int | bool)]] = (
        Field(
            default={},
            description="Further variables of the server, as in the [mysqld] group of an option file.",
            examples=[{"innodb_buffer_pool_size": "2G", "max_connections": 200}],
        )
    )
    databases: Annotated[
        Mapping[DatabaseName, Database],
        BeforeValidator(_named, json_schema_input_type=Mapping[str, Database | None] | list[str]),
    ] = Field(
        default={},
        description="Databases by name, or simply a list of names.",
        examples=[["analysis"], {"analysis": {"charset": "utf8mb4"}}],
    )
    users: Annotated[
        Mapping[Account, DatabaseUser],
        BeforeValidator(_unnamed, json_schema_input_type=Mapping[str, DatabaseUser | None]),
    ] = Field(
        default={},
        description="Accounts by name; `name` means `name@localhost`, other hosts are written out: `name@10.0.0.%`.",
        examples=[{"notebook": {"grants": {"analysis": ["ALL"]}}}],
    )
    client_file: Annotated[
        ClientFile, BeforeValidator(_client_file, json_schema_input_type=bool | str | ClientFile)
    ] = Field(
        default=ClientFile(),
        description="The notebook account's option file: a mapping, a path, or `false` for none.",
        examples=["~/.my.cnf", {"user": "analyst", "database": "analysis"}],
    )

    @model_validator(mode="after")
    def _fits_server(self) -> Mysql:
        if self.server == "external":
            if self.socket is None:
                raise refuse("needs the socket of the external server, such as /run/mysqld/mysqld.sock", show=False)
            for field in ("bind_address", "port", "settings"):
                if field in self.model_fields_set:
                    raise refuse("is not set by the agent on an external server", show=False, at=field)
        elif self.socket is not None:
            raise refuse("goes with 'server: external'", show=False, at="socket")
        return self
