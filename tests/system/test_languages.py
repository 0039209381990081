"""Environments of three languages side by side: their kernels run behind the real server, reach the database, and change while others run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox import Bind, Machine
from tests.channel.publish import publish
from tests.channel.toys import later_toys
from tests.system import roots
from tests.system.conda_site import own_copy
from tests.system.notebooks import Notebooks

SPEC = """
user:
  name: nb
jupyter:
  interface: lab
conda:
  environments:
    jupyter: {packages: [python 3.11.*, jupyterlab >=4, ipykernel], server: true, kernel: false}
    old:
      packages: [python 2.7.*, ipykernel, mysql-connector-python]
      variables: {OLD_ONE: "it's one"}
      kernel: Python 2.7
    current: {packages: [python 3.11.*, ipykernel, pymysql, toy-module], kernel: Python 3.11}
    stats: {packages: [r-base 4.2.*, r-irkernel], kernel: R}
mysql:
  databases: [reports]
  users:
    nb:
      grants: {reports: [ALL]}
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_copy(("py27", "r"), tmp_path_factory.mktemp("site") / "channel")


@pytest.fixture(scope="module")
def host(channel: Path) -> Iterator[Machine]:
    with Machine(roots.bare_root(), network=True, binds=[Bind(channel, roots.CHANNEL)]) as machine:
        roots.write_spec(machine, SPEC + roots.PINNED)
        applied = machine.unit_run(["agent", "apply"], timeout=900)
        assert " 0 failed, 0 skipped." in applied.stdout, applied.stdout
        assert machine.run("agent plan --detailed-exitcode", check=False).status == 0
        yield machine


@pytest.fixture
def notebooks(host: Machine) -> Notebooks:
    return Notebooks(host)


def build(host: Machine, name: str) -> str:
    return host.run(["realpath", f"/opt/conda/envs/{name}"]).stdout.strip()


@pytest.mark.parametrize(
    ("kernel", "code", "printed"),
    [
        ("old", "import sys, os; print sys.version.split()[0], sys.prefix, os.environ['OLD_ONE']", "2.7.18 {build} it's one"),
        ("current", "import sys; print(sys.version.split()[0], sys.prefix)", "3.11.2 {build}"),
        ("stats", "cat(paste(R.version$major, R.version$minor, sep='.'), Sys.getenv('CONDA_PREFIX'))", "4.2.2 {build}"),
    ],
    ids=["Python 2.7", "Python 3.11", "R"],
)  # fmt: skip
def test_every_language_runs_in_its_own_environment(
    host: Machine, notebooks: Notebooks, kernel: str, code: str, printed: str
) -> None:
    assert notebooks.execute(kernel, code) == printed.format(build=build(host, kernel))


def test_a_terminal_has_no_environment_s_settings(notebooks: Notebooks) -> None:
    assert "OLD_ONE" not in notebooks.terminal("env")


QUERY = """
import json, sys
import mysql.connector
found = []
for more in ({}, {"unix_socket": None, "host": "127.0.0.1", "port": 3306}):
    connection = mysql.connector.connect(option_files="/home/nb/.my.cnf", **more)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE IF NOT EXISTS t (text VARCHAR(20)) CHARACTER SET utf8mb4")
    cursor.execute("DELETE FROM t")
    cursor.execute("INSERT INTO t VALUES (%s)", (u"gr\\u00fc\\u00df dich",))
    connection.commit()
    cursor.execute("SELECT text, DATABASE() FROM t")
    found.append(cursor.fetchall())
    connection.close()
print(json.dumps([sys.version_info[0], found]))
"""


def test_old_python_reaches_the_database_by_socket_and_by_tcp(notebooks: Notebooks) -> None:
    row = ["grüß dich", "reports"]

    assert notebooks.value("old", QUERY) == [2, [[row], [row]]]


def test_the_kernels_are_listed_by_the_names_that_people_see(host: Machine) -> None:
    listed = host.run(
        "JUPYTER_PATH=/etc/agent/jupyter/share /opt/conda/envs/jupyter/bin/jupyter kernelspec list --json"
    ).stdout
    ours = {
        each["spec"]["display_name"]
        for each in json.loads(listed)["kernelspecs"].values()
        if each["resource_dir"].startswith("/etc/agent")
    }

    assert ours == {"Python 2.7", "Python 3.11", "R"}


def test_an_update_reaches_new_kernels_and_none_that_run(host: Machine, notebooks: Notebooks, channel: Path) -> None:
    old, server = build(host, "current"), host.run("systemctl show -P InvocationID jupyter").stdout
    running = notebooks.start("current")
    assert notebooks.execute(running, "import sys; print(sys.prefix)") == old
    publish(channel, later_toys())

    host.unit_run(["agent", "env", "update", "current", "--yes"], timeout=300)

    new = build(host, "current")
    assert new != old
    where = "import toy_module, subprocess; print(toy_module.version, subprocess.getoutput('command -v python'))"
    assert notebooks.execute(running, where) == f"1.0 {old}/bin/python", "the first import comes after the update"
    assert notebooks.execute("current", where) == f"2.0 {new}/bin/python"
    assert host.run("systemctl show -P InvocationID jupyter").stdout == server, "the server has another environment"

    host.unit_run(["agent", "env", "rollback", "current"])

    assert notebooks.execute("current", where) == f"1.0 {old}/bin/python"
    assert host.run("agent plan --detailed-exitcode", check=False).status == 0
    assert notebooks.execute(running, "print(6 * 7)") == "42"
    notebooks.stop(running)


def test_what_a_running_kernel_uses_is_cleaned_away_only_when_it_has_ended(host: Machine, notebooks: Notebooks) -> None:
    running = notebooks.start("current")
    used = notebooks.execute(running, "import sys; print(sys.prefix)")
    for version in ("1.0", "1.1", "2.0"):
        roots.write_spec(host, SPEC.replace("toy-module]", f"toy-module, toy-lib {version}]") + roots.PINNED)
        host.unit_run(["agent", "apply"], timeout=300)
        host.unit_run(["agent", "env", "clean", "--keep", "0"])

    assert builds(host, "current") == {used, build(host, "current")}
    assert notebooks.execute(running, "import colorsys; print(colorsys.__file__)").startswith(used)

    notebooks.stop(running)
    host.unit_run(["agent", "env", "clean", "--keep", "0"])
    assert builds(host, "current") == {build(host, "current")}


def builds(host: Machine, name: str) -> set[str]:
    return set(host.run(f"find /opt/conda/builds/{name} -mindepth 1 -maxdepth 1 -type d").stdout.split())
