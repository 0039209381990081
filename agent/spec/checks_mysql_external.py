"""What must fit together where the database server runs already."""

from __future__ import annotations

from collections.abc import Iterator

from .explain import Finding
from .sections.mysql import Mysql


def check_external(mysql: Mysql) -> Iterator[Finding]:
    """The account that the agent logs in as is never declared: a slip of the pen would lock the agent out."""
    if mysql.administrator is None:
        return
    for account in mysql.users:
        if account.rpartition("@")[0] == mysql.administrator.user:
            yield Finding(
                ("mysql", "users", account),
                "is the account that the agent logs in as (mysql.administrator), which it never changes",
                "have its owner look after it, or name another administrator",
                at_key=True,
            )
