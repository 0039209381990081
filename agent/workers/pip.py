"""Packages that pip puts into an environment beside conda's. Runs the environment's own Python, so never as root."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence

from agent.workers.problems import WorkError, temporary_words

SECONDS = 1800
CHECK_SECONDS = 60
_OWNED = re.compile(r"(?:^|/)([^/]+?)-([^/-]+)(?:-py[0-9.]+)?\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)$")

# Runs in the environment's Python, 2.7 to current. In: requirements. Out: {"have": {name: version}, "unmet": [...]}.
_PROBE = """
import json, sys
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name
try:
    from importlib.metadata import distributions
    found = [(each.metadata["Name"], each.version) for each in distributions()]
except ImportError:
    from pip._vendor.pkg_resources import working_set
    found = [(each.project_name, each.version) for each in working_set]
have = {}
for name, version in found:
    if name and version:
        have.setdefault(canonicalize_name(name), version)
unmet = []
for text in json.load(sys.stdin):
    wanted = Requirement(text)
    if wanted.marker and not wanted.marker.evaluate():
        continue
    version = have.get(canonicalize_name(wanted.name))
    if version is None or not wanted.specifier.contains(version, prereleases=True):
        unmet.append(text)
print(json.dumps({"have": have, "unmet": unmet}))
"""


def canonical(name: str) -> str:
    """A distribution's name in its one spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    return canonical(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def owned_by_conda(files: Iterable[str]) -> dict[str, str]:
    """Distributions that conda's packages brought, with their versions, told from their files' names."""
    return {canonical(found[1]): found[2] for file in files if (found := _OWNED.search(file))}


def unmet(prefix: str, requirements: Sequence[str]) -> list[str]:
    """The requirements that the environment's distributions do not meet; all, where its Python or pip does not run."""
    if not requirements:
        return []
    state = _probe(prefix, requirements)
    return list(requirements) if state is None else state[1]


def distributions(prefix: str) -> dict[str, str]:
    """Name and version of every distribution that the environment's Python sees."""
    state = _probe(prefix, ())
    return {} if state is None else state[0]


def install(prefix: str, requirements: Sequence[str], owned: dict[str, str], say: Callable[[str], None]) -> None:
    """What conda brought keeps its version: its records would lie otherwise. Raises WorkError with pip's own words."""
    say(f"pip installs {len(requirements)} package{'s' if len(requirements) != 1 else ''}")
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as constraints:
        constraints.writelines(f"{name}=={version}\n" for name, version in sorted(owned.items()))
        constraints.flush()
        done = _pip(
            prefix, "install", "--no-input", "--progress-bar", "off", "-c", constraints.name, "--", *requirements
        )
    if done.returncode:
        words = done.stdout + done.stderr
        clash = "ResolutionImpossible" in words or "conflicting dependencies" in words
        raise WorkError(
            f"pip install exited {done.returncode}: {_last_words(words)}",
            kind="pip",
            temporary=temporary_words(words),
            hint="conda's packages keep their versions; ask for other ones under 'packages'" if clash else "",
        )


def uninstall(prefix: str, names: Sequence[str]) -> None:
    """What is gone already is fine; so is what pip cannot uninstall, which then stays."""
    if names:
        _pip(prefix, "uninstall", "-y", "--", *names)


def _pip(prefix: str, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return _python(prefix, ["-m", "pip", "--disable-pip-version-check", *words], "", SECONDS)
    except subprocess.TimeoutExpired as error:
        raise WorkError(f"pip {words[0]} took more than {SECONDS} s and was stopped", temporary=True) from error
    except OSError as error:
        raise WorkError(
            f"the environment's Python does not start: {error}", hint="add 'python' to its packages"
        ) from error


def _probe(prefix: str, requirements: Sequence[str]) -> tuple[dict[str, str], list[str]] | None:
    try:
        done = _python(prefix, ["-c", _PROBE], json.dumps(list(requirements)), CHECK_SECONDS)
        answer = json.loads(done.stdout)
        return dict(answer["have"]), list(answer["unmet"])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None


def _python(prefix: str, words: list[str], stdin: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Never with packages from the account's own site directory, which would pass for the environment's."""
    return subprocess.run(
        [f"{prefix}/bin/python", "-E", "-s", *words],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        input=stdin,
        timeout=seconds,
        env={
            **os.environ,
            "PATH": f"{prefix}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "PYTHONNOUSERSITE": "1",
            "PIP_USER": "0",
            "PIP_REQUIRE_VIRTUALENV": "0",
        },
    )


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR")] or text.strip().splitlines()[-3:]
    return "; ".join(line.removeprefix("ERROR: ") for line in lines)[:1000] or "no words"
