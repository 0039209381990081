"""How long an apply takes that finds nothing to do, beside the bare interpreter and a hand-written script with guards.

    sudo python3 -m bench.noop [--runs 40]

Boots a throw-away host, applies a spec in it (account, files, certificate, MariaDB with databases, users and grants, a unit), and measures fresh processes
there, in turns, so that whatever else the machine does hits all of them alike. Prints medians of wall and CPU time, and their ratios. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from agent.sandbox import Bind, Machine, layer
from agent.sandbox.installed import agent_root

HERE = Path(__file__).resolve().parent
LAYER = "apt-get -qq update; apt-get -qq install -y --no-install-recommends mariadb-server >/dev/null"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=40)
    arguments.add_argument("--files", type=int, default=1000)
    arguments.add_argument("--users", type=int, default=200)
    options = arguments.parse_args()
    lower = layer(agent_root("bookworm"), LAYER, "mariadb")
    with Machine(lower, binds=[Bind(HERE, Path("/srv/bench"))]) as machine:
        for files, users in ((0, 0), (options.files, 0), (0, options.users)):
            spec = _spec(files, users)
            machine.run(
                ["sh", "-c", "umask 077; mkdir -p /etc/agent; cat >/etc/agent/spec.yaml"], stdin=json.dumps(spec)
            )
            first = machine.unit_run(["agent", "apply", "--yes"], timeout=600)
            again = machine.unit_run(["agent", "apply", "--yes"])
            if not again.stdout.startswith("No changes"):
                print(first.stdout, again.stdout, file=sys.stderr)
                return 1
            machine.run(["python3", "/srv/bench/guards.py", str(files), str(users)])
            measured = machine.unit_run(["python3", "/srv/bench/measure.py", str(options.runs)], timeout=1200)
            print(f"-- {files} more files, {users} more database users")
            print(measured.stdout, end="", flush=True)
    return 0


def _spec(files: int, users: int) -> dict[str, object]:
    names = [f"u{number}" for number in range(users)]
    return {
        "user": {"name": "notebook"},
        "mysql": {
            "databases": ["analysis"],
            "users": {name: {"grants": {"analysis": ["ALL"]}} for name in ["notebook", *names]},
        },
        "files": {
            "/etc/demo": {"directory": True},
            "/etc/demo/a.conf": {"content": "a = 1\n"},
            **{f"/etc/demo/f{number}.conf": {"content": f"number = {number}\n" * 4} for number in range(files)},
        },
        "units": {
            "cron-like.service": {
                "content": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
                "active": True,
            }
        },
    }


if __name__ == "__main__":
    sys.exit(main())
