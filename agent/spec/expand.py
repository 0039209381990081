"""From the spec to the resources it stands for. Pure but for what it asks of the host: its name, its addresses, and files that the spec points at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agent.errors import SpecError
from agent.kinds.directory import Directory
from agent.kinds.file import File
from agent.kinds.group import Group
from agent.kinds.package import Package
from agent.kinds.unit import Unit
from agent.kinds.user import User
from agent.resource import Ref, Resource
from agent.spec.expand_conda import expand_conda
from agent.spec.expand_jupyter import expand_jupyter
from agent.spec.expand_mysql import expand_mysql
from agent.spec.expand_mysql_certificate import certificate_of
from agent.spec.expand_tls import expand_authority
from agent.steps import Content, Listing

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.sections.files import File as FileSection
    from agent.spec.spec import Spec

UNITS = "/etc/systemd/system"


def expand(spec: Spec, host: Host, listings: Mapping[str, Listing]) -> list[Resource]:
    """Every resource, in no order. ``listings`` are those of environments that are made of exact packages.

    Raises SpecError when a file that the spec points at cannot be used.
    """
    return [
        *_packages(spec),
        *_user(spec),
        *expand_authority(host, spec.tls if spec.jupyter else None, certificate_of(spec.mysql)),
        *expand_conda(spec, listings),
        *expand_jupyter(spec, host),
        *expand_mysql(spec, host),
        *_files(spec, host),
        *_units(spec),
    ]


def _packages(spec: Spec) -> Iterator[Resource]:
    for name in spec.packages:
        yield Package(name)


def _user(spec: Spec) -> Iterator[Resource]:
    user = spec.user
    if user is None:
        return
    # the account's own group is made by hand, so that it is the same on every distribution
    yield Group(user.name)
    for name in user.groups or ():
        yield Group(name)
    groups = None if user.groups is None else frozenset(user.groups)
    account = User(user.name, home=user.directory, shell=user.shell, group=user.name, groups=groups)
    yield account
    if user.authorized_keys is not None:
        ssh = Directory(f"{user.directory}/.ssh", 0o700, user.name, user.name, below=user.name, after=(account.ref,))
        yield ssh
        keys = "".join(f"{key}\n" for key in user.authorized_keys)
        yield File(
            f"{ssh.name}/authorized_keys",
            Content.of(keys),
            0o600,
            user.name,
            user.name,
            below=user.name,
            after=(ssh.ref,),
        )


def _files(spec: Spec, host: Host) -> Iterator[Resource]:
    for path, section in spec.files.items():
        after = _owners(spec, section)
        group = section.group or section.owner
        below = spec.user.name if spec.user and path.startswith(f"{spec.user.directory}/") else None
        if section.directory:
            yield Directory(path, section.permissions, section.owner, group, below=below, after=after)
        else:
            content = Content.of(_text(path, section, host))
            yield File(path, content, section.permissions, section.owner, group, below=below, after=after)


def _owners(spec: Spec, section: FileSection) -> tuple[Ref, ...]:
    """The account and group that the spec itself makes."""
    user = spec.user
    if user is None:
        return ()
    made = {Ref("group", name) for name in (user.name, *(user.groups or ()))} | {Ref("user", user.name)}
    wanted = {Ref("user", section.owner), Ref("group", section.group or section.owner)}
    return tuple(sorted(made & wanted))


def _text(path: str, section: FileSection, host: Host) -> str:
    if section.content is not None:
        return section.content
    place = section.source or section.template or ""
    found = host.files.content(place)
    if found is None:
        raise _refusal(f"files.{path}", f"{place} does not exist")
    try:
        text = found.decode()
    except UnicodeDecodeError:
        raise _refusal(f"files.{path}", f"{place} is not UTF-8 text") from None
    if not section.template:
        return text
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # noqa: S701  # not HTML
    try:
        return environment.from_string(text).render(**section.variables)
    except jinja2.TemplateError as error:
        raise _refusal(f"files.{path}", f"{place}: {error}") from None


def _refusal(field: str, message: str) -> SpecError:
    from agent.errors import Problem

    return SpecError((Problem(None, field, message),))


def _units(spec: Spec) -> Iterator[Resource]:
    packages = tuple(Ref("package", name) for name in spec.packages)
    for name, section in spec.units.items():
        inputs = [Ref.parse(text) for text in section.restart_on]
        if section.content is not None:
            file = File(f"{UNITS}/{name}", Content.of(section.content), 0o644)
            yield file
            inputs.append(file.ref)
        yield Unit(
            name,
            active=section.active,
            enabled=section.enabled,
            masked=section.masked,
            inputs=tuple(inputs) if section.active else (),
            after=(*packages, *inputs),
        )
