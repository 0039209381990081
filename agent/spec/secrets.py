"""Where a secret comes from: a file, a systemd credential, or the agent, who makes one up. Never the text itself."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from .base import Between, Section, Spelled, refuse
from .fields import AbsolutePath, Whole

INLINE = (
    "a password in the spec ends up in user-data, backups and editors; "
    "write {file: /etc/agent/secrets/NAME}, {credential: NAME} or {generate: {length: 24}}"
)

CredentialName = Annotated[
    str,
    Spelled(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", "the name of a systemd credential, such as 'jupyter.password'"),
]


class Generate(Section):
    """A random value that the agent makes once and keeps root-only; `agent secret show` prints it."""

    length: Annotated[Whole, Between(12, 128)] = Field(
        default=24, description="How many letters and digits.", examples=[24, 40]
    )


def _generate(value: Any) -> Any:
    return {} if value is None or value is True else value


class Secret(Section):
    """Where a password comes from. Exactly one of the fields is given."""

    file: AbsolutePath | None = Field(
        default=None,
        description="A file, readable by root alone, whose first line is the secret.",
        examples=["/etc/agent/secrets/analyst"],
    )
    credential: CredentialName | None = Field(
        default=None,
        description="A systemd credential by name (systemd.exec(5), LoadCredential=).",
        examples=["mysql.analyst"],
    )
    generate: Annotated[Generate | None, BeforeValidator(_generate, json_schema_input_type=Generate | bool | None)] = (
        Field(
            default=None,
            description="Have the agent make one up and keep it. `generate: {}` takes the default length.",
            examples=[{"length": 24}],
        )
    )

    @model_validator(mode="after")
    def _one(self) -> Secret:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            ways = ", ".join(type(self).model_fields)
            what = "has none of them" if not given else f"has {' and '.join(given)}"
            raise refuse(f"must name exactly one of {ways}; it {what}", show=False)
        return self


HASHES = (
    r"argon2:\$argon2(id|i|d)\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+"
    r"|sha1:[0-9A-Za-z]+:[0-9a-f]{40}|sha256:[0-9A-Za-z]+:[0-9a-f]{64}"
)
"""Hashes as jupyter_server.auth.passwd_check accepts them."""


def _hash(value: SecretStr) -> SecretStr:
    Spelled(
        HASHES, "a hash as 'jupyter server password' writes it: argon2:..., sha1:SALT:HEX or sha256:SALT:HEX"
    ).check(value.get_secret_value())
    return value


class JupyterPassword(Secret):
    """The password of the Jupyter server, by where it is, or as a hash. Exactly one of the fields is given."""

    hash: Annotated[SecretStr, AfterValidator(_hash)] | None = Field(
        default=None,
        description="The hash that `jupyter server password` writes, beginning with argon2:, sha1: or sha256:.",
        examples=["argon2:$argon2id$v=19$m=10240,t=10,p=8$c2FsdHNhbHQ$aGFzaGhhc2g"],
    )


def secret(value: Any) -> Any:
    """``generate`` alone is short for ``{generate: {}}``; any other text would be a password in clear."""
    if value == "generate":
        return {"generate": {}}
    if isinstance(value, dict | Section):
        return value
    raise refuse("must say where the password is, not the password itself", INLINE, show=False)


def jupyter_password(value: Any) -> Any:
    """A text that begins like a hash is short for ``{hash: ...}``."""
    if isinstance(value, str) and value.startswith(("argon2:", "sha1:", "sha256:")):
        return {"hash": value}
    return secret(value)


Password = Annotated[Secret, BeforeValidator(secret, json_schema_input_type=Secret | str)]
ServerPassword = Annotated[
    JupyterPassword, BeforeValidator(jupyter_password, json_schema_input_type=JupyterPassword | str)
]
