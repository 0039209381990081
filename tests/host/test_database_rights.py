"""What the agent's account may do is read from SHOW GRANTS as the servers write it."""

from __future__ import annotations

import pytest

from agent.host.database_privileges import ALL
from agent.host.database_rights import ROLE_ADMIN, Need, lacking, rights

PASS_ON = True
OLD = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE TEMPORARY TABLES",
    "LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER",
)  # fmt: skip
KNOWN = (*(name.capitalize() for name in OLD), "Super", "Proxy")


@pytest.mark.parametrize(
    ("line", "need", "met"),
    [
        ("GRANT SELECT, CREATE USER ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*X'", Need("CREATE USER"), True),
        ("GRANT SELECT, CREATE USER ON *.* TO `a`@`%`", Need("CREATE"), False),
        ("GRANT SELECT ON *.* TO `a`@`%`", Need("SELECT", "mysql"), True),
        ("GRANT SELECT ON `mysql`.* TO `a`@`%`", Need("SELECT", "mysql"), True),
        ("GRANT SELECT ON `mysql`.`user` TO `a`@`%`", Need("SELECT", "mysql"), False),
        ("GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION", Need(ALL, "my_data", PASS_ON), True),
        ("GRANT ALL PRIVILEGES ON *.* TO `a`@`%`", Need("SELECT", "my_data", PASS_ON), False),
        ("GRANT ALL PRIVILEGES ON `my\\_data`.* TO `a`@`%` WITH GRANT OPTION", Need(ALL, "my_data", PASS_ON), True),
        ("GRANT ALL PRIVILEGES ON `my\\_data`.* TO `a`@`%` WITH GRANT OPTION", Need("SELECT", "myXdata"), False),
        ("GRANT SELECT ON `my_data`.* TO `a`@`%`", Need("SELECT", "myXdata"), True),
        ("GRANT CREATE ON `my%`.* TO `a`@`%`", Need("CREATE", "my_data"), True),
        ("GRANT CREATE ON `my``data`.* TO `a`@`%`", Need("CREATE", "my`data"), True),
        ("GRANT CREATE ON `my_data`.* TO `a`@`%`", Need("CREATE"), False),
        ("GRANT `some_role`@`%` TO `a`@`%`", Need("CREATE"), False),
        ("GRANT USAGE ON *.* TO `a`@`%`", Need("SELECT", "mysql"), False),
    ],
)
def test_a_need_is_met_by_a_line_or_not(line: str, need: Need, met: bool) -> None:
    assert (lacking([need], rights([line]), KNOWN) == ()) is met


def test_what_a_partial_revoke_takes_away_is_not_there() -> None:
    lines = ["GRANT SELECT, INSERT ON *.* TO `a`@`%`", "REVOKE SELECT ON `mysql`.* FROM `a`@`%`"]

    needs = [Need("SELECT", "mysql"), Need("SELECT", "my_data")]
    assert lacking(needs, rights(lines), KNOWN) == (Need("SELECT", "mysql"),)


def test_all_is_what_the_server_has() -> None:
    held = rights([f"GRANT {', '.join(OLD)} ON *.* TO `a`@`%` WITH GRANT OPTION"])
    need = Need(ALL, "my_data", PASS_ON)

    assert lacking([need], held, KNOWN) == ()
    assert lacking([need], held, (*KNOWN, "Delete versioning rows")) == (need,)
    assert lacking([need], held, (*KNOWN, "Show Create Routine")) == (need,)
    everything = Need(ALL, to_pass_on=True)
    assert lacking([everything], held, KNOWN) == (everything,), "on everything there is more to it"


def test_what_the_server_does_not_know_nobody_needs() -> None:
    assert lacking([Need(ROLE_ADMIN)], (), KNOWN) == ()
    assert lacking([Need(ROLE_ADMIN)], (), (*KNOWN, "ROLE_ADMIN")) == (Need(ROLE_ADMIN),)


def test_a_need_is_told_as_grant_has_it() -> None:
    assert str(Need(ALL, "my_data", PASS_ON)) == "ALL PRIVILEGES ON my_data.* WITH GRANT OPTION"
    assert str(Need("CREATE USER")) == "CREATE USER ON *.*"
