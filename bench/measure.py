"""Runs commands in turns and prints medians and ratios. Standard library only: it runs inside the throw-away host."""

import os
import statistics
import sys
import time

COMMANDS = {
    "python3 -I -c pass": ["/usr/bin/python3", "-I", "-c", "pass"],
    "guards.sh (bash)": ["/bin/bash", "/root/guards.sh"],
    "agent apply": ["/usr/local/bin/agent", "apply"],
}


def once(argv: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one fresh process; it must succeed."""
    begun = time.perf_counter()
    actions = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    pid = os.posix_spawn(argv[0], argv, dict(os.environ), file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{argv}: exit status {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime


def main() -> None:
    runs = int(sys.argv[1])
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, argv in COMMANDS.items():
            found[name].append(once(argv))
    medians = {
        name: tuple(statistics.median(each) * 1000 for each in zip(*times, strict=True))
        for name, times in found.items()
    }
    bare, bash = medians["python3 -I -c pass"], medians["guards.sh (bash)"]
    print(f"{'':22}{'wall ms':>9}{'cpu ms':>9}{'wall/python':>13}{'wall/bash':>11}{'cpu/bash':>10}")
    for name, (wall, cpu) in medians.items():
        print(f"{name:22}{wall:9.1f}{cpu:9.1f}{wall / bare[0]:13.2f}{wall / bash[0]:11.2f}{cpu / bash[1]:10.2f}")


if __name__ == "__main__":
    main()
