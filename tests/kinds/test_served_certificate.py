"""A running server shows the certificate that is published, or is told to read it again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.host.database_facts import validity
from agent.kinds.served_certificate import ServedCertificate, ServedCertificateState
from agent.plan import compare
from agent.resource import Disruption, NotYetReadable
from agent.steps import Sql
from tests.kinds.seen import steps_for

SOCKET = "/run/mysqld/mysqld.sock"
SERVED = ServedCertificate("mariadb", SOCKET, "/etc/agent/tls/mariadb")


def host(shown: tuple[int, int] | None, published: tuple[int, int] | None) -> Any:
    facts = published and SimpleNamespace(not_before=published[0], not_after=published[1])
    return SimpleNamespace(
        desired={},
        databases=SimpleNamespace(shown=lambda server: shown if server == SOCKET else None),
        certificates=SimpleNamespace(facts=lambda _directory: facts),
    )


def test_what_is_shown_is_compared_with_what_is_published() -> None:
    assert SERVED.read(host((1, 2), (1, 2))).shown
    assert not SERVED.read(host((1, 2), (3, 4))).shown
    assert not SERVED.read(host(None, (3, 4))).shown


def test_before_there_is_a_certificate_nothing_can_be_said() -> None:
    with pytest.raises(NotYetReadable):
        SERVED.read(host(None, None))


def test_the_server_is_told_to_read_it_again_not_restarted() -> None:
    old = ServedCertificateState(shown=False)
    change = compare(SERVED, old)

    assert change is not None
    assert change.disruption is Disruption.RELOAD
    assert steps_for(SERVED, old) == [Sql(SOCKET, "FLUSH SSL", on_mysql="ALTER INSTANCE RELOAD TLS")]
    assert steps_for(SERVED, ServedCertificateState(shown=True)) == []


def test_the_server_s_own_words_are_times() -> None:
    rows = [("Ssl_server_not_after", "Dec  3 04:30:34 2026 GMT"), ("Ssl_server_not_before", "Nov 23 04:30:34 2026 GMT")]

    assert validity(rows) == (1795408234, 1795408234 + 10 * 86400)
    assert validity([(name, "") for name, _ in rows]) is None
    assert validity([]) is None
