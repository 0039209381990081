"""The MySQL or MariaDB server: databases, accounts and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..base import Section, Spelled, refuse
from ..fields import AbsolutePath, Flag, HomePath, Port
from .mysql_certificate import ServerCertificate, by_mode
from .mysql_external import SYSTEM_AUTHORITIES, Administrator, Authorities, ServerHost, is_loopback
from .mysql_grants import DatabaseName, DatabaseRole, RoleName
from .mysql_repository import Repository
from .mysql_settings import BindAddress, TypedValue, Value, Variable
from .mysql_users import Account, DatabaseUser


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


WordName = Annotated[str, Spelled(r"[a-z0-9_]{1,64}", "a name such as utf8mb4 or utf8mb4_unicode_ci")]


class Database(Section):
    """One database. It is created if it is not there, and never dropped, unless a person says `agent apply --allow-data-loss`."""

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
    """A MySQL-compatible server with databases and accounts. Databases that left the spec stay, unless a person says `agent apply --allow-data-loss`."""

    server: Literal["mariadb", "mysql", "external"] = Field(
        default="mariadb",
        description="`mariadb`, `mysql`: the distribution's. `external`: one that runs already, reached by `socket`, or by `host`, `port` and `tls`.",
        examples=["mariadb"],
    )
    socket: AbsolutePath | None = Field(
        default=None, description="With `server: external`: its socket.", examples=["/run/mysqld/mysqld.sock"]
    )
    host: ServerHost | None = Field(
        default=None,
        description="With `server: external`: its name, which its certificate must have, or its address.",
        examples=["db.example.org", "10.0.0.5"],
    )
    tls: Authorities = Field(
        default=True,
        description="With `host`: a file of the authorities that its certificate may be from; `true`: those that the system trusts. "
        "`false` talks in clear, to this host alone.",
        examples=["/etc/ssl/db-service.pem"],
    )
    bind_address: BindAddress = Field(
        default="127.0.0.1",
        description="Address to listen on; `*` is all of them, `none` is the socket alone.",
        examples=["127.0.0.1", "10.0.0.5"],
    )
    port: Port = Field(default=3306, description="Port to listen on; with `host`, its port.", examples=[3306])
    settings: Mapping[Variable, TypedValue] = Field(
        default={},
        description="Variables of the server, out of the list below. What a running server takes is set at once, else it is restarted. "
        "One that leaves the spec gets the server's own default.",
        examples=[{"innodb_buffer_pool_size": "2G", "max_connections": 200, "sql_mode": ["ANSI_QUOTES"]}],
    )
    extra_settings: Mapping[Variable, Value] = Field(
        default={},
        description="Any other lines of the [mysqld] group of an option file. A change restarts the server.",
        examples=[{"ft_stopword_file": "/etc/mysql/stopwords.txt"}],
    )
    repository: Repository | None = Field(
        default=None,
        description="Take the server from this apt repository, not from the distribution.",
        examples=[
            {
                "uri": "https://repo.mysql.com/apt/debian",
                "suite": "bookworm",
                "components": ["mysql-8.4-lts"],
                "key": "/etc/agent/mysql.asc",
            }
        ],
    )
    certificate: Annotated[
        ServerCertificate | None,
        BeforeValidator(by_mode, json_schema_input_type=bool | str | ServerCertificate | None),
    ] = Field(
        default=None,
        description="The server's certificate: a mapping, or a mode. Left out: one by `host-ca` if an account requires TLS.",
        examples=["host-ca", {"lifetime": "30d"}],
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
    roles: Annotated[
        Mapping[RoleName, DatabaseRole],
        BeforeValidator(_unnamed, json_schema_input_type=Mapping[str, DatabaseRole | None]),
    ] = Field(
        default={},
        description="Roles by name: rights that accounts have by having the role. What was granted to MariaDB's PUBLIC is revoked.",
        examples=[{"reader": {"grants": {"analysis": ["SELECT", "SHOW VIEW"]}}}],
    )
    client_file: Annotated[
        ClientFile, BeforeValidator(_client_file, json_schema_input_type=bool | str | ClientFile)
    ] = Field(
        default=ClientFile(),
        description="The notebook account's option file: a mapping, a path, or `false` for none.",
        examples=["~/.my.cnf", {"user": "analyst", "database": "analysis"}],
    )
    administrator: Administrator | None = Field(
        default=None,
        description="With `server: external`: the account that the agent logs in as. Left out: root, let in by the socket.",
        examples=[{"user": "admin", "password": {"file": "/etc/agent/secrets/db-admin"}}],
    )

    @property
    def authorities(self) -> str | None:
        """With ``host``: the file of authorities that the server's certificate must be from; None for no encryption."""
        if self.host is None or self.tls is False:
            return None
        return SYSTEM_AUTHORITIES if self.tls is True else self.tls

    @model_validator(mode="after")
    def _fits_server(self) -> Mysql:
        if self.server != "external":
            for field in ("socket", "host", "tls", "administrator"):
                if field in self.model_fields_set:
                    raise refuse("goes with 'server: external'", show=False, at=field)
            return self
        if (self.socket is None) == (self.host is None):
            raise refuse(
                "needs the socket of the external server, such as /run/mysqld/mysqld.sock, or its host, and not both",
                show=False,
            )
        if self.host is not None and self.administrator is None:
            raise refuse("needs an administrator, to log in as on the external server", show=False)
        if self.host is None and "tls" in self.model_fields_set:
            raise refuse("goes with 'host'", show=False, at="tls")
        if self.tls is False and not (self.host and is_loopback(self.host)):
            raise refuse(
                "must not be off where others could listen: only for 127.0.0.1 and ::1", "name a file of authorities",
                show=False, at="tls",
            )  # fmt: skip
        own = (
            *(("port",) if self.host is None else ()),
            "bind_address",
            "settings",
            "extra_settings",
            "certificate",
            "repository",
        )
        for field in own:
            if field in self.model_fields_set:
                raise refuse("is not set by the agent on an external server", show=False, at=field)
        return self
