"""The notebook account's option file, as clients read it: over the socket and over TLS, whatever the password is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import Bind, Machine, Root, layer
from agent.sandbox.installed import agent_root
from tests.system import roots
from tests.system.database_hosts import CHECKOUT, MADE, SERVERS, server_root

CLIENTS = ("program", "pymysql", "connector", "mysqlclient", "sqlalchemy")
PYTHON = "/opt/clients/bin/python"
INSIDE = "/checkout/tests/system/inside_clients.py"
PASSWORDS = (
    "plain-1234", "with blank in", "hash#tag-1", "semi;colon", "quo'te-1234", 'dou"ble-1234', "'quoted'", '"dquoted"',
    "back\\slash", "back\\nslash", "at-the-end\\", "\\\\\\\\\\\\\\\\", "both'\"#;-12", "grüße€🐧-1", "日本語の合言葉です",
    "per%cent%%s", "eq=ual==", "[client]x", "!include /etc/passwd", "$HOME`id`$(id)", 'a\\"b-1234', "\\'\\'\\'\\'", "é\\s#'\"-12",
    "#first-12", ";first-12", "'" * 8, '"' * 8, "-dash-12", "__import__('os')", "%(user)s-1", "x" * 79, "a\\bc\\t\\r\\s\\z", "\"'#\\\"'#\\",
)  # fmt: skip
NOTEBOOK = json.loads((CHECKOUT / "examples/notebooks/climate.ipynb").read_text())
CURSOR = """
import os, pymysql
file = os.path.expanduser("~/.my.cnf")
cursor = pymysql.connect(read_default_file=file, database="analysis", autocommit=True).cursor()
"""
SPEC: dict[str, Any] = {
    "user": {"name": "nb"},
    "tls": {"names": ["localhost"], "addresses": ["127.0.0.1"]},
}


R = {
    # Debian 12 has no RMariaDB, and in sid its library wants a package that mysql-server refuses: there its files lie without their packages
    "mariadb-10.11": "",
    "mariadb-11.8": "apt-get install -y --no-install-recommends r-cran-rmariadb",
    "mysql-9.7": "apt-get install -y --no-install-recommends r-cran-dbi r-cran-bit64 r-cran-blob r-cran-hms r-cran-lubridate r-cran-rlang; "
    "apt-get -qq download r-cran-rmariadb; dpkg-deb -x r-cran-rmariadb*.deb /; rm r-cran-rmariadb*.deb",
}


def clients_root(server: str) -> Root:
    """The server, the clients, and the agent."""
    script = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get install -y --no-install-recommends python3-venv
cd /tmp
{R[server]}
python3 -m venv --system-site-packages /opt/clients
/opt/clients/bin/pip install --quiet pymysql mysql-connector-python sqlalchemy cryptography
apt-get clean
"""
    return agent_root(MADE[server].suite, lower=layer(server_root(server), script, "clients"))


class ClientHost:
    """A host whose notebook account, nb, has option files."""

    def __init__(self, machine: Machine, server: str) -> None:
        self.machine, self.name = machine, server
        self.clients = (*CLIENTS, "r") if R[server] else CLIENTS

    def spec(self, users: dict[str, Any], **client_file: Any) -> str:
        section = {
            "server": self.name.partition("-")[0],
            "databases": ["analysis"],
            "users": users,
            "client_file": client_file,
        }
        return json.dumps({**SPEC, "mysql": section}) + "\n"

    def apply(self, spec: str) -> None:
        roots.write_spec(self.machine, spec)
        self.machine.unit_run(["agent", "apply", "--yes"], timeout=300)

    def logins(self, client: str, *files: str) -> list[Any]:
        words = [
            "runuser",
            "-u",
            "nb",
            "--",
            PYTHON if client != "r" else "/usr/bin/python3",
            "-B",
            INSIDE,
            client,
            *files,
        ]
        found: list[Any] = json.loads(self.machine.run(words).stdout)
        return found


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[ClientHost]:
    with Machine(clients_root(request.param), binds=[Bind(CHECKOUT, Path("/checkout"))]) as machine:
        yield ClientHost(machine, request.param)


def user(name: str = "", **more: Any) -> dict[str, Any]:
    password = {"password": {"file": f"/etc/agent/secrets/{name}"}} if name else {}
    return {**password, "grants": {"analysis": ["ALL"]}, **more}


def keep(machine: Machine, name: str, password: str) -> None:
    machine.run(f"umask 077; mkdir -p /etc/agent/secrets; cat >/etc/agent/secrets/{name}", stdin=f"{password}\n")


def test_every_client_logs_in_with_every_password_over_the_socket(host: ClientHost) -> None:
    users = {f"u{number}": password for number, password in enumerate(PASSWORDS)}
    for name, password in users.items():
        keep(host.machine, name, password)
    accounts = {name: user(name) for name in users}
    host.apply(host.spec(accounts, user="u0"))
    for name in users:
        roots.write_spec(
            host.machine, host.spec(accounts, user=name, path=f"~/{name}.cnf"), f"/etc/agent/clients/{name}.yaml"
        )
    names = "\n".join(f"/etc/agent/clients/{name}.yaml" for name in users)
    host.machine.run(
        "cd /checkout && PYTHONDONTWRITEBYTECODE=1 /opt/agent/bin/python -m tests.system.inside_client_files",
        stdin=names,
    )
    files = [f"/home/nb/{name}.cnf" for name in users]

    for client in host.clients:
        found = host.logins(client, *files)
        assert [
            (password, said)
            for (name, password), said in zip(users.items(), found, strict=True)
            if said[:2] != [f"{name}@localhost", "analysis"]
        ] == [], client

    assert host.machine.run("stat -c '%a %U' /home/nb/.my.cnf /home/nb/u9.cnf").stdout == "600 nb\n" * 2


def test_every_client_logs_in_over_tls_and_to_no_other_server(host: ClientHost) -> None:
    host.apply(host.spec({"far@%": user()}, user="far@%"))
    file = "/home/nb/.my.cnf"
    written = host.machine.run(["cat", file]).stdout
    assert 'host = "127.0.0.1"\n' in written
    assert "socket" not in written
    assert host.machine.run("agent plan --detailed-exitcode", check=False).status == 0

    for client in host.clients:
        (found,) = host.logins(client, file)
        assert found[:2] == ["far@%", "analysis"], (client, found)
        assert found[2].startswith("TLS_"), client

    host.machine.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -out /etc/other.pem -subj /CN=other 2>/dev/null;"
        f"sed 's,\\(ssl.ca = \\).*,\\1\"/etc/other.pem\",' {file} >/home/nb/other.cnf; chown nb /home/nb/other.cnf; chmod 600 /home/nb/other.cnf"
    )
    for client in host.clients:
        (found,) = host.logins(client, "/home/nb/other.cnf")
        assert isinstance(found, str), (client, found)
        assert "certificate" in found.lower(), (client, found)


def test_the_example_in_r_reads_the_notebook_s_table(host: ClientHost) -> None:
    if not R[host.name]:
        assert host.machine.suite == "bookworm", "the only release without RMariaDB"
        return
    host.apply(host.spec({"nb": user()}))
    (make,) = (cell for cell in NOTEBOOK["cells"] if cell["id"] == "table")
    program = CURSOR + "".join(make["source"])
    host.machine.run(["runuser", "-u", "nb", "--", "env", "HOME=/home/nb", PYTHON, "-"], stdin=program)

    said = host.machine.run(["runuser", "-l", "nb", "-c", "Rscript /checkout/examples/notebooks/climate.R"]).stdout

    assert "Berlin          0.6         19.5" in said
    assert "Lisbon         11.6         23.5" in said
    assert host.machine.run("head -c 4 /home/nb/Rplots.pdf").stdout == "%PDF"


@pytest.mark.parametrize("password", [" blank first", "blank last "])
def test_a_password_that_some_client_cannot_take_is_refused_with_words(host: ClientHost, password: str) -> None:
    keep(host.machine, "odd", password)
    roots.write_spec(host.machine, host.spec({"odd": user("odd")}))

    done = host.machine.run(["agent", "apply", "--yes"], check=False)

    assert done.status == 3
    assert (
        "the secret at file:/etc/agent/secrets/odd has a control character in it, or a blank at its beginning or end"
        in done.stdout
    )
    assert "choose another password" in done.stdout
    assert password not in done.stdout + done.stderr
