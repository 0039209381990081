"""A database server of somebody else's, for test_external.py: it stands in the host under test and is only reached as one elsewhere is.

It has a certificate from an authority of its own, and an administrator who may not do everything, as a managed service gives one.
"""

from __future__ import annotations

from tests.system.database_hosts import DatabaseHost

AUTHORITY = "/etc/elsewhere/ca.pem"
OTHER_AUTHORITY = "/etc/elsewhere/other.pem"
SECRET = "/etc/agent/secrets/db-admin"
PASSWORD = "pä's\"s CANARY"
NAME = "db.example.org"

_CERTIFICATES = f"""
mkdir -p /etc/elsewhere
cd /etc/elsewhere
new="openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
for name in ca other; do
    $new -x509 -days 2 -subj "/CN=$name" -keyout $name.key -out $name.pem 2>/dev/null
done
for pair in good=IP:127.0.0.1,DNS:{NAME} stranger=DNS:elsewhere.example.org; do
    name=${{pair%%=*}}
    $new -subj "/CN=$name" -keyout $name.key -out $name.csr 2>/dev/null
    printf 'subjectAltName=%s\\n' "${{pair#*=}}" >$name.ext
    openssl x509 -req -days 2 -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $name.ext -out $name.pem 2>/dev/null
done
chmod 0644 *.pem *.key
printf '127.0.0.1 {NAME}\\n' >>/etc/hosts
"""
_MAY = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES,"
    " LOCK TABLES, EXECUTE, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER"
)


def may(host: DatabaseHost) -> str:
    """What managed services let their administrators do: neither SUPER nor FILE nor SHUTDOWN."""
    if host.mysql:
        return f"{_MAY}, ROLE_ADMIN"
    new = host.sql("SHOW PRIVILEGES").lower()
    return f"{_MAY}, DELETE HISTORY{', SHOW CREATE ROUTINE' if 'show create routine' in new else ''}"


def take_away(host: DatabaseHost) -> None:
    """Sets the server up: its certificate, its administrator, and the administrator's password where the agent finds it."""
    machine = host.machine
    machine.run(_CERTIFICATES)
    present(host, "good")
    password = PASSWORD.replace("'", "''")
    host.sql(
        f"CREATE USER admin@'%' IDENTIFIED BY '{password}' REQUIRE SSL; GRANT {may(host)} ON *.* TO admin@'%' WITH GRANT OPTION"
    )
    keep(host, PASSWORD)


def keep(host: DatabaseHost, password: str, path: str = SECRET) -> None:
    """Puts a password where the agent looks for it."""
    host.machine.run(f"umask 077; mkdir -p $(dirname {path}); cat >{path}", stdin=f"{password}\n")


def present(host: DatabaseHost, certificate: str) -> None:
    """Lets the server present one of its certificates; none at all with ``""``."""
    folder = "mysql.conf.d" if host.mysql else "mariadb.conf.d"
    tls = "".join(
        f"ssl_{what}=/etc/elsewhere/{file}\n"
        for what, file in (("ca", "ca.pem"), ("cert", f"{certificate}.pem"), ("key", f"{certificate}.key"))
    )
    # the client of 11.8 would not talk to such a server either
    without = "tls_version=''\n" if host.mysql else "skip_ssl\n[mariadb-client]\nskip_ssl\n"
    path = f"/etc/mysql/{folder}/95-elsewhere.cnf"
    host.machine.run(
        f"mkdir -p /etc/mysql/{folder}; cat >{path}", stdin="[mysqld]\n" + (tls if certificate else without)
    )
    host.machine.run(["systemctl", "restart", host.unit])
    host.log_all()
