"""cloud-init with the example's user data: from an empty machine to a login in a browser, again at every boot, and no success is reported that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.sandbox import SUITES, Machine, layer
from agent.sandbox.sources import put
from tests.system import roots
from tests.system.browser import key_hash, person
from tests.system.conftest import Boot

USER_DATA = (roots.CHECKOUT / "examples/cloud-init/user-data").read_text()
OUTPUT = "/var/log/cloud-init-output.log"
LOCKED = 8
"""Seconds."""
_PACKAGE_MANAGER = f"""
import fcntl, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
time.sleep({LOCKED})
"""
_OTHER = """[Service]
Type=exec
ExecStart=/usr/bin/python3 /usr/local/bin/unattended
[Install]
WantedBy=multi-user.target
"""


def first_boot(boot: Boot, suite: str, user_data: str, *, locked: bool = False) -> Machine:
    """A machine with the agent and cloud-init installed that was never booted (NoCloud: the user data is on its disk)."""
    install = "apt-get -qq update; apt-get -qq -y install --no-install-recommends cloud-init openssh-client"
    root = layer(roots.bare_root(suite), install, "cloud-init")

    def prepare(top: Path) -> None:
        seed = "var/lib/cloud/seed/nocloud"
        put(top, f"{seed}/meta-data", "instance-id: first\nlocal-hostname: notebooks\n")
        put(top, f"{seed}/user-data", user_data)
        put(top, f"{seed}/network-config", "version: 2\nethernets: {}\n")
        if locked:
            put(top, "usr/local/bin/unattended", _PACKAGE_MANAGER)
            put(top, "etc/systemd/system/unattended.service", _OTHER)
            wants = top / "etc/systemd/system/multi-user.target.wants"
            wants.mkdir(exist_ok=True)
            (wants / "unattended.service").symlink_to("/etc/systemd/system/unattended.service")

    return boot(root, network=True, binds=[roots.channel_bind()], prepare=prepare, patience=300)


def logs_in(machine: Machine) -> str:
    """A person logs in with the password, which is returned."""
    answers = "curl --silent --fail --insecure --output /dev/null https://127.0.0.1:8888/login"
    machine.run(
        f"timeout 60 sh -c 'until {answers}; do sleep 0.2; done'"
    )  # after a boot it counts as started before it does
    password = machine.run("agent secret show jupyter.password").stdout.strip()
    with person(machine, "https://127.0.0.1:8888/", key_hash(machine, "/etc/agent/tls/jupyter/cert.pem")) as someone:
        assert not someone.login(password + "x")
        assert someone.login(password)
    return password


@pytest.mark.parametrize("suite", SUITES)
def test_first_boot_ends_with_a_login_and_every_later_one_too(boot: Boot, suite: str) -> None:
    machine = first_boot(boot, suite, USER_DATA, locked=True)
    status = machine.run("cloud-init status --wait --long", check=False, timeout=300)
    output = machine.run(f"cat {OUTPUT}").stdout

    assert status.status == 0, output + status.stdout
    assert "packages: waiting for dpkg, locked by python3" in output
    assert " 0 failed, 0 skipped." in output
    assert machine.wait_booted() == "running"
    assert machine.run("systemctl is-active agent.service jupyter.service mariadb.service").stdout == "active\n" * 3
    password = logs_in(machine)
    assert password not in output + machine.journal()
    assert machine.run(f"grep -rl -e {password} /var/log /run/cloud-init /var/lib/cloud", check=False).stdout == ""

    machine.reboot()

    assert machine.wait_booted() == "running"
    assert machine.run("cloud-init status --wait --long", check=False).status == 0
    again = machine.run(f"cat {OUTPUT}").stdout.removeprefix(output)
    assert "resources are as the spec wants them." in again, again
    assert machine.run("systemctl is-active agent.service").stdout == "active\n"
    changed = machine.journal("--output=cat", "AGENT_RESULT=changed", "+", "AGENT_RESULT=failed")
    assert changed == "", "a boot is no drift"
    logs_in(machine)


@pytest.mark.parametrize("suite", SUITES)
def test_a_spec_that_is_wrong_is_an_error_of_cloud_init_and_says_where(boot: Boot, suite: str) -> None:
    wrong = USER_DATA.replace("        interface: lab", "        interfaec: lab")
    good = 'files: {/etc/motd: {content: "Welcome\\n"}}\n'
    machine = first_boot(boot, suite, wrong)
    status = machine.run("cloud-init status --wait --format=json", check=False, timeout=120)
    output = machine.run(f"cat {OUTPUT}").stdout

    assert status.status == 1, status.stdout
    assert json.loads(status.stdout)["status"] == "error"
    assert json.loads(machine.run("cat /run/cloud-init/result.json").stdout)["v1"]["errors"] != []
    assert "/etc/agent/spec.yaml:4:3: jupyter.interfaec: " in output
    assert machine.run("test -e /etc/agent/jupyter || getent passwd notebook", check=False).stdout == ""

    # nobody needs to boot again: the daemon is there, and follows the next good save
    roots.write_spec(machine, good)
    machine.run("timeout 60 sh -c 'until grep -qx Welcome /etc/motd; do sleep 0.2; done'")

    checked = machine.run(["cloud-init", "schema", "--config-file", "/dev/stdin"], stdin=USER_DATA, check=False)
    assert checked.status == 0, checked.stdout + checked.stderr
    assert "Valid" in checked.stdout
    assert (
        machine.run(
            ["cloud-init", "schema", "--config-file", "/dev/stdin"], stdin="#cloud-config\nruncmd: 1\n", check=False
        ).status
        != 0
    )
