"""The quickstart, applied to a machine that has nothing: every part of it is there, seen with the tool that a person would use."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox import SUITES, Machine
from tests.system import roots
from tests.system.browser import key_hash, person
from tests.system.notebooks import Notebooks

pytestmark = pytest.mark.parametrize("host", SUITES, indirect=True)
CERTIFICATE = "/etc/agent/tls/jupyter/cert.pem"
KEY = "/etc/agent/tls/jupyter/key.pem"
TRUST = "/etc/agent/tls/jupyter/trust.pem"
URL = "https://127.0.0.1:8888/"

PYMYSQL = """
import os, pymysql
connection = pymysql.connect(read_default_file=os.path.expanduser("~/.my.cnf"), database="analysis", autocommit=True)
cursor = connection.cursor()
cursor.execute("CREATE TABLE by_pymysql (word VARCHAR(20))")
cursor.execute("INSERT INTO by_pymysql VALUES (%s)", ("grüße",))
cursor.execute("SELECT word FROM by_pymysql")
print(cursor.fetchone()[0])
"""
CONNECTOR = """
import os, mysql.connector
connection = mysql.connector.connect(option_files=os.path.expanduser("~/.my.cnf"), autocommit=True)
cursor = connection.cursor()
cursor.execute("CREATE TABLE by_connector (word VARCHAR(20))")
cursor.execute("INSERT INTO by_connector VALUES (%s)", ("grüße",))
cursor.execute("SELECT word FROM by_connector")
print(cursor.fetchone()[0])
"""
STARS = """\
import pymysql

connection = pymysql.connect(read_default_file="/home/notebook/.my.cnf", database="analysis")
cursor = connection.cursor()
cursor.execute("CREATE TABLE stars (name VARCHAR(20), constellation VARCHAR(20), magnitude DOUBLE)")
cursor.executemany(
    "INSERT INTO stars VALUES (%s, %s, %s)",
    [
        ("Sirius", "Canis Major", -1.46),
        ("Canopus", "Carina", -0.74),
        ("Arcturus", "Boötes", -0.05),
        ("Vega", "Lyra", 0.03),
    ],
)
connection.commit()
print(cursor.rowcount, "stars")"""
BRIGHTEST = """\
cursor.execute("SELECT name, constellation, magnitude FROM stars ORDER BY magnitude")
for name, constellation, magnitude in cursor:
    print(f"{name:10} {constellation:12} {magnitude:6.2f}")"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host to which nothing but the quickstart was applied, in one go."""
    with Machine(roots.bare_root(request.param), network=True, binds=[roots.channel_bind()]) as machine:
        roots.write_spec(machine, roots.QUICKSTART)
        began = time.monotonic()
        applied = machine.unit_run(["agent", "apply"], timeout=600)
        assert " 0 failed, 0 skipped." in applied.stdout, applied.stdout
        assert "agent secret show jupyter.password" in applied.stdout
        print(f"{request.param}: applied in {time.monotonic() - began:.1f} s")
        yield machine


def test_the_account_is_there_and_nobody_can_log_in_to_it_with_a_password(host: Machine) -> None:
    name, _, uid, _, _, home, shell = host.run("getent passwd notebook").stdout.strip().split(":")

    assert (name, home, shell) == ("notebook", "/home/notebook", "/bin/bash")
    assert int(uid) >= 1000
    assert host.run("stat -c '%U %G %a' /home/notebook /home/notebook/notebooks").stdout.split("\n")[:2] == [
        "notebook notebook 750",
        "notebook notebook 750",
    ]
    assert host.run("passwd --status notebook").stdout.split()[1] == "L"
    assert host.run("id -Gn notebook").stdout.split() == ["notebook"]


def test_the_certificate_is_good_to_openssl(host: Machine) -> None:
    checked = host.run(
        f"openssl verify -x509_strict -purpose sslserver -verify_hostname localhost -CAfile {TRUST} {CERTIFICATE};"
        f"openssl verify -x509_strict -purpose sslserver -verify_ip 127.0.0.1 -CAfile {TRUST} {CERTIFICATE}"
    )
    assert checked.stdout == f"{CERTIFICATE}: OK\n" * 2
    other = f"openssl verify -verify_hostname elsewhere.example.org -CAfile {TRUST} {CERTIFICATE}"
    assert host.run(other, check=False).status != 0

    text = host.run(f"openssl x509 -in {CERTIFICATE} -noout -text").stdout
    assert "DNS:localhost, IP Address:127.0.0.1\n" in text
    assert "TLS Web Server Authentication" in text
    assert "CA:FALSE" in text
    assert "ASN1 OID: prime256v1" in text
    day = 86400
    assert host.run(f"openssl x509 -in {CERTIFICATE} -noout -checkend {360 * day}").status == 0
    assert host.run(f"openssl x509 -in {CERTIFICATE} -noout -checkend {366 * day}", check=False).status == 1
    # the dates: it is valid already
    assert host.run(f"openssl verify -CAfile {TRUST} -attime $(date +%s) {CERTIFICATE}").status == 0


def test_the_key_is_the_certificate_s_and_only_root_and_the_server_can_read_it(host: Machine) -> None:
    assert (
        host.run(f"openssl pkey -in {KEY} -pubout").stdout
        == host.run(f"openssl x509 -in {CERTIFICATE} -noout -pubkey").stdout
    )
    assert host.run(f"stat -c '%U %G %a' {KEY}").stdout == "root notebook 640\n"
    assert host.run(["setpriv", "--reuid=nobody", "--clear-groups", "cat", KEY], check=False).status == 1


def test_jupyter_runs_under_systemd_as_the_account_and_speaks_https_alone(host: Machine) -> None:
    shown = host.run("systemctl show -p ActiveState,UnitFileState,User,NRestarts,MainPID jupyter.service").stdout
    facts = dict(line.split("=", 1) for line in shown.splitlines())

    pid = facts.pop("MainPID")
    assert facts == {"ActiveState": "active", "UnitFileState": "enabled", "User": "notebook", "NRestarts": "0"}
    assert host.run(f"stat -c %U /proc/{pid}").stdout == "notebook\n"
    assert f"pid={pid}," in host.run("ss -ltnpH 'sport = :8888'").stdout
    handshake = host.run("openssl s_client -connect 127.0.0.1:8888 </dev/null 2>/dev/null | openssl x509").stdout
    assert handshake == host.run(f"openssl x509 -in {CERTIFICATE}").stdout
    plain = ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8888/api', timeout=10)"]
    assert host.run(plain, check=False).status != 0


def test_mariadb_is_up_and_listens_to_this_host_alone(host: Machine) -> None:
    assert host.run("systemctl is-active mariadb.service").stdout == "active\n"
    assert host.run("mariadb -N -e 'SHOW DATABASES LIKE \"analysis\"'").stdout == "analysis\n"
    listening = {line.split()[3] for line in host.run("ss -ltnH").stdout.splitlines()}
    assert {address for address in listening if address.endswith(":3306")} == {"127.0.0.1:3306"}
    assert {address.rpartition(":")[2] for address in listening} == {"3306", "8888", "8099"}, "8099 is the channel"


def test_a_person_logs_in_with_the_password_and_with_no_other_and_runs_a_cell(host: Machine, tmp_path: Path) -> None:
    password = host.run("agent secret show jupyter.password").stdout.strip()
    picture = Path(os.environ.get("AGENT_TEST_SCREENSHOTS", tmp_path)) / "screenshot.png"

    with person(host, URL, key_hash(host, CERTIFICATE)) as someone:
        assert not someone.login(password[:-1])
        assert someone.login(password)
        someone.open_notebook("stars.ipynb", "analysis", STARS, BRIGHTEST, "")
        assert someone.run_cell(0) == "4 stars"
        stars = someone.run_cell(1)
        assert someone.type_and_run(2, "print(6 * 7)") == "42"
        someone.save()
        someone.picture(picture)

    assert [line.split()[0] for line in stars.splitlines()] == ["Sirius", "Canopus", "Arcturus", "Vega"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert host.run("stat -c %U /home/notebook/notebooks/stars.ipynb").stdout == "notebook\n"


def test_each_kernel_executes_code_through_the_server_s_own_interface(host: Machine) -> None:
    notebooks = Notebooks(host)
    kernels = host.run("ls /etc/agent/jupyter/share/kernels").stdout.split()
    assert kernels == ["analysis"]

    code = "import json, os, sys; print(json.dumps([sys.prefix, sys.version_info[:2], os.getuid()]))"
    uid = int(host.run("id -u notebook").stdout)
    prefix = host.run("realpath /opt/conda/envs/analysis").stdout.strip()
    assert notebooks.value("analysis", code) == [prefix, [3, 11], uid]


@pytest.mark.parametrize("code", [PYMYSQL, CONNECTOR], ids=["PyMySQL", "mysql-connector-python"])
def test_code_in_a_kernel_connects_through_the_client_file_makes_a_table_and_reads_it_back(
    host: Machine, code: str
) -> None:
    assert Notebooks(host).execute("analysis", code) == "grüße"
    assert host.run("stat -c '%U %a' /home/notebook/.my.cnf").stdout == "notebook 600\n"


def test_the_command_line_s_clients_read_the_same_file(host: Machine) -> None:
    query = ["runuser", "-u", "notebook", "--", "mariadb", "-N", "-e", "SELECT CURRENT_USER(), DATABASE()"]
    assert host.run(query).stdout == "notebook@localhost\tanalysis\n"


def test_the_verbs_say_what_is_there(host: Machine) -> None:
    shown = json.loads(host.run("agent cert --json").stdout)
    fingerprint = host.run(f"openssl x509 -in {CERTIFICATE} -noout -fingerprint -sha256").stdout.strip()
    assert [(each["name"], each["for"], each["import"]) for each in shown] == [
        ("jupyter", ["localhost", "127.0.0.1"], TRUST)
    ]
    assert fingerprint.endswith(f"={shown[0]['fingerprint']}")
    for_people = host.run("agent cert").stdout
    assert shown[0]["fingerprint"] in for_people
    assert TRUST in for_people

    assert len(host.run("agent secret show jupyter.password").stdout.strip()) >= 20
    assert host.run("agent secret list").stdout.split() == ["jupyter.password", "mysql.notebook"]
    as_another = ["runuser", "-u", "notebook", "--", "agent", "secret", "show", "jupyter.password"]
    refused = host.run(as_another, check=False)
    assert (refused.status, refused.stdout) == (1, "")

    status = host.run("agent status").stdout
    assert status.count(": yes") == 3, status
    assert " unchanged" in status or " changed" in status

    doctor = json.loads(host.run("agent doctor --json").stdout)
    assert [each for each in doctor if not each["well"]] == []
    assert {"root", "systemd", "spec", "port 8888", "port 3306", "channel conda-forge"} <= {e["about"] for e in doctor}

    unit = "/etc/systemd/system/jupyter.service"
    assert unit in host.run("agent render").stdout.split()
    assert host.run(["agent", "render", "--path", unit]).stdout == host.run(["cat", unit]).stdout
    config = host.run("agent render --path /etc/agent/jupyter/jupyter_server_config.py").stdout
    token = host.run("cat /var/lib/agent/secrets/jupyter.token").stdout.strip()
    assert "c.ServerApp.port = 8888" in config
    assert token not in config


def test_all_of_it_comes_back_after_a_reboot_and_nothing_is_left_to_do(host: Machine) -> None:
    host.reboot()
    host.wait_booted()

    health = "until curl --silent --fail --cacert " + TRUST + " https://localhost:8888/api; do sleep 0.2; done"
    assert "version" in host.run(health, timeout=60).stdout
    # Debian 12's mariadb.socket would open the port to everyone now
    assert "127.0.0.1:3306" in host.run("ss -ltnH 'sport = :3306'").stdout
    assert "*:3306" not in host.run("ss -ltnH 'sport = :3306'").stdout
    assert host.run("agent plan --detailed-exitcode", check=False).status == 0
    assert Notebooks(host).execute("analysis", "print('again')") == "again"
