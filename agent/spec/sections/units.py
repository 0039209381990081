"""systemd units that the other sections do not cover."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from ..base import Section, Spelled, refuse
from ..fields import Flag

KINDS = ("file", "package", "certificate", "unit")


def _content(text: str) -> str:
    if len(text.encode()) > 64 * 1024 or any(len(line) > 2048 for line in text.splitlines()):
        raise refuse("must be at most 64 KiB in lines of at most 2048 characters", show=False)
    if not re.search(
        r"^\[(Unit|Service|Socket|Timer|Path|Mount|Automount|Slice|Swap|Install)\]\s*$", text, re.MULTILINE
    ):
        raise refuse("must be a unit file, with groups such as [Unit] and [Service]", show=False)
    return text


UnitRef = Annotated[
    str,
    Spelled(
        rf"({'|'.join(KINDS)}):\S+",
        "kind:name, such as 'file:/etc/motd' (kinds: file, package, certificate, unit)",
        longest=4200,
    ),
]


class Unit(Section):
    """One systemd unit: whether it is enabled and running, and its text if it is not there already."""

    content: Annotated[str, AfterValidator(_content)] | None = Field(
        default=None,
        description="The unit file. Left out: the unit comes from a package.",
        examples=["[Service]\nType=oneshot\nExecStart=/usr/local/sbin/backup\n"],
    )
    enabled: Flag | None = Field(
        default=None,
        description="Whether it is started at boot, as `systemctl enable` does. Left out: not managed.",
        examples=[True],
    )
    active: Flag | None = Field(
        default=None,
        description="Whether it is running, as `systemctl is-active` says. Left out: not managed.",
        examples=[True],
    )
    masked: Flag | None = Field(
        default=None,
        description="Whether it is masked, so that nothing can start it. Left out: not managed.",
        examples=[True],
    )
    restart_on: tuple[UnitRef, ...] = Field(
        default=(), description="What it has to be restarted for when it changes.", examples=[["file:/etc/backup.conf"]]
    )

    @model_validator(mode="after")
    def _possible(self) -> Unit:
        if self.masked and (self.enabled or self.active or self.content is not None):
            raise refuse("is masked, so it can be neither enabled nor active nor have a content", show=False)
        if self.content is None and self.enabled is None and self.active is None and self.masked is None:
            raise refuse("must say at least one of content, enabled, active, masked", show=False)
        return self
