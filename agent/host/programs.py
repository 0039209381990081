"""Runs programs: argument lists, never a shell string, never a secret among them. The only user of ``sh``.

``sh`` logs whole argument lists, repeats them in exceptions, and gives children a terminal; all of that is off here.
"""

from __future__ import annotations

import logging
import os
import pwd
import shlex
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.errors import HostError, TemporaryError
from agent.steps import SecretRef

if TYPE_CHECKING:
    from agent.host.secrets import Secrets
    from agent.steps import Run

log = logging.getLogger(__name__)

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}
"""All that programs see of the environment, whatever the agent itself was started with."""

_LARGEST_OUTPUT = 8 << 20
_LARGEST_LOG = 2 << 20
_GRACE = 5.0
"""Seconds between asking a program to end and killing it."""
_ANY_STATUS = tuple(range(-64, 256))


@dataclass(frozen=True)
class Finished:
    """How a program ended. ``status`` is negative when a signal ended it, as in subprocess."""

    status: int
    output: str = field(repr=False)
    errors: str = field(repr=False)

    def last_words(self) -> str:
        """The last line that says something, of its errors if there are any."""
        for text in (self.errors, self.output):
            for line in reversed(text.splitlines()):
                if line.strip():
                    return line.strip()[:400]
        return "it said nothing"


class Programs:
    """Starts programs in sessions of their own, with a fixed environment, and waits for them.

    ``say`` is told, from any thread, under which label a long program is doing what; the default tells nobody.
    """

    def __init__(
        self, logs: str, secrets: Secrets | None = None, say: Callable[[str, str], None] | None = None
    ) -> None:
        self._logs = logs
        self._secrets = secrets
        self.say = say or (lambda _label, _text: None)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 120,
        cwd: str = "/",
        on_line: Callable[[str], None] | None = None,
        log_name: str = "",
    ) -> Finished:
        """Runs a program to its end; any exit status is an answer. After ``timeout`` seconds its session is killed.

        ``user`` drops to that account first, for good. ``on_line`` is called with each line of output and errors as it
        comes, from another thread. ``log_name`` names a root-only file in the logs directory that they are appended to.
        Raises HostError when it cannot be started, TemporaryError when it did not end in time.
        """
        surroundings = {**ENVIRONMENT, **(environment or {})}
        words = tuple(argv)
        if user is not None:
            words, of_user = _as_user(words, user)
            surroundings.update(of_user)
        listeners = [on_line] if on_line else []
        record = _Record(f"{self._logs}/{log_name}.log", argv) if log_name else None
        if record:
            listeners.append(record.line)
        try:
            return _run(words, stdin or b"", surroundings, timeout=timeout, cwd=cwd, listeners=listeners)
        finally:
            if record:
                record.close()

    def perform(self, step: Run) -> None:
        """Runs a step's program. Raises HostError, with its last words, when its exit status is not accepted."""
        done = self.run(
            step.argv,
            stdin=self._stdin(step),
            user=step.user,
            environment=dict(step.environment),
            timeout=step.timeout,
            on_line=(lambda line: self.say(step.label, line)) if step.label else None,
            log_name="programs" if step.label else "",
        )
        if done.status not in step.accept:
            raise HostError(
                f"{step.argv[0]} {ended(done.status)}: {done.last_words()}",
                hint=f"all it said is in {self._logs}/programs.log" if step.label else "",
            )

    def _stdin(self, step: Run) -> bytes | None:
        if not isinstance(step.stdin, SecretRef):
            return None if step.stdin is None else step.stdin.encode()
        value = self._secrets.value(step.stdin) if self._secrets else None
        if value is None:
            raise HostError(f"there is no secret at {step.stdin}", hint="make it, or correct the spec")
        return value.encode()


def ended(status: int) -> str:
    """How a program ended, in words."""
    if status < 0:
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"
    return f"exited {status}"


def _as_user(argv: tuple[str, ...], user: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The program behind setpriv(1), and what of the environment belongs to the account."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise HostError(f"there is no account {user!r} to run {argv[0]} as") from None
    drop = (
        "/usr/bin/setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--init-groups",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--no-new-privs",
        "--",
    )
    home = {"HOME": account.pw_dir, "USER": user, "LOGNAME": user, "SHELL": "/bin/sh"}
    return drop + argv, home


class _Record:
    """The log of long programs: who ran when, every line, how it ended. Mode 0600, one old file is kept."""

    def __init__(self, path: str, argv: Sequence[str]) -> None:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        try:
            if os.stat(path).st_size > _LARGEST_LOG:
                os.replace(path, f"{path}.1")
        except FileNotFoundError:
            pass
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self.line(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} $ {shlex.join(argv)}")

    def line(self, text: str) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.write(self._descriptor, text.encode(errors="replace") + b"\n")

    def close(self) -> None:
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = -1


class _Collector:
    """Gathers the lines of one stream, as much of its end as is worth keeping."""

    def __init__(self, listeners: Sequence[Callable[[str], None]]) -> None:
        self._listeners = listeners
        self._lines: deque[str] = deque()
        self._size = 0

    def __call__(self, chunk: str) -> None:
        self._lines.append(chunk)
        self._size += len(chunk)
        while self._size > _LARGEST_OUTPUT:
            self._size -= len(self._lines.popleft())
        for listener in self._listeners:
            listener(chunk.rstrip("\n"))

    def text(self) -> str:
        return "".join(self._lines)


def _run(
    argv: tuple[str, ...],
    stdin: bytes,
    environment: Mapping[str, str],
    *,
    timeout: float,
    cwd: str,
    listeners: Sequence[Callable[[str], None]],
) -> Finished:
    import sh

    logging.getLogger("sh").setLevel(logging.WARNING)
    output, errors = _Collector(listeners), _Collector(listeners)
    try:
        program: Any = sh.Command(argv[0], search_paths=environment["PATH"].split(":"))
        running = program(
            *argv[1:],
            _in=stdin,
            _out=output,
            _err=errors,
            _env=dict(environment),
            _cwd=cwd,
            _tty_out=False,
            _new_session=True,
            _bg=True,
            _bg_exc=False,
            _return_cmd=True,
            _ok_code=_ANY_STATUS,
            _decode_errors="replace",
            _log_msg=lambda *_: argv[0],
        )
    except sh.CommandNotFound:
        raise HostError(f"there is no program {argv[0]!r}", hint="install the package that has it") from None
    except (sh.ForkException, OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it could not be executed"
        raise HostError(f"cannot start {argv[0]}: {reason}") from None
    watch = _Watch(running.process, timeout)
    try:
        running.wait()
    finally:
        watch.cancel()
    if watch.struck:
        raise TemporaryError(
            f"{argv[0]} did not end within {timeout:g} s and was killed",
            hint="look at what it waits for, then try again",
        )
    return Finished(running.exit_code, output.text(), errors.text())


class _Watch:
    """Ends the session of a program when its time is up: asks, waits, kills."""

    def __init__(self, process: Any, timeout: float) -> None:
        self._process = process
        self.struck = False
        self._timer = self._after(timeout, self._ask)

    def _after(self, seconds: float, act: Callable[[], None]) -> threading.Timer:
        timer = threading.Timer(seconds, act)
        timer.daemon = True
        timer.start()
        return timer

    def _ask(self) -> None:
        self.struck = True
        self._timer = self._after(_GRACE, self._kill)
        self._signal(signal.SIGTERM)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pgid, number)
        except ProcessLookupError:
            pass

    def cancel(self) -> None:
        self._timer.cancel()
        if self.struck:
            self._kill()  # what its children left running
