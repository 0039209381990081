"""Variables of a running database server: as they are declared, whoever started it and whatever was set by hand since.

Option files are other resources. What a running server takes is set at once; for what it reads at its start only, this kind tells the unit that the
server runs with something else (``outdated``), and people which option file is in the way when a start would not help.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from agent.errors import HostError
from agent.host.database_variables import ALL, Variable, same
from agent.resource import Action, Change, NotYetReadable, Ref, Resource, State
from agent.steps import Remember, Sql, Step

if TYPE_CHECKING:
    from agent.host.machine import Host

Values = tuple[tuple[str, str], ...]
"""Names of variables with values, in the order in which they are set."""

_MARIADB_ORIGINS = (
    "SELECT LOWER(VARIABLE_NAME), GLOBAL_VALUE_ORIGIN, GLOBAL_VALUE_PATH FROM information_schema.SYSTEM_VARIABLES"
    " WHERE VARIABLE_NAME IN ({}) ORDER BY 1"
)
_MYSQL_ORIGINS = (
    "SELECT VARIABLE_NAME, VARIABLE_SOURCE, VARIABLE_PATH FROM performance_schema.variables_info"
    " WHERE VARIABLE_NAME IN ({}) ORDER BY 1"
)
_PERSISTED = "SELECT VARIABLE_NAME FROM performance_schema.persisted_variables ORDER BY 1"
_UNKNOWN = ": 1193: "


@cache
def _state_of(names: tuple[str, ...]) -> type[Any]:
    """A state with a field for each variable, so that plans and messages name those that differ.

    ``not_noted``: the variables that are not noted yet as set by the agent; ``no_longer_set``: those that are noted and left the spec;
    ``persisted``: those that SET PERSIST would change at the next start.
    """
    extra = ("not_noted", "no_longer_set", "persisted")
    fields: list[Any] = [(name, tuple[str, ...], field(default=())) for name in extra]
    fields += [(name, str, field(default="")) for name in names]
    return make_dataclass("ServerSettingsState", fields, bases=(State,), frozen=True)


@dataclass(frozen=True)
class ServerSettings(Resource):
    """The variables of the server at ``server``, which ``unit`` runs: ``live`` ones are set, ``fixed`` ones are what it was started with.

    A live one that leaves the spec gets the server's own default at once, and at the next start what other option files say.
    """

    kind: ClassVar[str] = "server_settings"

    server: str
    unit: str
    live: Values = ()
    fixed: Values = ()
    files: tuple[str, ...] = ()
    """The option files that the agent writes."""
    after: tuple[Ref, ...] = ()

    def needs(self) -> tuple[Ref, ...]:
        return (Ref("unit", self.unit), *self.after)

    def desired(self) -> Any:
        names = tuple(name for name, _ in self.live)
        return _state_of(names)(**dict(self.live))

    def read(self, host: Host) -> Any:
        """Raises HostError when the server was started with something else, and would be again."""
        values = dict((*self.live, *self.fixed)) if self._restart_comes(host) else self._values(host)
        noted = set((host.memory.get(self._key) or "").split())
        names = tuple(name for name, _ in self.live)
        state = _state_of(names)(
            not_noted=tuple(sorted(set(names) - noted)),
            no_longer_set=tuple(sorted(noted - set(names))),
            persisted=self._persisted(host),
            **{name: values[name] for name in names},
        )
        if state == self.desired():
            self._refuse_overridden(host, values)
        return state

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is not Action.UPDATE:
            return
        current, names = change.current, tuple(name for name, _ in self.live)
        if current.not_noted:
            # first, so that one which is set and leaves the spec is known whenever the agent is killed
            yield Remember(self._key, " ".join(sorted({*names, *current.no_longer_set})))
        for name, value in self.live:
            if change.touches(name):
                yield _set(self.server, ALL[name], value)
        for name in current.no_longer_set:
            if name in ALL:
                yield Sql(self.server, f"SET GLOBAL {name} = {ALL[name].default}")
        for name in current.persisted:
            yield Sql(self.server, f"RESET PERSIST IF EXISTS {name}")
        if current.no_longer_set:
            yield Remember(self._key, " ".join(sorted(names)))

    def outdated(self, host: Host) -> bool:
        """Whether a start would give the server other fixed variables than it has."""
        try:
            wrong = self._wrong(self._values(host))
            return bool(wrong) and any(self._start_helps(host, wrong, name) for name in wrong)
        except (NotYetReadable, HostError):
            return False

    @property
    def _key(self) -> str:
        return f"settings.{self.name}"

    def _values(self, host: Host) -> dict[str, str]:
        """What the server has, in the form in which the spec's values are, for all variables that it has."""
        wanted = dict((*self.live, *self.fixed))
        steps = [each for name in wanted for each in ALL[name].steps if not host.databases.mariadb(self.server)]
        found = _reported(host, self.server, (*wanted, *steps))
        return {name: same(ALL[name], wanted[name], found[name], _step(ALL[name], found)) for name in wanted}

    def _wrong(self, values: Mapping[str, str]) -> list[str]:
        return [name for name, value in self.fixed if values[name] != value]

    def _refuse_overridden(self, host: Host, values: Mapping[str, str]) -> None:
        wrong = self._wrong(values)
        if not wrong:
            return
        said, way_out = [], "apply once more: the server is restarted then"
        for name in wrong:
            source, path = self._origin(host, wrong, name)
            cause = f"the server has it from: {source}"
            if path and path not in self.files:
                cause = f"another option file overrides it: {path}"
            if not self._start_helps(host, wrong, name):
                way_out = "take it out there: that is read after the agent's files"
            said.append(f"{name} is {values[name] or 'empty'}, not {dict(self.fixed)[name]} ({cause})")
        raise HostError("; ".join(said), hint=way_out)

    def _start_helps(self, host: Host, wrong: list[str], name: str) -> bool:
        """Whether another start would read something else: what set it is no longer there, or the agent did not start it and our files say so now."""
        if name in self._persisted(host):
            return False
        _, path = self._origin(host, wrong, name)
        if path and path not in self.files:
            content = host.files.content(path)
            return content is None or not _names(content.decode(errors="replace"), ALL[name])
        start = host.units.started(self.unit)
        return start is None or start.after != host.units.show(self.unit).invocation

    def _restart_comes(self, host: Host) -> bool:
        """Whether the unit is about to be restarted, which brings everything that the option files say."""
        unit = host.desired.get(Ref("unit", self.unit))
        if unit is None:
            return False
        state = unit.read(host)
        return state is not None and state.stale is True

    def _origin(self, host: Host, wrong: list[str], name: str) -> tuple[str, str]:
        """Where a wrong value came from: in the server's words, and the option file if it was one."""
        names = ", ".join(f"'{each}'" for each in wrong)
        statement = (_MARIADB_ORIGINS if host.databases.mariadb(self.server) else _MYSQL_ORIGINS).format(names)
        for found, source, path in host.databases.rows(self.server, statement):
            if found == name:
                return source or "", path or ""
        return "", ""

    def _persisted(self, host: Host) -> tuple[str, ...]:
        if host.databases.mariadb(self.server):
            return ()
        ours = {name for name, _ in (*self.live, *self.fixed)}
        return tuple(name for (name,) in host.databases.rows(self.server, _PERSISTED) if name in ours)


@dataclass(frozen=True)
class KnownSettingsState(State):
    known: bool


@dataclass(frozen=True)
class KnownSettings(Resource):
    """That the server knows these variables: looked at before an option file names them, as a server does not start with one that it does not know.

    A server that does not run cannot be asked; then it is taken for granted.
    """

    kind: ClassVar[str] = "known_settings"

    server: str
    names: tuple[str, ...]
    after: tuple[Ref, ...] = ()

    def needs(self) -> tuple[Ref, ...]:
        return self.after

    def desired(self) -> KnownSettingsState:
        return KnownSettingsState(known=True)

    def read(self, host: Host) -> KnownSettingsState:
        """Raises HostError for one that it does not know."""
        try:
            _reported(host, self.server, self.names)
        except NotYetReadable:  # it is started later, with the option file: then it says so itself
            pass
        except HostError as error:
            if _UNKNOWN in str(error):
                raise
        return KnownSettingsState(known=True)

    def steps(self, change: Change) -> Iterator[Step]:  # noqa: ARG002  # it never differs
        yield from ()


def _reported(host: Host, server: str, names: tuple[str, ...]) -> dict[str, str]:
    """What the server says of these variables. Raises HostError when it does not know one."""
    statement = "SELECT " + ", ".join(f"@@GLOBAL.{name}" for name in names)
    try:
        (row,) = host.databases.rows(server, statement)
    except HostError as error:
        if _UNKNOWN in str(error):
            raise HostError(
                str(error), hint="take it out of mysql.settings: this version of the server has no such variable"
            ) from None
        raise
    return {name: value or "" for name, value in zip(names, row, strict=True)}


def _step(variable: Variable, found: Mapping[str, str]) -> int:
    product = 1
    for name in variable.steps:
        product *= int(found.get(name) or 0)
    return product if variable.steps else 0


def _set(server: str, variable: Variable, value: str) -> Sql:
    literal = variable.form.literal(value)
    if literal:
        return Sql(server, f"SET GLOBAL {variable.name} = {literal}")
    return Sql(server, f"SET GLOBAL {variable.name} = %s", (value,))


def _names(text: str, variable: Variable) -> bool:
    """Whether an option file sets the variable: '-' is as good as '_' there, and loose_ may come first."""
    name = re.escape(variable.written).replace("_", "[-_]")
    return re.search(rf"""^[ \t]*"?(loose[-_])?{name}"?[ \t]*(=|:|$)""", text, re.MULTILINE | re.IGNORECASE) is not None
