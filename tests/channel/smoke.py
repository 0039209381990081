"""Installs from the channel and runs what it holds: Jupyter, and a kernel of each language.

    python -m tests.channel.smoke [--with py311,jupyter,py27,r] [--keep DIR]

Needs py-rattler. Environments go to a temporary directory, or to DIR and stay there.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rattler import (
    Channel,
    Client,
    Gateway,
    MatchSpec,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    install,
    solve,
)

from tests.channel.build import build
from tests.channel.serve import served

# Run by an environment that has jupyter_client: starts the kernel of sys.argv[1], runs sys.argv[2], prints its output.
RUN_IN_KERNEL = """\
import sys
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name=sys.argv[1], startup_timeout=60)
output = []
reply = client.execute_interactive(
    sys.argv[2], timeout=60, output_hook=lambda message: output.append(str(message["content"]))
)
client.stop_channels()
manager.shutdown_kernel(now=True)
print("".join(output))
sys.exit(reply["content"]["status"] != "ok")
"""

MODULES = "bz2, ctypes, curses, decimal, hashlib, readline, sqlite3, ssl, zlib"


@dataclass(frozen=True, slots=True)
class Environment:
    """What is installed, and what its own kernel is asked."""

    specs: tuple[str, ...]
    kernel: str
    code: str
    answer: str


ENVIRONMENTS: Mapping[str, Environment] = {
    "jupyter": Environment(
        ("python 3.11.*", "jupyterlab >=4", "notebook >=7", "ipykernel", "pip", "pymysql", "mysql-connector-python"),
        "python3",
        f"import {MODULES}, lzma, uuid, pymysql, mysql.connector, sys; print(sys.version, sys.prefix)",
        "3.11.2",
    ),
    "py311": Environment(
        ("python 3.11.*", "ipykernel", "pandas"),
        "python3",
        f"import {MODULES}, sys; import pandas; print(sys.version, pandas.Series([1, 2]).sum(), sys.prefix)",
        "3.11.2",
    ),
    "py27": Environment(
        ("python 2.7.*", "ipykernel", "pip", "mysql-connector-python"),
        "python2",
        f"import {MODULES}, mysql.connector, google.protobuf, sys; print sys.version, sys.prefix",
        "2.7.18",
    ),
    "r": Environment(
        ("r-base 4.2.*", "r-irkernel"), "ir", "plot(1:3); cat(R.version.string, R.home())", "R version 4.2.2"
    ),
}


async def _install(url: str, specs: tuple[str, ...], prefix: Path, cache: Path) -> int:
    wanted = [MatchSpec(spec) for spec in specs]
    records = await solve(
        sources=[Channel(url)],
        specs=wanted,
        gateway=Gateway(cache_dir=cache / "repodata", client=Client.default_client(max_retries=2)),
        platforms=[Subdir("linux-64"), Subdir("noarch")],
        virtual_packages=VirtualPackage.detect(VirtualPackageOverrides()),
    )
    await install(records=records, target_prefix=prefix, cache_dir=cache / "packages", show_progress=False)
    return len(records)


def _run(*arguments: str | Path, home: Path, **variables: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", **variables}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, timeout=180)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} exited {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _jupyter_works(prefix: Path, home: Path) -> None:
    config = _run(prefix / "bin/jupyter", "lab", "--show-config", home=home)
    if "ServerApp" not in config:
        raise RuntimeError(f"jupyter lab --show-config shows no settings:\n{config}")
    extensions = _run(prefix / "bin/jupyter", "server", "extension", "list", home=home)
    for name in ("jupyter_lsp", "jupyter_server_terminals", "jupyterlab", "notebook", "notebook_shim"):
        if f"{name} " not in extensions:
            raise RuntimeError(f"the server extension {name} is not enabled:\n{extensions}")
    _run(prefix / "bin/python", "-m", "pip", "check", home=home)


def _kernel_answers(name: str, prefix: Path, runner: Path, home: Path) -> None:
    chosen = ENVIRONMENTS[name]
    answer = _run(
        runner / "bin/python",
        "-c",
        RUN_IN_KERNEL,
        chosen.kernel,
        chosen.code,
        home=home,
        JUPYTER_PATH=str(prefix / "share/jupyter"),
    )
    if chosen.answer not in answer or str(prefix) not in answer:
        raise RuntimeError(f"the kernel of {name} said:\n{answer}")


def smoke(names: list[str], top: Path) -> None:
    """Install the environment of each part below ``top`` and use it. Raises RuntimeError with what went wrong."""
    home = top / "home"
    home.mkdir(parents=True, exist_ok=True)
    wanted = list(dict.fromkeys(["jupyter", *names]))  # jupyter runs the kernels of the others
    with served(build(top / "channel", {"py311", *wanted})) as url:
        for name in wanted:
            prefix = top / name
            started = time.monotonic()
            count = asyncio.run(_install(url, ENVIRONMENTS[name].specs, prefix, top / "cache"))
            installed = time.monotonic()
            if name == "jupyter":
                _jupyter_works(prefix, home)
            _kernel_answers(name, prefix, top / "jupyter", home)
            print(
                json.dumps(
                    {
                        "environment": name,
                        "packages": count,
                        "install_seconds": round(installed - started, 1),
                        "use_seconds": round(time.monotonic() - installed, 1),
                    }
                ),
                flush=True,
            )


def main() -> int:
    """Check the parts that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.channel.smoke", description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="parts", default=",".join(ENVIRONMENTS), help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="install here and leave it")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        top = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="channel-smoke-")))
        smoke(arguments.parts.split(","), top)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # py-rattler's threads may crash an interpreter that ends in the ordinary way
