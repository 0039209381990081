"""Files and directories that the other sections do not cover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, model_validator

from ..base import Section, Spelled, refuse
from ..fields import AbsolutePath, Flag, GroupName, LoginName, Mode

ACCOUNTS = {"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid"}
KERNEL = ("/proc", "/sys", "/dev", "/run/systemd")
OWN = ("/etc/agent", "/var/lib/agent", "/opt/agent", "/run/agent")


def _writable(path: str) -> str:
    if path in ACCOUNTS:
        raise refuse("must not be an account file", "accounts are described under 'user'")
    for tree, why in (*((tree, "the kernel or systemd") for tree in KERNEL), *((tree, "the agent") for tree in OWN)):
        if path == tree or path.startswith(f"{tree}/"):
            raise refuse(f"must not be below {tree}, which belongs to {why}")
    if path == "/":
        raise refuse("must be a file or a directory below /")
    return path


def _content(text: str) -> str:
    if len(text.encode()) > 128 * 1024:
        raise refuse("is longer than 128 KiB; put it beside the spec and name it with 'source'", show=False)
    return text


FilePath = Annotated[AbsolutePath, AfterValidator(_writable)]
TemplateName = Annotated[
    str, Spelled(r"/[^\x00-\x1f]+\.j2", "the absolute path of a jinja2 template that ends in .j2", longest=4096)
]
Variable = Annotated[str, Spelled(r"[a-z_][a-z0-9_]*", "a name such as 'port': small letters, digits and '_'")]


class File(Section):
    """A file, its content given here (`content`) or elsewhere (`source`, `template`); or a directory."""

    content: Annotated[str, AfterValidator(_content)] | None = Field(
        default=None, description="The text of the file.", examples=["Welcome to the analysis host.\n"]
    )
    source: AbsolutePath | None = Field(
        default=None, description="A file on this host to copy, byte for byte.", examples=["/etc/agent/files/motd"]
    )
    template: TemplateName | None = Field(
        default=None, description="A jinja2 template on this host.", examples=["/etc/agent/files/motd.j2"]
    )
    variables: Mapping[Variable, JsonValue] = Field(
        default={}, description="What the template's variables stand for.", examples=[{"team": "analysis"}]
    )
    directory: Flag = Field(default=False, description="A directory; what is in it is left alone.")
    owner: LoginName = Field(default="root", description="The account it belongs to.", examples=["root", "notebook"])
    group: GroupName | None = Field(
        default=None, description="The group it belongs to. Left out: the owner's.", examples=["research"]
    )
    mode: Mode | None = Field(
        default=None,
        description="Permissions, in octal. Left out: 0644, for directories 0755.",
        examples=["0640", "2775"],
    )

    @property
    def permissions(self) -> int:
        """The mode, decided."""
        return self.mode if self.mode is not None else 0o755 if self.directory else 0o644

    @model_validator(mode="after")
    def _one(self) -> File:
        given = [name for name in ("content", "source", "template") if getattr(self, name) is not None]
        given += ["directory"] if self.directory else []
        if len(given) != 1:
            what = "has none of them" if not given else f"has {' and '.join(given)}"
            raise refuse(f"must name exactly one of content, source, template, directory; it {what}", show=False)
        if self.variables and not self.template:
            raise refuse("go with 'template'", show=False, at="variables")
        if not self.directory and self.permissions & 0o7000:
            message = "has a set-user-ID, set-group-ID or sticky bit, which only directories may have here"
            raise refuse(message, at="mode")
        if self.directory and self.permissions & 0o4000:
            raise refuse("has the set-user-ID bit, which means nothing on a directory", at="mode")
        if self.permissions & 0o002 and not (self.directory and self.permissions & 0o1000):
            raise refuse("lets every account write to it", "a shared directory is 2775, or 1777", at="mode")
        return self
