"""What Python's distributions there are in an environment, and whether they are what was asked for. Runs the environment's own Python, so never as root."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.workers.archives import canonical
from agent.workers.problems import WorkError

CHECK_SECONDS = 60
_OWNED = re.compile(
    r"(?:^|/)site-packages/([^/]+?)-([^/-]+)(?:-py[0-9.]+)?\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)$"
)
_NOT_PASSED_ON = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REPORT",
    "PIP_PYTHON",
    "PIP_LOG",
    "PIP_REQUIREMENT",
    "PIP_CONSTRAINT",
    "PIP_EDITABLE",
)
"""Settings of the account's own that would put packages elsewhere, or choose other ones."""

# Runs in the environment's Python, 2.7 to current.
_PROBE = """
import json, re, sys
import pip
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name
from pip._vendor.packaging.version import InvalidVersion, Version
asked = json.load(sys.stdin)
try:
    from importlib.metadata import distributions
    found = [(each.metadata["Name"], each.version, each.read_text) for each in distributions()]
except ImportError:
    from pip._vendor.pkg_resources import working_set
    found = [
        (each.project_name, each.version, lambda name, each=each: each.has_metadata(name) and each.get_metadata(name))
        for each in working_set
    ]
have, texts = {}, {}
for name, version, text in found:
    if name and version:
        have.setdefault(canonicalize_name(name), version)
        texts.setdefault(canonicalize_name(name), text)
version = [int(each) for each in re.findall("[0-9]+", pip.__version__)[:2]]
def plain(url):
    return re.sub("//[^/@]*@", "//", (url or "").split("#")[0])
def meets(name, wanted):
    if name not in have or not wanted.specifier.contains(have[name], prereleases=True):
        return False
    if not wanted.url or version < [20, 1]:
        return True
    try:
        return plain(json.loads(texts[name]("direct_url.json") or "{}").get("url")) == plain(wanted.url)
    except ValueError:
        return False
unmet, stay = [], dict(asked["keep"])
for line in asked["requirements"]:
    try:
        wanted = Requirement(re.split(" --hash=", line)[0])
    except ValueError as error:
        print(json.dumps({"wrong": line, "why": str(error).splitlines()[0]}))
        sys.exit()
    if wanted.marker and not wanted.marker.evaluate():
        continue
    name = canonicalize_name(wanted.name)
    if not meets(name, wanted):
        unmet.append(line)
    if name in stay and (wanted.url or not wanted.specifier.contains(stay[name], prereleases=True)):
        del stay[name]
exact, extras = {}, {}
for name, number in asked["owned"].items():
    try:
        number = have.get(name, number)
        Version(number)
        exact[name] = number
    except InvalidVersion:
        pass
    lines = ((texts[name]("METADATA") or "") if name in texts else "").split("\\n\\n")[0].splitlines()
    extras[name] = "".join(
        each + "\\n" for each in lines if each.startswith("Provides-Extra:") or re.match("Requires-Dist:.*;.*extra", each)
    )
print(json.dumps({"have": have, "unmet": unmet, "stay": stay, "exact": exact, "extras": extras, "pip": version,
                  "python": list(sys.version_info[:2])}))
"""


@dataclass(frozen=True)
class State:
    """What the environment's Python says. Names are canonical."""

    have: Mapping[str, str]
    """Versions by name."""
    unmet: Sequence[str]
    """The requirements, of those that apply to this Python, that are not met."""
    stay: Mapping[str, str]
    """Versions to keep that no requirement contradicts."""
    exact: Mapping[str, str]
    """Versions of what conda owns, as pip can be told them."""
    extras: Mapping[str, str]
    """What their metadata says of extras."""
    pip: Sequence[int]
    python: Sequence[int]


def name_of(requirement: str) -> str:
    """The distribution that a requirement, or a pin, is about."""
    return canonical(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def owned_by_conda(files: Iterable[str]) -> dict[str, str]:
    """Distributions that conda's packages brought, with their versions, told from their files' names."""
    return {canonical(found[1]): found[2] for file in files if (found := _OWNED.search(file))}


def unmet(prefix: str, requirements: Sequence[str]) -> list[str]:
    """The requirements, or pins, that the environment's distributions do not meet; all, where its Python or pip does not run."""
    if not requirements:
        return []
    try:
        return list(probe(prefix, requirements).unmet)
    except WorkError:
        return list(requirements)


def distributions(prefix: str) -> dict[str, str]:
    """Name and version of every distribution that the environment's Python sees."""
    try:
        return dict(probe(prefix, ()).have)
    except WorkError:
        return {}


def replaced(prefix: str, files: Iterable[str]) -> list[str]:
    """Distributions that conda brought, told from the files of its records, and that pip replaced or removed since."""
    theirs = (file for file in files if _OWNED.search(file))
    gone = owned_by_conda(file for file in theirs if not os.path.lexists(f"{prefix}/{file}"))
    return sorted(f"{name} {version}" for name, version in gone.items())


def probe(
    prefix: str,
    requirements: Sequence[str],
    keep: Mapping[str, str] | None = None,
    owned: Mapping[str, str] | None = None,
) -> State:
    """Asks the environment's Python. Raises WorkError where it or its pip does not run, and for what is no requirement."""
    asked = {"requirements": list(requirements), "keep": dict(keep or {}), "owned": dict(owned or {})}
    try:
        done = run_python(prefix, ["-c", _PROBE], json.dumps(asked), CHECK_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise WorkError(f"the environment's Python did not end in {CHECK_SECONDS} s", temporary=True) from error
    try:
        answer = json.loads(done.stdout)
        if "wrong" in answer:
            raise WorkError(
                f"pip requirement {answer['wrong']!r}: {answer['why']}", kind="spec", about=(answer["wrong"],)
            )
        return State(**answer)
    except (ValueError, TypeError) as error:
        words = (done.stderr.strip().splitlines() or ["no words"])[-1]
        lacks = "No module named" in words and "pip" in words
        raise WorkError(
            f"pip cannot be asked: {words}", kind="pip", hint="add 'pip' to the environment's packages" if lacks else ""
        ) from error


def run_python(
    prefix: str, words: list[str], stdin: str, seconds: float, scratch: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs the environment's Python, never with packages from the account's own site directory, which would pass for the environment's.

    What it writes is the same every time. Raises WorkError where it does not start, subprocess.TimeoutExpired.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name not in _NOT_PASSED_ON
    }
    try:
        return subprocess.run(
            [f"{prefix}/bin/python", "-s", *words],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            input=stdin,
            timeout=seconds,
            cwd="/",  # Python looks for modules there
            env={
                **passed,
                **({"TMPDIR": scratch} if scratch else {}),
                "PATH": f"{prefix}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}",
                "PYTHONNOUSERSITE": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONHASHSEED": "0",
                "SOURCE_DATE_EPOCH": "315532800",
                "PIP_USER": "0",
                "PIP_REQUIRE_VIRTUALENV": "0",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            },
        )
    except OSError as error:
        raise WorkError(
            f"the environment's Python does not start: {error}", hint="add 'python' to its packages"
        ) from error
