"""The Jupyter server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from ..base import Between, Section, Spelled, refuse
from ..fields import AbsolutePath, Duration, Flag, HomePath, Line, ListenAddress, Port, Whole
from ..secrets import JupyterPassword, ServerPassword
from ..tree import Plain
from .environment import EnvironmentName


def _base_url(text: str) -> str:
    if not re.fullmatch(r"/?([A-Za-z0-9._~-]+/)*([A-Za-z0-9._~-]+)?", text, re.ASCII) or ".." in text:
        raise refuse("must be a path of a URL, such as / or /notebooks/")
    return f"/{text.strip('/')}/" if text.strip("/") else "/"


def _sandbox(value: Any) -> Any:
    if value is True:
        return {}
    if value is False or value in ("off", "no", "false"):
        raise refuse(
            "must say why when it is off",
            "write {enabled: false, reason: 'the GPU needs its devices'}; the status shows the reason",
        )
    return value


MemoryMax = Annotated[
    str,
    Spelled(
        r"[1-9][0-9]*[KMGT]|([1-9][0-9]?|100)%|infinity", "an amount of memory as systemd writes it: 4G, 512M or 80%"
    ),
]
CpuQuota = Annotated[
    str, Spelled(r"[1-9][0-9]{0,5}%", "a share of one processor as systemd writes it: 50%, or 200% for two whole ones")
]


def _setting(value: Any) -> Any:
    """JSON's numbers become numbers. What YAML 1.1 takes for a truth value is asked about: Jupyter would get a text."""
    if isinstance(value, Plain):
        if value.lower() in ("yes", "no", "on", "off", "y", "n", "true", "false", "none"):
            raise refuse("must be true or false, or text in quotes")
        if re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", value, re.ASCII):
            return float(value)
        return str(value)
    if isinstance(value, list):
        return [_setting(member) for member in value]
    if isinstance(value, dict):
        return {str(key): _setting(member) for key, member in value.items()}
    return value


Trait = Annotated[
    str,
    Spelled(
        r"[A-Z][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*",
        "a trait as Class.trait, such as ServerApp.iopub_data_rate_limit",
    ),
]


class Cull(Section):
    """When kernels that nobody uses are stopped."""

    idle_timeout: Duration | None = Field(
        default=None, description="Stop a kernel that was idle for so long. Left out: never.", examples=["12h"]
    )
    interval: Duration = Field(default=timedelta(minutes=5), description="How often to look.", examples=["5m"])
    connected: Flag = Field(default=False, description="Also kernels that a browser tab is open on.")
    busy: Flag = Field(default=False, description="Also kernels that are computing.")


class Sandbox(Section):
    """What systemd keeps the server, and the code in its kernels, away from."""

    enabled: Flag = Field(default=True, description="False takes the protection away; `reason` must then say why.")
    reason: Line | None = Field(
        default=None, description="Why it is off; shown by `agent status`.", examples=["GPU devices"]
    )
    writable: tuple[AbsolutePath, ...] = Field(
        default=(), description="Further directories that notebooks may write to.", examples=[["/srv/work"]]
    )

    @model_validator(mode="after")
    def _reasoned(self) -> Sandbox:
        if not self.enabled and not self.reason:
            raise refuse("needs a reason when it is off", show=False)
        return self


class Jupyter(Section):
    """The Jupyter server: HTTPS, a password, its own systemd unit."""

    interface: Literal["lab", "notebook"] = Field(
        default="lab",
        description="What opens in the browser: JupyterLab or the classic notebook.",
        examples=["lab", "notebook"],
    )
    address: ListenAddress = Field(
        default="*",
        description="Address to listen on; `*` is all of them. With 127.0.0.1: through a tunnel or a proxy.",
        examples=["*", "127.0.0.1"],
    )
    port: Port = Field(
        default=8888, description="Port to listen on. Ports below 1024, such as 443, work too.", examples=[8888, 443]
    )
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        default="/", description="Path below which everything is served.", examples=["/", "/notebooks/"]
    )
    root_dir: HomePath = Field(
        default="~/notebooks",
        description="The directory that people see first. It is created, and never removed.",
        examples=["~/notebooks", "/srv/work"],
    )
    password: ServerPassword = Field(
        default=JupyterPassword.model_validate({"generate": {}}),
        description="The password to log in with: where it is, or its hash. Left out: the agent makes one up.",
        examples=[{"file": "/etc/agent/secrets/jupyter"}, {"generate": {"length": 24}}, {"credential": "jupyter"}],
    )
    environment: EnvironmentName | None = Field(
        default=None,
        description=(
            "The conda environment that the server runs from. Left out: the one with `server: true`, "
            "else one called `jupyter`, which the agent adds if it is not declared."
        ),
        examples=["jupyter"],
    )
    settings: Mapping[Trait, Annotated[JsonValue, BeforeValidator(_setting)]] = Field(
        default={},
        description="Any further trait of the server as `Class.trait: value`. What would open the server is refused.",
        examples=[{"ServerApp.iopub_data_rate_limit": 10000000, "FileContentsManager.delete_to_trash": False}],
    )
    terminals: Flag = Field(default=True, description="Whether the server offers terminals.")
    cull: Cull = Field(default=Cull(), description="When idle kernels are stopped.", examples=[{"idle_timeout": "12h"}])
    restart: Literal["now", "when_idle", "never"] = Field(
        default="when_idle",
        description=(
            "When a change needs a restart, which stops all kernels: at once, when no kernel is computing, "
            "or only by hand."
        ),
        examples=["when_idle", "now"],
    )
    memory_max: MemoryMax | None = Field(
        default=None, description="Memory for the server and its kernels (MemoryMax=).", examples=["4G", "80%"]
    )
    cpu_quota: CpuQuota | None = Field(
        default=None, description="Processor time for the server and its kernels (CPUQuota=).", examples=["200%"]
    )
    tasks_max: Annotated[Whole, Between(64, 4194304)] | None = Field(
        default=None, description="Processes and threads of the server and its kernels (TasksMax=).", examples=[4096]
    )
    sandbox: Annotated[Sandbox, BeforeValidator(_sandbox, json_schema_input_type=Literal[True] | Sandbox)] = Field(
        default=Sandbox(),
        description="Keeps code in notebooks away from the system, other homes and the cloud's credentials.",
        examples=[{"writable": ["/srv/work"]}, {"enabled": False, "reason": "GPU devices"}],
    )
