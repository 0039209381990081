"""Runs inside a throw-away host as the notebook account: logs in by each option file with one client, and prints as whom, where and with which cipher.

inside_clients.py CLIENT FILE...      one JSON list: [account, database, cipher], or the error
"""

import json
import os
import subprocess
import sys
from typing import Any

QUERY = "SELECT CURRENT_USER(), DATABASE()"
CIPHER = "SHOW STATUS LIKE 'Ssl_cipher'"
R = """
for (file in commandArgs(TRUE)) {
  said <- tryCatch({
    con <- DBI::dbConnect(RMariaDB::MariaDB(), default.file = file, groups = "rs-dbi")
    who <- DBI::dbGetQuery(con, "SELECT CURRENT_USER() AS who, DATABASE() AS place")
    cipher <- DBI::dbGetQuery(con, "SHOW STATUS LIKE 'Ssl_cipher'")$Value
    DBI::dbDisconnect(con)
    paste(who$who, who$place, cipher, sep = "\\t")
  }, error = function(e) gsub("\\n", " ", conditionMessage(e)))
  cat(said, "\\n", sep = "")
}
"""


def by_cursor(connection: Any) -> list[str]:
    cursor = connection.cursor()
    cursor.execute(QUERY)
    found = list(cursor.fetchone())
    cursor.execute(CIPHER)
    return [*found, cursor.fetchone()[1]]


def pymysql(file: str) -> list[str]:
    import pymysql

    return by_cursor(pymysql.connect(read_default_file=file, database="analysis"))


def connector(file: str) -> list[str]:
    import mysql.connector  # type: ignore[import-not-found]  # the clients' environment has it, as what follows

    return by_cursor(mysql.connector.connect(option_files=file))


def mysqlclient(file: str) -> list[str]:
    import MySQLdb

    return by_cursor(MySQLdb.connect(read_default_file=file, db="analysis"))


def sqlalchemy(file: str) -> list[str]:
    from sqlalchemy import create_engine  # type: ignore[import-not-found]

    engine = create_engine(f"mysql+pymysql:///analysis?read_default_file={file}")
    found = by_cursor(engine.raw_connection())
    engine.dispose()
    return found


def program(file: str) -> list[str]:
    name = "mariadb" if os.path.exists("/usr/bin/mariadb") else "mysql"
    words = [name, f"--defaults-file={file}", "--batch", "--skip-column-names"]
    done = subprocess.run(words, input=f"{QUERY}; {CIPHER}", capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(done.stderr.strip())
    who, cipher = (line.split("\t") for line in done.stdout.splitlines())
    return [*who, cipher[1]]


def r(files: list[str]) -> list[Any]:
    done = subprocess.run(["Rscript", "-e", R, *files], capture_output=True, text=True, check=True)
    return [line.split("\t") if "\t" in line else line for line in done.stdout.splitlines()]


def tried(client: Any, file: str) -> Any:
    try:
        return client(file)
    except Exception as error:  # whatever the client says is the answer
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    name, *files = sys.argv[1:]
    print(json.dumps(r(files) if name == "r" else [tried(globals()[name], file) for file in files]))
