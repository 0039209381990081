"""Files that are replaced durably or not at all; paths on which no planted link is followed. Knows owners by number.

How a directory is reached: component by component, each opened on the descriptor of the one before with O_NOFOLLOW. A
link on the way is followed only where none but root can have planted it: it is root's, and so is the directory that it
stands in, which nobody else may write. Once the way has left root's directories it stays with one owner and root
(systemd calls the contrary an unsafe transition).

Imports little, because the status file is written with it after every pass.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    Accept = Callable[[bytes], None]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = ".agent-new"
"""How names of temporary files end. There is one for each file, so the next write finds what a killed run left."""
_LINKS = 40
_WAYS_OUT = {
    errno.ENOSPC: "make room on that file system, then apply again",
    errno.EDQUOT: "make room on that file system, then apply again",
    errno.EROFS: "the file system is read-only: look in the kernel's log for the cause, then remount it",
    errno.EBUSY: "something is mounted there; unmount it, or take the path out of the spec",
    errno.EISDIR: "a directory stands there, which is never removed for being in the way; move it elsewhere",
    errno.ENOENT: "make its directory first",
}


def replace(
    path: str,
    data: bytes,
    *,
    mode: int,
    owner: int | None = None,
    group: int | None = None,
    below: int | None = None,
    check: Accept | None = None,
    parents: bool = False,
) -> bool:
    """Makes the file at ``path`` hold exactly ``data``: a reader sees the old or the new, whole, with its final access.

    Returns False, having touched nothing, when all that is so already. Once it returns, a power cut does not undo it.
    ``owner`` and ``group`` are numbers, None the agent's own; ``below`` is the uid of the account in whose home the path lies. ``check`` is
    called with the data before the file is replaced and may raise. ``parents`` makes missing directories as
    ``make_directory`` does. A link that stands at ``path`` is replaced, not followed. Raises HostError.
    """
    directory, name = os.path.split(path)
    try:
        descriptor = open_directory(directory, below=below, parents=parents)
        try:
            access = (mode, os.geteuid() if owner is None else owner, os.getegid() if group is None else group)
            if _stands(descriptor, name, data, access):
                return False
            if check is not None:
                check(data)
            _replace(descriptor, name, data, access)
        finally:
            os.close(descriptor)
    except OSError as error:
        _refuse(f"cannot write {path}", error)
    return True


def replace_link(path: str, target: str, *, below: int | None = None) -> None:
    """Makes ``path`` a link to ``target``, atomically. Raises HostError."""
    directory, name = os.path.split(path)
    try:
        descriptor = open_directory(directory, below=below)
        try:
            _unlink(descriptor, _temporary(name))
            os.symlink(target, _temporary(name), dir_fd=descriptor)
            os.rename(_temporary(name), name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        _refuse(f"cannot make the link {path}", error)


def make_directory(path: str, mode: int, owner: int, group: int, *, below: int | None = None) -> None:
    """Makes a directory, or gives the one that stands there this owner and mode. Raises HostError.

    A missing parent gets mode 0755 and the owner of the directory that it is made in.
    """
    directory, name = os.path.split(os.path.normpath(path))
    try:
        parent = open_directory(directory, below=below, parents=True)
        try:
            descriptor = _enter_or_make(parent, name, 0o700)
            try:
                _set_access(descriptor, mode, owner, group)
            finally:
                os.close(descriptor)
            os.fsync(parent)
        finally:
            os.close(parent)
    except OSError as error:
        _refuse(f"cannot make the directory {path}", error)


def set_access(path: str, mode: int, owner: int, group: int, *, below: int | None = None) -> None:
    """Gives a file or directory this owner and mode. Raises HostError.

    Refuses a link, and a file with a second name: that may be one of root's.
    """
    directory, name = os.path.split(os.path.normpath(path))
    try:
        parent = open_directory(directory, below=below)
        try:
            descriptor = os.open(name, _EXISTING, dir_fd=parent)
        finally:
            os.close(parent)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                _refuse(f"{path} has {status.st_nlink} names (hard links)", hint="replace it by a copy of itself")
            _set_access(descriptor, mode, owner, group)
        finally:
            os.close(descriptor)
    except OSError as error:
        _refuse(f"cannot set the access to {path}", error)


def remove(path: str, *, below: int | None = None, tree: bool = False) -> None:
    """Removes a file, a link or an empty directory; with ``tree`` also what is below it on the same file system.

    What is gone already is fine. Raises HostError.
    """
    directory, name = os.path.split(os.path.normpath(path))
    try:
        parent = open_directory(directory, below=below)
        try:
            _unlink(parent, _temporary(name))
            _remove(parent, name, tree=tree)
            os.fsync(parent)
        finally:
            os.close(parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            _refuse(f"the directory {path} is not empty", hint="move elsewhere what is in it, then apply again")
        _refuse(f"cannot remove {path}", error)


def read(path: str, limit: int, *, below: int | None = None) -> tuple[os.stat_result, bytes] | None:
    """Status and content of a regular file, or status and target of a link, reached as safely as for writing.

    None when nothing or something else stands there. Raises HostError, also when it has more bytes than ``limit``.
    """
    directory, name = os.path.split(path)
    try:
        parent = open_directory(directory, below=below)
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return status, os.fsencode(os.readlink(name, dir_fd=parent))
            descriptor = os.open(name, _EXISTING, dir_fd=parent)
        finally:
            os.close(parent)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_size > limit:
                _refuse(f"{path} has {status.st_size} bytes, more than {limit}", hint="move it elsewhere")
            return status, _content(descriptor, status.st_size)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _refuse(f"cannot read {path}", error)


def open_directory(path: str, *, below: int | None = None, parents: bool = False) -> int:
    """A descriptor of the directory at ``path``, reached as the module's docstring says; the caller closes it.

    ``below`` is the only uid beside root's that a component may belong to. ``parents`` makes missing components.
    Raises OSError, and HostError for a way that is not safe.
    """
    if not path.startswith("/") or ".." in path.split("/"):
        _refuse(f"a path must be absolute and without '..', got {path!r}")
    todo = _components(path)
    owner, links = below, 0
    descriptor = os.open("/", _DIRECTORY)
    try:
        while todo:
            name = todo.pop()
            target = _link(descriptor, name, path)
            if target is not None:
                links += 1
                if links > _LINKS:
                    _refuse(f"too many links on the way to {path}")
                todo += _components(target)
                if target.startswith("/"):
                    descriptor = _swap(descriptor, os.open("/", _DIRECTORY))
                continue
            descriptor = _swap(descriptor, _enter_or_make(descriptor, name) if parents else _enter(descriptor, name))
            uid = os.fstat(descriptor).st_uid
            if uid not in (0, owner):
                if owner is not None:
                    _refuse(
                        f"on the way to {path}, {name!r} belongs to uid {uid}: only root and uid {owner} are trusted"
                    )
                owner = uid
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def unlink(path: str) -> None:
    """Removes one of the agent's own files, durably; what is gone already is fine. Raises HostError."""
    remove(path)


def sync_directory(path: str) -> None:
    """Makes what was made, renamed and removed in a directory last through a power cut."""
    descriptor = os.open(path, _DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _components(path: str) -> list[str]:
    """The last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _link(directory: int, name: str, path: str) -> str | None:
    """Where the link of this name points; None when it is none. Refuses one that others than root can have planted."""
    try:
        target = os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise
    status = os.fstat(directory)  # nobody but root can exchange the link between these lines, if the answers are root's
    link = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if status.st_uid != 0 or status.st_mode & 0o022 or link.st_uid != 0:
        _refuse(
            f"on the way to {path}, {name!r} is a link that someone other than root can have planted",
            hint="put a directory in its place, or name the path that it points to",
        )
    return target


def _enter(directory: int, name: str) -> int:
    return os.open(name, _DIRECTORY, dir_fd=directory)


def _enter_or_make(directory: int, name: str, mode: int = 0o755) -> int:
    try:
        return _enter(directory, name)
    except FileNotFoundError:
        pass
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
    except FileExistsError:
        return _enter(directory, name)
    os.fsync(directory)
    descriptor = _enter(directory, name)
    above = os.fstat(directory)
    _set_access(descriptor, mode, above.st_uid, above.st_gid)
    return descriptor


def _swap(old: int, new: int) -> int:
    os.close(old)
    return new


def _set_access(descriptor: int, mode: int, owner: int, group: int) -> None:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (owner, group):
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & mode & 0o777)  # never more than both, for either owner
        os.fchown(descriptor, owner, group)
        status = os.fstat(descriptor)
    if stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(descriptor, mode)


def _temporary(name: str) -> str:
    return "." + os.fsdecode(os.fsencode(name)[:200]) + NEW


def _stands(directory: int, name: str, data: bytes, access: tuple[int, int, int]) -> bool:
    mode, owner, group = access
    try:
        descriptor = os.open(name, _EXISTING, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENODEV):
            return False
        raise
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        wanted = (stat.S_IFREG | mode, owner, group, len(data))
        if (status.st_mode, status.st_uid, status.st_gid, status.st_size) != wanted:
            return False
        return _content(descriptor, len(data)) == data
    finally:
        os.close(descriptor)


def _content(descriptor: int, size: int) -> bytes:
    pieces = []
    while piece := os.read(descriptor, max(size + 1, 1 << 16)):
        pieces.append(piece)
    return b"".join(pieces)


def _replace(directory: int, name: str, data: bytes, access: tuple[int, int, int]) -> None:
    mode, owner, group = access
    temporary = _temporary(name)
    descriptor = _create(directory, temporary)
    try:
        try:
            if (os.geteuid(), os.getegid()) != (owner, group):
                os.fchown(descriptor, owner, group)
            os.fchmod(descriptor, mode)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        _unlink(directory, temporary)
        raise
    try:
        os.fsync(directory)
    except OSError as error:
        from agent.errors import Undurable

        raise Undurable(f"{name} is written, but may not outlast a power cut: {error.strerror}") from error


def _create(directory: int, temporary: str) -> int:
    for _ in range(8):  # whoever may write the directory can put the name back, but not for ever
        try:
            return os.open(temporary, _FRESH, 0o600, dir_fd=directory)
        except FileExistsError:
            _remove(directory, temporary, tree=False)
    raise OSError(errno.EEXIST, "someone keeps making the temporary file", temporary)


def _unlink(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass


def _remove(directory: int, name: str, *, tree: bool, device: int | None = None) -> None:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=directory)
        return
    if tree:
        descriptor = _enter(directory, name)
        try:
            here = os.fstat(descriptor).st_dev
            if here != (device or os.fstat(directory).st_dev):
                _refuse(f"a file system is mounted at {name!r}", hint="unmount it, then apply again")
            for each in os.listdir(descriptor):
                _remove(descriptor, each, tree=True, device=here)
        finally:
            os.close(descriptor)
    os.rmdir(name, dir_fd=directory)


def _refuse(what: str, error: OSError | None = None, *, hint: str = "") -> NoReturn:
    from agent.errors import HostError

    if error is None:
        raise HostError(what, hint=hint)
    raise HostError(f"{what}: {error.strerror}", hint=_WAYS_OUT.get(error.errno or 0, hint)) from error
