"""The classic notebook on port 443, as examples/classic.yaml has it: old Python, current Python and R, in a browser and through the interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox import Machine
from tests.system import roots
from tests.system.browser import key_hash, person
from tests.system.notebooks import Notebooks

PASSWORD = "/etc/agent/secrets/jupyter"
CERTIFICATE = "/etc/agent/tls/jupyter/cert.pem"
URL = "https://127.0.0.1/"


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    """A host to which the example was applied from nothing."""
    with Machine(roots.bare_root(), network=True, binds=[roots.channel_bind("py27", "r")]) as machine:
        machine.run(f"mkdir -m 700 -p /etc/agent/secrets; umask 077; echo 'correct horse staple' >{PASSWORD}")
        roots.write_spec(machine, (roots.CHECKOUT / "examples/classic.yaml").read_text())
        applied = machine.unit_run(["agent", "apply"], timeout=600)
        assert " 0 failed, 0 skipped." in applied.stdout, applied.stdout
        yield machine


@pytest.fixture
def notebooks(host: Machine) -> Notebooks:
    return Notebooks(host, url=URL, password=PASSWORD, python="/opt/conda/envs/server/bin/python")


def test_it_is_there_as_the_example_says(host: Machine) -> None:
    pid = host.run("systemctl show -P MainPID jupyter").stdout.strip()
    assert host.run(f"ps -o user= -p {pid}").stdout == "analyst\n"
    assert f"pid={pid}," in host.run("ss -Hltnp 'sport = :443'").stdout
    assert host.run("id -Gn analyst").stdout.split() == ["analyst", "research"]
    assert host.run("stat -c '%U %a' /home/analyst/work").stdout == "analyst 750\n"
    assert "Public-Key: (3072 bit)" in host.run(f"openssl x509 -in {CERTIFICATE} -noout -text").stdout
    assert host.run("git --version").stdout.startswith("git version")
    assert host.run("agent plan --detailed-exitcode", check=False).status == 0


@pytest.mark.parametrize(
    ("kernel", "code", "printed"),
    [
        ("legacy", "import sys; print '%d.%d %s' % (sys.version_info[0], sys.version_info[1], sys.prefix)", "2.7 {legacy}"),
        ("current", "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)", "3.11 {current}"),
        ("r", "cat(sum(c(20, 22)), Sys.getenv('CONDA_PREFIX'))", "42 {stats}"),
    ],
    ids=["Python 2.7", "Python 3.11", "R"],
)  # fmt: skip
def test_each_kernel_executes_code_through_the_server(
    host: Machine, notebooks: Notebooks, kernel: str, code: str, printed: str
) -> None:
    builds = {
        name: host.run(f"realpath /opt/conda/envs/{name}").stdout.strip() for name in ("legacy", "current", "stats")
    }

    assert notebooks.execute(kernel, code) == printed.format(**builds)


def test_an_old_notebook_runs_in_the_browser(host: Machine, tmp_path: Path) -> None:
    with person(host, URL, key_hash(host, CERTIFICATE)) as someone:
        assert not someone.login("incorrect horse")
        assert someone.login("correct horse staple")
        assert "/tree" in someone.page.url
        someone.open_notebook("old.ipynb", "legacy", "print 6 * 7", "", interface="notebook")
        assert someone.run_cell(0) == "42"
        someone.picture(tmp_path / "notebook.png")
