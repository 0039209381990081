"""Runs inside a throw-away host: applies are killed, or refused something, at one system call after the other.

    inside_crash.py < {"specs": [A, B], "files": [...], "inject": "signal=KILL", "share": [n, of]}     prints a JSON list of what came of each

Each point is a call that changes something, on one path, found by tracing an apply from A to B. At each point the spec is exchanged for the other
one, with a new password for a database account, and applied; then it is applied once more, undisturbed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys

SPEC = "/etc/agent/spec.yaml"
CALLS = ["write", "pwrite64", "fsync", "fchmod", "fchown", "ftruncate", "renameat", "rename", "unlinkat", "mkdir"]
TALK = ["sendto", "wait4"]
TALKS = re.compile(r"^(\d+) +(sendto|wait4)\(")
OURS = re.compile(r"/(etc|srv|home|var/lib/agent)(/|$)")
CALL = re.compile(r'^(\d+) +(\w+)\((?:(?:\d+|AT_FDCWD)<(/[^>]*)>|"([^"]+)")')
STARTS = "/run/ticker.starts"
PASSWORDS = itertools.count()


def apply(*before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, "agent", "apply", "--yes"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def write_spec(text: str) -> None:
    with open(SPEC + ".new", "w") as file:
        file.write(text)
    os.rename(SPEC + ".new", SPEC)
    password = f"password-number-{os.getpid()}-{next(PASSWORDS)}"
    subprocess.run(
        ["agent", "secret", "set", "mysql.reader"], input=password, text=True, capture_output=True, check=True
    )


def points(kill: bool) -> list[tuple[str, str, int]]:
    """(call, path, how many-th on one thread), in the order in which they were first met. ``{N}`` stands for the number of the next generation.

    To be killed at, also every tenth thing said to systemd or the database server, and each wait for a program; these have no path.
    """
    trace = "/run/crash.trace"
    done = apply("strace", "-f", "-y", "-qq", "-o", trace, "-e", "trace=" + ",".join(CALLS + TALK * kill))
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[tuple[str, str, int], None] = {}
    counts: dict[tuple[str, str, str], int] = {}
    with open(trace, errors="replace") as file:
        for line in file:
            if match := TALKS.match(line):
                counts[match[1], match[2], ""] = count = counts.get((match[1], match[2], ""), 0) + 1
                if match[2] == "wait4" or count % 10 == 1:
                    found.setdefault((match[2], "", count))
            match = CALL.match(line)
            if match is None:
                continue
            thread, call, path = (
                match[1],
                match[2],
                re.sub(r"generations/\.\d+", "generations/.{N}", match[3] or match[4]),
            )
            if OURS.match(path):
                counts[thread, call, path] = counts.get((thread, call, path), 0) + 1
                found.setdefault((call, path, counts[thread, call, path]))
    return [point for point in found if not re.search(r"generations/\d", point[1])]  # the oldest, which goes


def next_generation() -> int:
    return max(int(name) for name in os.listdir("/var/lib/agent/generations") if name.isdecimal()) + 1


def digests(paths: list[str]) -> dict[str, str]:
    return {path: subprocess.check_output(["sha256sum", path], text=True).split()[0] for path in paths}


def litter() -> list[str]:
    found = []
    for top in ("/etc", "/srv", "/home", "/var/lib/agent", "/run/agent"):
        for directory, names, files in os.walk(top):
            found += [f"{directory}/{name}" for name in files if name.endswith((".agent-new", ".damaged"))]
            found += [f"{directory}/{name}" for name in names if re.fullmatch(r"\.\d+|check-.*", name)]
    return found


def starts() -> int:
    with open(STARTS) as file:
        return len(file.readlines())


def main() -> None:
    asked = json.load(sys.stdin)
    kinds = []
    for text in asked["specs"]:
        write_spec(text)
        done = apply()
        assert done.returncode == 0, done.stdout + done.stderr
        kinds.append(digests(asked["files"]))
    write_spec(asked["specs"][0])
    share, of = asked["share"]
    results = []
    specs = itertools.cycle([asked["specs"][1], asked["specs"][0]])
    for number, (call, path, when) in enumerate(points(kill=asked["inject"].startswith("signal"))):
        if number % of != share:
            continue
        started = starts()
        write_spec(next(specs))
        inject = f"{call}:{asked['inject']}:when={when}"
        where = ["-P", path.replace("{N}", str(next_generation()))] if path else []
        hit = apply("strace", "-f", "-qq", "-o", "/run/hit", *where, "-e", "trace=" + call, "-e", "inject=" + inject)
        with open("/run/hit") as file:
            met = bool(re.search(r"INJECTED|killed by SIGKILL", file.read()))
        between = digests(asked["files"])
        after = apply()
        results.append(
            {
                "point": f"{call} {path} {when}",
                "met": met,
                "status": hit.returncode,
                "said": hit.stdout + hit.stderr,
                "whole": all(between[each] in (kinds[0][each], kinds[1][each]) for each in between),
                "after": after.returncode,
                "said_after": after.stdout + after.stderr,
                "verify": subprocess.run(["agent", "verify", "-q"], capture_output=True, check=False).returncode,
                "starts": starts() - started,
                "litter": litter(),
            }
        )
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
