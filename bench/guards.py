"""Writes /root/guards.sh: what a careful person would write by hand to keep the same things true, a guard before each action."""

import sys
from pathlib import Path

files, users = int(sys.argv[1]), int(sys.argv[2])
names = ["notebook", *(f"u{number}" for number in range(users))]
manifest = "\n".join(["/etc/demo/a.conf", *(f"/etc/demo/f{number}.conf" for number in range(files))])
script = """#!/bin/bash
set -euo pipefail
getent passwd notebook >/dev/null || useradd -m notebook
getent group notebook >/dev/null || groupadd notebook
[ "$(stat -c '%U:%G %a' /home/notebook)" = "notebook:notebook 700" ] || [ -d /home/notebook ] || exit 1
dpkg-query -W -f '${db:Status-Status}' mariadb-server | grep -qx installed || apt-get install -y mariadb-server
sha256sum --quiet --check /root/manifest || { echo 'files differ'; exit 1; }
[ "$(systemctl show -p ActiveState --value mariadb.service cron-like.service | sort -u | tr -d '\\n')" = active ] || systemctl start mariadb cron-like
systemctl is-enabled --quiet mariadb.service || systemctl enable mariadb.service
rows=$(mariadb -NBe "SELECT User, Host, JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv;
SELECT User, Host, Db FROM mysql.db; SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
[ "$(printf '%s\\n' "$rows" | sha256sum)" = "$(cat /root/rows.sha256)" ] || { echo 'database differs'; exit 1; }
"""
Path("/root/guards.sh").write_text(script)
Path("/root/guards.sh").chmod(0o755)

import subprocess  # noqa: E402  # after the script, which is what is read here

sums = subprocess.run(
    ["xargs", "-d", "\n", "sha256sum"], input=manifest, capture_output=True, text=True, check=True
).stdout
Path("/root/manifest").write_text(sums)
query = (
    "SELECT User, Host, JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv;\n"
    "SELECT User, Host, Db FROM mysql.db; SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"
)
rows = subprocess.run(["mariadb", "-NBe", query], capture_output=True, text=True, check=True).stdout
digest = subprocess.run(["sha256sum"], input=rows, capture_output=True, text=True, check=True).stdout
Path("/root/rows.sha256").write_text(digest)
print(len(names), "users")
