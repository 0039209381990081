"""Runs inside the throw-away host of bench.databases: measures, and prints a table. Standard library only.

inside_databases.py CLIENT USERS,USERS,... RUNS
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.measure import once

AGENT = "/usr/local/bin/agent"
EVIDENCE = Path("/var/lib/agent/evidence")
SPEC = Path("/etc/agent/spec.yaml")
SOCKET = "/run/mysqld/mysqld.sock"
BARE = f"""
import sys
from MySQLdb import _mysql
connection = _mysql.connect(user="root", unix_socket="{SOCKET}")
for statement in sys.stdin.read().splitlines():
    connection.query(statement)
    connection.store_result().fetch_row(maxrows=0)
"""
STATEMENTS = """
import sys
from agent import evidence
print(*(q[2] for q in evidence.load(sys.argv[1], sys.argv[2]).questions if q[0] == "rows"), sep="\\n")
"""
COUNT = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", "/root/calls"]


def write_spec(users: int) -> None:
    accounts = {
        f"u{number}": {"grants": {"analysis": ["ALL"], "shop_db": ["SELECT", "INSERT"]}} for number in range(users)
    }
    mysql = {"server": "external", "socket": SOCKET, "databases": ["analysis", "shop_db"], "users": accounts}
    SPEC.parent.mkdir(mode=0o700, exist_ok=True)
    SPEC.write_text(json.dumps({"mysql": mysql}))
    SPEC.chmod(0o600)


def prepare_others(users: int, client: str) -> dict[str, list[str]]:
    """The commands that are measured beside the agent."""
    names = "".join(
        f"SHOW CREATE USER u{number}@localhost; SHOW GRANTS FOR u{number}@localhost;\n" for number in range(users)
    )
    Path("/root/grants.sql").write_text(names)
    Path("/root/bare.py").write_text(BARE)
    python = "/opt/agent/bin/python3"
    asked = subprocess.run([python, "-c", STATEMENTS, EVIDENCE, SPEC], capture_output=True, text=True, check=True)
    Path("/root/asked").write_text(asked.stdout)
    return {
        "python3 -I -c pass": ["/usr/bin/python3", "-I", "-c", "pass"],
        "python3, the same queries": ["/bin/sh", "-c", "exec /usr/bin/python3 -I /root/bare.py </root/asked"],
        f"{client}, SHOW GRANTS of each": ["/bin/sh", "-c", f"exec {client} --batch </root/grants.sql"],
        "agent apply, short way": [AGENT, "apply"],
        "agent apply, full pass": [AGENT, "apply"],
    }


def best(commands: dict[str, list[str]], runs: int) -> dict[str, tuple[float, ...]]:
    """The least milliseconds, wall and CPU: whatever else the machine does only adds to them."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, argv in commands.items():
            if "full" in name:
                EVIDENCE.unlink()
            found[name].append(once(argv))
    return {name: tuple(min(each) * 1000 for each in zip(*times, strict=True)) for name, times in found.items()}


def made_from_nothing(users: int) -> None:
    write_spec(0)
    once([AGENT, "apply", "--yes"])
    write_spec(users)
    wall, cpu = once([AGENT, "apply", "--yes"])
    print(f"{users:5} users from nothing: {wall:.2f} s, {cpu:.2f} s of the agent's CPU", flush=True)


def waits_for_the_disk(users: int) -> None:
    write_spec(0)
    once([AGENT, "apply", "--yes"])
    write_spec(users)
    subprocess.run([*COUNT, AGENT, "apply", "--yes"], stdout=subprocess.DEVNULL, check=True)
    rows = [line.split() for line in Path("/root/calls").read_text().splitlines()]
    count = sum(int(row[3]) for row in rows if row and row[-1] in ("fsync", "fdatasync"))
    print(f"{users:5} users from nothing: {count} times to the disk")


def main() -> None:
    client, runs = sys.argv[1], int(sys.argv[3])
    counts = [int(word) for word in sys.argv[2].split(",")]
    os.chdir("/root")
    waits_for_the_disk(min(counts))
    table: dict[int, dict[str, tuple[float, ...]]] = {}
    for users in counts:
        made_from_nothing(users)
        once([AGENT, "apply"])
        table[users] = best(prepare_others(users, client), runs)
    few, many = min(counts), max(counts)
    print(
        f"{'':30}"
        + "".join(f"{f'{users}: wall':>12}{'cpu ms':>9}{'/python':>9}" for users in counts)
        + f"{'cpu us/user':>13}"
    )
    for name in table[few]:
        line = f"{name:30}"
        for users in counts:
            wall, cpu = table[users][name]
            line += f"{wall:12.1f}{cpu:9.1f}{cpu / table[users]['python3 -I -c pass'][1]:9.2f}"
        growth = (table[many][name][1] - table[few][name][1]) / max(many - few, 1) * 1000
        print(f"{line}{growth:13.1f}")


if __name__ == "__main__":
    main()
