"""What all conda environments share: where they are, where packages come from, and the `conda` command for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..base import Between, Section, Spelled, refuse
from ..fields import AbsolutePath, Duration, Flag, Line, Url, Whole
from ..secrets import Secret, secret
from .environment import Channel, Environment, EnvironmentName, MatchSpec


def _known(section: Secret) -> Secret:
    if section.generate is not None:
        raise refuse("must be one that the server knows already; the agent cannot make it up", show=False)
    return section


def _installer_url(text: str) -> str:
    if not text.endswith(".sh"):
        raise refuse("must be an installer for Linux, whose name ends in .sh")
    return text


def _base(value: Any) -> Any:
    if value is True:
        return {}
    return None if value is False else value


Reference = Annotated[Secret, BeforeValidator(secret, json_schema_input_type=Secret), AfterValidator(_known)]
"""A secret that others made: where it is."""
ServerName = Annotated[
    str,
    Spelled(
        r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]",
        "the name or address of a server in small letters, such as conda.example.org",
        "without https:// before it and without a port or a path after it",
    ),
]


class Login(Section):
    """How to get into one server: a user name with a password, or a token. Neither ever stands in an address or in a file that others read."""

    username: Line | None = Field(default=None, description="With a password: whose it is.", examples=["reader"])
    password: Reference | None = Field(
        default=None, description="Where the password is.", examples=[{"file": "/etc/agent/secrets/conda"}]
    )
    token: Reference | None = Field(
        default=None, description="Where the token is.", examples=[{"credential": "conda.token"}]
    )
    scheme: Literal["bearer", "conda"] = Field(
        default="bearer",
        description="How a token is sent: `bearer`, in a header; `conda`, in the path of addresses (/t/TOKEN/), as anaconda.org wants it.",
        examples=["conda"],
    )

    @model_validator(mode="after")
    def _one_way(self) -> Login:
        if self.token is not None and (self.username, self.password) != (None, None):
            raise refuse("must have a token, or a username with a password; it has both", show=False)
        if self.token is None and (self.username is None or self.password is None):
            raise refuse("needs a username with a password, or a token", show=False)
        if self.token is None and "scheme" in self.model_fields_set:
            raise refuse("goes with a token", show=False, at="scheme")
        return self


class Installer(Section):
    """A program that makes the base environment: an installer of Miniforge, Miniconda or Anaconda. It runs as the notebook account,
    and only if it is the very file that the digest says."""

    url: Annotated[Url, AfterValidator(_installer_url)] = Field(
        description="Where it is.", examples=["https://conda.example.org/Miniforge3-24.11.3-0-Linux-x86_64.sh"]
    )
    sha256: Annotated[str, Spelled(r"[0-9a-f]{64}", "64 digits and letters a to f")] | None = Field(
        default=None,
        description="Its SHA-256, as its publisher says.",
        examples=["e0a2f05b1d4e8a1d5bb2a5d7b5c5e0e25b6d2c5e3f8f2f7f0c0f4a5d6b7c8d9e"],
    )
    md5: Annotated[str, Spelled(r"[0-9a-f]{32}", "32 digits and letters a to f")] | None = Field(
        default=None,
        description="Its MD5, for old archives of Anaconda that have no other: a check against damage, not against forgery.",
        examples=["0123456789abcdef0123456789abcdef"],
    )

    @model_validator(mode="after")
    def _one_digest(self) -> Installer:
        if (self.sha256 is None) == (self.md5 is None):
            raise refuse("needs its sha256 or, for an old archive, its md5; one of them", show=False)
        return self

    @property
    def digest(self) -> str:
        """``sha256:...`` or ``md5:...``."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}"


class Base(Section):
    """The `conda` command for people at a terminal, in an environment of its own that is called `base`."""

    packages: tuple[MatchSpec, ...] = Field(
        default=("conda",),
        min_length=1,
        description="What is in it.",
        examples=[["conda", "conda-libmamba-solver"]],
    )
    channels: tuple[Channel, ...] | None = Field(
        default=None, description="Channels for it alone. Left out: conda.channels.", examples=[["conda-forge"]]
    )
    installer: Installer | None = Field(
        default=None,
        description="A program that makes it instead of packages.",
        examples=[
            {
                "url": "https://conda.example.org/Miniforge3-24.11.3-0-Linux-x86_64.sh",
                "sha256": "e0a2f05b1d4e8a1d5bb2a5d7b5c5e0e25b6d2c5e3f8f2f7f0c0f4a5d6b7c8d9e",
            }
        ],
    )
    shell: Flag = Field(
        default=True, description="Whether the notebook account's login shells have `conda` and `conda activate`."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Base:
        for field in ("packages", "channels"):
            if self.installer and field in self.model_fields_set:
                raise refuse("has no meaning with an installer, which brings its own", show=False, at=field)
        return self

    @property
    def environment(self) -> Environment:
        """The same as an environment; with an installer its packages are not known."""
        return Environment(packages=self.packages, channels=self.channels, kernel=None)


class Conda(Section):
    """Conda environments, their channels, and the kernels they offer."""

    root: AbsolutePath = Field(
        default="/opt/conda",
        description="Where environments and the package cache live.",
        examples=["/opt/conda", "/srv/conda"],
    )
    channels: tuple[Channel, ...] = Field(
        default=("conda-forge",),
        min_length=1,
        description=(
            "Where packages come from, names or addresses, first one first: a package that the first channel has is taken from there "
            "whatever versions the others have (strict priority)."
        ),
        examples=[["conda-forge", "https://conda.example.org/team"]],
    )
    channel_alias: Url = Field(
        default="https://conda.anaconda.org",
        description="What a channel given by name stands below.",
        examples=["https://conda.anaconda.org"],
    )
    mirrors: Mapping[Channel, tuple[Url, ...]] = Field(
        default={},
        description="Other addresses for a channel, tried in order instead of its own.",
        examples=[{"conda-forge": ["https://mirror.example.org/conda-forge"]}],
    )
    authentication: Mapping[ServerName, Login] = Field(
        default={},
        description="How to get into channels that not everybody may read, by the name of the server.",
        examples=[{"conda.example.org": {"username": "reader", "password": {"file": "/etc/agent/secrets/conda"}}}],
    )
    offline: Flag = Field(
        default=False,
        description="Use only what the package cache has; ask no channel. Then nothing is ever downloaded.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=60), description="How long to wait for a server's answer.", examples=["60s"]
    )
    retries: Annotated[Whole, Between(0, 10)] = Field(
        default=2, description="How often to ask again when a server fails.", examples=[2]
    )
    keep: Annotated[Whole, Between(0, 20)] = Field(
        default=2,
        description="How many builds of each environment are kept beside the one in force, for `agent env rollback`.",
        examples=[2],
    )
    base: Annotated[Base | None, BeforeValidator(_base, json_schema_input_type=bool | Base | None)] = Field(
        default=None,
        description="The `conda` command for people: `true`, or a mapping. Left out: none.",
        examples=[True, {"packages": ["conda"], "shell": False}],
    )
    environments: Mapping[EnvironmentName, Environment] = Field(
        default={},
        description="The environments by name.",
        examples=[{"analysis": {"packages": ["python 3.11.*", "ipykernel"], "kernel": "Python 3.11"}}],
    )
