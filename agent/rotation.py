"""Rotation of a secret that the agent made up: a new one, and what depends on it, in one go; or everything as it was.

An account's server lets in both passwords while the files that hold it are replaced, so that no client comes with a wrong one. Killed at any point, what is
left is drift, which the next pass repairs: towards the old secret until the new one is in the store under its name, towards that from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import plan, rollback
from agent.apply import evidence_path
from agent.environments import Order, alone
from agent.errors import AgentError, Exit, HostError, TemporaryError
from agent.generations import Generations
from agent.host import durable
from agent.host.database_sessions import SESSIONS, sessions_of
from agent.host.secrets import NEXT
from agent.kinds.database_user import DatabaseUser
from agent.kinds.password_hash import PasswordHash
from agent.kinds.secret import Secret
from agent.kinds.unit import Unit
from agent.ledger import Ledger
from agent.reconcile import Pass
from agent.records import to_record
from agent.resource import NotYetReadable, Outcome, Ref, Resource, Result
from agent.spec.expand_mysql_users import stored_name
from agent.spec.sections.mysql_users import with_host
from agent.steps import ForgetSecret, SecretRef, Sql, StoreSecret
from agent.wanted import want

if TYPE_CHECKING:
    from agent.host.machine import Host

Resources = Mapping[Ref, Resource]
GRACE = 1.0
"""Seconds for which the old password stays good once the files have the new one: somebody may just have read it there."""
_GONE = ": 1094: "
"""In the words of a server whose connection ended by itself."""


@dataclass(frozen=True)
class Rotated:
    """How a rotation ended. ``back`` says why the old secret is in force again; ``waiting`` what takes up the new one later."""

    name: str
    outcomes: tuple[Outcome, ...] = ()
    disconnected: int | None = None
    back: str = ""
    waiting: tuple[str, ...] = ()
    refused: bool = False
    exit_status: int = Exit.OK


@dataclass(frozen=True)
class Dependants:
    """What a secret is in: the accounts that log in by it, and everything else."""

    accounts: Mapping[Ref, DatabaseUser]
    others: Resources

    @property
    def refs(self) -> list[Ref]:
        return sorted([*self.accounts, *self.others])


class Rotation:
    """One rotation of one secret: the name of it, or of a database account. ``run`` may be called once."""

    def __init__(self, order: Order, host: Host) -> None:
        self.order, self.host = order, host
        self._whole: Resources = {}

    def run(self, *, disconnect: bool = False, approve: Callable[[list[str]], bool] = lambda _told: True) -> Rotated:
        """Rotates it. ``approve`` is told what a restart would interrupt, where there is one, and may refuse.

        Raises AgentError, with nothing changed, when the secret is none that can be rotated or what depends on it cannot be reached.
        """
        with alone(self.order, self.host, "secret rotate"):
            wanted = want(self.order.spec, self.host).resources
            held = rollback.held(wanted, Generations(self.host.paths.state))
            self._whole = held.resources if held else wanted
            self._ledger = Ledger(f"{self.host.paths.state}/ledger.jsonl")
            self.host.begin(self._whole)
            secret = rotatable(self.order.names[0], self._whole)
            found = dependants(secret.at, self._whole)
            if disconnect and not found.accounts:
                raise AgentError(f"{secret.name} is no database account's; it has no sessions to end")
            old = self.host.secrets.value(secret.at)
            if old is None:
                raise AgentError(f"{secret.name} does not exist yet", hint="sudo agent apply makes it")
            if (told := self._interrupted(found)) and not approve(told):
                return Rotated(secret.name, refused=True)
            durable.unlink(evidence_path(self.host))  # the host is not what the last pass saw
            new = self._let_both_in(secret, found)
            return self._put_in_force(secret, found, old, new, disconnect=disconnect)

    def _interrupted(self, found: Dependants) -> list[str]:
        told = []
        for ref, resource in found.others.items():
            if isinstance(resource, Unit) and resource.when != "never" and not resource.reload:
                told.append(f"{ref} is restarted" + (f": {what}" if (what := resource.interrupts(self.host)) else ""))
        return told

    def _let_both_in(self, secret: Secret, found: Dependants) -> str:
        """Makes the new secret, and lets each account in by it as well. Raises HostError with everything as it was."""
        following = SecretRef("stored", secret.at.at + NEXT)
        for account in found.accounts.values():
            try:
                there = account.read(self.host) is not None
            except NotYetReadable as error:
                raise TemporaryError(f"{error}; nothing was changed") from None
            if not there:
                raise AgentError(
                    f"the account {account.name} is not there; nothing was changed", hint="sudo agent apply"
                )
        self.host.perform(ForgetSecret(following.at))
        self.host.perform(StoreSecret(following.at, secret.length))
        try:
            for account in found.accounts.values():
                self.host.perform(account.overlap(following, self.host.databases.mariadb(account.server)))
        except HostError:
            self._pass_over(found.accounts)
            raise
        finally:
            new = self.host.secrets.value(following) or ""
            self.host.perform(ForgetSecret(following.at))
        return new

    def _put_in_force(self, secret: Secret, found: Dependants, old: str, new: str, *, disconnect: bool) -> Rotated:
        name = secret.at.at
        try:
            self.host.secrets.replace(name, new)
            outcomes = self._pass_over(found.others)
            if not _failed(outcomes):
                time.sleep(GRACE if found.accounts and found.others else 0)
                outcomes += self._pass_over(found.accounts)
            failed = _failed(outcomes)
        except (HostError, OSError) as error:  # the store itself: a full disk
            failed, outcomes = str(error), ()
        if failed:
            return self._go_back(secret, found, old, failed)
        waiting = tuple(f"{o.ref}: {o.message}" for o in outcomes if o.result is Result.SKIPPED)
        ended = sum(map(self._disconnect, found.accounts.values())) if disconnect else None
        status = Exit.TEMPORARY if waiting else Exit.OK
        return Rotated(secret.name, outcomes, ended, waiting=waiting, exit_status=status)

    def _go_back(self, secret: Secret, found: Dependants, old: str, why: str) -> Rotated:
        try:
            self.host.secrets.replace(secret.at.at, old)
            outcomes = self._pass_over({**found.others, **found.accounts})
            left = _failed(outcomes)
        except (HostError, OSError) as error:
            outcomes, left = (), str(error)
        if left:
            why += f"; and on the way back: {left}; the next pass tries again"
        return Rotated(secret.name, outcomes, back=why, exit_status=Exit.FAILED)

    def _pass_over(self, some: Resources) -> tuple[Outcome, ...]:
        return Pass(some, self.host, self._ledger, whole=self._whole).run()

    def _disconnect(self, account: DatabaseUser) -> int:
        """Ends the account's connections, which may have logged in by the old password. How many there were."""
        databases = self.host.databases
        hosts = [host for user, host in databases.accounts(account.server) if user == account.user]
        found = sessions_of(databases.rows(account.server, SESSIONS), account.user, account.host, hosts)
        for number in found:
            try:
                self.host.perform(Sql(account.server, f"KILL {number}"))
            except HostError as error:
                if _GONE not in str(error):
                    raise
        return len(found)


def rotatable(name: str, resources: Resources) -> Secret:
    """The secret of this name, or that of the account of this name. Raises AgentError with the way out when the agent did not make it up."""
    found = resources.get(Ref("secret", name))
    if found is None:
        try:
            account = with_host(name)
        except ValueError:
            account = name
        found = resources.get(Ref("secret", stored_name(account)))
        if found is None and Ref("database_user", account) in resources:
            raise AgentError(f"{account} has no password that the agent knows; there is nothing to rotate")
    if not isinstance(found, Secret):
        raise AgentError(f"nothing in the spec has a secret called {name}", hint="agent secret list")
    where = {
        "file": f"write the new one to {found.at.at} (mode 0600), then: sudo agent apply",
        "credential": f"replace the credential {found.at.at}, then: sudo agent apply",
    }
    if found.at.source in where:
        raise AgentError(
            f"{found.name} is not the agent's to rotate: it comes from {found.at}", hint=where[found.at.source]
        )
    return found


def dependants(secret: SecretRef, resources: Resources) -> Dependants:
    """What must change with a secret: what holds it or a hash of it, services that must take it up, and the look at whether they work."""
    names = {secret}
    found: dict[Ref, Resource] = {}
    while True:
        more = {
            ref: each
            for ref, each in resources.items()
            if ref not in found and not isinstance(each, Secret) and _depends(each, names, found, resources)
        }
        if not more:
            break
        found |= more
        names |= {each.at for each in more.values() if isinstance(each, PasswordHash)}
    accounts = {ref: each for ref, each in found.items() if isinstance(each, DatabaseUser)}
    return Dependants(accounts, {ref: each for ref, each in found.items() if ref not in accounts})


def _depends(resource: Resource, names: Iterable[SecretRef], found: Resources, resources: Resources) -> bool:
    if any(_mentions(to_record(resource), name) for name in names) or any(ref in found for ref in resource.follows()):
        return True
    return resource.judges() and any(ref in found for ref in plan.behind(resource, resources))


def _mentions(record: object, name: SecretRef) -> bool:
    if isinstance(record, dict):
        own = (record.get("is"), record.get("source"), record.get("at")) == ("SecretRef", name.source, name.at)
        return own or any(_mentions(value, name) for value in record.values())
    return isinstance(record, list) and any(_mentions(value, name) for value in record)


def _failed(outcomes: Iterable[Outcome]) -> str:
    return "; ".join(f"{o.ref}: {o.message}" for o in outcomes if o.result is Result.FAILED)
