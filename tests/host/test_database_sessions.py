"""Which connections are an account's, as far as a server tells."""

from __future__ import annotations

import pytest

from agent.host.database_sessions import sessions_of

ROWS = [
    ("5", "event_scheduler", "localhost", None),
    ("6", "root", "localhost", None),
    ("7", "a", "localhost", None),
    ("8", "a", "10.0.0.7:50122", None),
    ("9", "a", "10.0.1.7:50122", None),
    ("10", "a", "db.example.org:50122", None),
    ("11", "b", "localhost", None),
    ("12", "a", "::1:50122", None),
]
ALL = [7, 8, 9, 10, 12]


@pytest.mark.parametrize(
    ("host", "hosts", "wanted"),
    [
        ("localhost", ["localhost"], ALL),
        ("10.0.0.%", ["10.0.0.%"], ALL),
        ("localhost", ["localhost", "%"], [7]),
        ("%", ["localhost", "%"], [8, 9, 10, 12]),
        ("%", ["%", "10.0.0.%"], ALL),
        ("10.0.0.%", ["%", "10.0.0.%"], [8]),
        ("10.0.1.0/255.255.255.0", ["localhost", "10.0.1.0/255.255.255.0"], [9]),
        ("DB.example.org", ["%", "db.example.org"], [10]),
        ("::1", ["%", "::1"], [12]),
        ("10.0.0._", ["localhost", "10.0.0._"], [8]),
    ],
    ids=str,
)
def test_a_connection_is_the_account_s_whose_host_fits_best(host: str, hosts: list[str], wanted: list[int]) -> None:
    assert sessions_of(ROWS, "a", host, hosts) == wanted


def test_a_name_is_not_a_pattern() -> None:
    assert sessions_of([("1", "a", "10x0", None)], "a", "10.0", ["10.0", "other"]) == []
