"""The `conda` command for people as resources: its environment, conda's settings for the whole host, and what login shells read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.kinds.directory import Directory
from agent.kinds.environment import Environment
from agent.kinds.file import File
from agent.render import render
from agent.resource import Ref, Resource
from agent.spec.spec import BASE
from agent.steps import Listing

if TYPE_CHECKING:
    from agent.spec.sections.conda import Base, Conda

CONDARC = "/etc/conda/.condarc"
PROFILE = "/etc/profile.d/agent-conda.sh"


def expand_base(conda: Conda, base: Base, shared: Environment, listings: Mapping[str, Listing]) -> Iterator[Resource]:
    """``shared`` is an environment with what all of them have in common."""
    if base.installer:
        yield replace(shared, name=BASE, installer=(base.installer.url, base.installer.digest))
    else:
        channels = base.channels or shared.channels
        yield replace(shared, name=BASE, packages=base.packages, channels=channels, listing=listings.get(BASE))
    directory = Directory(CONDARC.rpartition("/")[0], 0o755)
    yield directory
    yield File(CONDARC, render("condarc.j2", **_settings(conda)), after=(directory.ref,))
    if base.shell:
        script = f"{conda.root}/envs/{BASE}/etc/profile.d/conda.sh"
        content = render("agent-conda.sh.j2", account=shared.owner, script=script)
        yield File(PROFILE, content, after=(Ref("environment", BASE),))


def _settings(conda: Conda) -> dict[str, object]:
    """conda knows one address for each channel, so of several mirrors it gets the first. Passwords and tokens are not for everybody's eyes."""
    channels = [next(iter(conda.mirrors.get(channel, ())), channel) for channel in conda.channels]
    return {
        "channels": channels,
        "alias": conda.channel_alias,
        "environments": ["~/.conda/envs", f"{conda.root}/envs"],
        "packages": ["~/.conda/pkgs"],
        "offline": conda.offline,
    }
