"""The part of bench/environments.py that runs inside the throw-away host. Standard library only.

inside_environments.py CHANNEL RUNS ENVIRONMENTS
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.measure import once

AGENT, PYTHON, WORKER = "/usr/local/bin/agent", "/usr/bin/python3", "/opt/agent/bin/python3"
ROOT, PLAIN, SPEC = Path("/opt/conda"), Path("/srv/plain"), Path("/etc/agent/spec.yaml")
CHANNEL, RUNS, MANY = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PACKAGES = ["python 3.11.*", "ipykernel", "pip"]
MORE = [*PACKAGES, "pymysql"]
CHECK = "import sys; from agent.workers.conda import main; main()"

found: dict[str, list[tuple[float, float]]] = {}


def timed(row: str, argv: list[str]) -> None:
    """Notes, in a row of the table, the wall seconds of a command, which must succeed, and the CPU seconds of the whole host meanwhile."""
    before = used()
    found.setdefault(row, []).append((once(argv)[0], used() - before))


def used() -> float:
    """CPU seconds of everything in this host so far: the agent's workers are no children of the agent, but of systemd."""
    try:
        return int(Path("/sys/fs/cgroup/cpuacct/cpuacct.usage").read_text()) / 1e9
    except FileNotFoundError:  # control groups v2
        return int(Path("/sys/fs/cgroup/cpu.stat").read_text().split()[1]) / 1e6


def declare(packages: dict[str, list[str]], kernels: tuple[str, ...] = ()) -> None:
    """A spec with these environments and one that is always there, so that the cache of packages stays."""
    environments = {name: {"packages": each, "kernel": name in kernels} for name, each in packages.items()}
    environments["toys"] = {"packages": ["toy-lib"], "kernel": False}
    SPEC.write_text(json.dumps({"user": {"name": "nb"}, "conda": {"environments": environments}}))
    SPEC.chmod(0o600)


def apply() -> None:
    subprocess.run([AGENT, "apply", "--yes"], check=True, stdout=subprocess.DEVNULL)


def plain(cache: str, prefix: str, packages: list[str], *options: str) -> list[str]:
    return [
        WORKER,
        "/srv/bench/plain_rattler.py",
        CHANNEL,
        f"{PLAIN}/{cache}",
        f"{PLAIN}/{prefix}",
        *packages,
        *options,
    ]


def one_run() -> None:
    with_agent()
    shutil.rmtree(PLAIN, ignore_errors=True)
    timed("py-rattler: create, nothing in the cache", plain("cache", "one", PACKAGES))
    timed("py-rattler: create", plain("cache", "two", PACKAGES))
    timed("py-rattler: create, then compileall", plain("cache", "three", PACKAGES, "--compile"))
    timed("py-rattler: add a package, in place", plain("cache", "one", MORE))
    timed("py-rattler: nothing to do", plain("cache", "one", MORE))
    timed("py-rattler: solve alone", plain("cache", "none", PACKAGES, "--only-solve"))
    script = f"python3 -m venv {PLAIN}/venv && {PLAIN}/venv/bin/python -m pip -q install --no-index --no-cache-dir -f /srv/wheels ipykernel"
    timed("venv and pip: create", ["/bin/sh", "-c", script])


def with_agent() -> None:
    subprocess.run(["rm", "-rf", f"{ROOT}/pkgs/pkgs"], check=True)
    declare({"one": PACKAGES})
    timed("agent apply: create, nothing in the cache", [AGENT, "apply", "--yes"])
    declare({})
    apply()
    declare({"one": PACKAGES})
    timed("agent apply: create", [AGENT, "apply", "--yes"])
    declare({"one": PACKAGES, "two": PACKAGES})
    timed("agent apply: create a second one", [AGENT, "apply", "--yes"])
    declare({"one": MORE, "two": PACKAGES})
    timed("agent apply: add a package", [AGENT, "apply", "--yes"])
    drift(ROOT / "envs/one")
    timed("agent apply: repair a package that is gone", [AGENT, "apply", "--yes"])
    timed("agent env rollback", [AGENT, "env", "rollback", "one"])
    timed("agent env update, nothing is newer", [AGENT, "env", "update", "two", "--yes"])
    timed("the worker's check", worker_check())
    declare({"one": MORE, "two": PACKAGES}, kernels=("two",))
    timed("agent apply: register a kernel and try it", [AGENT, "apply", "--yes"])
    declare({})
    apply()


def drift(prefix: Path) -> None:
    next(prefix.glob("conda-meta/wcwidth-*.json")).unlink()
    shutil.rmtree(prefix / "lib/python3.11/site-packages/wcwidth")


def worker_check() -> list[str]:
    request = {
        "verb": "check",
        "root": str(ROOT),
        "name": "two",
        "asked": {"channels": ["conda-forge"], "packages": PACKAGES},
    }
    Path("/srv/request").write_text(json.dumps(request))
    return [
        "/bin/sh",
        "-c",
        f"exec setpriv --reuid=nb --regid=nb --clear-groups {WORKER} -I -c '{CHECK}' </srv/request",
    ]


def many() -> None:
    """Passes that find nothing to do, with one environment and with many."""
    declare({"e0": PACKAGES})
    apply()
    best_of = {1: passes()}
    build = os.path.basename(os.readlink(ROOT / "envs/e0"))
    for number in range(1, MANY):
        copy(build, f"e{number}")
    subprocess.run(["chown", "-Rh", "nb:", ROOT / "envs", ROOT / "builds"], check=True)
    declare({f"e{number}": PACKAGES for number in range(MANY)})
    before = os.stat(ROOT / "builds/e1").st_mtime_ns
    apply()
    if os.stat(ROOT / "builds/e1").st_mtime_ns != before:
        sys.exit("the copies were not taken for environments that are as wanted")
    best_of[MANY] = passes()
    print(f"\n{'nothing to do, fresh processes, best of 15':44}{'wall ms':>9}{'cpu ms':>9}")
    for number, rows in best_of.items():
        for name, (wall, cpu) in rows.items():
            print(f"{f'{name}, {number + 1} environments':44}{wall:9.1f}{cpu:9.1f}")
    for name in ("agent apply", "agent verify"):
        each = (best_of[MANY][name][1] - best_of[1][name][1]) / (MANY - 1)
        print(f"{name}: {each * 1000:.0f} microseconds for an environment, {each * 50:.1f} ms for 50")


def copy(build: str, name: str) -> None:
    """Another environment, of which there is what a pass looks at when nothing changed: notes, records of packages, names in site-packages."""
    old, new = ROOT / "builds/e0", ROOT / f"builds/{name}"
    shutil.copytree(old / build / "conda-meta", new / build / "conda-meta")
    for notes in old.glob(f"{build}.*"):
        shutil.copy2(notes, new)
    for path in (old / build).glob("lib/python*/site-packages/*"):
        os.makedirs(new / build / path.relative_to(old / build))
    os.symlink(f"../builds/{name}/{build}", ROOT / f"envs/{name}")


def passes() -> dict[str, tuple[float, float]]:
    commands = {
        "python3 -I -c pass": [PYTHON, "-I", "-c", "pass"],
        "agent apply": [AGENT, "apply"],
        "agent verify": [AGENT, "verify"],
        "agent plan --json (the long way)": [AGENT, "plan", "--json"],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(15):
        for name, argv in commands.items():
            times[name].append(once(argv))
    return {
        name: (
            min(wall for wall, _ in each) * 1000,
            min(cpu for _, cpu in each) * 1000,
        )
        for name, each in times.items()
    }


def main() -> None:
    declare({})
    apply()
    for _ in range(RUNS):
        one_run()
    best = {row: tuple(map(min, zip(*times, strict=True))) for row, times in found.items()}
    unit = best["py-rattler: create"]
    print(f"{f'best of {RUNS}':46}{'wall s':>8}{'/ py-rattler':>14}{'cpu s':>8}{'/ py-rattler':>14}")
    for row, (wall, cpu) in best.items():
        print(f"{row:46}{wall:8.2f}{wall / unit[0]:14.2f}{cpu:8.2f}{cpu / unit[1]:14.2f}")
    many()


if __name__ == "__main__":
    main()
