"""MySQL from where its packages are: the distribution that has it, a repository that the spec names, and a distribution that has none.

On this Debian python3-mysqldb and mysql-server refuse to stand beside each other: here the agent talks to the server by PyMySQL.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.sandbox import Machine, Result, Root, base_root, layer
from agent.sandbox.installed import agent_root
from tests.system.roots import bare_root, write_spec

SOURCE = "/etc/apt/sources.list.d/agent-mysql.sources"
REPOSITORY = """
apt-get -qq update
apt-get -qq -y --no-install-recommends install gpg gpg-agent apt-utils
mkdir -p /srv/repository/partial
cd /srv/repository
apt-get -qq -y --no-install-recommends --download-only -o Dir::Cache::Archives=/srv/repository install mysql-server
rm -rf partial lock
export GNUPGHOME=/root/keys
mkdir -m 700 $GNUPGHOME
apt-ftparchive packages . >Packages
apt-ftparchive release . >/root/Release
for name in other repository; do
    gpg --batch --quiet --passphrase '' --quick-generate-key "$name@example.org" rsa2048 sign never
    gpg --batch --armor --export "$name@example.org" >/srv/$name.asc
done
gpg --batch --export repository@example.org >/srv/repository.gpg
gpg --batch --quiet --local-user repository@example.org --clearsign --output InRelease /root/Release
gpgconf --kill all
"""
SPEC = """
mysql:
  server: mysql
  databases: [analysis]
  users:
    analyst: {grants: {analysis: [SELECT, INSERT]}}
    far@%: {grants: {analysis: [SELECT]}}
"""


def with_repository(key: str, more: str = "") -> str:
    return f"{SPEC}  repository: {{uri: 'file:///srv/repository', suite: ./, key: {key}{more}}}\n"


def repository_root() -> Root:
    return agent_root("sid", lower=layer(base_root("sid"), REPOSITORY, "repository"))


def apply(machine: Machine, spec: str) -> Result:
    write_spec(machine, spec)
    return machine.unit_run(["agent", "apply", "--yes"], check=False, timeout=600)


def installed(machine: Machine) -> str:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", "mysql-server"]
    return machine.run(query, check=False).stdout


@pytest.fixture
def alone() -> Iterator[Machine]:
    """No network, no packages but those of the repository."""
    with Machine(repository_root()) as machine:
        machine.run("rm -f /etc/apt/sources.list.d/* /var/cache/apt/archives/*.deb")
        yield machine


def test_mysql_of_the_distribution_from_nothing() -> None:
    with Machine(agent_root("sid"), network=True) as machine:
        first = apply(machine, SPEC)
        assert first.status == 0, first.stdout + first.stderr
        assert "No changes" in machine.run(["agent", "plan"]).stdout
        listening = machine.run(["ss", "-Hltn"]).stdout
        accounts = machine.run(["mysql", "-N", "-e", "SHOW GRANTS FOR analyst@localhost; SHOW DATABASES"]).stdout
        missing = machine.run(["/usr/bin/python3", "-c", "import MySQLdb"], check=False)

    assert "127.0.0.1:3306" in listening
    assert "33060" not in listening
    assert "GRANT SELECT, INSERT ON `analysis`.* TO `analyst`@`localhost`" in accounts
    assert "ModuleNotFoundError" in missing.stderr, "else this shows nothing of PyMySQL"


def test_mysql_from_a_repository_that_the_spec_names(alone: Machine) -> None:
    """Also after a key that was wrong: the right one is all it takes."""
    assert apply(alone, with_repository("/srv/other.asc")).status == 3
    first = apply(alone, with_repository("/srv/repository.gpg"))
    assert first.status == 0, first.stdout + first.stderr
    assert installed(alone) == "installed"
    assert (
        " 990\n        100 file:/srv/repository ./ Packages"
        in alone.run(["apt-cache", "policy", "mysql-server"]).stdout
    )
    assert "No changes" in alone.run(["agent", "plan"]).stdout

    again = apply(alone, with_repository("/srv/repository.asc"))
    assert again.status == 0, again.stdout + again.stderr

    gone = apply(alone, SPEC)
    assert gone.status == 0, gone.stdout + gone.stderr
    left = alone.run("ls /etc/apt/sources.list.d /etc/apt/keyrings /etc/apt/preferences.d").stdout
    assert "agent" not in left
    assert installed(alone) == "installed", "the server stays"


def test_a_repository_that_is_signed_by_another_key_is_not_used(alone: Machine) -> None:
    done = apply(alone, with_repository("/srv/other.asc"))

    said = done.stdout + done.stderr
    assert done.status == 3, said
    assert (
        "repository:agent-mysql: failed: the repository is not signed by mysql.repository.key (/srv/other.asc, " in said
    )
    assert "package:mysql-server: skipped" in said
    assert alone.run(["test", "-e", SOURCE], check=False).status == 1
    assert installed(alone) != "installed"


def test_a_key_of_another_fingerprint_changes_nothing(alone: Machine) -> None:
    done = apply(alone, with_repository("/srv/repository.asc", f", fingerprint: {'AB' * 20}"))

    assert done.status == 65
    assert "mysql.repository.fingerprint: is not that of the key, which is " in done.stdout + done.stderr
    assert alone.run(["test", "-e", SOURCE], check=False).status == 1


def test_a_distribution_without_mysql_says_what_would_do() -> None:
    with Machine(bare_root("trixie"), network=True) as machine:
        done = apply(machine, SPEC)

    assert done.status == 3
    said = done.stdout + done.stderr
    assert "there is no package mysql-server in the package sources" in said
    assert "declare mysql.repository" in said
