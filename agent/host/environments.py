"""Conda environments, seen from root: which build is in force, what its lists of packages say, and the worker that makes builds.

Everything inside an environment was written by its owner. Root reads names of files and one small manifest there, and
runs nothing of it: the worker does, as the owner, in a transient unit that can write to environments only.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.errors import HostError, TemporaryError
from agent.host import builds, look
from agent.host.builds import Asked, Manifest, Place
from agent.steps import Listing, Login, Remember, Work

if TYPE_CHECKING:
    from agent.host.looks import Looks
    from agent.host.machine import Progress
    from agent.host.memory import Memory
    from agent.host.programs import Finished, Programs
    from agent.host.secrets import Secrets
    from agent.kinds.environment import Environment

_WORKERS = ("conda", "kernel")
_CHECK_SECONDS = 180
_LONGEST = 5000
"""Characters of a worker's message that are passed on."""
_SYSTEMD = "/run/systemd/system"
_CONFINED = (
    "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=read-only", "PrivateTmp=yes", "PrivateDevices=yes",
    "ProtectKernelTunables=yes", "ProtectKernelModules=yes", "ProtectKernelLogs=yes", "ProtectControlGroups=yes",
    "ProtectClock=yes", "ProtectHostname=yes", "RestrictSUIDSGID=yes", "RestrictNamespaces=yes", "RestrictRealtime=yes",
    "LockPersonality=yes", "SystemCallArchitectures=native", "CapabilityBoundingSet=", "AmbientCapabilities=",
    "InaccessiblePaths=-/etc/agent/secrets -/var/lib/agent", "UMask=0022", "OOMScoreAdjust=500", "KillMode=control-group",
)  # fmt: skip
"""What a worker's unit is kept from (systemd.exec(5)); where it may write is said for each."""


class Environments:
    """Reads environments and starts the workers. Safe to use from several threads."""

    def __init__(
        self, looks: Looks, programs: Programs, secrets: Secrets, memory: Memory, progress: Progress | None = None
    ) -> None:
        self._looks, self._programs, self._secrets, self._memory = looks, programs, secrets, memory
        self._progress = progress
        self._lock = threading.Lock()
        self._unmet: dict[tuple[str, str], frozenset[str]] = {}

    def build(self, place: Place) -> str | None:
        """The build in force; None without one, and where something else stands in its place."""
        answer = self._looks.ask("file", place.link)
        if answer is None or not stat.S_ISLNK(answer[0]):
            return None
        build = place.build_of(os.fsdecode(answer[4]))
        return build if build and self._looks.ask("stamp", f"{place.build(build)}/conda-meta") is not None else None

    def half_removed(self, place: Place) -> bool:
        """Whether a worker that was to take it away was killed at it."""
        return self._looks.ask("file", place.removing) is not None

    def installed(self, prefix: str) -> Mapping[str, str] | None:
        """Version of each conda package by name, from the names of the files in conda-meta; None without an environment."""
        names = self._names(f"{prefix}/conda-meta")
        return None if names is None else builds.installed(names)

    def manifest(self, place: Place) -> Manifest | None:
        """What the worker noted about the build in force; None where that is not one of its own."""
        build = self.build(place)
        if build is None or build == builds.BEFORE:
            return None
        path = place.manifest(build)
        try:
            self._looks.ask("file", path)
            return builds.parse(_content(path, builds.LARGEST))
        except OSError as error:
            raise HostError(f"{path} cannot be read: {error.strerror}") from error

    def hold(self, place: Place, asked: Asked) -> str | None:
        """The build to which a person went back, as long as the spec asks for what they went back from."""
        try:
            note = json.loads(self._memory.get(hold_key(place)) or "{}")
        except ValueError:
            return None
        return str(note["build"]) if note.get("asked") == asked.digest() else None

    def due(self, place: Place, seconds: float) -> bool:
        """Whether the build in force is older than its schedule allows, and no update failed within a day."""
        manifest = self.manifest(place)
        if manifest is None:
            return False
        moment = max(manifest.solved + int(seconds), manifest.tried + min(int(seconds), 86400))
        return not self._looks.ask("before", moment)

    def unmet(self, environment: Environment) -> frozenset[str]:
        """What the build in force was made for and does not have: match specs, and ``pip:`` requirements.

        Nothing when it looks as it did when it was finished; else the worker is asked, as the owner, once for each look
        that it has. Raises HostError.
        """
        place, asked = environment.place, environment.asked
        build, manifest, held = self.build(place), self.manifest(place), self.hold(place, asked)
        if held and build != held:
            return frozenset({f"build {held}, which was gone back to"})
        if manifest is None:
            return frozenset([*asked.packages, *(f"pip:{each}" for each in asked.pip)]) or frozenset({"its manifest"})
        if build is None or (not held and not manifest.serves(asked)):
            return frozenset()  # the difference is in what it was made for
        if manifest.seen == (seen := self._seen(place.build(build))):
            return frozenset()
        key = (place.build(build), seen)
        with self._lock:
            known = self._unmet.get(key)
        if known is None:
            request = dict(environment.request("check"))
            answer = self._ask("conda", environment.owner, request, place.link, _CHECK_SECONDS)
            known = frozenset(map(_shown, answer.get("unmet", ())))
            with self._lock:
                self._unmet[key] = known
        return known

    def work(self, step: Work) -> None:
        """Lets a worker do its work as the step's user and tells the progress of it under the step's label.

        Raises HostError with the worker's words, TemporaryError when the same work may go through later.
        """
        self.ask(step)

    def ask(self, step: Work) -> Mapping[str, Any]:
        """The same, with the worker's answer."""
        request = dict(step.request)
        if step.worker == "conda":
            place = Place(request["root"], request["name"])
            asked = Asked(**request["asked"]) if "asked" in request else None
            request["hold"] = (self.hold(place, asked) if asked else None) or ""
        answer = self._ask(step.worker, step.user, request, step.label, step.timeout)
        with self._lock:
            self._unmet.clear()
        if request.get("verb") == "remove" or (request.get("verb") == "apply" and not request["hold"]):
            self._memory.perform(Remember(hold_key(place), None))  # something else was asked for since
        elif request.get("hold") and step.worker == "conda":
            self._still_held(place, request["hold"], answer.get("build"))
        return answer

    def go_back(self, environment: Environment, build: str) -> None:
        """Puts another build in force, and keeps it so as long as the spec asks for what it asks now. Raises HostError."""
        note = json.dumps({"asked": environment.asked.digest(), "build": build})
        self._memory.perform(Remember(hold_key(environment.place), note))
        self.work(Work("conda", environment.owner, environment.request("flip", build=build, listing=None, logins=())))

    def _still_held(self, place: Place, hold: str, build: object) -> None:
        """The build that is held was made anew, under another name."""
        if isinstance(build, str) and build != hold and re.fullmatch(builds.BUILD, build):
            key = hold_key(place)
            note = {**json.loads(self._memory.get(key) or "{}"), "build": build}
            self._memory.perform(Remember(key, json.dumps(note)))

    def _ask(self, worker: str, user: str, request: Mapping[str, Any], label: str, timeout: float) -> Mapping[str, Any]:
        if worker not in _WORKERS:
            raise HostError(f"no worker is called {worker!r}")
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        last: dict[str, Any] = {}

        def on_line(line: str) -> None:
            said = _parsed(line)
            if "progress" not in said:
                last.update(said)
            elif self._progress is not None:
                self._progress.say(label, _shown(said["progress"]))

        program = [sys.executable, "-I", f"{root}/agent/workers/__main__.py", f"agent.workers.{worker}"]
        filled = {name: self._filled(value) for name, value in request.items()}
        confined = os.path.isdir(_SYSTEMD)
        done = self._programs.run(
            _in_unit(program, user, request, timeout) if confined else program,
            stdin=json.dumps(filled).encode(),
            user=None if confined else user,
            timeout=timeout + 10,
            on_line=on_line,
        )
        if isinstance(last.get("error"), dict):
            error = last["error"]
            kind = TemporaryError if error.get("temporary") is True else HostError
            about = tuple(map(_shown, error.get("about") or ()))
            raise kind(_shown(error.get("message")), hint=_shown(error.get("hint")), about=about)
        if done.status or not isinstance(last.get("result"), dict):
            raise _without_result(worker, user, done, root)
        result: Mapping[str, Any] = last["result"]
        return result

    def _filled(self, value: Any) -> Any:
        """A part of a request as the worker sees it: with the secrets and lists that it names."""
        if isinstance(value, tuple):
            return [self._filled(each) for each in value]
        if isinstance(value, Login):
            secret = self._secrets.value(value.secret)
            if secret is None:
                raise HostError(f"there is no secret at {value.secret}", hint="make it, or correct the spec")
            return {"host": value.host, "scheme": value.scheme, "username": value.username, "secret": secret}
        if isinstance(value, Listing):
            return _listed(value)
        return value

    def _stamps(self, prefix: str) -> tuple[tuple[str, int, int], ...] | None:
        try:
            stamps: tuple[tuple[str, int, int], ...] | None = self._looks.ask("stamps", f"{prefix}/conda-meta")
        except OSError as error:
            raise HostError(f"{prefix}/conda-meta cannot be read: {error.strerror}") from error
        return stamps

    def _seen(self, prefix: str) -> str:
        stamps = self._stamps(prefix) or ()
        python = builds.installed(name for name, *_ in stamps).get("python")
        names: tuple[str, ...] = ()
        if python and re.fullmatch(r"[0-9]+\.[0-9]+[0-9a-z.]*", python):
            names = self._names(builds.site_packages(prefix, python)) or ()
        return builds.seen(stamps, names)

    def _names(self, directory: str) -> tuple[str, ...] | None:
        """What is in a directory; only its stamp is asked again when a pass looks whether all is as it was, which costs a tenth."""
        try:
            stamp = self._looks.ask("stamp", directory)
            names: tuple[str, ...] | None = look.names(directory)
        except OSError as error:
            raise HostError(f"{directory} cannot be read: {error.strerror}") from error
        return None if stamp is None else names


def _listed(listing: Listing) -> dict[str, object]:
    """With the list's content. Without it, and with ``why``, where the list is another by now: a build that was made of it may still be there, to
    which a generation goes back."""
    from agent.host.listing import entry

    said: dict[str, object] = {"form": listing.form, "entry": listing.entry, "digest": listing.digest}
    try:
        return {**said, "content": entry(listing)}
    except HostError as error:
        return {**said, "content": None, "why": str(error)}


def hold_key(place: Place) -> str:
    """Under what the agent remembers that a person went back to an older build."""
    return f"environment.{place.name}.hold"


def _in_unit(program: list[str], user: str, request: Mapping[str, Any], timeout: float) -> list[str]:
    """The program in a transient unit of its own (systemd-run(1)), as the account, with the environments' directories to write to."""
    # one path: each would be a mount of its own, and there are no hard links between mounts
    writable = [request["root"]] if "root" in request else []
    properties = (
        *_CONFINED,
        f"User={user}",
        f"RuntimeMaxSec={timeout:.0f}",
        f"ReadWritePaths={' '.join(f'-{path}' for path in writable)}",
    )
    options = [word for each in properties for word in ("-p", each)]
    return ["/usr/bin/systemd-run", "--pipe", "--wait", "--collect", "--service-type=exec", *options, "--", *program]


def _without_result(worker: str, user: str, done: Finished, root: str) -> HostError:
    if "result: oom-kill" in done.errors:
        return TemporaryError(
            f"the {worker} worker was killed for lack of memory",
            hint="give the host more memory or swap, or ask for fewer packages in one environment",
        )
    if "result: timeout" in done.errors:
        return TemporaryError(f"the {worker} worker did not end in time and was stopped")
    if "code=killed/status=KILL" in done.errors:  # with control groups v1 systemd cannot tell why
        return TemporaryError(
            f"the {worker} worker was killed, by the kernel for lack of memory or by somebody",
            hint="journalctl -k tells which; what is in force works as before, and agent apply begins anew",
        )
    words = _shown(done.errors.strip()[-500:]) or "no words"
    return HostError(
        f"the {worker} worker exited {done.status} without a result: {words}",
        hint=f"{user} must be able to read the agent's own Python, {sys.executable}, and {root}/agent",
    )


def _content(path: str, limit: int) -> bytes:
    """Up to ``limit`` bytes and one more of a regular file; of anything else nothing. Waits for no pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, limit + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _parsed(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _shown(text: object) -> str:
    """A worker's words without anything that a terminal obeys: the account that it runs as may have put them there."""
    plain = "".join(each if each.isprintable() or each == "\n" else " " for each in str(text or ""))
    return plain[:_LONGEST]
