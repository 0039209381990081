"""A secret that was written into a spec is never repeated, whatever else is wrong around it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.report.problems import format_problem
from agent.spec.secrecy import is_secret
from agent.spec.source import Document, examine

CANARY = "tr0ub4dor"
KEYS = ["password", "pasword", "passwd", "hash", "token", "Password", "db_password", "pwd", "api_key", "content"]
VALUES = [
    CANARY,
    f"'{CANARY}'",
    f'"{CANARY}"',
    f"[{CANARY}]",
    f"{{value: {CANARY}}}",
    f"{{{CANARY}: x}}",
    f"|\n      {CANARY}\n",
    f"\n      {CANARY}\n",
    f"'{CANARY}",
    f'"x\n      {CANARY}',
    f"{CANARY}: {CANARY}",
    f"&a {CANARY}",
    f"!t {CANARY}",
    f"*{CANARY}",
    f"@{CANARY}",
    f"- {CANARY}",
]
AROUND = [
    "jupyter:\n  port: x\n  {key}: {value}\n  interface: y\n",
    "mysql:\n  users:\n    a:\n      {key}: {value}\n      grants: 1\n",
    "mysql:\n  users:\n    a: {{grants: 1, {key}: {value}, require_ssl: maybe}}\n",
    "{key}: {value}\n",
    "jupyter:\n  {key}: {value}\n  {key}: {value}\n",
    "jupyter:\n  {key}: {value}\n bad: indentation\n",
    "jupyter:\n  {key}: {value}\n\tx: tab\n",
    "user:\n  - {key}: {value}\n    name: [\n",
    "a: b\n---\n{key}: {value}\n",
    "conda: {{environments: {{a: {{packages: [x], {key}: {value}}}}}}}\n",
]


def shown(written: str) -> str:
    examined = examine([Document("s.yaml", written.encode())])
    assert examined.problems
    return "\n".join(map(format_problem, examined.problems))


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("key", KEYS)
def test_a_secret_is_not_repeated(key: str, around: str) -> None:
    for value in VALUES:
        written = around.format(key=key, value=value)
        assert CANARY not in shown(written), written


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(KEYS),
    st.sampled_from(VALUES),
    st.text(st.sampled_from(list("{}[],:- '\"\n\tab|>&*!#")), max_size=30),
    st.text(st.sampled_from(list("{}[],:- '\"\n\tab|>&*!#")), max_size=30),
)
def test_a_secret_is_not_repeated_whatever_stands_after_it(key: str, value: str, between: str, after: str) -> None:
    written = f"jupyter:\n  {key}: {value}{between}\n  port: x\n{after}\n"

    assert CANARY not in shown(written), written


def test_what_stands_behind_a_key_that_is_no_field_is_not_shown() -> None:
    """It may be the password under a word nobody thought of."""
    for key, flow in itertools.product(["frase", "login", "k"], ["{{port: x, {}: {}}}", "{{{}: {}, port: x}}"]):
        assert CANARY not in shown(f"jupyter: {flow.format(key, CANARY)}\n")


def test_the_looks_of_a_secret_are_enough() -> None:
    assert "me:" not in shown("conda: {channels: ['https://me:tr0ub4dor@example.org/x', 'a b']}\n")
    assert CANARY not in shown(f"tls: {{mode: nine, key: '-----BEGIN PRIVATE KEY----- {CANARY}', names: 1}}\n")


@pytest.mark.parametrize("key", ["tokenizers", "hashing", "secretary", "powder", "compass", "keys"])
def test_names_that_only_sound_like_secrets_are_none(key: str) -> None:
    assert not is_secret(key)
