"""Variables of MariaDB and MySQL servers that are known here: their names, what values they take, and whether a running server takes them.

Pure: talks to no server. Sources: "Server System Variables" in the MariaDB documentation and in the MySQL 9 manual; that each entry says what
MariaDB 10.11, MariaDB 11.8 and MySQL 9.7 say themselves is a test. A range is what all servers that know the variable take.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal as Exact
from typing import ClassVar

LIVE, RESTART, UNKNOWN = "live", "restart", ""
"""How a server takes another value: by SET GLOBAL, when it starts, or not at all as it does not have the variable."""

K, M, G = 1 << 10, 1 << 20, 1 << 30
_SUFFIXES = {"K": K, "M": M, "G": G, "T": 1 << 40}
_ON, _OFF = ("ON", "1", "TRUE", "YES"), ("OFF", "0", "FALSE", "NO")


class Unfit(ValueError):
    """A value that a variable does not take; the text finishes the sentence 'must be ...'. ``word`` is none of the ``choices``."""

    def __init__(self, must: str, word: str = "", choices: tuple[str, ...] = ()) -> None:
        super().__init__(must)
        self.word = word
        self.choices = choices


@dataclass(frozen=True)
class Whole:
    """A whole number. The server rounds down to a multiple of ``block``."""

    least: int
    most: int
    block: int = 1

    @property
    def must(self) -> str:
        """What would do, in words."""
        return f"a whole number from {self.least} to {self.most}"

    def read(self, text: str) -> str:
        """The value in the one form in which it is compared and written. Raises Unfit."""
        return str(self.fit(int(text) if re.fullmatch("[0-9]{1,20}", text, re.ASCII) else None))

    def fit(self, number: int | None) -> int:
        """The number as the server keeps it. Raises Unfit for None and for one out of range."""
        if number is None or not self.least <= number <= self.most:
            raise Unfit(self.must)
        return number // self.block * self.block

    def literal(self, text: str) -> str:
        """The value in a statement; empty for one that is bound as text."""
        return text


@dataclass(frozen=True)
class Size(Whole):
    """Bytes, with K, M, G or T for short."""

    @property
    def must(self) -> str:
        return f"a size such as 64M, from {spell_size(self.least)} to {spell_size(self.most)}"

    def read(self, text: str) -> str:
        found = re.fullmatch("([0-9]{1,20})([KMGT]?)", text.upper(), re.ASCII)
        return spell_size(self.fit(int(found[1]) * _SUFFIXES.get(found[2], 1) if found else None))

    def literal(self, text: str) -> str:
        return str(size(text))


@dataclass(frozen=True)
class Switch:
    """On or off."""

    must: ClassVar[str] = "ON or OFF"

    def read(self, text: str) -> str:
        if text.upper() in _ON:
            return "ON"
        if text.upper() in _OFF:
            return "OFF"
        raise Unfit(self.must)

    def literal(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Choice:
    """One word of several."""

    words: tuple[str, ...]

    @property
    def must(self) -> str:
        return " or ".join([", ".join(self.words[:-1]), self.words[-1]])

    def read(self, text: str) -> str:
        for word in self.words:
            if word.upper() == text.upper():
                return word
        raise Unfit(self.must, text, self.words)

    def literal(self, _text: str) -> str:
        return ""


@dataclass(frozen=True)
class Words:
    """Some of several words, in any order, perhaps none."""

    words: tuple[str, ...]

    @property
    def must(self) -> str:
        return f"words such as {', '.join(self.words[-3:])}"

    def read(self, text: str) -> str:
        given = [word.strip().upper() for word in text.split(",") if word.strip()]
        known = {word.upper(): word for word in self.words}
        for word in given:
            if word not in known:
                raise Unfit(self.must, word, self.words)
        return ",".join(word for upper, word in known.items() if upper in given)

    def literal(self, _text: str) -> str:
        return ""


@dataclass(frozen=True)
class Decimal:
    """A number that may have a fraction: seconds, with microseconds."""

    least: int
    most: int

    @property
    def must(self) -> str:
        return f"a number of seconds such as 0.5, from {self.least} to {self.most}"

    def read(self, text: str) -> str:
        if (
            not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text, re.ASCII)
            or not self.least <= Exact(text) <= self.most
        ):
            raise Unfit(self.must)
        whole, _, fraction = text.partition(".")
        fraction = fraction.rstrip("0")
        return f"{int(whole)}.{fraction}" if fraction else str(int(whole))

    def literal(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Text:
    """Text of a known form."""

    pattern: str
    must: str

    def read(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise Unfit(self.must)
        return text

    def literal(self, _text: str) -> str:
        return ""


Form = Whole | Switch | Choice | Words | Decimal | Text


@dataclass(frozen=True)
class Variable:
    """A variable; ``mariadb`` and ``mysql`` say how that server takes another value."""

    name: str
    form: Form
    mariadb: str = LIVE
    mysql: str = LIVE
    option: str = ""
    """What it is called in an option file, where that is something else."""
    default: str = "DEFAULT"
    """What a statement calls the server's own value."""
    steps: tuple[str, ...] = ()
    """Variables of MySQL whose product its value is rounded up to a multiple of."""

    def taken(self, server: str) -> str:
        """How the ``mariadb`` or ``mysql`` server takes another value."""
        return self.mariadb if server == "mariadb" else self.mysql

    @property
    def written(self) -> str:
        """Its name in an option file."""
        return self.option or self.name


def size(text: str) -> int:
    """The bytes of a size in the form that ``Size`` reads to."""
    return int(text[:-1]) * _SUFFIXES[text[-1]] if text[-1:] in _SUFFIXES else int(text)


def spell_size(number: int) -> str:
    """The shortest form without a fraction: 2G, 1536M."""
    for suffix, unit in reversed(_SUFFIXES.items()):
        if number and number % unit == 0:
            return f"{number // unit}{suffix}"
    return str(number)


_SQL_MODES = (
    "ALLOW_INVALID_DATES ANSI_QUOTES ERROR_FOR_DIVISION_BY_ZERO HIGH_NOT_PRECEDENCE IGNORE_SPACE NO_AUTO_VALUE_ON_ZERO"
    " NO_BACKSLASH_ESCAPES NO_DIR_IN_CREATE NO_ENGINE_SUBSTITUTION NO_UNSIGNED_SUBTRACTION NO_ZERO_DATE NO_ZERO_IN_DATE"
    " ONLY_FULL_GROUP_BY PAD_CHAR_TO_FULL_LENGTH PIPES_AS_CONCAT REAL_AS_FLOAT STRICT_ALL_TABLES STRICT_TRANS_TABLES"
)
"""The modes that all servers know; those that stand for several others are left out."""
_YEAR = 31536000
_WORD = "[a-z0-9_]{1,64}"

_KNOWN = (
    # who may connect, and for how long
    Variable("max_connections", Whole(10, 100000)),
    Variable("max_user_connections", Whole(0, 2147483647), RESTART),
    Variable("max_connect_errors", Whole(1, 4294967295)),
    Variable("max_password_errors", Whole(1, 4294967295), mysql=UNKNOWN),
    Variable("back_log", Whole(1, 65535), RESTART, RESTART),
    Variable("connect_timeout", Whole(2, _YEAR)),
    Variable("wait_timeout", Whole(1, _YEAR)),
    Variable("interactive_timeout", Whole(1, _YEAR)),
    Variable("idle_transaction_timeout", Whole(0, _YEAR), mysql=UNKNOWN),
    Variable("net_read_timeout", Whole(1, _YEAR)),
    Variable("net_write_timeout", Whole(1, _YEAR)),
    Variable("net_buffer_length", Size(K, M, K)),
    Variable("max_allowed_packet", Size(K, G, K)),
    Variable("thread_cache_size", Whole(0, 16384)),
    Variable("host_cache_size", Whole(0, 65536)),
    Variable("skip_name_resolve", Switch(), RESTART, RESTART),
    Variable("require_secure_transport", Switch()),
    Variable("default_password_lifetime", Whole(0, 65535)),
    # what a statement may cost
    Variable("max_statement_time", Decimal(0, _YEAR), mysql=UNKNOWN),
    Variable("max_execution_time", Whole(0, 4294967295), UNKNOWN),
    Variable("lock_wait_timeout", Whole(1, _YEAR)),
    Variable("innodb_lock_wait_timeout", Whole(1, 100000000)),
    Variable("group_concat_max_len", Whole(4, 1073741824)),
    Variable("max_prepared_stmt_count", Whole(0, 4194304)),
    Variable("max_error_count", Whole(0, 65535)),
    Variable("max_sort_length", Whole(64, 8388608)),
    Variable("max_heap_table_size", Size(16 * K, 1 << 40, K)),
    Variable("tmp_table_size", Size(16 * K, 1 << 40, 16 * K)),
    Variable("join_buffer_size", Size(128, 4 * G, 128)),
    Variable("sort_buffer_size", Size(32 * K, 4 * G)),
    Variable("read_buffer_size", Size(8 * K, 2147479552, 4 * K)),
    Variable("read_rnd_buffer_size", Size(1, 2147483647)),
    Variable("optimizer_search_depth", Whole(0, 62)),
    Variable("eq_range_index_dive_limit", Whole(0, 4294967295)),
    # memory and disk
    Variable(
        "innodb_buffer_pool_size",
        Size(8 * M, 16 << 40, M),
        RESTART,
        steps=("innodb_buffer_pool_chunk_size", "innodb_buffer_pool_instances"),
    ),
    Variable("innodb_log_buffer_size", Size(2 * M, 2147479552, 4 * K), RESTART),
    Variable("innodb_log_file_size", Size(4 * M, 512 * G, 4 * K), mysql=UNKNOWN),
    Variable("innodb_redo_log_capacity", Size(8 * M, 512 * G, M), UNKNOWN),
    Variable("innodb_flush_log_at_trx_commit", Whole(0, 2)),
    Variable("innodb_flush_method", Choice(("fsync", "O_DSYNC", "O_DIRECT", "O_DIRECT_NO_FSYNC")), RESTART, RESTART),
    Variable("innodb_file_per_table", Switch()),
    Variable("innodb_io_capacity_max", Whole(100, 4294967295)),
    Variable("innodb_io_capacity", Whole(100, 4294967295)),
    Variable("innodb_read_io_threads", Whole(1, 64), mysql=RESTART),
    Variable("innodb_write_io_threads", Whole(2, 64), mysql=RESTART),
    Variable("innodb_adaptive_hash_index", Switch()),
    Variable("innodb_autoinc_lock_mode", Whole(0, 2), RESTART, RESTART),
    Variable("innodb_default_row_format", Choice(("redundant", "compact", "dynamic"))),
    Variable("innodb_ft_min_token_size", Whole(1, 16), RESTART, RESTART),
    Variable("innodb_print_all_deadlocks", Switch()),
    Variable("innodb_stats_persistent", Switch()),
    Variable("innodb_strict_mode", Switch()),
    Variable("key_buffer_size", Size(4 * K, 1 << 40, 4 * K)),
    Variable("aria_pagecache_buffer_size", Size(128 * K, 1 << 40), RESTART, UNKNOWN),
    Variable("ft_min_word_len", Whole(1, 84), RESTART, RESTART),
    Variable("table_definition_cache", Whole(400, 524288)),
    Variable("table_open_cache", Whole(10, 524288)),
    Variable("thread_stack", Size(128 * K, G, K), RESTART, RESTART),
    Variable("performance_schema", Switch(), RESTART, RESTART),
    # logs
    Variable("slow_query_log", Switch()),
    Variable("long_query_time", Decimal(0, _YEAR)),
    Variable("min_examined_row_limit", Whole(0, 4294967295)),
    Variable("log_queries_not_using_indexes", Switch()),
    Variable("log_slow_verbosity", Words(("innodb", "query_plan", "explain")), mysql=UNKNOWN),
    Variable("log_output", Words(("NONE", "FILE", "TABLE"))),
    Variable("log_warnings", Whole(0, 4294967295), mysql=UNKNOWN),
    Variable("log_error_verbosity", Whole(1, 3), UNKNOWN),
    Variable("binlog_format", Choice(("MIXED", "STATEMENT", "ROW"))),
    Variable("binlog_row_image", Choice(("MINIMAL", "NOBLOB", "FULL"))),
    Variable("binlog_expire_logs_seconds", Whole(0, 8553600)),
    Variable("sync_binlog", Whole(0, 4294967295)),
    Variable("server_id", Whole(1, 4294967295)),
    # how statements are understood
    # a running server would take these two, but what it was started with is then its default, and a session's is another matter
    Variable(
        "character_set_server",
        Text(f"(?!utf8$){_WORD}", "the name of a character set, such as utf8mb4; utf8 is utf8mb3"),
        RESTART,
        RESTART,
    ),
    Variable("collation_server", Text(_WORD, "the name of a collation, such as utf8mb4_unicode_ci"), RESTART, RESTART),
    Variable("sql_mode", Words(tuple(_SQL_MODES.split()))),
    Variable(
        "time_zone",
        Text("SYSTEM|[+-][01][0-9]:[0-5][0-9]|[A-Z][A-Za-z_]+(/[A-Za-z_+-]+){0,2}", "SYSTEM, or such as +01:00"),
        option="default_time_zone",
        default="'SYSTEM'",  # DEFAULT is what it was started with
    ),
    Variable("event_scheduler", Choice(("OFF", "ON"))),
    Variable("low_priority_updates", Switch()),
)
_OWN = (
    Variable("bind_address", Text(r"[0-9a-f.:*]+", "an address"), RESTART, RESTART),
    Variable("port", Whole(0, 65535), RESTART, RESTART),
    Variable("skip_networking", Switch(), RESTART, RESTART),
    Variable("local_infile", Switch()),
)
KNOWN: Mapping[str, Variable] = {variable.name: variable for variable in _KNOWN}
"""What a spec may set, by name, in the order in which they are set."""
ALL: Mapping[str, Variable] = {variable.name: variable for variable in (*_OWN, *_KNOWN)}
"""Those, and what the agent sets by itself."""


def same(variable: Variable, wanted: str, reported: str, step: int) -> str:
    """What a server reports, in the form in which the wanted value is written: ``wanted`` itself where the server only rounded it.

    ``step``: the product of its ``steps``, or 0.
    """
    if isinstance(variable.form, Size) and reported.isdigit():
        if step and 0 <= int(reported) - size(wanted) < step:
            return wanted
        return spell_size(int(reported) // variable.form.block * variable.form.block)
    try:
        return variable.form.read(reported)
    except Unfit:
        return reported
