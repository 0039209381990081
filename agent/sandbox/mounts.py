"""Mounts of throw-away roots: overlays over cached layers, and taking down whatever lies below a directory."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from agent.errors import HostError
from agent.sandbox.programs import attempt, run


def overlay(layers: tuple[Path, ...], upper: Path, work: Path, at: Path) -> None:
    """Mounts layers (topmost first) below a writable upper directory.

    Renames of directories and metadata-only copies stay off, so that an upper directory can be a layer of another
    overlay later (https://docs.kernel.org/filesystems/overlayfs.html).
    """
    for path in (*layers, upper, work):
        if set(str(path)) & set(":,\\"):
            raise HostError(f"{path}: an overlay cannot be made of a path with a colon, comma or backslash")
    options = [
        f"lowerdir={':'.join(map(str, layers))}",
        f"upperdir={upper}",
        f"workdir={work}",
        "index=off",
        "redirect_dir=off",
        "metacopy=off",
    ]
    hint = "the cache must lie on a plain file system such as ext4, not on another overlay: set AGENT_CACHE"
    run("mount", "-t", "overlay", "overlay", "-o", ",".join(options), at, hint=hint)


def tmpfs(at: Path, size: str) -> None:
    """Mounts an empty RAM disk of at most ``size``, as mount(8) spells it: ``4g``."""
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "agent", at)


def below(directory: Path) -> list[str]:
    """Mount points at or under a directory, innermost first (proc_pid_mountinfo(5): field 5, octal escapes)."""
    top = os.path.realpath(directory)
    points = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4])
        if point == top or point.startswith(top + "/"):
            points.append(point)
    return points[::-1]


def unmount_below(directory: Path) -> None:
    """Nothing is mounted at or under the directory afterwards. Raises HostError if something stays."""
    for point in below(directory):
        if not attempt("umount", point):
            attempt("umount", "--lazy", point)
    left = below(directory)
    if left:
        raise HostError(f"{left[0]} cannot be unmounted", hint=f"see who uses it: fuser -vm {left[0]}")


def remove_tree(directory: Path) -> None:
    """Deletes a directory and what is in it, after making sure that nothing is mounted there."""
    if directory.exists():
        unmount_below(directory)
        shutil.rmtree(directory)
