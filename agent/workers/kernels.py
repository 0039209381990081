"""Starts a kernel and makes it say what it is: which interpreter, which version. Over Jupyter's own protocol, by running code in it.

The kernel runs in its environment as it will for people, started by the launcher (templates/in-environment.sh.j2), but with a home of its own,
so that what is judged is the environment. It is killed afterwards in any case.

The protocol: https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.workers.problems import WorkError

SECONDS = 60.0
"""How long a kernel may take to start and to answer."""
PLAIN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_LARGEST = 1 << 16
"""Bytes of a kernel.json, and of what is kept of a kernel's words."""
_LINES, _CHARACTERS = 12, 1500
_QUESTIONS = {
    "python": "import sys; print('\\n'.join(['', 'seen:' + sys.executable, 'seen:' + sys.prefix, 'seen:' + sys.version.split()[0]]))",
    "R": 'cat("", paste0("seen:", c(R.home(), R.home(), paste(R.version$major, R.version$minor, sep = "."))), sep = "\\n")',
}
"""What is run in a kernel, by its language: it prints its program, its home and its version."""
_HINTS = {
    r"No module named '?(ipykernel|ipykernel_launcher)\b": "add ipykernel to the environment's packages",
    r"there is no package called .IRkernel": "add r-irkernel to the environment's packages",
    r"cannot execute|No such file or directory|: not found": "the kernel's command must name a program of the environment",
}


def try_kernel(
    command: Sequence[str],
    prefix: str,
    name: str,
    seconds: float = SECONDS,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Starts the command in the build at ``prefix`` of the environment called ``name``; returns such as ``Python 3.11.2 (PREFIX/bin/python)``.

    In the command ``{prefix}`` and ``{connection_file}`` stand for what they say. Instead of this process's environment it gets
    ``environment``, or a plain one. Raises WorkError with the kernel's last words when it does not answer within ``seconds``, or
    answers from a program that is not in the build.
    """
    from agent.render import render

    with _private() as place:
        launcher, link = f"{place}/in-environment", f"{place}/envs/{name}"
        with open(launcher, "w", encoding="utf-8") as file:
            file.write("".join(map(str, render("in-environment.sh.j2").pieces)))
        os.mkdir(f"{place}/envs")
        os.symlink(os.path.realpath(prefix), link)
        argv = ["/bin/bash", launcher, link, *(word.replace("{prefix}", link) for word in command)]
        return _Trial(name, argv, os.path.realpath(prefix), place, {**PLAIN, **(environment or {})}).run(seconds)


def try_registered(
    path: str, prefix: str, seconds: float = SECONDS, environment: Mapping[str, str] | None = None
) -> str:
    """The same for a kernel as it is registered: ``path`` is its kernel.json, ``prefix`` the environment that it must run from."""
    spec, name = _registered(path), os.path.basename(os.path.dirname(path))
    base = {**PLAIN, **(environment or {})}
    for variable, text in spec["env"].items():
        base[variable] = re.sub(r"\$\{(\w+)\}", lambda found: base.get(found[1], found[0]), text)
    argv = [word.replace("{resource_dir}", os.path.dirname(path)) for word in spec["argv"]]
    with _private() as place:
        return _Trial(name, argv, os.path.realpath(prefix), place, base).run(seconds)


@contextlib.contextmanager
def _private() -> Iterator[str]:
    """A directory that nobody else can enter."""
    with tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True) as place:
        yield place


def _registered(path: str) -> dict[str, Any]:
    """``argv`` and ``env`` of a kernelspec."""
    try:
        with open(path, encoding="utf-8") as file:
            spec = json.loads(file.read(_LARGEST))
        argv, variables = [*spec["argv"]], {**spec.get("env", {})}
    except OSError as error:
        raise WorkError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WorkError(f"{path} is no kernelspec: {error}") from error
    if not argv or not all(isinstance(word, str) for word in (*argv, *variables, *variables.values())):
        raise WorkError(f"{path} is no kernelspec: argv and env must be text")
    return {"argv": argv, "env": variables}


@dataclass
class _Trial:
    """One kernel on trial. ``place`` is a private directory."""

    name: str
    argv: list[str]
    build: str
    place: str
    environment: dict[str, str]
    words: bytearray = field(default_factory=bytearray)
    """What it wrote, the end of it."""

    def run(self, seconds: float) -> str:
        give_up = time.monotonic() + seconds
        try:
            return self._run(give_up, seconds)
        except WorkError as error:
            # the ports are chosen before the kernel binds them: another program may have been faster
            if "Address already in use" not in str(error):
                raise
            self.words.clear()
            return self._run(give_up, seconds)

    def _run(self, give_up: float, seconds: float) -> str:
        connection = _connection(f"{self.place}/connection.json")
        with self._started() as kernel, _Talk(connection) as talk:

            def going_on() -> None:
                if kernel.poll() is not None:
                    time.sleep(0.05)  # its last words are on the way
                    raise self._failed(f"ended with {_ending(kernel.returncode)} before it answered")
                if time.monotonic() > give_up:
                    raise self._failed(f"did not answer within {seconds:.0f} s")

            said = talk.introduction(going_on)
            language = said.get("language_info", {})
            question = _QUESTIONS.get(language.get("name", ""))
            if question is None:
                return self._of_another_language(said, language)
            output, error = talk.output(question, going_on)
        seen = re.findall(r"^seen:(.*)", output, re.MULTILINE)
        if error or len(seen) != 3:
            raise self._failed(f"cannot run code: {error or 'it printed nothing'}")
        program, home, version = seen
        for path in (program, home):
            self._must_be_inside(path)
        return f"{language['name'].capitalize()} {version} ({program})"

    def _of_another_language(self, said: Mapping[str, Any], language: Mapping[str, Any]) -> str:
        words = self.argv[self.argv.index(link) + 1 :] if (link := self._link()) else self.argv
        program = words[0].replace(f"{link}/", f"{self.build}/", 1) if link else words[0]
        found = shutil.which(program, path=f"{self.build}/bin:{self.environment['PATH']}") or program
        self._must_be_inside(found)
        implementation = f"{said.get('implementation', '')} {said.get('implementation_version', '')}".strip()
        title = f"{language.get('name', 'unknown')} {language.get('version', '')}".strip()
        return f"{title}, {implementation} ({found})" if implementation else f"{title} ({found})"

    def _link(self) -> str:
        """The environment's link as the launcher gets it; empty without the launcher."""
        return next((word for word in self.argv[1:3] if os.path.realpath(word) == self.build), "")

    def _must_be_inside(self, path: str) -> None:
        if not f"{os.path.realpath(path)}/".startswith(f"{self.build}/"):
            raise WorkError(
                f"kernel {self.name} runs {path}, which is not of this environment ({self.build})",
                hint="the kernel's command must start a program of the environment: {prefix}/bin/...",
            )

    @contextlib.contextmanager
    def _started(self) -> Iterator[subprocess.Popen[bytes]]:
        variables = {
            "HOME": self.place,
            **self.environment,
            "IPYTHONDIR": f"{self.place}/ipython",
            "JUPYTER_RUNTIME_DIR": self.place,
            "TMPDIR": self.place,
            "JPY_PARENT_PID": str(os.getpid()),
            "PYTHONDONTWRITEBYTECODE": "1",  # a build stays as it was finished
        }
        argv = [word.replace("{connection_file}", f"{self.place}/connection.json") for word in self.argv]
        words, output = os.pipe()
        listening = threading.Thread(target=self._listen, args=(words,), daemon=True)
        listening.start()
        try:
            kernel = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=variables,
                cwd=self.place,
                start_new_session=True,
            )
        except OSError as error:
            raise WorkError(f"kernel {self.name} cannot be started: {argv[0]}: {error.strerror}") from error
        finally:
            os.close(output)
        try:
            yield kernel
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(kernel.pid, signal.SIGKILL)
            kernel.wait()
            listening.join(1)

    def _listen(self, words: int) -> None:
        while more := os.read(words, 4096):
            self.words += more
            del self.words[:-_LARGEST]
        os.close(words)

    def _failed(self, what: str) -> WorkError:
        text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", self.words.decode(errors="replace")).strip()
        last = "\n".join(text.splitlines()[-_LINES:])[-_CHARACTERS:]
        hint = next((hint for pattern, hint in _HINTS.items() if re.search(pattern, f"{last}\n{what}")), "")
        return WorkError(
            f"kernel {self.name} {what}; its last words: {last}" if last else f"kernel {self.name} {what}",
            kind="kernel",
            hint=hint or "correct the environment's packages, or the command of its kernel",
        )


def _connection(path: str) -> dict[str, Any]:
    """Writes a new connection file, which only this account can read, and returns what it says."""
    from jupyter_client.connect import write_connection_file

    key = secrets.token_hex().encode()
    _, record = write_connection_file(path, ip="127.0.0.1", transport="tcp", key=key)
    return dict(record)


class _Talk:
    """The client's side. Its sockets are plain ones, so that it works wherever it is called from."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        import zmq
        from jupyter_client.session import Session

        self._session = Session(key=record["key"].encode(), signature_scheme="hmac-sha256")
        self._context = zmq.Context()
        self._shell = self._context.socket(zmq.DEALER)
        self._output = self._context.socket(zmq.SUB)
        self._output.subscribe(b"")
        self._poller = zmq.Poller()
        for socket, port in ((self._shell, record["shell_port"]), (self._output, record["iopub_port"])):
            socket.linger = 0
            socket.connect(f"tcp://{record['ip']}:{port}")
            self._poller.register(socket, zmq.POLLIN)

    def __enter__(self) -> _Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def introduction(self, going_on: Callable[[], None]) -> dict[str, Any]:
        """What the kernel says of itself, once its output arrives here too. ``going_on`` is called often and may raise."""
        said: dict[str, Any] | None = None
        heard, asked = False, 0.0
        while said is None or not heard:
            going_on()
            if (
                time.monotonic() > asked + 1
            ):  # each answer comes with a word on the other channel, lost until that is open
                self._session.send(self._shell, "kernel_info_request", {})
                asked = time.monotonic()
            for message in self._arrived():
                if message["header"]["msg_type"] == "kernel_info_reply":
                    said = dict(message["content"])
                else:
                    heard = True
        return said

    def output(self, code: str, going_on: Callable[[], None]) -> tuple[str, str]:
        """What the code prints, and the error that it ends with."""
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = self._session.msg("execute_request", content)
        request = message["header"]["msg_id"]
        self._session.send(self._shell, message)
        printed, error, replied, idle = "", "", False, False
        while not (replied and idle):
            going_on()
            for message in self._arrived():
                if message["parent_header"].get("msg_id") != request:
                    continue
                kind, said = message["header"]["msg_type"], message["content"]
                if kind == "stream" and said.get("name") == "stdout":
                    printed = (printed + str(said.get("text", "")))[:_LARGEST]
                if kind == "error" or said.get("status") == "error":
                    error = f"{said.get('ename')}: {said.get('evalue')}"[:_CHARACTERS]
                replied = replied or kind == "execute_reply"
                idle = idle or said.get("execution_state") == "idle"
        return printed, error

    def _arrived(self) -> Iterator[dict[str, Any]]:
        """What has come within a moment, on either channel. A message that is not signed with the key counts as none."""
        for socket, _ in self._poller.poll(50):
            with contextlib.suppress(ValueError):
                _, message = self._session.recv(socket)
                if message is not None:
                    yield message


def _ending(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
