"""A database server that is there already, as the spec that describes it: what the spec says of it, the kinds find to be so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent.errors import HostError, UsageError
from agent.plan import compare
from agent.resource import NotYetReadable, Resource
from agent.spec import describe_mysql, yaml_text
from agent.spec.checks_mysql_external import check_external
from agent.spec.checks_mysql_grants import check_grants
from agent.spec.checks_mysql_users import check_users
from agent.spec.describe_mysql import Entry
from agent.spec.expand_mysql import expand_mysql
from agent.spec.sections.mysql_grants import SYSTEM_DATABASES
from agent.spec.spec import Spec

if TYPE_CHECKING:
    from agent.host.machine import Host

VERSION = "SELECT VERSION()"
_SECTIONS = ("databases", "roles", "users")
_KINDS = {"database": "databases", "database_role": "roles", "database_user": "users"}


@dataclass(frozen=True)
class Adoption:
    """What was found. ``reached`` is what the spec says of how the server is reached."""

    reached: Mapping[str, Any]
    entries: Sequence[Entry]
    version: str
    own: Sequence[str]
    """Accounts that are the server's own, the service's, or the agent's."""
    open: str = ""
    """What `agent apply` would close on this server besides, in words."""

    @property
    def left_out(self) -> int:
        """How many of the entries the spec cannot have as they are."""
        return sum(bool(entry.reasons) for entry in self.entries)


def adoption(reached: Mapping[str, Any], host: Host) -> Adoption:
    """Reads a server. Raises UsageError for a way to reach it that no spec could have, HostError when it does not answer or refuses."""
    host.begin({})
    try:
        resources = list(expand_mysql(_spec(reached, ()), host))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(f"{'.'.join(map(str, found['loc']))}: {found['msg']}") from error
    server = next(each for each in resources if each.kind in ("server", "external_server"))
    address: str = vars(server)["server"]
    try:
        for each in resources:
            each.read(host)
        databases, accounts = host.databases.databases(address), host.databases.accounts(address).values()
        granted, me = host.databases.granted(address), host.databases.own_account(address)
        own = [each for each in accounts if describe_mysql.is_system(each.user) or (each.user, each.host.lower()) == me]
        others = [each for each in accounts if each not in own]
        roles = describe_mysql.role_names(others, granted)
        entries = [
            *describe_mysql.databases(databases),
            *describe_mysql.roles((each for each in roles if not describe_mysql.is_system(each)), granted),
            *describe_mysql.users(others, roles, granted),
        ]
        _find_reasons(entries, reached, host)
        ((version,),) = host.databases.rows(address, VERSION)
        names = sorted(f"{each.user}@{each.host}" for each in own)
        return Adoption(reached, entries, version or "", names, _open(entries, reached, host))
    except NotYetReadable as error:
        raise HostError(str(error), hint="start the server, or say where it is: agent import mysql --help") from error


def _find_reasons(entries: Sequence[Entry], reached: Mapping[str, Any], host: Host) -> None:
    """What the spec refuses, what hangs on that, and what the kinds would change after all is not said."""
    for entry in entries:
        entry.check()
    by_place = {(entry.section, entry.name): entry for entry in entries}
    while _refused(entries, reached, by_place) or _different(entries, reached, by_place, host):
        pass


def _refused(entries: Sequence[Entry], reached: Mapping[str, Any], by_place: Mapping[tuple[str, str], Entry]) -> bool:
    """Notes the first refusal that the spec's checks between fields have for each entry; whether there was any."""
    spec = _spec(reached, entries)
    found = False
    if spec.mysql is not None:
        for finding in (*check_grants(spec.mysql), *check_users(spec, spec.mysql), *check_external(spec.mysql)):
            entry = by_place[str(finding.keys[1]), str(finding.keys[2])]
            if not entry.reasons:
                where = ".".join(map(str, finding.keys[3:]))
                entry.reasons.append(f"{where}: {finding.message}" if where else finding.message)
                found = True
    return found


def _different(
    entries: Sequence[Entry], reached: Mapping[str, Any], by_place: Mapping[tuple[str, str], Entry], host: Host
) -> bool:
    """Notes what the kinds would change; whether there was anything."""
    found = False
    for resource in expand_mysql(_spec(reached, entries), host):
        section = _KINDS.get(resource.kind) or ("roles" if ("roles", resource.name) in by_place else "users")
        entry = by_place.get((section, resource.name))
        if resource.kind not in (*_KINDS, "grants") or entry is None or entry.reasons:
            continue
        if reason := _difference(resource, host):
            entry.reasons.append(reason)
            found = True
    return found


def _difference(resource: Resource, host: Host) -> str:
    try:
        change = compare(resource, resource.read(host))
    except HostError as error:
        return str(error)
    if change is None:
        return ""
    return f"the agent would change {', '.join(each.field for each in change.differences) or change.action.value}"


def _open(entries: Sequence[Entry], reached: Mapping[str, Any], host: Host) -> str:
    for resource in expand_mysql(_spec(reached, entries), host):
        if resource.kind == "server" and (change := compare(resource, resource.read(host))):
            return ", ".join(each.field.replace("_", " ") for each in change.differences)
    return ""


def _spec(reached: Mapping[str, Any], entries: Sequence[Entry]) -> Spec:
    said: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if not entry.reasons:
            said.setdefault(entry.section, {})[entry.name] = entry.settings
    return Spec.model_validate({"mysql": {**reached, **said}})


def text(found: Adoption) -> Iterator[str]:
    """The spec, line by line, with comments for people."""
    where = found.reached.get("socket") or f"{found.reached['host']}:{found.reached['port']}"
    yield f"# What {_one_line(found.version)} at {where} has, as 'agent import mysql' found it. No password is here: each stays as it is"
    yield "# (password: keep) until the spec says where it is, one account at a time:"
    yield "#   password: {file: /etc/agent/secrets/NAME}   the one in use or a new one, in a file that only root can read"
    yield "#   password: generate                          a new one; 'agent secret show mysql.NAME' prints it"
    if "administrator" not in found.reached:
        yield "# With 'server: mariadb' or 'server: mysql' instead of server and socket the agent looks after package and settings, too."
    yield f"# Left out, as the server's own or the agent's: {', '.join(map(_one_line, found.own)) or 'nobody'}; {', '.join(sorted(SYSTEM_DATABASES))}."
    if found.open:
        yield f"# The agent would also secure the server: {found.open}."
    yield "mysql:"
    for name, value in found.reached.items():
        yield f"  {name}: {yaml_text.inline(value)}"
    for section in _SECTIONS:
        entries = [entry for entry in found.entries if entry.section == section]
        if any(not entry.reasons for entry in entries):
            yield f"  {section}:"
        elif entries:
            yield f"  # {section}:"
        for entry in entries:
            yield from _entry(entry)


def _entry(entry: Entry) -> Iterator[str]:
    for note in entry.notes:
        yield f"    # {_one_line(entry.written)}: {_one_line(note)}"
    for reason in entry.reasons:
        yield f"    # {_one_line(entry.written)} is left out: {_one_line(reason)}"
    mark = "    # " if entry.reasons else "    "
    yield from yaml_text.lines(entry.written, entry.settings, mark)


def _one_line(words: str) -> str:
    """What a server says must not end the comment that it stands in."""
    return words if words.isprintable() else ascii(words)
