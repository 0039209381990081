"""Files and directories: what stands at a path, and steps that change it."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.errors import HostError, Unhealthy
from agent.host import durable, look, option_files
from agent.host.programs import ended
from agent.steps import Content, Slot

if TYPE_CHECKING:
    from agent.host.accounts import Accounts
    from agent.host.looks import Looks
    from agent.host.programs import Programs
    from agent.host.secrets import Secrets
    from agent.steps import Check, MakeDirectory, Remove, SetAccess, Write

RUN = "/run/agent"
"""Where candidates are put to be checked."""


@dataclass(frozen=True)
class FileFacts:
    """What stands at a path. ``kind`` is file, directory, link or other; ``target`` is a link's."""

    kind: str
    mode: int
    owner: str
    group: str
    digest: bytes = field(default=b"", repr=False)
    target: str = ""


class Files:
    """Reads through questions; changes durably and without following a link that others than root can plant."""

    def __init__(self, looks: Looks, accounts: Accounts, secrets: Secrets, programs: Programs) -> None:
        self._looks = looks
        self._accounts = accounts
        self._secrets = secrets
        self._programs = programs
        self._lock = threading.Lock()
        self._checks = 0

    def facts(self, path: str) -> FileFacts | None:
        """What stands at the path, itself never followed; None when nothing does."""
        answer = self._looks.ask("file", path)
        if answer is None:
            return None
        mode, uid, gid, _links, found = answer
        kind = "other"
        for name, test in (("file", stat.S_ISREG), ("directory", stat.S_ISDIR), ("link", stat.S_ISLNK)):
            if test(mode):
                kind = name
        return FileFacts(
            kind,
            stat.S_IMODE(mode),
            self._accounts.user_name(uid),
            self._accounts.group_name(gid),
            found if kind == "file" else b"",
            os.fsdecode(found) if kind == "link" else "",
        )

    def content(self, path: str, limit: int = 1 << 20) -> bytes | None:
        """A regular file's bytes; None when none stands there. Raises HostError when it has more than ``limit``."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._looks.ask("file", path)  # nothing, or nothing that can be read as a file: the question says which
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            self._looks.ask("file", path)
            return None
        with open(descriptor, "rb") as file:
            found = file.read(limit + 1)
        if len(found) > limit:
            raise HostError(f"{path} has more than {limit} bytes", hint="put a smaller file there")
        answer = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, look.digest(found))
        self._looks.saw(("file", path), answer)
        return found

    def names(self, path: str) -> tuple[str, ...] | None:
        """The sorted names in a directory; None when it is none."""
        found: tuple[str, ...] | None = self._looks.ask("names", path)
        return found

    def filled(self, content: Content) -> bytes | None:
        """The bytes, with every secret in its slot; None while a secret does not exist. Raises HostError."""
        pieces = []
        for piece in content.pieces:
            if isinstance(piece, Slot):
                value = self._secrets.value(piece.secret)
                if value is None:
                    return None
                pieces.append(quoted(value, piece))
            else:
                pieces.append(piece)
        return "".join(pieces).encode()

    def write(self, step: Write) -> None:
        """Replaces a file, once its check accepts the candidate; makes missing parents. Raises HostError."""
        data = self.filled(step.content)
        if data is None:
            missing = next(str(each) for each in step.content.secrets if self._secrets.value(each) is None)
            raise HostError(f"cannot write {step.path}: there is no secret at {missing}", hint="make it first")
        check = step.check
        durable.replace(
            step.path,
            data,
            mode=step.mode,
            owner=self._accounts.uid(step.owner),
            group=self._accounts.gid(step.group),
            below=self._below(step.below),
            check=(lambda candidate: self._accept(step.path, candidate, check)) if check else None,
            parents=True,
        )

    def make_directory(self, step: MakeDirectory) -> None:
        """Makes a directory or sets its access. Raises HostError."""
        owner, group = self._accounts.uid(step.owner), self._accounts.gid(step.group)
        durable.make_directory(step.path, step.mode, owner, group, below=self._below(step.below))

    def set_access(self, step: SetAccess) -> None:
        """Sets owner and mode. Raises HostError."""
        owner, group = self._accounts.uid(step.owner), self._accounts.gid(step.group)
        durable.set_access(step.path, step.mode, owner, group, below=self._below(step.below))

    def remove(self, step: Remove) -> None:
        """Removes what the step names. Raises HostError."""
        durable.remove(step.path, below=self._below(step.below), tree=step.tree)

    def clear_leftovers(self, before: float) -> bool:
        """Removes temporary files of runs that were killed from the directories of all files that were asked about.

        Those from before a moment, in seconds since the epoch. Returns whether there were any.
        """
        directories = {os.path.dirname(question[1]) for question in tuple(self._looks.answers) if question[0] == "file"}
        return sum(_clear(directory, before) for directory in sorted(directories)) > 0

    def _below(self, user: str | None) -> int | None:
        return None if user is None else self._accounts.uid(user)

    def _accept(self, path: str, candidate: bytes, check: Check) -> None:
        """Lets the check's program look at the candidate, as its user. Raises HostError with its last words."""
        account = self._accounts.user(check.user)
        if account is None:
            raise HostError(f"there is no account {check.user!r} to check {path} as")
        directory = self._directory_for_check()
        try:
            durable.make_directory(directory, 0o750, 0, account.gid)
            durable.replace(f"{directory}/{check.name}", candidate, mode=0o640, group=account.gid)
            places = {"{directory}": directory, "{file}": f"{directory}/{check.name}"}
            done = self._programs.run(
                [_placed(word, places) for word in check.argv],
                user=None if check.user == "root" else check.user,
                environment={name: _placed(value, places) for name, value in check.environment},
                timeout=check.timeout,
                cwd=directory,
            )
        finally:
            durable.remove(directory, tree=True)
        if done.status != 0:
            kind = Unhealthy if done.status > 0 else HostError  # a signal says nothing about the candidate
            raise kind(
                f"{path} stays as it is: {check.argv[0]} {ended(done.status)} on the new one: {done.last_words()}",
                hint="correct what the spec says about it",
            )

    def _directory_for_check(self) -> str:
        """A name that is new; what killed runs left is removed."""
        with self._lock:
            self._checks += 1
            ours = f"check-{os.getpid()}-"
            os.makedirs(RUN, mode=0o755, exist_ok=True)
            for name in os.listdir(RUN):
                if name.startswith("check-") and not name.startswith(ours):
                    shutil.rmtree(f"{RUN}/{name}", ignore_errors=True)
            return f"{RUN}/{ours}{self._checks}"


def quoted(value: str, slot: Slot) -> str:
    """A secret as the language around its slot writes it. Raises HostError for one that it cannot hold."""
    if slot.quoting == "raw":
        return value
    if slot.quoting == "py":
        return repr(str(value))
    if slot.quoting not in ("cnf", "client", "line"):
        raise ValueError(f"a slot is quoted raw, py, cnf, client or line, not {slot.quoting!r}")
    ends = slot.quoting != "cnf" and value != value.strip()
    if ends or any(not each.isprintable() for each in value):
        raise HostError(
            f"the secret at {slot.secret} has a control character in it, or a blank at its beginning or end",
            hint="an option file of MySQL cannot hold that for every client: choose another password",
        )
    if slot.quoting == "line":
        return value
    return option_files.password_of_client(value) if slot.quoting == "client" else option_files.quoted_for_c(value)


def _clear(path: str, before: float) -> bool:
    found = False
    try:
        directory = durable.open_directory(path)
    except (OSError, HostError):  # gone, or nothing of the agent's
        return False
    try:
        for name in os.listdir(directory):
            if name[0] == "." and name.endswith(durable.NEW):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode) and status.st_ctime < before:
                    os.unlink(name, dir_fd=directory)
                    found = True
    except OSError:  # nothing that a pass should fail for
        pass
    finally:
        os.close(directory)
    return found


def _placed(text: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        text = text.replace(name, place)
    return text
