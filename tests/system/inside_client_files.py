"""Runs inside a throw-away host, with the agent's own Python: writes the option file that each spec named on standard input (path by line) asks for."""

from __future__ import annotations

import sys

from agent.host.machine import Host
from agent.kinds.file import File
from agent.resource import Action, Change
from agent.wanted import want


def main() -> None:
    host = Host()
    for path in sys.stdin.read().split():
        (file,) = (each for each in want(path, host).resources.values() if isinstance(each, File) and "nb" in each.name)
        for step in file.steps(Change(file, Action.CREATE, desired=file.desired())):
            host.perform(step)


if __name__ == "__main__":
    main()
