"""The `conda` section as resources: the directories, the environments, and a kernel for each that has one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.kinds.directory import Directory
from agent.kinds.environment import Environment
from agent.kinds.file import File
from agent.kinds.kernelspec import LAUNCHER, Kernelspec
from agent.render import render
from agent.resource import Ref, Resource
from agent.spec.expand_base import expand_base
from agent.spec.expand_secrets import secret_of
from agent.steps import Listing, Login

if TYPE_CHECKING:
    from agent.kinds.secret import Secret
    from agent.spec.sections.conda import Conda
    from agent.spec.sections.environment import Environment as EnvironmentSection
    from agent.spec.spec import Spec

JUPYTER = "/etc/agent/jupyter"
KERNELS = f"{JUPYTER}/share/kernels"
"""Where kernels are listed for the server: root's, on JUPYTER_PATH, out of reach of what runs in notebooks."""


def prefix(spec: Spec, name: str) -> str:
    """Where an environment is."""
    root = spec.conda.root if spec.conda else "/opt/conda"
    return f"{root}/envs/{name}"


def expand_conda(spec: Spec, listings: Mapping[str, Listing]) -> Iterator[Resource]:
    """Environments belong to the notebook account: it may use pip in them, and nothing in them is ever run as root.

    ``listings`` says which of them are made of exact packages.
    """
    conda, environments = spec.conda, spec.environments()
    if conda is None or not (environments or conda.base):
        return
    owner = spec.user.name if spec.user else "root"
    account = (Ref("user", owner), Ref("group", owner)) if spec.user else ()
    yield Directory(conda.root, 0o755)
    places = tuple(f"{conda.root}/{name}" for name in ("builds", "envs", "pkgs"))
    for place in places:
        yield Directory(place, 0o755, owner, owner, after=(Ref("directory", conda.root), *account))
    secrets, logins = _logins(conda)
    yield from secrets
    shared = Environment(
        "",
        root=conda.root,
        owner=owner,
        channels=conda.channels,
        packages=(),
        keep=conda.keep,
        mirrors=tuple(sorted(conda.mirrors.items())),
        alias=conda.channel_alias,
        logins=logins,
        offline=conda.offline,
        timeout=conda.timeout.total_seconds(),
        retries=conda.retries,
        after=(*(Ref("directory", place) for place in places), *account, *(secret.ref for secret in secrets)),
    )
    kernels = {kernel.environment: kernel.command for kernel in spec.kernels()}
    for name, section in environments.items():
        commands = (kernels[name],) if name in kernels else ()
        yield _environment(name, section, shared, commands, listings.get(name))
    if conda.base:
        yield from expand_base(conda, conda.base, shared, listings)
    yield from _kernels(spec, owner)


def _environment(
    name: str,
    section: EnvironmentSection,
    shared: Environment,
    kernels: tuple[tuple[str, ...], ...],
    listing: Listing | None,
) -> Environment:
    return replace(
        shared,
        name=name,
        channels=section.channels or shared.channels,
        packages=section.packages,
        pip=section.pip,
        variables=tuple(sorted(section.variables.items())),
        activation=section.activation or "",
        kernels=kernels,
        listing=listing,
        update=section.update.total_seconds() if section.update else 0.0,
        link_scripts=section.link_scripts,
    )


def _logins(conda: Conda) -> tuple[tuple[Secret, ...], tuple[Login, ...]]:
    secrets, logins = [], []
    for server, section in sorted(conda.authentication.items()):
        given = section.token or section.password
        if given is None:
            continue
        secret = secret_of(given, f"conda.{re.sub('[^a-z0-9.-]', '-', server).strip('-')}")
        secrets.append(secret)
        scheme = "basic" if section.token is None else "token" if section.scheme == "conda" else "bearer"
        logins.append(Login(server, scheme, secret.at, section.username or ""))
    return tuple(secrets), tuple(logins)


def _kernels(spec: Spec, owner: str) -> Iterator[Resource]:
    """The launcher is there for the server, too."""
    if not spec.environments():
        return
    yield Directory(JUPYTER, 0o755)
    launcher = File(LAUNCHER, render("in-environment.sh.j2"), 0o755, after=(Ref("directory", JUPYTER),))
    yield launcher
    kernels = list(spec.kernels())
    if not kernels:
        return
    for path in (KERNELS.rpartition("/")[0], KERNELS):
        yield Directory(path, 0o755)
    for kernel in kernels:
        section = spec.environments()[kernel.environment]
        yield Kernelspec(
            kernel.name,
            directory=KERNELS,
            display_name=kernel.display_name,
            prefix=prefix(spec, kernel.environment),
            command=kernel.command,
            language=kernel.language,
            debugger=kernel.language == "python" and not _is_python_2(section),
            owner=owner,
            after=(Ref("environment", kernel.environment), Ref("directory", KERNELS), launcher.ref),
        )


def _is_python_2(section: EnvironmentSection) -> bool:
    return any(re.match(r"python\s*[=<~ ]*\s*2\b", text.rpartition("::")[2]) for text in section.packages)
