"""Secrets: read where a reference points, and kept in the agent's own root-only store. No value ever reaches a message."""

from __future__ import annotations

import os
import re
import secrets as random
import stat
import string
import threading
from typing import TYPE_CHECKING

from agent.errors import HostError
from agent.host import durable, look
from agent.resource import NotYetReadable

if TYPE_CHECKING:
    from agent.host.looks import Looks
    from agent.host.programs import Programs
    from agent.steps import ForgetSecret, SecretRef, StoreHash, StoreSecret

LONGEST = 4096
"""Bytes of a secret, and of the file that holds it."""
NEXT = ".next"
"""How the name ends that a new secret is kept under beside the old one, while a rotation tells it to those who must know both."""
CREDENTIALS = ("/run/credstore", "/etc/credstore", "/usr/lib/credstore")
"""Where systemd looks for credentials that a unit imports (systemd.exec(5)); each has a twin ending in .encrypted."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ALPHABET = string.ascii_letters + string.digits
# what jupyter_server.auth.passwd writes: its own defaults for argon2, and the prefix that names the algorithm
_PREFIX, _ITERATIONS, _LANES, _MEMORY = "argon2:", 10, 8, 10240


class Secrets:
    """Values by reference. Reading notes the question ("file", path), so a changed secret is noticed without its value being kept."""

    def __init__(self, directory: str, looks: Looks) -> None:
        self._directory = directory
        self._looks = looks
        self.programs: Programs | None = None
        """What decrypts credentials; it in turn reads secrets, so it is put here once both are made."""
        self._lock = threading.Lock()
        self._verified: set[tuple[str, str]] = set()
        self._decrypted: dict[tuple[str, bytes], str] = {}

    def value(self, ref: SecretRef) -> str | None:
        """The secret; None when there is none. Raises HostError when what is there cannot be trusted or is no secret.

        A file must be a regular one of root's that nobody else may read or write; its only line is the secret.
        """
        if ref.source == "file":
            return self._line(ref.at, f"secret {ref.at}")
        if ref.source == "stored":
            return self._kept(ref.at)
        if ref.source == "credential":
            return self._credential(ref.at)
        raise HostError(f"secret {ref}: must be file, credential or stored, got {ref.source!r}")

    def exists(self, ref: SecretRef) -> bool:
        """Whether there is a value. A missing file or credential raises NotYetReadable with the way out: nobody but a person can make it."""
        if self.value(ref) is not None:
            return True
        if ref.source == "file":
            raise NotYetReadable(
                f"the secret {ref.at} does not exist; write it there: install -m 0600 /dev/stdin {ref.at}"
            )
        if ref.source == "credential":
            raise NotYetReadable(
                f"the credential {ref.at} was not passed to the agent and is not in {CREDENTIALS[1]}; "
                f"put it there (mode 0600), or into the unit with LoadCredential="
            )
        return False

    def private(self, name: str) -> bool:
        """Whether nobody but root can read what is kept under a name."""
        paths = (self._directory, self._path(name))
        answers = self._looks.ask_all([("file", path) for path in paths])
        return all(answer is not None and not answer[0] & 0o077 for answer in answers)

    def generate(self, step: StoreSecret) -> None:
        """Keeps a new random secret of letters and digits, unless one is kept already. In either case it is private. Raises HostError."""
        with self._lock:
            kept = self._kept(step.name)
            if kept is None:
                kept = "".join(random.choice(_ALPHABET) for _ in range(step.length))
            self._store(step.name, kept)

    def replace(self, name: str, value: str) -> None:
        """Keeps this value under a name, whatever was kept there. Raises HostError, OSError; then nothing has changed."""
        with self._lock:
            self._store(name, value)

    def store_hash(self, step: StoreHash) -> None:
        """Keeps the argon2 hash of a secret, unless the one that is kept is right. Raises HostError when the secret does not exist."""
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        value = self.value(step.of)
        if value is None:
            raise HostError(f"cannot hash the secret {step.of}: it does not exist")
        with self._lock:
            if self.matches(step.name, step.of):
                return
            kdf = Argon2id(salt=os.urandom(16), length=32, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY)
            self._store(step.name, _PREFIX + kdf.derive_phc_encoded(value.encode()))

    def matches(self, hash_name: str, of: SecretRef) -> bool:
        """Whether the hash that is kept under a name is that of a secret. False when either does not exist."""
        kept, value = self._kept(hash_name), self.value(of)
        if kept is None or value is None or not kept.startswith(_PREFIX):
            return False
        if (kept, value) in self._verified:  # verifying is made to be slow, and both are the same in each pass
            return True
        from cryptography.exceptions import InvalidKey
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        try:
            Argon2id.verify_phc_encoded(value.encode(), kept.removeprefix(_PREFIX))
        except (InvalidKey, ValueError):
            return False
        self._verified.add((kept, value))
        return True

    def forget(self, step: ForgetSecret) -> None:
        """Removes a secret or a hash from the store; what is gone already is fine. Raises HostError."""
        durable.unlink(self._path(step.name))

    # ---- the store

    def _path(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise HostError(f"a stored secret must be named with letters, digits, '_', '-' and '.', got {name!r}")
        return f"{self._directory}/{name}"

    def _kept(self, name: str) -> str | None:
        """A mode that someone opened is not a reason to stop here: the directory is closed, and the next pass repairs both."""
        return self._line(self._path(name), f"stored secret {name}", mode_of_store=True)

    def _store(self, name: str, text: str) -> None:
        durable.make_directory(self._directory, 0o700, os.geteuid(), os.getegid())
        durable.replace(self._path(name), f"{text}\n".encode(), mode=0o600, owner=os.geteuid(), group=os.getegid())

    # ---- reading

    def _line(self, path: str, what: str, *, mode_of_store: bool = False) -> str | None:
        found = self._read(path, what, mode_of_store=mode_of_store)
        return None if found is None else _only_line(found, what)

    def _read(self, path: str, what: str, *, mode_of_store: bool = False) -> bytes | None:
        found = durable.read(path, LONGEST)
        if found is None:
            if self._looks.ask("file", path) is not None:
                raise HostError(f"{what}: must be a regular file; something else stands there")
            return None
        status, content = found
        self._looks.saw(
            ("file", path), (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, _answered(status, content))
        )
        if not stat.S_ISREG(status.st_mode):
            raise HostError(f"{what}: must be a regular file, and is a link", hint="name the file that it points to")
        if status.st_uid not in (0, os.geteuid()):
            raise HostError(
                f"{what}: must belong to root, and belongs to uid {status.st_uid}", hint=f"chown root:root {path}"
            )
        if status.st_mode & 0o077 and not mode_of_store:
            raise HostError(
                f"{what}: must be readable by root alone, and has mode {stat.S_IMODE(status.st_mode):04o}",
                hint=f"chmod 0600 {path}, and change the secret if others may have read it",
            )
        if status.st_nlink > 1:
            raise HostError(f"{what}: has {status.st_nlink} names (hard links)", hint="replace it by a copy of itself")
        return content

    def _credential(self, name: str) -> str | None:
        if not _NAME.fullmatch(name):
            raise HostError(f"a credential must be named with letters, digits, '_', '-' and '.', got {name!r}")
        what = f"credential {name}"
        passed = os.environ.get("CREDENTIALS_DIRECTORY")
        for directory in (*([passed] if passed else []), *CREDENTIALS):
            if (found := self._read(f"{directory}/{name}", what)) is not None:
                return _only_line(found, what)
        for directory in CREDENTIALS:
            path = f"{directory}.encrypted/{name}"
            if (found := self._read(path, what)) is not None:
                return self._decrypt(path, name, found)
        return None

    def _decrypt(self, path: str, name: str, encrypted: bytes) -> str:
        key = (path, look.digest(encrypted))
        if key not in self._decrypted:
            if self.programs is None:
                raise HostError(f"credential {name}: is encrypted, and nothing here can decrypt it")
            done = self.programs.run(["systemd-creds", "decrypt", f"--name={name}", path, "-"], timeout=60)
            if done.status != 0:
                raise HostError(f"credential {name}: systemd-creds exited {done.status}: {done.last_words()}")
            self._decrypted[key] = _only_line(done.output.encode(), f"credential {name}")
        return self._decrypted[key]


def _answered(status: os.stat_result, content: bytes) -> bytes:
    """The last member of what look.file answers."""
    return look.digest(content) if stat.S_ISREG(status.st_mode) else content


def _only_line(content: bytes, what: str) -> str:
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise HostError(f"{what}: must be UTF-8 text") from None
    if not text:
        raise HostError(f"{what}: is empty")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        raise HostError(f"{what}: must be one line without control characters")
    return text
