"""Conda environments and the Jupyter kernels they offer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ..base import Section, Spelled, refuse
from ..fields import AbsolutePath, Flag, Line, Url

PACKAGE = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
VERSION = r"[0-9A-Za-z.*+!_<>=~,|() -]*"
BRACKET = r"""[a-z_]+=('[^'\[\]]*'|"[^"\[\]]*"|[^'"\[\],]+)"""
KERNEL_PACKAGES = {"ipykernel": "python", "r-irkernel": "R"}
"""Packages that make an environment a kernel, with the language they speak."""


def package_name(match_spec: str) -> str:
    """The package that a match spec is about, in small letters: ``numpy`` for ``conda-forge::numpy >=2``."""
    found = re.match(PACKAGE, match_spec.rpartition("::")[2])
    return found.group().lower() if found else ""


def _match_spec(text: str) -> str:
    """The shape of conda's match specifications; what it means is the solver's to say."""
    if text.startswith("-"):
        raise refuse("must be a package, such as 'numpy >=2'; options of the conda command have no place here")
    if re.match(r"[a-z]+://|/|\./", text) or text.endswith((".conda", ".tar.bz2")):
        raise refuse("must be a package by name, such as 'numpy >=2'; files and addresses are not taken")
    if re.search(r"\[[A-Za-z0-9_,-]+\]$", text):
        raise refuse("must be a conda package, which has no [extras]", "pip packages go under 'pip'")
    if not re.fullmatch(rf"([A-Za-z0-9._/-]+::)?{PACKAGE}{VERSION}(\[{BRACKET}(, ?{BRACKET})*\])?", text, re.ASCII):
        raise refuse("must be a conda match spec, such as 'numpy', 'numpy >=2,<3' or 'conda-forge::numpy=2.1'")
    rest = re.sub(r"\[.*", "", text.rpartition("::")[2])[len(package_name(text)) :]
    if re.search(r"[<>=!~,|]\s*($|,|\|)", rest) or re.search(r"[<>]{2}|={3}|[,|]{2}", rest):
        raise refuse("has a version that is not finished, or an operator that conda does not know")
    return text


def _requirement(text: str) -> str:
    if text.startswith("-"):
        raise refuse("must be a package; options such as -r or --index-url have no place here")
    if re.search(r"://[^/]*@", text):
        raise refuse("must not carry a user name or password", show=False)
    operator = r"(==|>=|<=|!=|~=|<|>|===)"
    bounds = rf"(\s*{operator}\s*[A-Za-z0-9.*+!_-]+(\s*,\s*{operator}\s*[A-Za-z0-9.*+!_-]+)*)?"
    name = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\s*\[[A-Za-z0-9._, -]+\])?"
    if not re.fullmatch(rf"{name}({bounds}|\s*@\s*https?://\S+)(\s*;.+)?", text, re.ASCII):
        hint = "pip writes '==' where conda writes '='" if re.search(r"[^=<>!~]=[^=]", text) else ""
        raise refuse("must be a pip requirement, such as 'rich' or 'rich>=13,<15'", hint)
    return text


def _channel(text: str) -> str:
    if text == "defaults":
        raise refuse(
            "must be one channel; 'defaults' stands for several of Anaconda's, under their terms of service",
            "conda-forge has the same packages; or give https://repo.anaconda.com/pkgs/main",
        )
    if "://" in text:
        if re.search(r"://[^/]*@", text):
            raise refuse(
                "must not carry a user name or password", "it would be copied into every package record", show=False
            )
        if not re.fullmatch(r"(https?|file)://[\x21-\x7e]+", text, re.ASCII):
            raise refuse("must be an address that begins with https://, http:// or file:///")
        return text.rstrip("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*", text, re.ASCII):
        raise refuse("must be a channel, such as 'conda-forge' or https://conda.example.org/team")
    return text


def _kernel(value: Any) -> Any:
    if value is True:
        return {}
    if value is False:
        return {"show": False}
    if isinstance(value, str | int | float):
        return {"display_name": value}
    return value


MatchSpec = Annotated[Line, AfterValidator(_match_spec)]
Requirement = Annotated[Line, AfterValidator(_requirement)]
Channel = Annotated[Line, AfterValidator(_channel)]
EnvironmentName = Annotated[
    str,
    Spelled(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "the name of an environment, such as 'analysis': letters, digits, '.', '_' and '-'",
        longest=10000,
    ),
]
KernelName = Annotated[
    str,
    Spelled(
        r"[a-z0-9._-]{1,64}",
        "the name of a kernel, such as 'analysis': small letters, digits, '.', '_' and '-'",
        "what people see is the display_name",
        longest=10000,
    ),
]


class Kernel(Section):
    """How an environment appears among Jupyter's kernels."""

    display_name: Line | None = Field(
        default=None,
        description="What people see. Left out: the language and the environment's name.",
        examples=["Python 3.11"],
    )
    name: KernelName | None = Field(
        default=None,
        description="What notebooks remember. Left out: the environment's name in small letters.",
        examples=["analysis"],
    )
    language: Literal["python", "R"] | None = Field(
        default=None, description="Left out: told from the packages (ipykernel: python, r-irkernel: R).", examples=["R"]
    )
    show: Flag = Field(
        default=True, description="False: no kernel for this environment (`kernel: false` says the same)."
    )


class Environment(Section):
    """One conda environment: these packages and what they need. What its owner adds by hand stays, as long as it does not contradict them."""

    packages: tuple[MatchSpec, ...] = Field(
        min_length=1,
        description="Conda packages as match specs.",
        examples=[["python 3.11.*", "ipykernel", "numpy >=2", "pandas"]],
    )
    pip: tuple[Requirement, ...] = Field(
        default=(),
        description="Packages for pip, installed after conda's, which they must not replace.",
        examples=[["rich", "httpx>=0.27"]],
    )
    channels: tuple[Channel, ...] | None = Field(
        default=None,
        description="Channels for this environment alone. Left out: conda.channels.",
        examples=[["conda-forge"]],
    )
    kernel: Annotated[Kernel | None, BeforeValidator(_kernel, json_schema_input_type=bool | str | Kernel | None)] = (
        Field(
            default=None,
            description=(
                "The Jupyter kernel: the name to show, or `true`, `false`, or a mapping. "
                "Left out: a kernel if the packages hold ipykernel or r-irkernel."
            ),
            examples=["Python 3.11", True, {"display_name": "R 4.4", "name": "stats"}],
        )
    )
    server: Flag = Field(default=False, description="The Jupyter server runs from this environment.")

    def package_names(self) -> frozenset[str]:
        """The conda packages named, without their versions."""
        return frozenset(map(package_name, self.packages))

    def language(self) -> Literal["python", "R"] | None:
        """The language its kernel speaks; None if it holds no kernel package and says nothing."""
        if self.kernel and self.kernel.language:
            return self.kernel.language
        names = self.package_names()
        return (
            "python"
            if "ipykernel" in names or "ipykernel" in self._pip_names()
            else "R"
            if "r-irkernel" in names
            else None
        )

    def _pip_names(self) -> frozenset[str]:
        return frozenset(re.split(r"[^A-Za-z0-9._-]", text)[0].lower() for text in self.pip)

    def pinned_python(self) -> str | None:
        """``3.11`` for ``python 3.11.*``; None where the packages leave the version to the solver."""
        for text in self.packages:
            if package_name(text) == "python":
                found = re.fullmatch(
                    r"(?:\S+::)?python\s*={0,2}\s*(\d+(?:\.\d+)?)(?:\.[\d*]+)*(?:\.?\*)?(?:\s.*|=\S*)?", text
                )
                return found.group(1) if found else None
        return None

    def has(self, package: str) -> bool:
        """Whether the environment asks for the package, from conda or from pip."""
        return package in self.package_names() or package in self._pip_names()


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
        description="Where packages come from, first one first: names or addresses.",
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
    environments: Mapping[EnvironmentName, Environment] = Field(
        default={},
        description="The environments by name.",
        examples=[{"analysis": {"packages": ["python 3.11.*", "ipykernel"], "kernel": "Python 3.11"}}],
    )
