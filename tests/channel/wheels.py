"""Turns wheels into conda packages: pure ones for any Python that suits them, compiled ones for one Python."""

import base64
import configparser
import csv
import email.parser
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from tests.channel.names import conda_name, marker_environment, match_specs, match_version
from tests.channel.package import PLACEHOLDER, File, Link, Package

SHEBANG = f"#!{PLACEHOLDER}/bin/python\n"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a wheel's parts go below the prefix."""

    site: str
    scripts: str

    @classmethod
    def of(cls, python: str, *, pure: bool) -> "Layout":
        """Return the layout of a noarch package, whose paths the installer completes, or of a compiled one."""
        return cls("site-packages", "python-scripts") if pure else cls(f"lib/python{python}/site-packages", "bin")


class Wheel:
    """A wheel (PEP 427) as seen by one version of Python."""

    def __init__(self, path: Path, python: str) -> None:
        _, version, _, tags = parse_wheel_filename(path.name)
        self.version = str(version)
        self.python = python
        self.pure = all(tag.platform == "any" for tag in tags)
        self.layout = Layout.of(python, pure=self.pure)
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            self.content = {entry.filename: archive.read(entry) for entry in entries}
            self.executable = {entry.filename for entry in entries if entry.external_attr >> 16 & 0o111}
        self.dist_info = next(name for name in self.content if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))[:-9]
        self.metadata: Message = email.parser.Parser().parsestr(
            self.content[f"{self.dist_info}/METADATA"].decode("utf-8", "replace")
        )
        self.name: str = self.metadata["Name"]

    def requirements(self, extra: str = "") -> Iterator[Requirement]:
        """Yield what must be there too; with ``extra``, only what that extra adds."""
        environment = marker_environment(self.python)
        for line in self.metadata.get_all("Requires-Dist") or []:
            requirement = Requirement(line)
            always = requirement.marker is None or requirement.marker.evaluate(environment)
            asked = requirement.marker is not None and requirement.marker.evaluate({**environment, "extra": extra})
            if (asked and not always) if extra else always:
                yield requirement

    def entry_points(self) -> tuple[str, ...]:
        """Return the console scripts as ``command = module:function``."""
        text = self.content.get(f"{self.dist_info}/entry_points.txt", b"").decode()
        parser = configparser.ConfigParser(delimiters=("=",), strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[method-assign, assignment]
        parser.read_string(text)
        if not parser.has_section("console_scripts"):
            return ()
        scripts = parser.items("console_scripts")
        return tuple(f"{command} = {target.split('[')[0].strip()}" for command, target in scripts)

    def package(self) -> Package:
        """Return the conda package."""
        files = self._files()
        entry_points = self.entry_points()
        if not self.pure:
            for entry_point in entry_points:
                command, script = _script(entry_point)
                files[f"bin/{command}"] = File(script, executable=True)
        commands = [entry_point.split(" = ")[0] for entry_point in entry_points] if self.pure else []
        files[f"{self.layout.site}/{self.dist_info}/RECORD"] = File(self._record(files, commands))
        return Package(
            name=conda_name(self.name),
            version=self.version,
            build="pyh_0" if self._any_python else f"py{self.python.replace('.', '')}_0",
            depends=(*sorted({spec for req in self.requirements() for spec in match_specs(req)}), self._python_spec()),
            noarch="python" if self.pure else None,
            entry_points=entry_points if self.pure else (),
            licence=self.metadata["License-Expression"],
            files=files,
        )

    def package_with(self, extra: str) -> Package:
        """Return the empty conda package that stands for this one with ``extra``, as conda-forge has them."""
        specs = {spec for req in self.requirements(extra) for spec in match_specs(req)}
        return Package(
            name=conda_name(self.name, extra),
            version=self.version,
            build="pyh_0",
            depends=(f"{conda_name(self.name)} =={self.version}", *sorted(specs)),
            files={},
        )

    @property
    def _any_python(self) -> bool:
        # What was chosen for Python 2.7 is kept away from later ones: they have newer versions of the same packages.
        return self.pure and not self.python.startswith("2")

    def _python_spec(self) -> str:
        if not self._any_python:
            major, minor = self.python.split(".")
            return f"python >={self.python},<{major}.{int(minor) + 1}.0a0"
        accepted = SpecifierSet((self.metadata["Requires-Python"] or "").rstrip(", "))
        if accepted.contains("2.7"):
            accepted &= SpecifierSet(">=3.8")
        return f"python {match_version(accepted)}"

    def _files(self) -> dict[str, File | Link]:
        files: dict[str, File | Link] = {}
        for name, content in self.content.items():
            if name == f"{self.dist_info}/RECORD":
                continue
            scheme = re.match(r"[^/]+\.data/(?P<kind>[^/]+)/(?P<rest>.+)", name)
            kind, rest = (scheme["kind"], scheme["rest"]) if scheme else ("purelib", name)
            if kind == "scripts":
                script = re.sub(rb"\A#!pythonw?[^\n]*\n", SHEBANG.encode(), content)
                files[f"{self.layout.scripts}/{rest}"] = File(script, executable=True)
            elif kind == "data":
                files[rest] = File(_kernelspec(rest, content), name in self.executable)
            elif kind in {"purelib", "platlib"}:
                files[f"{self.layout.site}/{rest}"] = File(content, name in self.executable)
        files[f"{self.layout.site}/{self.dist_info}/INSTALLER"] = File(b"conda\n")
        return files

    def _record(self, files: dict[str, File | Link], commands: list[str]) -> bytes:
        # Paths relative to site-packages, so that pip can take the package out again.
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        for name, file in sorted(files.items()):
            content = file.content if isinstance(file, File) else b""
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            hashed = PLACEHOLDER.encode() not in content
            rows.writerow(
                [self._below_site(name), f"sha256={digest}" if hashed else "", len(content) if hashed else ""]
            )
        for command in commands:
            rows.writerow([f"../../../bin/{command}", "", ""])
        rows.writerow([f"{self.dist_info}/RECORD", "", ""])
        return text.getvalue().encode()

    def _below_site(self, name: str) -> str:
        if name.startswith(f"{self.layout.site}/"):
            return name.removeprefix(f"{self.layout.site}/")
        return "../../../" + re.sub(r"\Apython-scripts/", "bin/", name)


def _kernelspec(path: str, content: bytes) -> bytes:
    # A kernel of the environment it is in: conda-forge's ipykernel names its own interpreter too.
    if re.fullmatch(r"share/jupyter/kernels/[^/]+/kernel\.json", path):
        return re.sub(rb'"python3?"(?=,\s*"-)', f'"{PLACEHOLDER}/bin/python"'.encode(), content)
    return content


def _script(entry_point: str) -> tuple[str, bytes]:
    command, target = entry_point.split(" = ")
    module, function = target.split(":")
    first = function.split(".")[0]
    return command, f"{SHEBANG}import sys\n\nfrom {module} import {first}\n\nsys.exit({function}())\n".encode()


Extra = tuple[str, str]
"""A Python package's conda name and one of its extras."""


def extras_asked_for(wheel: Wheel) -> set[Extra]:
    """Return the extras of other packages that ``wheel`` requires."""
    return {(conda_name(req.name), extra) for req in wheel.requirements() for extra in req.extras}
