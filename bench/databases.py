"""What looking after many database accounts costs: made from nothing, found as wanted by the short way and by the full pass.

    sudo python3 -m bench.databases [--servers mariadb-11.8,mysql-9.7] [--users 20,200,2000] [--runs 15]

Boots a throw-away host for each server and measures fresh processes there (bench/inside_databases.py), in turns, beside the bare interpreter, a bare Python
that asks the server what the agent asks it, and the server's client that shows the grants of each account. Each account has two grants. What the agent keeps
is on a disk of this system, as waiting for one is part of the cost. Prints the best of the runs, ratios and what an account more costs. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from agent.sandbox import Bind, Machine
from tests.system import database_hosts

HERE = Path(__file__).resolve().parent


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--servers", default="mariadb-11.8,mysql-9.7")
    arguments.add_argument("--users", default="20,200,2000", help="how many accounts, a comma between")
    arguments.add_argument("--runs", type=int, default=15)
    options = arguments.parse_args()
    for server in options.servers.split(","):
        root = database_hosts.database_root(server)
        with tempfile.TemporaryDirectory(dir="/var/tmp") as state, Machine(root, binds=_binds(Path(state))) as machine:
            machine.run(["systemctl", "start", database_hosts.unit(machine)])
            print(f"-- {server}", flush=True)
            program = ["python3", "-m", "bench.inside_databases", database_hosts.client(machine), options.users]
            done = machine.unit_run([*program, str(options.runs)], "WorkingDirectory=/srv", timeout=3600, check=False)
        print(done.stdout, end="", flush=True)
        print(done.stderr, end="", file=sys.stderr)
        if done.status:
            return done.status
    return 0


def _binds(state: Path) -> list[Bind]:
    state.chmod(0o755)
    return [Bind(HERE, Path("/srv/bench")), Bind(state, Path("/var/lib/agent"), writable=True)]


if __name__ == "__main__":
    sys.exit(main())
