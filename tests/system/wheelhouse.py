"""Wheels for the hosts of the tests: a directory of them that pip is told to take everything from."""

from __future__ import annotations

import io
import zipfile

from agent.sandbox import Machine

DIRECTORY = "/srv/wheels"
_WRITTEN = (2024, 1, 1, 0, 0, 0)


def wheel(name: str, version: str, *requires: str) -> tuple[str, bytes]:
    """A wheel (PEP 427) and what it is called: a module that knows its version, and a command that says it. The same bytes every time."""
    record = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}.py": f"version = {version!r}\n\ndef main():\n    print({name!r}, version)\n",
        f"{record}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{record}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{record}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    files[f"{record}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{record}/RECORD"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, _WRITTEN), text)
    return f"{name}-{version}-py3-none-any.whl", packed.getvalue()


def stock(machine: Machine, *wheels: tuple[str, bytes]) -> None:
    """Puts wheels into the host's directory of them, which from then on is the only place that pip looks at."""
    for name, content in wheels:
        machine.root.joinpath(DIRECTORY.lstrip("/")).mkdir(exist_ok=True)
        machine.root.joinpath(DIRECTORY.lstrip("/"), name).write_bytes(content)
    machine.run("cat >/etc/pip.conf", stdin=f"[global]\nno-index = true\nfind-links = {DIRECTORY}\n")
