"""The `conda` section as resources: the directories, the environments, and a kernel for each that has one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.kinds.directory import Directory
from agent.kinds.environment import Environment
from agent.kinds.kernelspec import Kernelspec
from agent.resource import Ref, Resource

if TYPE_CHECKING:
    from agent.spec.sections.conda import Environment as EnvironmentSection
    from agent.spec.spec import Spec

KERNELS = "/etc/agent/jupyter/share/kernels"
"""Where kernels are listed for the server: root's, on JUPYTER_PATH, out of reach of what runs in notebooks."""


def prefix(spec: Spec, name: str) -> str:
    """Where an environment is."""
    root = spec.conda.root if spec.conda else "/opt/conda"
    return f"{root}/envs/{name}"


def expand_conda(spec: Spec) -> Iterator[Resource]:
    """Environments belong to the notebook account: it may use pip in them, and nothing in them is ever run as root."""
    conda, user = spec.conda, spec.user
    environments = spec.environments()
    if conda is None or not environments:
        return
    owner = user.name if user else "root"
    account = (Ref("user", owner), Ref("group", owner)) if user else ()
    yield Directory(conda.root, 0o755)
    for name in ("envs", "pkgs"):
        yield Directory(f"{conda.root}/{name}", 0o755, owner, owner, after=(Ref("directory", conda.root), *account))
    places = tuple(Ref("directory", f"{conda.root}/{name}") for name in ("envs", "pkgs"))
    for name, section in environments.items():
        yield Environment(
            name,
            prefix=prefix(spec, name),
            owner=owner,
            channels=section.channels or conda.channels,
            packages=section.packages,
            pip=section.pip,
            mirrors=tuple(sorted(conda.mirrors.items())),
            alias=conda.channel_alias,
            cache=f"{conda.root}/pkgs",
            after=(*places, *account),
        )
    yield from _kernels(spec)


def _kernels(spec: Spec) -> Iterator[Resource]:
    kernels = list(spec.kernels())
    if not kernels:
        return
    share = KERNELS.rpartition("/")[0]
    for path in (share.rpartition("/")[0], share, KERNELS):
        yield Directory(path, 0o755)
    for kernel in kernels:
        section = spec.environments()[kernel.environment]
        yield Kernelspec(
            kernel.name,
            directory=KERNELS,
            display_name=kernel.display_name,
            prefix=prefix(spec, kernel.environment),
            language=kernel.language,
            debugger=not _is_python_2(section),
            after=(Ref("environment", kernel.environment), Ref("directory", KERNELS)),
        )


def _is_python_2(section: EnvironmentSection) -> bool:
    return any(re.match(r"python\s*[=<~ ]*\s*2\b", package) for package in section.packages)
