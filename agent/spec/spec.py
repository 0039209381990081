"""The spec: all sections together, and the questions that need more than one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from .base import Section, refuse
from .fields import PackageName, UnitName
from .sections.agent import Agent
from .sections.conda import Conda
from .sections.environment import KERNEL_COMMANDS, Environment
from .sections.files import File, FilePath
from .sections.jupyter import Jupyter
from .sections.mysql import Mysql
from .sections.tls import Tls
from .sections.units import Unit
from .sections.user import User
from .tree import Keys

BASE = "base"
"""The environment that holds the `conda` command."""
SERVER_ENVIRONMENT = "jupyter"
SERVER_PACKAGES = ("python >=3.10", "jupyterlab >=4", "notebook >=7", "jupyter_server >=2.20", "ipykernel")
"""What the environment holds that the agent adds for the server: both interfaces, and a server without known holes."""


def _given(value: Any) -> Any:
    if value is None:
        raise refuse("is empty; write {} after the colon for the defaults, or leave the section out", show=False)
    return value


@dataclass(frozen=True)
class ShownKernel:
    """A kernel with everything decided."""

    environment: str
    name: str
    display_name: str
    language: str
    """As Jupyter knows it, such as ``python`` or ``R``."""
    command: tuple[str, ...] = ()
    """With ``{prefix}`` and ``{connection_file}``."""


class Spec(Section):
    """What the host should be. Every section is optional; `jupyter` brings `user`, `tls` and `conda` with it, `conda` brings `user`."""

    user: Annotated[User | None, BeforeValidator(_given)] = Field(
        default=None, description="The account that notebooks run as."
    )
    tls: Annotated[Tls | None, BeforeValidator(_given)] = Field(default=None, description="The server's certificate.")
    jupyter: Annotated[Jupyter | None, BeforeValidator(_given)] = Field(default=None, description="The Jupyter server.")
    conda: Annotated[Conda | None, BeforeValidator(_given)] = Field(
        default=None, description="Environments and their kernels."
    )
    mysql: Annotated[Mysql | None, BeforeValidator(_given)] = Field(default=None, description="The database server.")
    packages: tuple[PackageName, ...] = Field(
        default=(), description="Further packages of the distribution.", examples=[["git", "htop"]]
    )
    files: Mapping[FilePath, File] = Field(
        default={},
        description="Further files and directories, by path.",
        examples=[{"/etc/motd": {"content": "Welcome\n"}}],
    )
    units: Mapping[UnitName, Unit] = Field(
        default={},
        description="Further systemd units, by name.",
        examples=[{"ssh.service": {"enabled": True, "active": True}}],
    )
    agent: Annotated[Agent, BeforeValidator(_given)] = Field(default=Agent(), description="How often the daemon looks.")

    @model_validator(mode="before")
    @classmethod
    def _what_jupyter_needs(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("jupyter"), dict | Jupyter):
            return {"user": {}, "tls": {}, "conda": {}, **value}
        if isinstance(value, dict) and isinstance(value.get("conda"), dict | Conda):
            return {"user": {}, **value}
        return value

    def server_environment(self) -> tuple[str, Environment]:
        """The environment that the Jupyter server runs from; the agent's own where the spec declares none.

        Only meaningful with a ``jupyter`` section.
        """
        declared = self.conda.environments if self.conda else {}
        marked = next((name for name, environment in declared.items() if environment.server), SERVER_ENVIRONMENT)
        name = (self.jupyter and self.jupyter.environment) or marked
        return name, declared.get(name) or Environment(packages=SERVER_PACKAGES, server=True)

    def environments(self) -> dict[str, Environment]:
        """Every environment by name, the server's included."""
        declared = dict(self.conda.environments) if self.conda else {}
        if self.jupyter:
            name, environment = self.server_environment()
            declared.setdefault(name, environment)
        return declared

    def every_environment(self) -> dict[str, Environment]:
        """Those, and the one that holds the `conda` command, unless an installer makes that."""
        base = self.conda.base if self.conda else None
        found = self.environments()
        return {**found, BASE: base.environment} if base and not base.installer else found

    def keys_of(self, environment: str) -> Keys:
        """Where the spec describes it."""
        declared = self.conda.environments if self.conda else {}
        if environment == BASE:
            return ("conda", "base")
        return ("jupyter",) if self.jupyter and environment not in declared else ("conda", "environments", environment)

    def kernels(self) -> Iterator[ShownKernel]:
        """The kernels that the declared environments offer, with everything decided."""
        for name, environment in (self.conda.environments if self.conda else {}).items():
            kernel, language = environment.kernel, environment.language()
            if language is None or (kernel and not kernel.show):
                continue
            shown = "Python" if language == "python" else language
            own = kernel.command if kernel else None
            yield ShownKernel(
                environment=name,
                name=(kernel and kernel.name) or name.lower(),
                display_name=(kernel and kernel.display_name) or f"{shown} ({name})",
                language=language,
                command=own or KERNEL_COMMANDS[language],
            )

    def client_account(self) -> str | None:
        """The database account (``name@host``) that the notebook account's option file names; None for no such file."""
        if self.mysql is None or self.user is None or not self.mysql.client_file.write:
            return None
        own = f"{self.user.name}@localhost"
        fit = [account for account, user in self.mysql.users.items() if user.known_to(account, self.user.name)]
        named = self.mysql.client_file.user or (own if own in fit else next(iter(fit), None))
        return named if named in fit else None
