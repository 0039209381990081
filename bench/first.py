"""The first apply of the quickstart on an empty host, and what was done when.

    sudo python3 -m bench.first

Prints a line for each resource: when it began, how long it took, and a bar; resources that wait for each other's programs overlap.
"""

from __future__ import annotations

import json
import sys

from agent.sandbox import Machine
from tests.system import roots

WIDTH = 60


def main() -> int:
    with Machine(roots.bare_root("bookworm"), network=True, binds=[roots.channel_bind()]) as machine:
        roots.write_spec(machine, roots.QUICKSTART)
        done = machine.unit_run(["agent", "apply", "--yes", "--json"], timeout=900, check=False)
        report = json.loads(done.stdout)
    total = report["seconds"]
    for line in sorted(report["outcomes"], key=lambda each: each["started"]):
        if line["seconds"] < total / 200:
            continue
        before = round(line["started"] / total * WIDTH)
        bar = max(1, round(line["seconds"] / total * WIDTH))
        print(
            f"{line['started']:6.1f}s {line['seconds']:6.1f}s {' ' * before}{'#' * bar:{WIDTH - before}} {line['ref']}"
        )
    busy = sum(line["seconds"] for line in report["outcomes"])
    print(f"{total:6.1f}s in all; one after the other it would have been {busy:.1f}s")
    return int(report["exit_status"])


if __name__ == "__main__":
    sys.exit(main())
