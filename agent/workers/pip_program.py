"""Runs an environment's pip, and says in few words what is wrong when it fails."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.workers.archives import Archives, canonical, scratch
from agent.workers.distributions import run_python
from agent.workers.problems import WorkError, temporary_words

SECONDS = 1800
"""For one run of pip; it may build packages."""
ELSEWHERE = "conda's packages keep their versions; ask for it under 'packages'"
_CAUSE = re.compile(r"^The conflict is caused by:\n((?:[ \t]+\S.*\n)+)", re.MULTILINE)
_MISMATCH = re.compile(r"DO NOT MATCH THE HASHES.*\n((?:[ \t]+\S.*(?:\n|$))+)")
_DEPENDS = re.compile(r"^\s*(\S+(?: \S+)?) depends on (.+)$", re.MULTILINE)
_CONSTRAINED = re.compile(r"The user requested \(constraint\) ([A-Za-z0-9._-]+?)\s*=+")
_NOT_FOUND = re.compile(r"satisfies the requirement ([^\s(]+(?: ?[<>=!~][^\s(]+)*)(?: \(from (?!versions:)([^()]+)\))?")


@dataclass(frozen=True)
class Index:
    """How pip gets archives; from where is said by the machine's own configuration of pip. ``cache`` is a directory to keep them in."""

    cache: str = ""
    offline: bool = False
    timeout: float = 60.0
    """Seconds without an answer, for one connection."""
    retries: int = 2

    @property
    def archives(self) -> Archives:
        return Archives(f"{self.cache}/pip/archives")

    @contextlib.contextmanager
    def program(self, prefix: str) -> Iterator[Program]:
        """The environment's pip, with a cache in any case and a directory to work in."""
        with contextlib.ExitStack() as stack:
            cache = self.cache or stack.enter_context(tempfile.TemporaryDirectory())
            yield Program(prefix, replace(self, cache=cache), stack.enter_context(scratch(f"{cache}/pip/work")))


class Conflict(WorkError):
    """Nothing meets all requirements. ``about`` are the distributions whose versions were constrained and are to blame."""


@dataclass(frozen=True)
class Program:
    """pip of one environment. ``directory`` is empty in the beginning and goes at the end."""

    prefix: str
    index: Index
    directory: str

    def write(self, name: str, lines: Iterable[object]) -> str:
        """The path of a new file of these lines."""
        path = f"{self.directory}/{name}"
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def run(self, doing: str, *words: str, owned: Mapping[str, str] | None = None, alone: bool = False) -> None:
        """Runs one command; with ``alone`` it asks no index. Raises WorkError in pip's words, and Conflict, with ``owned`` being what conda has."""
        options = [
            *(["--no-index"] if alone or self.index.offline else []), "--cache-dir", f"{self.index.cache}/pip/cache",
            "--no-input", "--progress-bar", "off", "--log", f"{self.directory}/log",
            "--retries", str(self.index.retries), "--timeout", str(max(1, round(self.index.timeout))),
        ]  # fmt: skip
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.directory}/log")
        try:
            done = run_python(
                self.prefix, ["-m", "pip", words[0], *options, *words[1:]], "", SECONDS, scratch=self.directory
            )
        except subprocess.TimeoutExpired as error:
            raise WorkError(f"pip, {doing}: stopped after {SECONDS} s", kind="pip", temporary=True) from error
        if done.returncode:
            raise self._failure(f"pip, {doing}", done.stdout + done.stderr, owned or {})

    def _failure(self, doing: str, words: str, owned: Mapping[str, str]) -> WorkError:
        constrained = dict.fromkeys(map(canonical, _CONSTRAINED.findall(words)))
        asking = [(who, what) for who, what in _DEPENDS.findall(words) if _name(what) in constrained]
        # pip of Python 2 names who asks, and not the constraint
        found = [(who, what) for what, who in _NOT_FOUND.findall(words) if who]
        constrained |= dict.fromkeys(_name(what) for _, what in found)
        asking += found
        if clash := [name for name in constrained if name in owned]:
            needs = "; ".join(f"{who} needs {what}" for who, what in asking if _name(what) in clash) or _told(words)
            have = ", ".join(f"{name} {owned[name]}" for name in clash)
            return Conflict(f"{doing}: {needs}, and conda has {have}", kind="pip", about=tuple(clash), hint=ELSEWHERE)
        trouble = [line for line in words.splitlines() if line.startswith(("WARNING", "ERROR"))] + self._unfetched()
        if temporary_words("\n".join(trouble)):
            told = "; ".join([_told(words), *dict.fromkeys(self._unfetched())])[:1000]
            return WorkError(f"{doing}: {told}", kind="pip", temporary=True)
        if self.index.offline:
            hint = "it is offline: what is not in the cache needs the network"
            return Conflict(f"{doing}: {_told(words)}", kind="pip", temporary=True, about=tuple(constrained), hint=hint)
        return Conflict(f"{doing}: {_told(words)}", kind="pip", about=tuple(constrained))

    def _unfetched(self) -> list[str]:
        """What pip says of indexes that did not answer, in its log alone: to everybody else it says that there is no such package."""
        try:
            with open(f"{self.directory}/log", encoding="utf-8", errors="replace") as log:
                return [found[0] for line in log if (found := re.search(r"Could not fetch URL .*\S", line))]
        except OSError:
            return []


def _name(requirement: str) -> str:
    return canonical(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def _told(words: str) -> str:
    if mismatch := _MISMATCH.search(words):
        archives = re.sub(r" \(from -r \S+ \(line \d+\)\)", "", " ".join(mismatch[1].split()))
        return f"an archive has another hash than the one that was chosen, so it was not used: {archives}"[:1000]
    if cause := _CAUSE.search(words):
        return "; ".join(line.strip() for line in cause[1].splitlines())[:1000]
    errors = [line.removeprefix("ERROR: ") for line in words.splitlines() if line.startswith("ERROR")]
    return "; ".join(errors or words.strip().splitlines()[-3:])[:1000] or "no words"
