"""Values of variables have one form in which they are compared, whoever wrote them and however; what does not fit is refused."""

from __future__ import annotations

import pytest

from agent.host.database_variables import ALL, KNOWN, Size, Unfit, same, size, spell_size

READ = [
    ("max_connections", "0200", "200"),
    ("innodb_buffer_pool_size", "2G", "2G"),
    ("innodb_buffer_pool_size", "2147483648", "2G"),
    ("innodb_buffer_pool_size", "2048m", "2G"),
    ("innodb_buffer_pool_size", "1536M", "1536M"),
    ("innodb_buffer_pool_size", "300000000", "286M"),
    ("max_allowed_packet", "1025500", "1001K"),
    ("sort_buffer_size", "100000", "100000"),
    ("slow_query_log", "1", "ON"),
    ("slow_query_log", "no", "OFF"),
    ("binlog_format", "row", "ROW"),
    ("innodb_flush_method", "o_direct", "O_DIRECT"),
    ("sql_mode", "STRICT_TRANS_TABLES, ansi_quotes", "ANSI_QUOTES,STRICT_TRANS_TABLES"),
    ("sql_mode", "", ""),
    ("log_output", "TABLE,FILE", "FILE,TABLE"),
    ("long_query_time", "10.000000", "10"),
    ("long_query_time", "0.50", "0.5"),
    ("long_query_time", "0", "0"),
    ("time_zone", "Europe/Berlin", "Europe/Berlin"),
]


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_a_value_has_one_form(name: str, text: str, value: str) -> None:
    assert KNOWN[name].form.read(text) == value
    assert KNOWN[name].form.read(value) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_connections", "9"),
        ("max_connections", "-1"),
        ("max_connections", "10.5"),
        ("max_connections", "1k"),
        ("max_connections", "\u0661\u0660\u0660"),
        ("max_connections", "9" * 30),
        ("innodb_buffer_pool_size", "2GB"),
        ("innodb_buffer_pool_size", ""),
        ("innodb_buffer_pool_size", "7M"),
        ("slow_query_log", "2"),
        ("sql_mode", "ANSI"),
        ("sql_mode", "STRICT"),
        ("long_query_time", "1e3"),
        ("long_query_time", "nan"),
        ("time_zone", "+1:00"),
        ("character_set_server", "utf8"),
        ("character_set_server", "x' OR 1"),
        ("bind_address", "localhost; x"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, text: str) -> None:
    with pytest.raises(Unfit):
        ALL[name].form.read(text)


@pytest.mark.parametrize(
    ("name", "wanted", "reported", "step", "seen"),
    [
        ("innodb_buffer_pool_size", "300M", "402653184", 134217728, "300M"),
        ("innodb_buffer_pool_size", "300M", "536870912", 134217728, "512M"),
        ("innodb_buffer_pool_size", "300M", "268435456", 134217728, "256M"),
        ("innodb_buffer_pool_size", "300M", "402653184", 0, "384M"),
        ("max_allowed_packet", "1M", "1048576", 0, "1M"),
        ("max_connections", "60", "60", 0, "60"),
        ("local_infile", "OFF", "0", 0, "OFF"),
        ("local_infile", "OFF", "1", 0, "ON"),
        ("sql_mode", "ANSI_QUOTES", "ANSI_QUOTES,TRADITIONAL", 0, "ANSI_QUOTES,TRADITIONAL"),
        ("max_statement_time", "7.5", "7.500000", 0, "7.5"),
        ("event_scheduler", "ON", "DISABLED", 0, "DISABLED"),
        ("bind_address", "127.0.0.1", "", 0, ""),
    ],
)
def test_what_a_server_only_rounded_is_no_difference(
    name: str, wanted: str, reported: str, step: int, seen: str
) -> None:
    assert same(ALL[name], wanted, reported, step) == seen


def test_a_statement_has_numbers_and_switches_as_such_and_all_else_bound() -> None:
    literals = {name: KNOWN[name].form.literal(value) for name, _, value in READ if value}

    assert literals["max_connections"] == "200"
    assert literals["max_allowed_packet"] == str(1001 * 1024)
    assert literals["long_query_time"] == "0"
    assert literals["slow_query_log"] == "OFF"
    assert {literals[name] for name in ("binlog_format", "sql_mode", "log_output", "time_zone")} == {""}


@pytest.mark.parametrize("number", [0, 1, 1023, 1024, 1 << 20, (1 << 30) + 1, 1 << 40])
def test_sizes_are_read_back(number: int) -> None:
    assert size(spell_size(number)) == number


def test_names_are_such_as_need_no_quoting_in_a_statement() -> None:
    assert all(name.isidentifier() and name.islower() for each in ALL.values() for name in (each.name, each.written))


def test_every_variable_is_known_to_a_server_and_says_what_would_do() -> None:
    for each in KNOWN.values():
        assert each.mariadb or each.mysql
        assert each.form.must
        if isinstance(each.form, Size):
            assert each.form.least % each.form.block == 0 or each.form.block == 1, each.name
