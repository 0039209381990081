"""Local accounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.resource import Action, Change, Ref, Resource, State
from agent.steps import MakeDirectory, Run, Step

if TYPE_CHECKING:
    from agent.host.machine import Host


@dataclass(frozen=True)
class UserState(State):
    uid: int | None
    gecos: str | None
    home: str | None
    shell: str | None
    group: str | None
    groups: frozenset[str] | None
    """Supplementary groups."""
    home_exists: bool | None
    """Whether the home is a directory of the account's; None where no home is managed."""


@dataclass(frozen=True)
class User(Resource):
    """An account of passwd(5) and its home. What is left None is not managed.

    ``groups`` are its supplementary groups, exactly these; with ``more_groups`` others may be added by hand. It has no
    password: people come in by key or through Jupyter. When it leaves the spec it stays, and so does its home.
    """

    kind: ClassVar[str] = "user"
    holds_work: ClassVar[bool] = True

    uid: int | None = None
    gecos: str | None = None
    home: str | None = None
    shell: str | None = None
    group: str | None = None
    groups: frozenset[str] | None = None
    more_groups: bool = False
    home_mode: int = 0o750
    """Of a home that is made; later it is the account's own affair."""
    after: tuple[Ref, ...] = ()

    def needs(self) -> Iterable[Ref]:
        groups = {*(self.groups or ()), *((self.group,) if self.group else ())}
        return (*self.after, *(Ref("group", name) for name in sorted(groups)))

    def desired(self) -> UserState:
        exists = None if self.home is None else True
        return UserState(self.uid, self.gecos, self.home, self.shell, self.group, self.groups, exists)

    def read(self, host: Host) -> UserState | None:
        account = host.accounts.user(self.name)
        if account is None:
            return None
        groups = host.accounts.groups_of(self.name)
        if self.more_groups and self.groups is not None:
            groups &= self.groups
        home = host.files.facts(account.home)
        return UserState(
            account.uid,
            account.gecos,
            account.home,
            account.shell,
            host.accounts.group_name(account.gid),
            groups,
            home is not None and home.kind == "directory" and home.owner == self.name,
        )

    def steps(self, change: Change) -> Iterator[Step]:
        if change.action is Action.DELETE:
            yield Run(("userdel", "--", self.name))
            return
        if change.action is Action.CREATE:
            yield Run(("useradd", "--no-create-home", *self._options(change), "--", self.name))
        elif options := self._options(change):
            yield Run(("usermod", *options, "--", self.name))
        if self.home is not None and change.touches("home_exists"):
            yield MakeDirectory(self.home, self.home_mode, self.name, self.group or self.name)

    def _options(self, change: Change) -> tuple[str, ...]:
        """Options of useradd(8) and usermod(8), which are the same."""
        options: list[str] = []
        if self.uid is not None and change.touches("uid"):
            options += ["--uid", str(self.uid)]
        if self.gecos is not None and change.touches("gecos"):
            options += ["--comment", self.gecos]
        if self.home is not None and change.touches("home"):
            options += ["--home", self.home, *(("--move-home",) if change.action is Action.UPDATE else ())]
        if self.shell is not None and change.touches("shell"):
            options += ["--shell", self.shell]
        if self.group is not None and change.touches("group"):
            options += ["--gid", self.group]
        if self.groups is not None and change.touches("groups"):
            if self.more_groups and change.action is Action.UPDATE:
                options.append("--append")
            options += ["--groups", ",".join(sorted(self.groups))]
        return tuple(options)
