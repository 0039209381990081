"""Questions about environments that need more than one field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from .explain import Finding
from .secrecy import is_secret
from .sections.conda import Base, Conda
from .sections.environment import KERNEL_PACKAGES, Environment, package_name, requirement_name
from .shape import nearest
from .spec import BASE
from .tree import Keys

PYTHON = re.compile(r"[Pp]ython[ -]?(\d+(?:\.\d+)?)")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check_conda(conda: Conda) -> Iterator[Finding]:
    """Mirrors and logins of what is not used, kernels of one name, and what each environment lacks."""
    yield from _mirrors(conda)
    yield from _logins(conda)
    if conda.base is not None:
        yield from _base(conda.base)
    kernels: dict[str, str] = {}
    for name, environment in conda.environments.items():
        keys: Keys = ("conda", "environments", name)
        if name.lower() == BASE:
            hint = "choose another; conda.base describes that one"
            yield Finding(keys, "is the name of conda's own environment", hint, at_key=True)
        if environment.unread:
            continue
        yield from _kernel(keys, environment)
        yield from _packages(keys, environment)
        kernel = environment.kernel
        if environment.language() and not (kernel and not kernel.show):
            wanted = (kernel and kernel.name) or name.lower()
            if wanted in kernels:
                yield Finding(
                    (*keys, "kernel", "name") if kernel and kernel.name else keys,
                    f"makes a second kernel called '{wanted}'; the other is that of {kernels[wanted]}",
                    "kernel names are the same in small letters; give this one kernel: {name: ...}",
                    at_key=not (kernel and kernel.name),
                )
            kernels.setdefault(wanted, name)


def note_conda(conda: Conda) -> Iterator[Finding]:
    """What is allowed but worth saying."""
    for name, environment in conda.environments.items():
        keys: Keys = ("conda", "environments", name)
        for variable in environment.variables:
            if is_secret(variable):
                message = "looks like a secret; everybody on the host can read the variables of an environment"
                yield Finding((*keys, "variables", variable), message, at_key=True)
        if environment.update and conda.offline:
            yield Finding((*keys, "update"), "finds nothing newer while conda.offline is set", at_key=True)
    if conda.base and conda.base.installer and conda.base.installer.md5:
        yield Finding(
            ("conda", "base", "installer", "md5"),
            "checks against damage, not against forgery: other files can be made that have the same",
            "give the sha256 if its publisher names one",
            at_key=True,
        )
    clear = {urlsplit(address).hostname for address in _addresses(conda) if address.startswith("http://")}
    for server in conda.authentication:
        if server in clear and server not in LOOPBACK:
            message = "is reached by http://, so that what gets in there can be read on the way"
            yield Finding(("conda", "authentication", server), message, "use https://", at_key=True)


def _mirrors(conda: Conda) -> Iterator[Finding]:
    used = set(_channels(conda))
    for channel in conda.mirrors:
        if channel not in used:
            near = nearest(channel, sorted(used))
            hint = f"did you mean '{near}'?" if near else f"channels in use: {', '.join(sorted(used))}"
            yield Finding(
                ("conda", "mirrors", channel), "is the mirror of a channel that is not used", hint, at_key=True
            )


def _logins(conda: Conda) -> Iterator[Finding]:
    """Lists of exact packages may name servers that the spec does not."""
    if any(environment.file for environment in conda.environments.values()):
        return
    used = {urlsplit(address).hostname or "" for address in _addresses(conda)}
    for server in conda.authentication:
        if server.strip("[]") not in used:
            near = nearest(server, sorted(used))
            hint = f"did you mean '{near}'?" if near else f"servers in use: {', '.join(sorted(filter(None, used)))}"
            yield Finding(("conda", "authentication", server), "is a server that nothing comes from", hint, at_key=True)


def _channels(conda: Conda) -> Iterator[str]:
    yield from conda.channels
    for environment in conda.environments.values():
        yield from environment.channels or ()
    yield from (conda.base and conda.base.channels) or ()


def _addresses(conda: Conda) -> Iterator[str]:
    """What is asked for packages: channels, their mirrors, an installer."""
    for channel in _channels(conda):
        yield from conda.mirrors.get(channel) or (channel if "://" in channel else conda.channel_alias,)
    if conda.base and conda.base.installer:
        yield conda.base.installer.url


def _base(base: Base) -> Iterator[Finding]:
    keys: Keys = ("conda", "base", "packages")
    if base.installer is None and "conda" not in map(package_name, base.packages):
        yield Finding(keys, "needs conda, the command that it is for", "add conda", at_key=True)
    yield from _twice(keys, base.packages)


def _kernel(keys: Keys, environment: Environment) -> Iterator[Finding]:
    kernel = environment.kernel
    if kernel is None or not kernel.show:
        return
    language = kernel.language
    wanted = [package for package, spoken in KERNEL_PACKAGES.items() if language in (None, spoken)]
    if not kernel.command and not any(environment.has(package) for package in wanted):
        yield Finding(
            (*keys, "kernel"),
            f"needs {' or '.join(wanted)} among the packages",
            f"add {wanted[0]} to the packages, or say kernel: false",
        )
    said = PYTHON.search(kernel.display_name or "")
    pinned = environment.pinned_python()
    if said and pinned and f"{pinned}.".find(f"{said.group(1)}.") != 0 and f"{said.group(1)}.".find(f"{pinned}.") != 0:
        yield Finding(
            (*keys, "kernel", "display_name"),
            f"says Python {said.group(1)}, but the packages ask for Python {pinned}",
        )


def _packages(keys: Keys, environment: Environment) -> Iterator[Finding]:
    yield from _twice((*keys, "packages"), environment.packages)
    conda = {requirement_name(package_name(text)) for text in environment.packages}
    for index, text in enumerate(environment.pip):
        name = requirement_name(text)
        if name in conda:
            yield Finding(
                (*keys, "pip", index), f"asks pip for {name}, which is among the conda packages too", "keep one"
            )
    if environment.pip and "pip" not in conda:
        yield Finding(
            (*keys, "pip"), "needs the package pip in the environment", "add pip to its packages", at_key=True
        )


def _twice(keys: Keys, packages: tuple[str, ...]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for index, text in enumerate(packages):
        name = package_name(text)
        if name in seen:
            yield Finding(
                (*keys, index),
                f"names {name} a second time, after '{seen[name]}'",
                f"write both bounds in one, such as '{name} >=1,<2'",
            )
        seen.setdefault(name, text)
