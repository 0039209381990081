"""Steps: the things that can be done to a host, as data. A step's repr never shows content, standard input or SQL arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SecretRef:
    """Names a secret by where it is; the value is read by the host when a step runs.

    ``source`` is ``file`` (``at`` is a path), ``credential`` (``at`` is the name of a systemd credential) or ``stored`` (``at`` is the
    name of a secret kept in the agent's own root-only store: generated ones, hashes, tokens).
    """

    source: str
    at: str

    def __str__(self) -> str:
        return f"{self.source}:{self.at}"


@dataclass(frozen=True)
class Slot:
    """A place in a text where a secret goes, quoted for the language around it: ``raw``, ``py`` (a Python literal), ``cnf`` (an option file of
    MySQL), ``client`` (the password at the end of the section ``[client]`` of one that every client reads) or ``line`` (the rest of a line, as it is)."""

    secret: SecretRef
    quoting: str = "raw"


@dataclass(frozen=True)
class Content:
    """A file's bytes, with slots for secrets. Without slots it is one piece of text."""

    pieces: tuple[str | Slot, ...] = field(repr=False)

    @property
    def hidden(self) -> bool:
        """Whether it holds a secret, so that no diff may show it."""
        return any(isinstance(piece, Slot) for piece in self.pieces)

    @property
    def secrets(self) -> tuple[SecretRef, ...]:
        return tuple(piece.secret for piece in self.pieces if isinstance(piece, Slot))

    @classmethod
    def of(cls, text: str) -> Content:
        return cls((text,))


@dataclass(frozen=True)
class Check:
    """A program that must accept a file's candidate before the file is replaced.

    The candidate is put, under ``name``, into a directory of its own that only root and the group of ``user`` can read;
    ``{directory}`` and ``{file}`` in ``argv``
    and in values of ``environment`` stand for it. Exit status 0 accepts.
    """

    argv: tuple[str, ...]
    name: str
    user: str
    environment: tuple[tuple[str, str], ...] = ()
    timeout: float = 60.0


@dataclass(frozen=True)
class Run:
    """Runs a program: an argument list, never a shell string. ``timeout`` in seconds.

    ``user`` drops to that account first (groups, no new privileges). ``stdin`` may be a secret. ``label`` is shown while it runs.
    ``patience``: seconds to wait for locks of the package system.
    """

    argv: tuple[str, ...]
    stdin: SecretRef | str | None = field(default=None, repr=False)
    user: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    timeout: float = 120.0
    label: str = ""
    accept: tuple[int, ...] = (0,)
    """Exit statuses that mean success."""


@dataclass(frozen=True)
class Write:
    """Replaces a file: old or new, whole, with its final owner and mode, durable.

    ``below`` names the account in whose home the path lies: then no link is followed on the way.
    """

    path: str
    content: Content = field(repr=False)
    mode: int
    owner: str = "root"
    group: str = "root"
    below: str | None = None
    check: Check | None = None


@dataclass(frozen=True)
class MakeDirectory:
    """Makes a directory (parents too, owned by root, 0755) or sets its owner and mode."""

    path: str
    mode: int
    owner: str = "root"
    group: str = "root"
    below: str | None = None


@dataclass(frozen=True)
class SetAccess:
    """Sets owner and mode of a file that stays as it is."""

    path: str
    mode: int
    owner: str
    group: str
    below: str | None = None


@dataclass(frozen=True)
class Remove:
    """Removes a file, a link or an empty directory; what is gone already is fine.

    ``tree`` removes a whole directory tree (never across file systems, never through links).
    """

    path: str
    below: str | None = None
    tree: bool = False


@dataclass(frozen=True)
class Keep:
    """Notes the file that stands at ``path`` in the store of originals before it is replaced, under the ref's name."""

    ref: str
    path: str


@dataclass(frozen=True)
class PutBack:
    """Puts the original kept for this ref back to ``path``."""

    ref: str
    path: str


@dataclass(frozen=True)
class Unit:
    """Asks systemd to do ``verb`` (start, stop, restart, reload, enable, disable, mask, unmask, daemon-reload) to units; waits for the job."""

    verb: str
    names: tuple[str, ...] = ()
    timeout: float = 120.0


@dataclass(frozen=True)
class Packages:
    """Installs and removes distribution packages, each in one transaction that takes no other package away."""

    install: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class AddRepository:
    """Puts a source of packages (a file in the form of sources.list(5)) in place, once its index could be read and its signature is believed."""

    path: str
    source: str
    key: str
    """Which key it is signed by, in words for people."""


@dataclass(frozen=True)
class Remember:
    """Keeps a small fact in the agent's own memory (which inputs a service was last started with); None forgets it."""

    key: str
    value: str | None


@dataclass(frozen=True)
class PasswordHash:
    """Stands among the arguments of an ``Sql`` step for what the database server keeps of this password; the password itself stays here.

    ``plugin`` says in which form; empty: in the one that is usual for the server.
    """

    secret: SecretRef
    plugin: str = ""


@dataclass(frozen=True)
class Sql:
    """Runs one statement on a database server; ``%s`` stands for an argument and ``%%`` for a percent sign.

    ``arguments`` (text, numbers, None, PasswordHash) are bound by the client library and never shown.
    """

    server: str
    """Path of the server's socket, or an address of agent.host.database_address."""
    statement: str
    arguments: tuple[Any, ...] = field(default=(), repr=False)
    on_mysql: str | None = None
    """The statement for MySQL, where it is not that for MariaDB; the arguments are the same."""


@dataclass(frozen=True)
class Dump:
    """Dumps a database (tables, views, routines, events, triggers) to a compressed file in the agent's state directory, before it is dropped."""

    server: str
    database: str


@dataclass(frozen=True)
class StoreSecret:
    """Puts a new random secret of ``length`` characters into the agent's store."""

    name: str
    length: int


@dataclass(frozen=True)
class StoreHash:
    """Puts the argon2 hash, in the form Jupyter reads, of secret ``of`` into the agent's store."""

    name: str
    of: SecretRef


@dataclass(frozen=True)
class ForgetSecret:
    """Removes a secret from the agent's store."""

    name: str


@dataclass(frozen=True)
class IssueCertificate:
    """Makes a certificate and its key and publishes both as one change (fields of kinds.certificate, as data)."""

    order: Any
    """A ``kinds.certificate.Order``."""


@dataclass(frozen=True)
class Listing:
    """A list of exact packages in a file, which the host reads when a step runs and finds ``digest`` to be its own.

    ``form`` is ``agent`` (the entry ``entry`` of the agent's lock file), ``explicit`` (addresses after ``@EXPLICIT``, conda's) or ``rattler`` (a lock
    file of rattler and pixi, its environment ``entry``).
    """

    path: str
    digest: str
    form: str
    entry: str = ""


@dataclass(frozen=True)
class Login:
    """How to get into the channels of one server: ``scheme`` is ``basic`` (with ``username``), ``bearer`` or ``token`` (conda's ``/t/TOKEN/`` in addresses)."""

    host: str
    scheme: str
    secret: SecretRef
    username: str = ""


@dataclass(frozen=True)
class Work:
    """Runs one of the agent's worker programs in a process of its own: ``request`` goes in as JSON by standard input, progress and the result come out.

    ``Listing`` and ``Login`` in a request are filled in when the step runs.
    """

    worker: str
    user: str
    request: tuple[tuple[str, Any], ...]
    label: str = ""
    timeout: float = 3600.0


@dataclass(frozen=True)
class Probe:
    """How to reach a Jupyter server. ``certificate`` is the path of the one it must present; ``token`` is the agent's own.

    ``unit`` is its service: who waits for the server stops waiting when that has ended.
    """

    address: str
    port: int
    base_url: str
    certificate: str
    token: SecretRef
    unit: str


@dataclass(frozen=True)
class Idle:
    """Awaited before a restart that shall wait for people: that no kernel of the server computes."""

    probe: Probe


@dataclass(frozen=True)
class Await:
    """Waits until a probe succeeds; fails with the probe's last words after ``timeout`` seconds."""

    probe: Probe | Idle
    timeout: float = 30.0


Step = (
    Run
    | Write
    | MakeDirectory
    | SetAccess
    | Remove
    | Keep
    | PutBack
    | Unit
    | Packages
    | AddRepository
    | Remember
    | Sql
    | Dump
    | StoreSecret
    | StoreHash
    | ForgetSecret
    | IssueCertificate
    | Work
    | Await
)
