"""One conda environment: its packages, what activation sets, and the Jupyter kernel that it offers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ..base import Section, Spelled, refuse
from ..fields import Duration, Flag, Line, plain_path

PACKAGE = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
VERSION = r"[0-9A-Za-z.*+!_<>=~,|() -]*"
BRACKET = r"""[a-z_]+=('[^'\[\]]*'|"[^"\[\]]*"|[^'"\[\],]+)"""
PLACEHOLDER = r"\{(prefix|connection_file)\}"
KERNEL_PACKAGES = {"ipykernel": "python", "r-irkernel": "R"}
"""Packages that make an environment a kernel, with the language they speak."""


KERNEL_COMMANDS = {
    "python": ("{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
    "R": ("{prefix}/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"),
}
"""What starts a kernel, by language."""


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


def requirement_name(requirement: str) -> str:
    """The package that a pip requirement is about, as PEP 503 spells it: ``ruamel-yaml`` for ``ruamel.yaml>=0.18``."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement)[0]).lower()


def _file(text: str) -> str:
    """Absolute, or relative without a way out of the spec's directory."""
    return plain_path(text.removeprefix("./"))


def _value(text: str) -> str:
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text) or len(text) > 4000:
        raise refuse("must be one line of at most 4000 characters", show=False)
    return text


def _variable(name: str) -> str:
    if name in ("PATH", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "HOME", "USER", "LOGNAME", "SHELL"):
        raise refuse("must be a variable of yours; activation or the login sets this one")
    return name


def _script(text: str) -> str:
    if len(text.encode()) > 64 * 1024:
        raise refuse("must be at most 64 KiB", show=False)
    return text if text.endswith("\n") else f"{text}\n"


def _not_too_often(interval: timedelta) -> timedelta:
    if interval < timedelta(hours=1):
        raise refuse("must be at least 1h")
    return interval


def _word(text: str) -> str:
    if "{" in re.sub(PLACEHOLDER, "", text) or "}" in re.sub(PLACEHOLDER, "", text):
        raise refuse("must not have braces but those of {prefix} and {connection_file}")
    return text


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if not any("{connection_file}" in word for word in words):
        raise refuse("must hold {connection_file}, by which Jupyter reaches the kernel", show=False)
    return words


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
Word = Annotated[Line, AfterValidator(_word)]
PackageSpelled = Annotated[
    str,
    Spelled(r"[a-z0-9_][a-z0-9._-]*", "the name of a conda package in small letters, without a version"),
]
VariableName = Annotated[
    str,
    Spelled(
        r"[A-Za-z_][A-Za-z0-9_]{0,127}", "the name of a variable, such as OMP_NUM_THREADS: letters, digits and '_'"
    ),
    AfterValidator(_variable),
]
VariableValue = Annotated[
    str, AfterValidator(_value), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
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
    language: Line | None = Field(
        default=None,
        description=(
            "`python` or `R`; left out: told from the packages (ipykernel: python, r-irkernel: R). "
            "With a command of its own any language."
        ),
        examples=["R", "julia"],
    )
    command: Annotated[tuple[Word, ...], Field(min_length=1), AfterValidator(_command)] | None = Field(
        default=None,
        description=(
            "What starts a kernel of another language, word by word. `{prefix}` stands for the environment's directory, "
            "`{connection_file}` for the file that Jupyter passes."
        ),
        examples=[["{prefix}/bin/julia", "-i", "--project=@.", "{prefix}/share/kernel.jl", "{connection_file}"]],
    )
    show: Flag = Field(
        default=True, description="False: no kernel for this environment (`kernel: false` says the same)."
    )

    @model_validator(mode="after")
    def _language_is_known(self) -> Kernel:
        if self.command and self.language is None:
            raise refuse("needs the language that it speaks, such as language: julia", show=False, at="command")
        if not self.command and self.language not in (None, *KERNEL_PACKAGES.values()):
            known = {word.lower(): word for word in KERNEL_PACKAGES.values()}.get(str(self.language).lower())
            hint = f"did you mean '{known}'?" if known else "a kernel of another language needs its command"
            raise refuse("must be 'python' or 'R' where there is no command", hint, at="language")
        return self


class Environment(Section):
    """One conda environment: these packages and what they need. What its owner adds by hand stays, as long as it does not contradict them."""

    packages: tuple[MatchSpec, ...] = Field(
        default=(),
        description="Conda packages as match specs. Required, unless `file` lists them.",
        examples=[["python 3.11.*", "ipykernel", "numpy >=2", "pandas"]],
    )
    pip: tuple[Requirement, ...] = Field(
        default=(),
        description="Packages for pip, installed after conda's, which they must not replace.",
        examples=[["rich", "httpx>=0.27"]],
    )
    file: Annotated[str, AfterValidator(_file)] | None = Field(
        default=None,
        description=(
            "A file instead of `packages` and `pip`, beside the spec or by its absolute path: conda's environment.yml, a list that begins "
            "with @EXPLICIT, or a lock file of rattler or pixi."
        ),
        examples=["environment.yml", "/etc/agent/environments/analysis.txt"],
    )
    channels: tuple[Channel, ...] | None = Field(
        default=None,
        description="Channels for this environment alone, first one first. Left out: those of `file`, else conda.channels.",
        examples=[["conda-forge"]],
    )
    variables: Mapping[VariableName, VariableValue] = Field(
        default={},
        description=(
            "Variables that are set when it is activated, in its kernels and in terminals. Everybody on the host can read them: no secrets."
        ),
        examples=[{"OMP_NUM_THREADS": "2"}],
    )
    activation: Annotated[str, AfterValidator(_script)] | None = Field(
        default=None,
        description="Shell text (sh) that is sourced when it is activated, after the variables are set.",
        examples=["ulimit -c 0\n"],
    )
    update: Annotated[Duration, AfterValidator(_not_too_often)] | None = Field(
        default=None,
        description=(
            "Look for newer versions this often. Left out: never, versions change when the spec does or with `agent env update`."
        ),
        examples=["7d"],
    )
    link_scripts: tuple[PackageSpelled, ...] = Field(
        default=(),
        description="Packages whose post-link scripts may run, as the notebook account. Those of all others never do.",
        examples=[["bioconductor-genomeinfodbdata"]],
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

    @model_validator(mode="after")
    def _has_packages(self) -> Environment:
        if not self.packages and self.file is None:
            if "packages" in self.model_fields_set:
                raise refuse("must not be empty", show=False, at="packages")
            raise refuse("needs packages, or a file that lists them", show=False)
        return self

    @property
    def unread(self) -> bool:
        """Whether its packages stand in a file that was not looked into."""
        return self.file is not None and not self.packages

    def package_names(self) -> frozenset[str]:
        """The conda packages named, without their versions."""
        return frozenset(map(package_name, self.packages))

    def language(self) -> str | None:
        """The language its kernel speaks; None if it holds no kernel package and says nothing."""
        if self.kernel and self.kernel.language:
            return self.kernel.language
        return next((language for package, language in KERNEL_PACKAGES.items() if self.has(package)), None)

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
        return package in self.package_names() or package in map(requirement_name, self.pip)
