"""Where a database server's packages come from, when not from the distribution."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..base import Section, Spelled, refuse
from ..fields import Url, plain_path
from ..openpgp import BEGIN, fingerprints


def _key(text: str) -> str:
    if "PRIVATE KEY" in text:
        raise refuse("must be the repository's public key; this is a private one", show=False)
    if text.lstrip().startswith(BEGIN):
        try:
            fingerprints(text)
        except ValueError as error:
            raise refuse(f"is no public key that could be read: {error}", show=False) from None
        return text.strip() + "\n"
    if not text.startswith("/"):
        raise refuse("must be the path of a key file on this host, or the key itself, which begins with " + BEGIN)
    return plain_path(text)


def _components(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


def _fingerprint(value: Any) -> Any:
    return re.sub(r"\s", "", str(value)).upper() if isinstance(value, str | int) else value


Word = Annotated[str, Spelled(r"[A-Za-z0-9][A-Za-z0-9._+~/-]{0,99}|\./?", "a name such as bookworm")]


class Repository(Section):
    """An apt repository, such as that of MySQL or of MariaDB. Only packages of database servers are taken from it unless nobody else has them."""

    uri: Url = Field(description="Its address.", examples=["https://repo.mysql.com/apt/debian"])
    suite: Word = Field(
        description="The suite; one that ends in `/` is a directory, which has no components.", examples=["bookworm"]
    )
    components: Annotated[
        tuple[Word, ...], BeforeValidator(_components, json_schema_input_type=tuple[str, ...] | str)
    ] = Field(default=(), description="Its parts.", examples=[["mysql-8.4-lts"], ["main"]])
    key: Annotated[str, AfterValidator(_key)] = Field(
        description="The public key that it is signed with: the path of a file on this host, armored or not, or the armored text.",
        examples=["/etc/agent/mysql.asc"],
    )
    fingerprint: (
        Annotated[
            str,
            BeforeValidator(_fingerprint),
            Spelled("[0-9A-F]{40}|[0-9A-F]{64}", "a whole fingerprint: 40 or 64 hexadecimal digits"),
        ]
        | None
    ) = Field(
        default=None,
        description="Of that key: another one is refused.",
        examples=["BCA43417C3B485DD128EC6D4B7B3B788A8D3785C"],
    )

    @model_validator(mode="after")
    def _whole(self) -> Repository:
        if self.suite.endswith("/") and self.components:
            raise refuse("must be left out with a suite that is a directory", show=False, at="components")
        if not self.suite.endswith("/") and not self.components:
            raise refuse("needs components, such as main, or a suite that ends in /", show=False)
        return self
