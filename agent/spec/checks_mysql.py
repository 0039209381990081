"""What must fit together within the `mysql` section and around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .checks_mysql_external import check_external
from .checks_mysql_grants import check_grants
from .checks_mysql_settings import check_settings
from .checks_mysql_users import check_users
from .explain import Finding
from .sections.mysql import Mysql
from .sections.mysql_external import is_loopback
from .sections.mysql_grants import plain_target
from .sections.mysql_settings import underscored
from .sections.mysql_users import with_host
from .shape import nearest
from .spec import Spec
from .tree import Keys, Node, Table, value_at

LOCAL = ("localhost", "127.0.0.1", "::1", "%")


def check_mysql(spec: Spec, mysql: Mysql, tree: Node) -> Iterator[Finding]:
    """Everything that is wrong between the fields of this section, or with another."""
    yield from check_settings(mysql)
    yield from check_external(mysql)
    users: Keys = ("mysql", "users")
    yield from _twice(tree, users, with_host)
    for field in ("settings", "extra_settings"):
        yield from _twice(tree, ("mysql", field), underscored)
    for holders in (users, ("mysql", "roles")):
        written = value_at(tree, holders)
        for holder in written.entries if isinstance(written, Table) else ():
            yield from _twice(tree, (*holders, holder, "grants"), plain_target)
    yield from check_grants(mysql)
    yield from check_users(spec, mysql)
    yield from _client_file(spec, mysql)
    jupyter = spec.jupyter
    if jupyter and mysql.server != "external" and jupyter.port == mysql.port:
        later = "jupyter" if "port" in jupyter.model_fields_set else "mysql"
        other = "mysql" if later == "jupyter" else "jupyter"
        yield Finding((later, "port"), f"is {other}.port too; one port cannot serve both")


def _twice(tree: Node, keys: Keys, normal: Callable[[str], str]) -> Iterator[Finding]:
    """One thing under two spellings: ``analyst`` and ``analyst@localhost``. The second would silently win."""
    table = value_at(tree, keys)
    seen: dict[str, str] = {}
    for key in table.entries if isinstance(table, Table) else ():
        other = seen.setdefault(normal(key), key)
        if other != key:
            yield Finding((*keys, key), f"is the same as '{other}' above", "keep one", at_key=True)


def _client_file(spec: Spec, mysql: Mysql) -> Iterator[Finding]:
    file, keys = mysql.client_file, ("mysql", "client_file")
    if not file.write:
        return
    asked = "client_file" in mysql.model_fields_set
    if asked and spec.user is None and spec.jupyter is None:
        yield Finding(
            keys, "is for the notebook account, and there is none", "add a user section, or: user: {}", at_key=True
        )
    if file.user and file.user not in mysql.users:
        near = nearest(file.user.removesuffix("@localhost"), [name.removesuffix("@localhost") for name in mysql.users])
        hint = f"did you mean '{near}'?" if near else "declare it under mysql.users"
        yield Finding((*keys, "user"), "is not declared under mysql.users", hint)
    elif asked and not mysql.users:
        yield Finding(keys, "needs an account to name, and mysql.users has none", at_key=True)
    elif file.user and file.user.partition("@")[2] not in LOCAL and (mysql.host is None or is_loopback(mysql.host)):
        yield Finding((*keys, "user"), "is an account that cannot connect from this host")
    if file.database and file.database not in mysql.databases:
        near = nearest(file.database, list(mysql.databases))
        hint = f"did you mean '{near}'?" if near else "declare it under mysql.databases"
        yield Finding((*keys, "database"), "is not declared under mysql.databases", hint)
