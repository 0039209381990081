"""Nothing that the account writes into its home changes how people get in, and no broken configuration opens the server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from agent.sandbox import Machine
from tests.system import roots
from tests.system.notebooks import Notebooks

CONFIG = "/etc/agent/jupyter/jupyter_server_config.py"
TRUST = "/etc/agent/tls/jupyter/trust.pem"
OPEN = """
c.ServerApp.port = 9999
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.certfile = ""
c.ServerApp.keyfile = ""
c.ServerApp.allow_origin = "*"
c.ServerApp.password = ""
c.PasswordIdentityProvider.hashed_password = ""
c.PasswordIdentityProvider.password_required = False
c.IdentityProvider.token = "planted"
c.ServerApp.token = "planted"
c.ServerApp.allow_unauthenticated_access = True
open("/home/notebook/executed", "w").close()
"""
OPEN_JSON = {
    "ServerApp": {"port": 9999, "certfile": "", "keyfile": "", "password": "", "token": "planted"},
    "IdentityProvider": {"hashed_password": "", "token": "planted"},
    "PasswordIdentityProvider": {"hashed_password": "", "password_required": False},
}
KERNEL = {"argv": ["/bin/false", "{connection_file}"], "display_name": "planted", "language": "python"}
NAMES = ("jupyter_config", "jupyter_server_config", "jupyter_lab_config", "jupyter_notebook_config")
HOME = "/home/notebook"


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    root = roots.applied_root()
    with Machine(root, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        yield machine


def as_notebook(host: Machine, path: str, text: str) -> None:
    write = 'mkdir -p "$(dirname "$1")"; cat >"$1"'
    host.run(["runuser", "-u", "notebook", "--", "sh", "-ec", write, "sh", path], stdin=text)


def restart(host: Machine) -> None:
    host.run("systemctl reset-failed jupyter; systemctl restart jupyter")
    host.run(f"until curl -sf --cacert {TRUST} https://localhost:8888/api; do sleep 0.2; done", timeout=60)


def status(host: Machine, path: str, *options: str) -> str:
    words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", TRUST, *options]
    return host.run([*words, f"https://localhost:8888{path}"]).stdout


def assert_as_configured(host: Machine) -> None:
    assert status(host, "/api/status") == "403"
    assert status(host, "/api/status", "-H", "Authorization: token planted") == "403"
    assert status(host, "/api/status?token=planted") == "403"
    assert host.run("ss -Hltn 'sport = :9999'").stdout == ""
    # logs in with the password, and with no other, over the certificate of the spec
    prefix = Notebooks(host).execute("analysis", "import sys; print(sys.prefix)")
    assert prefix == host.run("realpath /opt/conda/envs/analysis").stdout.strip()
    assert host.run("agent plan --detailed-exitcode", check=False).status == 0


def test_settings_in_the_home_configure_nothing(host: Machine) -> None:
    for name in NAMES:
        as_notebook(host, f"{HOME}/.jupyter/{name}.py", OPEN)
        as_notebook(host, f"{HOME}/.local/etc/jupyter/{name}.py", OPEN)
    restart(host)
    assert_as_configured(host)

    for name in NAMES:
        as_notebook(host, f"{HOME}/.jupyter/{name}.json", json.dumps(OPEN_JSON))
        as_notebook(host, f"{HOME}/notebooks/{name}.py", OPEN)
        as_notebook(host, f"{HOME}/{name}.py", OPEN)
    restart(host)
    assert_as_configured(host)
    assert host.run(f"test -e {HOME}/executed", check=False).status == 1, "none of them was even loaded"


def test_settings_in_the_server_s_environment_do_not_change_how_people_get_in(host: Machine) -> None:
    """The environment belongs to the account, so what the agent does not set can be set there; the way in can not."""
    for name in NAMES:
        as_notebook(host, f"/opt/conda/envs/jupyter/etc/jupyter/{name}.json", json.dumps(OPEN_JSON))
    try:
        restart(host)
        assert_as_configured(host)
    finally:
        host.run("rm /opt/conda/envs/jupyter/etc/jupyter/jupyter_*config.json")


def test_kernels_in_the_home_replace_none_of_the_spec(host: Machine) -> None:
    for name in ("analysis", "python3"):
        as_notebook(host, f"{HOME}/.local/share/jupyter/kernels/{name}/kernel.json", json.dumps(KERNEL))
    restart(host)
    assert_as_configured(host)


@pytest.mark.parametrize(
    "damage",
    [
        f"rm {CONFIG}",
        f"chmod 0600 {CONFIG}",
        f"echo 'c.ServerApp.port = = 1' >>{CONFIG}",
        "rm -r /etc/agent/jupyter",
    ],
)
def test_a_broken_configuration_leads_to_no_server_and_an_apply_repairs_it(host: Machine, damage: str) -> None:
    host.run(f"systemctl stop jupyter; systemctl reset-failed jupyter || true; {damage}")

    started = host.run("systemctl start jupyter", check=False)
    # for as long as systemd tries: by then it has given up, or it waits for its next try
    seen = host.run(
        "for _ in $(seq 40); do ss -Hltnp | grep -E 'jupyter|python' | grep -v :8099; sleep 0.1; done", check=False
    )

    assert seen.stdout == "", f"it listens: {started.stderr}"
    repaired = host.unit_run(["agent", "apply"])
    assert " 0 failed" in repaired.stdout, repaired.stdout
    assert_as_configured(host)
