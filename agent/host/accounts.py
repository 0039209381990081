"""Accounts and groups, from passwd(5) and group(5)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from agent.errors import HostError
from agent.host import look

if TYPE_CHECKING:
    from agent.host.looks import Looks

T = TypeVar("T")


@dataclass(frozen=True)
class Account:
    """One line of passwd(5)."""

    name: str
    uid: int
    gid: int
    gecos: str
    home: str
    shell: str


@dataclass(frozen=True)
class Group:
    """One line of group(5). ``members`` are those for whom it is a supplementary group."""

    name: str
    gid: int
    members: frozenset[str]


@dataclass(frozen=True)
class Table(Generic[T]):
    """A file, parsed. The first line of a name or a number counts, as it does for the C library."""

    names: dict[str, T]
    numbers: dict[int, T]


class Accounts:
    """The local accounts and groups; those of a directory service are not seen."""

    def __init__(self, looks: Looks, etc: str = "/etc") -> None:
        self._passwd = _Parsed(looks, f"{etc}/passwd", parse_passwd)
        self._group = _Parsed(looks, f"{etc}/group", parse_group)

    def user(self, name: str) -> Account | None:
        return self._passwd.table().names.get(name)

    def group(self, name: str) -> Group | None:
        return self._group.table().names.get(name)

    def groups_of(self, name: str) -> frozenset[str]:
        """The names of the supplementary groups of an account."""
        return frozenset(each.name for each in self._group.table().names.values() if name in each.members)

    def uid(self, name: str) -> int:
        """Raises HostError when there is no such account."""
        account = self.user(name)
        if account is None:
            raise HostError(f"there is no account {name!r}", hint="name it in the spec, or make it with useradd")
        return account.uid

    def gid(self, name: str) -> int:
        """Raises HostError when there is no such group."""
        group = self.group(name)
        if group is None:
            raise HostError(f"there is no group {name!r}", hint="name it in the spec, or make it with groupadd")
        return group.gid

    def user_name(self, uid: int) -> str:
        """The name of an account; the number as text when it has none."""
        account = self._passwd.table().numbers.get(uid)
        return account.name if account else str(uid)

    def group_name(self, gid: int) -> str:
        """The name of a group; the number as text when it has none."""
        group = self._group.table().numbers.get(gid)
        return group.name if group else str(gid)


class _Parsed(Generic[T]):
    """One of the two files. It is read again when its stamp is another one."""

    def __init__(self, looks: Looks, path: str, parse: Callable[[str], Table[T]]) -> None:
        self._looks = looks
        self._path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._stamp: look.Answer = None
        self._answer: look.Answer = None
        self._table: Table[T] = Table({}, {})

    def table(self) -> Table[T]:
        with self._lock:
            stamp = look.stamp(self._path)
            if stamp is None or stamp != self._stamp:
                self._read()
                self._stamp = stamp
            self._looks.saw(("file", self._path), self._answer)
            return self._table

    def _read(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._answer, self._table = None, Table({}, {})
            return
        with open(descriptor, "rb") as file:
            status, content = os.fstat(descriptor), file.read()
        self._answer = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, look.digest(content))
        self._table = self._parse(content.decode(errors="surrogateescape"))


def parse_passwd(text: str) -> Table[Account]:
    """The accounts in a passwd(5) file; lines that are none are passed over."""
    table: Table[Account] = Table({}, {})
    for line in text.splitlines():
        match line.split(":"):
            case [name, _, uid, gid, gecos, home, shell] if uid.isdecimal() and gid.isdecimal():
                account = Account(name, int(uid), int(gid), gecos, home, shell)
                table.names.setdefault(name, account)
                table.numbers.setdefault(account.uid, account)
    return table


def parse_group(text: str) -> Table[Group]:
    """The groups in a group(5) file; lines that are none are passed over."""
    table: Table[Group] = Table({}, {})
    for line in text.splitlines():
        match line.split(":"):
            case [name, _, gid, members] if gid.isdecimal():
                group = Group(name, int(gid), frozenset(filter(None, members.split(","))))
                table.names.setdefault(name, group)
                table.numbers.setdefault(group.gid, group)
    return table
