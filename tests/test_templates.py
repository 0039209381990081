"""Templates against files that a person has read: tests/golden. After a wanted change: UPDATE_GOLDEN=1 pytest tests/test_templates.py, and read the diff."""

from __future__ import annotations

import ast
import configparser
import os
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import HostError
from agent.host.files import quoted
from agent.render import cnf, python, render, unit_argument, unit_item, unit_text
from agent.resource import Resource
from agent.spec.expand_jupyter import expand_jupyter
from agent.spec.spec import Spec
from agent.steps import Content, SecretRef, Slot

GOLDEN = Path(__file__).parent / "golden"
SECRET = SecretRef("stored", "canary")


class Asked:
    """The questions that expansion asks of a host."""

    def ask(self, what: str) -> object:
        return {"hostname": "nb1.example.org", "address": ("192.0.2.7", "2001:db8::7")}[what]


class Named:
    looks = Asked()


def expanded(spec: dict[str, Any]) -> dict[str, Resource]:
    host: Any = Named()
    return {str(each.ref): each for each in expand_jupyter(Spec.model_validate(spec), host)}


def text(content: Content) -> str:
    return "".join(
        f"<{piece.secret}|{piece.quoting}>" if isinstance(piece, Slot) else piece for piece in content.pieces
    )


def shows(name: str, found: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


PLAIN: dict[str, Any] = {"jupyter": {}}
FULL: dict[str, Any] = {
    "user": {"name": "alice", "home": "/srv/home/alice"},
    "tls": {"names": ["nb.example.org"], "addresses": []},
    "jupyter": {
        "interface": "notebook",
        "address": "127.0.0.1",
        "port": 443,
        "base_url": "/nb/",
        "root_dir": "/srv/work with blanks",
        "password": {"file": "/etc/agent/secrets/jupyter"},
        "settings": {"ServerApp.iopub_data_rate_limit": 10000000, "FileContentsManager.delete_to_trash": False},
        "terminals": False,
        "cull": {"idle_timeout": "12h", "connected": True},
        "memory_max": "80%",
        "cpu_quota": "200%",
        "tasks_max": 4096,
        "sandbox": {"writable": ["/srv/a%b", '/srv/quo"ted']},
    },
    "conda": {"root": "/srv/conda", "environments": {"lab": {"packages": ["notebook"], "server": True}}},
}
OPEN: dict[str, Any] = {"jupyter": {"address": "192.0.2.7", "sandbox": {"enabled": False, "reason": "GPU devices"}}}


@pytest.mark.parametrize(("name", "spec"), [("plain", PLAIN), ("full", FULL), ("open", OPEN)])
def test_the_server_s_configuration_and_unit(name: str, spec: dict[str, Any]) -> None:
    resources: dict[str, Any] = expanded(spec)
    config = resources["file:/etc/agent/jupyter/jupyter_server_config.py"]
    assert (config.mode, config.owner, config.group) == (0o640, "root", Spec.model_validate(spec).user.name)  # type: ignore[union-attr]
    shows(f"{name}.jupyter_server_config.py", text(config.content))
    shows(f"{name}.jupyter.service", text(resources["file:/etc/systemd/system/jupyter.service"].content))


def test_what_is_the_same_for_every_spec() -> None:
    for name in ("jupyter_notebook_config.py", "preflight.py", "openssl.cnf"):
        found = {text(expanded(spec)[f"file:/etc/agent/jupyter/{name}"].content) for spec in (PLAIN, FULL, OPEN)}  # type: ignore[attr-defined]
        assert len(found) == 1
        if name.endswith(".py"):
            ast.parse(found.pop())


def test_option_files_of_mysql() -> None:
    settings = {"bind_address": "127.0.0.1", "port": "3306", "innodb_buffer_pool_size": "1G"}
    shows("mariadb.cnf", text(render("mariadb.cnf.j2", settings=settings, live=False)))
    live = {"local_infile": "OFF", "max_connections": "50"}
    shows("mariadb-live.cnf", text(render("mariadb.cnf.j2", settings=live, live=True)))


def test_option_files_of_clients() -> None:
    client = {"user": "alice", "password": SECRET, "server": "mariadb"}
    here = {"socket": "/run/mysqld/mysqld.sock", "host": None, "port": 3306, "ca": None}
    shows("my.cnf", text(render("my.cnf.j2", database="analysis", **client, **here)))
    shows("my-no-database.cnf", text(render("my.cnf.j2", database=None, **client, **here)))
    there = {"socket": None, "host": "db.example.org", "port": 3307, "ca": "/etc/ssl/db.pem"}
    for server in ("mysql", "external"):
        found = render("my.cnf.j2", database="analysis", **{**client, "server": server}, **there)
        shows(f"my-tls-{server}.cnf", text(found))


@pytest.mark.parametrize("spec", [PLAIN, FULL, OPEN])
def test_the_configuration_is_python_and_sets_each_trait_once(spec: dict[str, Any]) -> None:
    config: Any = expanded(spec)["file:/etc/agent/jupyter/jupyter_server_config.py"]
    found = executed("".join("'x'" if isinstance(piece, Slot) else piece for piece in config.content.pieces))
    assert found["ServerApp.port_retries"] == 0
    assert found["ServerApp.open_browser"] is False
    assert found["PasswordIdentityProvider.allow_password_change"] is False
    assert found["PasswordIdentityProvider.hashed_password"] == found["IdentityProvider.token"] == "x"


def test_a_hash_in_the_spec_is_written_as_it_is_and_needs_no_other_secret() -> None:
    spec = {"jupyter": {"password": {"hash": "sha1:5a17:" + "0" * 40}}}
    resources: dict[str, Any] = expanded(spec)
    config = resources["file:/etc/agent/jupyter/jupyter_server_config.py"]
    assert "hashed_password = 'sha1:5a17:0" in text(config.content)
    assert config.content.hidden
    assert [ref for ref in resources if ref.startswith(("secret:", "password_hash:"))] == ["secret:jupyter.token"]


def executed(source: str) -> dict[str, Any]:
    """What a configuration file sets, by trait."""
    found: dict[str, Any] = {}

    class Owner:
        _name: str

        def __init__(self, name: str) -> None:
            self.__dict__["_name"] = name

        def __setattr__(self, trait: str, value: object) -> None:
            key = f"{self._name}.{trait}"
            assert key not in found
            found[key] = value

    class Config:
        def __getattr__(self, name: str) -> Owner:
            return Owner(name)

    exec(compile(source, "config", "exec"), {"get_config": Config})  # noqa: S102 - what is tested
    return found


# ---- each filter, with whatever people write

PRINTABLE = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PRINTABLE,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(PRINTABLE, each, max_size=4),
    max_leaves=10,
)


@given(VALUES)
@settings(max_examples=500, deadline=None)
def test_a_python_literal_reads_back_as_the_same_value(value: object) -> None:
    found = ast.literal_eval(python(value))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [float("inf"), float("nan"), 10**5000, object(), {1: 2}, {"a": {3}}, b"x", "\ud800", [float("inf")]],
    ids=lambda value: type(value).__name__,
)
def test_what_python_could_not_read_back_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"setting|surrogates"):
        python(value)


def test_a_unit_s_items_and_arguments_hold_anything_but_nul() -> None:
    assert unit_item('a b"c\\%n\n$x') == '"a b\\"c\\\\%%n\\n$x"'
    assert unit_argument("$HOME %h") == '"$$HOME %%h"'
    assert unit_item("é\u202e\x1b") == '"é\\xe2\\x80\\xae\\x1b"'
    for quote in (unit_item, unit_argument):
        with pytest.raises(ValueError, match="NUL"):
            quote("a\0b")


@pytest.mark.parametrize("value", ["a\nb", " a", "a ", "a\\", "a\tb", "\x7f", "a\u2028b"])
def test_a_unit_s_plain_text_refuses_what_has_no_quoting_there(value: str) -> None:
    assert unit_text("/srv/a b%c") == "/srv/a b%%c"
    with pytest.raises(ValueError, match="cannot be written"):
        unit_text(value)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_text_and_secrets_are_quoted_alike_in_option_files(value: str) -> None:
    assert cnf(value) == quoted(value, Slot(SECRET, "cnf"))


# ---- slots


def rendered(template: str, **values: object) -> Content:
    """A template that is a text here."""
    from agent import render as module

    environment = module._environment()
    loader, environment.loader = environment.loader, jinja2.DictLoader({"t": template})
    try:
        return render("t", **values)
    finally:
        environment.loader = loader


def test_secrets_become_slots_where_the_template_says() -> None:
    other = SecretRef("file", "/x")
    found = rendered("a={{ secret(one, 'py') }}\nb={{ secret(two) }}", one=SECRET, two=other)
    assert found.pieces == ("a=", Slot(SECRET, "py"), "\nb=", Slot(other, "raw"))
    assert found.hidden
    assert rendered("plain").pieces == ("plain",)


def test_a_template_cannot_change_a_secret_s_place_holder_or_forget_it() -> None:
    for template in (
        "{{ secret(one) | upper }}",
        "{{ secret(one) | length }}",
        "{% set x = secret(one) %}{{ x }}{{ x }}",
    ):
        with pytest.raises(ValueError, match="secret"):
            rendered(template, one=SECRET)


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        rendered("{{ nothing }}")


def test_the_client_s_option_file_is_read_as_it_was_meant() -> None:
    here = {"server": "mariadb", "socket": "/run/x y.sock", "host": None, "port": 3306, "ca": None}
    found = render("my.cnf.j2", user='a"b', password=SECRET, database="db", **here)
    written = "".join(quoted('p\\w"d#;', piece) if isinstance(piece, Slot) else piece for piece in found.pieces)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(written)
    assert parser["client"]["password"] == '"p\\w"d#;"', "PyMySQL takes off the quotes and undoes no backslash"
    assert parser["client "]["password"] == '"p\\\\w\\"d#;"', (
        "the clients in C read this section, too, and the last one counts"
    )
    assert parser["client"]["socket"] == '"/run/x y.sock"'
    assert parser["connector_python"]["password"] == 'p\\w"d#;', "to mysql-connector-python quotes are a part of it"


@pytest.mark.parametrize("value", ["a\nb", " a", "a "])
def test_a_secret_that_is_the_rest_of_a_line_can_hold_no_line_break_and_no_blank_at_its_ends(value: str) -> None:
    with pytest.raises(HostError, match="blank at its beginning or end"):
        quoted(value, Slot(SECRET, "line"))


@pytest.mark.parametrize("name", ["plain", "full"])
def test_the_sandboxed_unit_is_rated_well_by_systemd(name: str, tmp_path: Path) -> None:
    unit = tmp_path / "jupyter.service"
    unit.write_text((GOLDEN / f"{name}.jupyter.service").read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
