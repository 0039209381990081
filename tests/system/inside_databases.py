"""Runs inside a host, for test_databases.py: makes resources right one after the other, as a pass does, and logs in as people do.

Reads one JSON object from standard input: ``secrets``, ``apply`` and ``remove`` (records of resources), ``logins`` (account,
password). Writes what each resource differed in, whether the short way answers every question alike, and who got in.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from agent.errors import HostError
from agent.host import look
from agent.host.databases import Databases
from agent.host.looks import Looks
from agent.host.memory import Memory
from agent.records import from_record
from agent.resource import Action, Change, NotYetReadable, Resource, differences
from agent.steps import Remember, SecretRef

SOCKET = "/run/mysqld/mysqld.sock"


class Inside:
    """What kinds of databases see of a host."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self._secrets = secrets
        self.looks = Looks()
        known: Any = self
        self.databases = Databases(self.looks, known)
        self.memory = Memory("/run/inside-memory", self.looks)

    def value(self, ref: SecretRef) -> str | None:
        return self._secrets.get(ref.at)

    def begin(self) -> None:
        self.looks.restart()
        self.databases.forget()

    def make_right(self, resource: Resource, *, remove: bool = False) -> str:
        """``unchanged``, or the action and the fields that differed."""
        host: Any = self
        desired, current = None if remove else resource.desired(), resource.read(host)
        found = differences(desired, current) if desired and current else ()
        if (desired is None and current is None) or (desired and current and not found):
            return "unchanged"
        action = Action.DELETE if desired is None else Action.CREATE if current is None else Action.UPDATE
        for step in resource.steps(Change(resource, action, current, desired, found)):
            assert "CANARY" not in repr(step)
            if isinstance(step, Remember):
                self.memory.perform(step)
                continue
            self.databases.perform(step)  # type: ignore[arg-type]
            self.databases.forget()
        after = resource.read(host)
        still = after != desired if desired is None or after is None else differences(desired, after)
        if still:
            return f"still differs: {still}"
        return " ".join([action.value, *(each.field for each in found)])

    def answered_alike(self) -> bool:
        """Whether the short way, asked everything that was asked, gives the answers that were noted."""
        questions = list(self.looks.answers)
        return bool(questions) and look.answer_all(questions) == list(self.looks.answers.values())


def attempt(make: Any) -> str:
    try:
        return str(make())
    except (HostError, NotYetReadable) as error:
        assert "CANARY" not in str(error)
        return f"{type(error).__name__}: {error}"


def gets_in(account: str, password: str) -> str:
    """As whom the server knows the client that logs in so; empty when it does not let it in."""
    from MySQLdb import _mysql

    try:
        connection = _mysql.connect(user=account, passwd=password, unix_socket=SOCKET, connect_timeout=5)
    except _mysql.MySQLError as error:
        assert error.args[0] in (1045, 1698), error
        return ""
    connection.query("SELECT CURRENT_USER()")
    ((who,),) = connection.store_result().fetch_row()
    connection.close()
    return str(who.decode())


def main() -> None:
    asked = json.load(sys.stdin)
    inside = Inside(asked.get("secrets", {}))
    apply = [from_record(record) for record in asked.get("apply", ())]
    remove = [from_record(record) for record in asked.get("remove", ())]
    first = [attempt(lambda each=each: inside.make_right(each)) for each in apply]
    inside.begin()
    second = [attempt(lambda each=each: inside.make_right(each)) for each in apply]
    alike = inside.answered_alike()
    removed = [attempt(lambda each=each: inside.make_right(each, remove=True)) for each in remove]
    logins = [gets_in(account, password) for account, password in asked.get("logins", ())]
    json.dump({"first": first, "second": second, "alike": alike, "removed": removed, "logins": logins}, sys.stdout)


if __name__ == "__main__":
    main()
