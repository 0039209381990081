"""The Jupyter server on a real host: its unit, its configuration, its certificate, and what happens when one of them is wrong.

The environments are made by pip here, beforehand, so that this is about the server and not about conda.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import Bind, Machine, base_root, layer
from tests.system.conftest import Boot
from tests.system.notebooks import Notebooks

CHECKOUT = Path(__file__).parents[2]
SETUP = """
with_pip() { place=$1; shift; python3 -m venv $place; $place/bin/pip install --quiet --disable-pip-version-check "$@"; }
with_pip /opt/conda/envs/jupyter jupyterlab notebook
with_pip /opt/conda/envs/older 'notebook<7' 'setuptools<80'
with_pip /opt/agent pydantic==2.14.3 jinja2==3.1.6 cryptography==50.0.2 sh==2.4.0 PyYAML==6.0.3
"""
CONFIG = "/etc/agent/jupyter/jupyter_server_config.py"
NOTEBOOK_CONFIG = "/etc/agent/jupyter/jupyter_notebook_config.py"
TRUST = "/etc/agent/tls/jupyter/trust.pem"
CONTROLLED = """
import json, sys
from agent.spec.expand import expand
from agent.host.machine import Host
from agent.records import to_record
from agent.spec.spec import Spec
asked = json.load(sys.stdin)
resources = [each for each in expand(Spec.model_validate(asked), Host(), {}) if each.kind not in ("environment", "kernelspec")]
json.dump({"apply": [to_record(each) for each in resources], "remove": [], "die": ""}, sys.stdout)
"""
AS_NOTEBOOK = {"conda": {"environments": {"older": {"packages": ["notebook <7"], "server": True}}}}


class Served:
    """A booted host, and the resources of a spec applied to it by the engine; environments count as given."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def apply(self, jupyter: dict[str, Any] | None = None, **sections: Any) -> dict[str, str]:
        """What was done about each resource that was not right."""
        python = ["env", "PYTHONPATH=/checkout", "/opt/agent/bin/python", "-B"]
        spec = json.dumps({**sections, "jupyter": jupyter or {}})
        wanted = self.machine.run([*python, "-c", CONTROLLED], stdin=spec).stdout
        done = self.machine.unit_run([*python, "-m", "tests.system.inside_basic"], stdin=wanted).stdout
        return {ref: told for ref, told in json.loads(done)["changed"].items() if told}

    def serving(self) -> str:
        """The invocation of the running server; one that was restarted has another."""
        assert self.show("ActiveState") == "active"
        return self.show("InvocationID")

    def show(self, name: str) -> str:
        return self.machine.run(["systemctl", "show", "-P", name, "jupyter"]).stdout.strip()

    def get(self, path: str, *options: str) -> str:
        words = ["curl", "-sS", "-m", "10", "--cacert", TRUST, *options, f"https://localhost:8888{path}"]
        return self.machine.run(words).stdout


@pytest.fixture
def host(boot: Boot) -> Served:
    root = layer(base_root(), SETUP, "jupyter")
    return Served(boot(root, binds=[Bind(CHECKOUT, Path("/checkout"))], syscalls=("bpf", "@keyring")))


def failures(changes: dict[str, str]) -> dict[str, str]:
    return {ref: told for ref, told in changes.items() if told.startswith(("failed", "skipped"))}


@pytest.mark.parametrize("mode", ["self-signed", "host-ca"])
def test_it_is_served_with_a_certificate_that_clients_take_and_a_second_apply_changes_nothing(
    host: Served, mode: str
) -> None:
    assert not failures(host.apply(tls={"mode": mode}))
    first = host.serving()
    assert json.loads(host.get("/api"))["version"]
    assert host.get("/api/status", "-o", "/dev/null", "-w", "%{http_code}") == "403"
    assert Notebooks(host.machine).execute("python3", "print(6 * 7)") == "42"
    assert host.apply(tls={"mode": mode}) == {}
    assert host.serving() == first


def test_tls_is_mozilla_s_intermediate_and_kernels_keep_the_system_s(host: Served) -> None:
    host.apply()
    ask = "openssl s_client -connect localhost:8888 {} </dev/null 2>&1 || true"
    assert "TLSv1.3" in host.machine.run(ask.format("")).stdout
    for refused in ("-tls1_1", "-tls1_2 -cipher AES128-SHA", "-groups P-521"):
        assert "Cipher is (NONE)" in host.machine.run(ask.format(refused)).stdout, refused
    code = "import os; print([name for name in os.environ if name.startswith(('OPENSSL', 'TRAITLETS'))])"
    assert Notebooks(host.machine).execute("python3", code) == "[]"


MAY = r"""
import mmap, multiprocessing, os, pty, subprocess, sys
def write(place):
    open(place + "/x", "w").close(); os.unlink(place + "/x")
for place in (os.path.expanduser("~"), "/home/notebook/notebooks", "/tmp", "/dev/shm", "/opt/conda/envs", "/srv/a%b", '/srv/quo"ted', "/srv/b lank"):
    write(place)
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
multiprocessing.get_context("fork").Pool(2).map(abs, [1, 2])
pty.openpty()
open("/tmp/g", "w").close(); os.chown("/tmp/g", -1, os.getgid())
subprocess.run([sys.executable, "-m", "pip", "--version"], check=True, stdout=subprocess.DEVNULL)
subprocess.run(["sh", "-c", "cd /tmp; tar cf t.tar g; tar xf t.tar; cp -a g h"], check=True)
print("all of it")
"""
MAY_NOT = r"""
import os, socket, subprocess
def run(*words): subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def write(place): open(place + "/x", "w").close()
def metadata(): socket.create_connection(("169.254.169.254", 80), 3)
tried = {
    **{place: (write, place) for place in ("/etc", "/usr", "/var/lib", "/srv/other", "/etc/agent/jupyter")},
    "shadow": (open, "/etc/shadow"), "secrets": (os.listdir, "/var/lib/agent/secrets"), "homes": (os.listdir, "/home/other"),
    "processes": (os.listdir, "/proc/1"), "unshare": (run, "unshare", "-r", "true"), "mount": (run, "mount", "-t", "tmpfs", "x", "/tmp"),
    "sudo": (run, "sudo", "-n", "true"), "metadata": (metadata,),
}
for name, (what, *words) in tried.items():
    try:
        what(*words)
    except (OSError, subprocess.CalledProcessError):
        continue
    print("may:", name)
print("tried", len(tried))
"""


def test_the_sandbox_lets_people_work_and_keeps_them_from_the_rest(host: Served) -> None:
    host.machine.run(
        """mkdir -p '/srv/a%b' '/srv/quo"ted' '/srv/b lank' /srv/other /home/other; chmod 777 /srv/*
        ip addr add 169.254.169.254/32 dev lo
        systemd-run -q -u metadata python3 -m http.server 80 --bind 169.254.169.254"""
    )
    assert not failures(
        host.apply({"sandbox": {"writable": ["/srv/a%b", '/srv/quo"ted', "/srv/b lank", "/srv/not there"]}})
    )
    assert host.machine.run("curl -s -m 5 -o /dev/null -w '%{http_code}' http://169.254.169.254/").stdout == "200"
    notebooks = Notebooks(host.machine)
    assert notebooks.execute("python3", MAY) == "all of it"
    assert notebooks.execute("python3", MAY_NOT) == "tried 13"
    host.machine.run(["systemd-analyze", "verify", "/etc/systemd/system/jupyter.service"])
    host.machine.run(["systemd-analyze", "security", "--threshold=20", "jupyter.service"])


@pytest.mark.parametrize(
    ("trait", "value", "why"),
    [
        ("ServerApp.iopub_data_rate_limit", "x", "expected a float"),
        ("TerminalManager.cull_interval", "x", "expected an int"),
        ("ServerApp.iopub_data_rate_limt", 5, "Did you mean one of: `iopub_data_rate_limit"),
    ],
)
def test_a_setting_that_jupyter_would_only_warn_of_is_refused_and_the_old_server_goes_on(
    host: Served, trait: str, value: object, why: str
) -> None:
    host.apply()
    before = host.machine.run(["cat", CONFIG]).stdout, host.serving()
    assert why in failures(host.apply({"settings": {trait: value}}))[f"file:{CONFIG}"]
    assert (host.machine.run(["cat", CONFIG]).stdout, host.serving()) == before
    assert host.apply() == {}


def test_a_port_that_is_taken_is_seen_soon_and_another_one_is_not_chosen(host: Served) -> None:
    host.machine.run("systemd-run -q -u taker python3 -m http.server 8889; sleep 1")
    told = host.apply({"port": 8889})
    assert "not healthy" in failures(told)["health:jupyter"]
    assert host.machine.run("ss -Hltnp | grep -v 8889 | grep python || true").stdout == ""


def test_a_low_port_needs_no_root(host: Served) -> None:
    assert not failures(host.apply({"port": 443}))
    assert host.machine.run("ps -o user= -p $(systemctl show -P MainPID jupyter)").stdout.strip() == "notebook"


@pytest.mark.parametrize("environment", ["jupyter", "older"])
def test_without_its_whole_configuration_there_is_no_server(host: Served, environment: str) -> None:
    """On Jupyter's own defaults it would be served without TLS, on another port."""
    sections: dict[str, Any] = AS_NOTEBOOK if environment == "older" else {}
    assert not failures(host.apply({"interface": "notebook"}, **sections))
    read = {CONFIG} if environment == "jupyter" else {CONFIG, NOTEBOOK_CONFIG}
    for path in sorted(read):
        for damage in (
            "rm F",
            ": >F",
            "head -c 300 F >/run/half; cat /run/half >F",
            "chown root:root F; chmod 600 F",
            "echo ')' >>F",
            "echo 1/0 >>F",
        ):
            said = host.machine.run(
                f"""systemctl stop jupyter; systemctl reset-failed jupyter || true
                cp -p {path} /root/whole; {damage.replace("F", path)}
                systemctl start jupyter 2>/dev/null || true
                for _ in $(seq 40); do
                    [ "$(systemctl show -P SubState jupyter)" = running ] || break
                    ss -Hltnp | grep python && echo "listens after: {damage}" && break
                    sleep 0.1
                done
                cp -p /root/whole {path}; true"""
            ).stdout
            assert said == "", path
    told = host.apply({"interface": "notebook"}, **sections)
    assert not failures(told)
    assert "unit:jupyter.service" in told


def test_notebook_6_is_configured_alike(host: Served) -> None:
    assert not failures(host.apply({"interface": "notebook", "base_url": "/nb/"}, **AS_NOTEBOOK))
    assert json.loads(host.get("/nb/api"))["version"].startswith("6.")
    assert host.get("/nb/api/status", "-o", "/dev/null", "-w", "%{http_code}") == "403"
    told = failures(
        host.apply({"interface": "notebook", "settings": {"MappingKernelManager.cull_interval": "x"}}, **AS_NOTEBOOK)
    )
    assert "expected an int" in told[f"file:{CONFIG}"]


def test_a_new_certificate_and_a_closed_mode_take_no_restart(host: Served) -> None:
    host.apply()
    before, key = host.serving(), "/etc/agent/tls/jupyter/key.pem"
    issued = host.machine.run(["sha256sum", key]).stdout
    host.machine.run(["chmod", "0644", key])
    assert host.apply() == {"certificate:jupyter": "! update access"}
    assert host.machine.run(["stat", "-Lc", "%a %U %G", key]).stdout == "640 root notebook\n"
    assert host.machine.run(["sha256sum", key]).stdout == issued
    host.machine.run(["rm", key])
    assert host.apply() == {"certificate:jupyter": "! create"}
    assert host.machine.run(["sha256sum", key]).stdout != issued
    assert host.get("/api")
    host.machine.run("echo 0123456789abcdef0123456789abcdef >/etc/machine-id")
    assert host.apply() == {"certificate:jupyter": "! update of_this_host"}
    assert host.serving() == before


def test_another_password_takes_a_new_hash_and_a_restart(host: Served) -> None:
    host.machine.run("umask 077; echo one-canary >/root/password")
    by_file = {"password": {"file": "/root/password"}, "restart": "now"}
    assert not failures(host.apply(by_file))
    notebooks = Notebooks(host.machine, password="/root/password")
    assert notebooks.execute("python3", "print(1)") == "1"
    before = host.serving()
    host.machine.run("echo another-canary >/root/password")
    told = host.apply(by_file)
    assert {"password_hash:jupyter.password.hash", f"file:{CONFIG}", "unit:jupyter.service"} <= told.keys()
    assert host.serving() != before
    assert notebooks.execute("python3", "print(2)") == "2"
    said = host.machine.run(
        "journalctl --no-pager; cat /etc/agent/jupyter/*; find /var/lib/agent -type f -exec cat {} +"
    )
    assert "canary" not in said.stdout


def test_an_open_password_file_is_refused_with_the_way_out(host: Served) -> None:
    host.machine.run("echo canary >/root/password; chmod 644 /root/password")
    told = failures(host.apply({"password": {"file": "/root/password"}}))
    assert "must be readable by root alone, and has mode 0644 (chmod 0600" in told["secret:jupyter.password"]
    assert "needs" in told["unit:jupyter.service"]


def test_a_restart_waits_until_no_kernel_computes(host: Served) -> None:
    host.apply({"restart": "when_idle"})
    before = host.serving()
    token = host.machine.run(["cat", "/var/lib/agent/secrets/jupyter.token"]).stdout.strip()
    with ThreadPoolExecutor() as pool:
        computing = pool.submit(
            Notebooks(host.machine).execute, "python3", "import time; time.sleep(15); print('done')"
        )
        while '"busy"' not in host.get("/api/kernels", "-H", f"Authorization: token {token}"):
            assert not computing.done()
            time.sleep(0.2)
        told = host.apply({"restart": "when_idle", "terminals": False})
        assert "1 of 1 kernels compute" in told["unit:jupyter.service"]
        assert host.serving() == before
        assert computing.result() == "done"
    assert not failures(host.apply({"restart": "when_idle", "terminals": False}))
    assert host.serving() != before
