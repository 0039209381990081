"""What a good spec means: defaults, shorthands, and what is decided from several fields."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from agent.spec.fields import spell_duration
from agent.spec.sections.environment import KERNEL_COMMANDS
from agent.spec.shape import everywhere
from agent.spec.source import Document, examine, load
from agent.spec.spec import SERVER_PACKAGES, ShownKernel, Spec


def spec_of(text: str) -> Spec:
    return load([Document("s.yaml", text.encode())])


def test_jupyter_brings_what_it_needs() -> None:
    spec = spec_of("jupyter: {}")

    assert spec.user and spec.tls and spec.conda
    assert (spec.user.name, spec.user.directory) == ("notebook", "/home/notebook")
    assert (spec.tls.mode, spec.tls.valid_for, spec.tls.rsa_bits) == ("self-signed", timedelta(days=365), None)
    assert spec.server_environment() == ("jupyter", spec.environments()["jupyter"])
    assert spec.server_environment()[1].packages == SERVER_PACKAGES


def test_nothing_else_brings_an_account() -> None:
    assert spec_of("mysql: {}").user is None
    assert spec_of("packages: [git]").tls is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("jupyter: {environment: b}\nconda: {environments: {b: {packages: [jupyterlab]}}}", "b"),
        ("jupyter: {}\nconda: {environments: {b: {packages: [jupyterlab], server: yes}}}", "b"),
        ("jupyter: {}\nconda: {environments: {jupyter: {packages: [jupyterlab]}, b: {packages: [x]}}}", "jupyter"),
        ("jupyter: {}\nconda: {environments: {b: {packages: [jupyterlab]}}}", "jupyter"),
    ],
    ids=["named", "marked", "called-so", "added"],
)
def test_the_server_runs_from_one_environment(text: str, name: str) -> None:
    assert spec_of(text).server_environment()[0] == name


KERNELS = """\
conda:
  environments:
    Plain: {packages: [python, ipykernel]}
    named: {packages: [python=3.11, ipykernel], kernel: 3.11}
    stats: {packages: [r-base, r-irkernel], kernel: {name: r, display_name: R 4}}
    bypip: {packages: [python, pip], pip: [ipykernel], kernel: true}
    quiet: {packages: [ipykernel], kernel: false}
    none: {packages: [numpy]}
    julia:
      packages: [julia]
      kernel: {display_name: Julia, language: julia, command: ['{prefix}/bin/julia', k.jl, '{connection_file}']}
"""


def test_kernels_are_decided() -> None:
    python, r = KERNEL_COMMANDS["python"], KERNEL_COMMANDS["R"]
    assert list(spec_of(KERNELS).kernels()) == [
        ShownKernel("Plain", "plain", "Python (Plain)", "python", python),
        ShownKernel("named", "named", "3.11", "python", python),
        ShownKernel("stats", "r", "R 4", "R", r),
        ShownKernel("bypip", "bypip", "Python (bypip)", "python", python),
        ShownKernel("julia", "julia", "Julia", "julia", ("{prefix}/bin/julia", "k.jl", "{connection_file}")),
    ]


@pytest.mark.parametrize(
    ("mysql", "account"),
    [
        ("users: {other: {}, alice: {}}", "alice@localhost"),
        ("users: {other: {}, third: {}}", "other@localhost"),
        ("users: {other: {}, 'third@127.0.0.1': {}}, client_file: {user: third@127.0.0.1}", "third@127.0.0.1"),
        ("users: {alice: {}}, client_file: false", None),
        ("databases: [a]", None),
    ],
)
def test_the_client_file_names_an_account(mysql: str, account: str | None) -> None:
    assert spec_of(f"user: {{name: alice}}\nmysql: {{{mysql}}}").client_account() == account


def test_shorthands_mean_what_they_are_short_for() -> None:
    short = "mysql: {databases: [a], users: {u: {password: generate, grants: {a: all privileges, a.t: [select]}}, v: }}"
    long = """
mysql:
  databases: {a: {}}
  users:
    u@localhost:
      password: {generate: {length: 24}}
      grants: {a.*: [ALL], a.t: [SELECT]}
    v@localhost: {}
"""
    assert spec_of(short) == spec_of(long)


def test_text_is_what_was_written() -> None:
    spec = spec_of(
        "user: {home: /home/0123}\npackages: [0ad]\nfiles: {/etc/x: {content: 3.10, mode: 0640}}\n"
        "mysql: {extra_settings: {ft_stopword_file: no, mysqlx_port: 010, sysdate_is_now: true, mysqlx_timeout: 30}}\n"
        "conda: {environments: {3.10: {packages: [python 3.10, ipykernel], kernel: 3.10}}}\n"
    )

    assert spec.files["/etc/x"].content == "3.10" and spec.files["/etc/x"].permissions == 0o640
    assert spec.mysql and spec.mysql.extra_settings == {
        "ft_stopword_file": "no", "mysqlx_port": "010", "sysdate_is_now": "ON", "mysqlx_timeout": "30",
    }  # fmt: skip
    assert spec.conda and list(spec.conda.environments) == ["3.10"]
    assert next(spec.kernels()).display_name == "3.10"


def test_settings_of_jupyter_take_numbers_as_json_has_them() -> None:
    spec = spec_of(
        "jupyter: {settings: {A.a: 1e3, A.b: 1.5, A.c: '1.5', A.d: 010, A.e: 7, A.f: [true, null, 2.0], A.g: 1.1.1}}"
    )

    assert spec.jupyter
    assert spec.jupyter.settings == {
        "A.a": 1000.0, "A.b": 1.5, "A.c": "1.5", "A.d": "010", "A.e": 7, "A.f": [True, None, 2.0], "A.g": "1.1.1",
    }  # fmt: skip


def test_a_hash_is_taken_in_both_spellings_and_never_printed() -> None:
    digest = "sha1:0123456789ab:" + "a" * 40
    for text in (f"'{digest}'", f"{{hash: '{digest}'}}"):
        spec = spec_of(f"jupyter: {{password: {text}}}")
        assert spec.jupyter and spec.jupyter.password.hash == SecretStr(digest)
        assert digest not in repr(spec)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 90 * 86400), ("1h30m", 5400), ("1y", 365 * 86400), ("2w", 14 * 86400), ("45s", 45), ("1d1s", 86401)],
)
def test_durations_read_back_as_they_are_spelled(text: str, seconds: int) -> None:
    spec = spec_of(f"jupyter: {{cull: {{idle_timeout: {text}}}}}")

    assert spec.jupyter
    assert spec.jupyter.cull.idle_timeout == timedelta(seconds=seconds)
    assert spell_duration(timedelta(seconds=seconds)) == text


NOTED = """\
user: {groups: [docker]}
tls: {addresses: [127.0.0.1]}
jupyter: {port: 443, address: 10.0.0.1, sandbox: {enabled: false, reason: GPU}}
mysql: {users: {u@%: {}}}
"""


def test_what_is_allowed_but_worth_saying_is_said() -> None:
    examined = examine([Document("s.yaml", NOTED.encode())])

    assert examined.spec is not None
    assert [(note.place and note.place.line, note.field) for note in examined.notes] == [
        (1, "user.groups[0]"),
        (2, "tls.addresses"),
        (3, "jupyter.port"),
        (3, "jupyter.sandbox"),
        (4, 'mysql.users["u@%"]'),
    ]


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    from agent.spec.schema import spec_schema  # the models that the schema knows are all there are

    names = set(spec_schema()["$defs"]) | {model.__name__}
    found, left = set(), [BaseModel]
    while left:
        each = left.pop()
        left += each.__subclasses__()
        if each.__name__ in names and each.__module__.startswith("agent.spec"):
            found.add(each)
    return found


def test_every_field_is_described() -> None:
    for model in models(Spec):
        assert model.__doc__, model
        for name, field in model.model_fields.items():
            assert field.description and field.description.endswith((".", ")")), f"{model.__name__}.{name}"


def test_every_model_is_frozen_and_closed() -> None:
    assert len(models(Spec)) > 15
    for model in models(Spec):
        assert model.model_config.get("frozen") and model.model_config.get("extra") == "forbid", model


def test_places_of_all_fields_are_known_to_the_hints() -> None:
    assert "conda.environments.NAME.packages" in everywhere()["packages"]
    assert "mysql.users.NAME.password.generate.length" in everywhere()["length"]


def test_validators_never_put_a_value_into_a_message() -> None:
    """What was given is added in one place, which knows secrets. So no text that is raised may be formatted with it."""
    for path in Path(__file__).parents[2].glob("agent/spec/**/*.py"):
        for line in path.read_text().splitlines():
            if "refuse(f" in line or "raise ValueError" in line:
                assert not any(f"{{{name}" in line for name in ("value", "text", "name}", "password")), (
                    f"{path}: {line}"
                )
