"""The kernels that Jupyter would list on this host: those of the spec, those that others registered, and those that cannot start.

Where Jupyter looks: https://docs.jupyter.org/en/latest/use/jupyter-directories.html#data-files. The notebook account may have written what
stands in its home and in its environments: no link of its making is followed, and of a file only so much is read as a kernelspec needs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from agent.errors import HostError
from agent.host import durable
from agent.host.builds import plain

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.kinds.environment import Environment
    from agent.kinds.kernelspec import Kernelspec
    from agent.resource import Ref, Resource

OWN = "/etc/agent/jupyter/share/kernels"
SHARED = ("/usr/local/share/jupyter/kernels", "/usr/share/jupyter/kernels")
_LARGEST = 1 << 16
"""Bytes of a kernel.json."""
_MOST = 500
"""Names that are looked at in one directory."""
_LONGEST = 200
"""Characters of a name that are shown."""
_PATH = "/usr/local/bin:/usr/bin:/bin"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Registered:
    """A kernelspec. ``state`` is ``declared`` (in the spec), ``foreign`` (somebody else's) or ``dead`` (listed by Jupyter and unable to start);
    ``why`` says more about the latter two."""

    path: str
    """Its directory."""
    name: str
    display_name: str
    state: str
    why: str = ""


@dataclass(frozen=True)
class _Place:
    """A directory of kernelspecs. ``below`` is the account, beside root, that may have written it."""

    path: str
    below: int | None = None
    programs: str = ""
    """The directory of programs that comes first for what is registered here."""
    why: str = "not in the spec"


def kernelspecs(host: Host, resources: Mapping[Ref, Resource]) -> list[Registered]:
    """All of them, those of the spec first; ``resources`` is what the spec stands for. Changes nothing."""
    declared = {
        each.path: each
        for each in (cast("Kernelspec", each) for each in resources.values() if each.kind == "kernelspec")
    }
    names = {each.name: each.path for each in declared.values()}
    found = []
    for place in _places(host, resources):
        for each in _registered(place):
            if each.state == "foreign" and each.path in declared:
                found.append(replace(each, state="declared", why=""))
            elif each.state == "foreign" and names.get(each.name.lower(), each.path) != each.path:
                found.append(replace(each, why="Jupyter lists the spec's kernel of that name instead"))
            else:
                found.append(each)
    order = ("declared", "foreign", "dead")
    return sorted(found, key=lambda each: (order.index(each.state), each.path))


def _places(host: Host, resources: Mapping[Ref, Resource]) -> Iterator[_Place]:
    own = {cast("Kernelspec", each).directory for each in resources.values() if each.kind == "kernelspec"} | {OWN}
    for path in (*sorted(own), *SHARED):
        yield _Place(path)
    owners = set()
    for each in resources.values():
        if each.kind != "environment":
            continue
        environment = cast("Environment", each)
        account = host.accounts.user(environment.owner)
        build = host.environments.build(environment.place)
        if account is None:
            continue
        owners.add((account.home, account.uid))
        if build is not None:
            prefix = environment.place.build(build)
            yield _Place(
                f"{prefix}/share/jupyter/kernels",
                account.uid,
                f"{prefix}/bin",
                f"brought by packages of the environment {environment.name}",
            )
    for home, uid in sorted(owners):
        yield _Place(f"{home}/.local/share/jupyter/kernels", uid)


def _registered(place: _Place) -> Iterator[Registered]:
    """What is registered in one directory; nothing where that is not there or cannot be reached safely."""
    try:
        directory = durable.open_directory(place.path, below=place.below)
    except (OSError, HostError):
        return
    try:
        for name in sorted(os.listdir(directory))[:_MOST]:
            content = _content(directory, name)
            if content is not None:
                yield _judged(place, name, content)
    finally:
        os.close(directory)


def _content(directory: int, name: str) -> bytes | str | None:
    """The bytes of its kernel.json, or why they are not read; None where there is none."""
    try:
        if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return "is a link, which is not followed here"
        inner = os.open(name, _DIRECTORY, dir_fd=directory)
    except OSError:
        return None
    try:
        file = os.open("kernel.json", _FILE, dir_fd=inner)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"its kernel.json cannot be read: {error.strerror}"
    finally:
        os.close(inner)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return f"its kernel.json is no file of at most {_LARGEST} bytes"
        return os.read(file, _LARGEST)
    finally:
        os.close(file)


def _judged(place: _Place, name: str, content: bytes | str) -> Registered:
    shown = Registered(plain(f"{place.path}/{name}"), plain(name)[:_LONGEST], "", "foreign", place.why)
    if isinstance(content, str):
        return replace(shown, why=content)
    try:
        record = json.loads(content)
        argv, title = [*record["argv"]], record.get("display_name", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return replace(shown, state="dead", why="its kernel.json is not what Jupyter can read")
    shown = replace(shown, display_name=plain(title)[:_LONGEST] if isinstance(title, str) else "")
    missing = _missing(argv, place)
    return replace(shown, state="dead", why=missing) if missing else shown


def _missing(argv: list[Any], place: _Place) -> str:
    """What the kernel cannot start without and what is not there. Of files only their being there is asked, links followed."""
    if not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        return "its command is none"
    # the launcher and the environment's link come before the program
    words = [argv[0], *argv[1:3]] if os.path.basename(argv[0]) == "in-environment" else argv[:1]
    for word in words:
        if re.fullmatch(r"python(3(\.[0-9]+)?)?", word):
            continue  # the server's own, says jupyter_client
        there = os.path.exists(word) if "/" in word else shutil.which(word, path=f"{place.programs}:{_PATH}")
        if not there:
            return f"its program {plain(word)[:_LONGEST]} is not there"
    return ""
