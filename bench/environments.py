"""What conda environments cost: create, update, repair, go back, look whether all is well; beside py-rattler alone, and beside venv with pip.

    sudo python3 -m bench.environments [--runs 3] [--environments 50]

Boots a throw-away host that serves a small conda channel to itself and measures there (bench/inside_environments.py), everything in turns. All have the same
31 packages (Python 3.11, ipykernel, pip and what they need; pip has the same as wheels in a directory). Prints the best of the runs, and ratios.
Nothing is asserted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agent.sandbox import Bind, Machine
from tests.channel.build import cache_directory
from tests.system import roots

HERE = Path(__file__).resolve().parent


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--environments", type=int, default=50)
    options = arguments.parse_args()
    roots.channel()  # whose wheels are kept
    wheels = max((cache_directory() / "wheels").glob("py311-*"), key=lambda path: path.stat().st_mtime)
    binds = [roots.channel_bind(), Bind(HERE, Path("/srv/bench")), Bind(wheels, Path("/srv/wheels"))]
    with Machine(roots.bare_root("bookworm"), binds=binds) as machine:
        words = [roots.CHANNEL_URL, str(options.runs), str(options.environments)]
        program = ["python3", "-m", "bench.inside_environments", *words]
        done = machine.unit_run(program, "WorkingDirectory=/srv", timeout=3600, check=False)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return done.status


if __name__ == "__main__":
    sys.exit(main())
