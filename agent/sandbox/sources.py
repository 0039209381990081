"""Where packages come from: the settings of the system this runs on, carried into a throw-away root.

A system behind a mirror, a proxy or its own certificate authority has that written in its apt and pip
configuration; a root made on it needs the same. A system that has none of these gets Debian's own defaults.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.sandbox.programs import PATH

SUITES = ("bookworm", "trixie")
ROLLING = "sid"
"""Has what no release has yet, and no updates or security archive beside it. Roots can be made of it, too."""
_DEBIAN = re.compile(r"^(sid|unstable|testing|stable|oldstable|bullseye|bookworm|trixie|forky)$")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL)
_APT_SETTINGS = re.compile(
    # not those that name files or programs of this system; its certificates are carried over by themselves
    r"^(?!\S*(?:Ca(?:Info|Path)|Ssl(?:Cert|Key)|Auto-?Detect))"
    r'Acquire::(?:https?::|Check-|Retries|Force|M(?:ax|in)-Valid)\S*\s+"[^"]+";$',
    re.MULTILINE | re.IGNORECASE,
)
_PIP_SETTINGS = frozenset(
    [
        "index-url",
        "extra-index-url",
        "find-links",
        "no-index",
        "trusted-host",
        "default-timeout",
        "timeout",
        "retries",
        "proxy",
        "prefer-binary",
        "only-binary",
        "no-binary",
        "disable-pip-version-check",
    ]
)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Archive:
    """One Debian archive: its URI, the keyring that signs it, and whether its owner chose to trust it unsigned."""

    uri: str
    keyring: str = _KEYRING
    trusted: bool = False


@dataclass(frozen=True)
class Sources:
    """Everything apt and pip need to know, as found on this system."""

    archive: Archive
    security: Archive
    apt_settings: str
    pip_settings: str
    folders: tuple[Path, ...]
    """Local index and wheel folders that pip's settings name."""
    certificates: tuple[str, ...]
    """PEM blocks of the authorities this system trusts."""
    proxies: tuple[tuple[str, str], ...]

    def install(self, root: Path, suite: str) -> None:
        """Writes all of it into a root; what is right already is left untouched."""
        put(root, "etc/apt/sources.list", "")
        put(root, "etc/apt/sources.list.d/debian.sources", self._apt_sources(root, suite))
        settings = self.apt_settings + 'APT::Keep-Downloaded-Packages "true";\n'
        if suite == ROLLING:  # its index is valid for a week only, and a mirror may be older
            settings += 'Acquire::Check-Valid-Until "false";\n'
        put(root, "etc/apt/apt.conf.d/90agent", settings)
        if self.pip_settings:
            put(root, "etc/pip.conf", self.pip_settings)
        else:
            (root / "etc/pip.conf").unlink(missing_ok=True)
        self._trust(root)
        if self.proxies:
            words = " ".join(f'"{name}={value}"' for name, value in self.proxies)
            put(root, "etc/systemd/system.conf.d/90-proxy.conf", f"[Manager]\nDefaultEnvironment={words}\n")
            put(root, "etc/environment", "".join(f"{name}={value}\n" for name, value in self.proxies))

    def _apt_sources(self, root: Path, suite: str) -> str:
        parts = []
        named = [(self.archive, f"{suite} {suite}-updates"), (self.security, f"{suite}-security")]
        for archive, suites in [(self.archive, suite)] if suite == ROLLING else named:
            keyring = archive.keyring
            if keyring != _KEYRING and Path(keyring).is_file():
                keyring = f"/etc/apt/keyrings/{Path(keyring).name}"
                put(root, keyring.lstrip("/"), Path(archive.keyring).read_bytes())
            trust = "Trusted: yes" if archive.trusted else f"Signed-By: {keyring}"
            parts.append(f"Types: deb\nURIs: {archive.uri}\nSuites: {suites}\nComponents: main\n{trust}\n")
        return "\n".join(parts)

    def _trust(self, root: Path) -> None:
        """Adds what the root's own bundle lacks; the files below /usr/local keep it there when it is made anew."""
        bundle = root / _BUNDLE
        text = bundle.read_text() if bundle.is_file() else ""
        missing = set(self.certificates) - set(_PEM.findall(text))
        for pem in sorted(missing):
            name = hashlib.sha256(pem.encode()).hexdigest()[:12]
            put(root, f"usr/local/share/ca-certificates/agent-{name}.crt", pem + "\n")
        if missing:
            put(root, _BUNDLE, text + "\n".join(sorted(missing)) + "\n")


def put(root: Path, path: str, content: str | bytes, mode: int = 0o644) -> None:
    """Writes a file of a root that is not running. A link in its place is replaced, never followed."""
    target = root / path
    content = content.encode() if isinstance(content, str) else content
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_symlink() and target.is_file() and target.read_bytes() == content:
        return
    target.unlink(missing_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    target.chmod(mode)


@cache
def of_this_system() -> Sources:
    """Read once per process."""
    archive, security = archives(Path("/etc/apt"))
    home = Path.home()
    files = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", f"{home}/.pip/pip.conf", f"{home}/.config/pip/pip.conf")
    settings, named = pip_settings([*files, os.environ.get("PIP_CONFIG_FILE", "")], os.environ)
    bundles = [
        "/" + _BUNDLE,
        *(os.environ.get(name, "") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")),
        named.get("cert", ""),
    ]
    pem = {
        block: None for path in bundles if path and Path(path).is_file() for block in _PEM.findall(_text(Path(path)))
    }
    return Sources(
        archive=archive,
        security=security,
        apt_settings=_apt_settings(),
        pip_settings=settings,
        folders=pip_folders(named),
        certificates=tuple(pem),
        proxies=tuple((name, os.environ[name]) for name in _PROXIES if os.environ.get(name)),
    )


def download_environment(sources: Sources) -> dict[str, str]:
    """Variables for programs that know nothing of apt's settings, as debootstrap's wget: its proxy."""
    found = dict(sources.proxies)
    for scheme in ("http", "https"):
        proxy = re.search(
            rf'^Acquire::{scheme}::proxy\s+"([^"]+)";$', sources.apt_settings, re.MULTILINE | re.IGNORECASE
        )
        if proxy and proxy[1] != "DIRECT":
            found.setdefault(f"{scheme}_proxy", proxy[1])
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _apt_settings() -> str:
    dump = subprocess.run(
        ["apt-config", "dump"], check=False, capture_output=True, text=True, env={"PATH": PATH, "LC_ALL": "C.UTF-8"}
    )
    return "".join(line + "\n" for line in _APT_SETTINGS.findall(dump.stdout)) + 'Acquire::Languages "none";\n'


def archives(etc_apt: Path) -> tuple[Archive, Archive]:
    """The archive and security archive that a Debian's sources name; those of Debian itself on anything else."""
    archive: Archive | None = None
    security: Archive | None = None
    for suite, found in _apt_entries(etc_apt):
        if suite.endswith(("-security", "/updates")) and _DEBIAN.match(re.split(r"[-/]", suite)[0]):
            security = security or found
        elif _DEBIAN.match(suite):
            archive = archive or found
    return (
        archive or Archive("http://ftp.debian.org/debian"),
        security or Archive("http://security.debian.org/debian-security"),
    )


def _apt_entries(etc_apt: Path) -> Iterator[tuple[str, Archive]]:
    """(suite, archive) of each binary source, in both notations of sources.list(5)."""
    folder = etc_apt / "sources.list.d"
    for path in sorted(folder.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", _text(path))):
            fields = {
                key.lower(): value.strip()
                for key, value in re.findall(r"(?m)^([\w-]+):((?:.*\n?)(?:[ \t].*\n?)*)", stanza)
            }
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
                yield from _entries(fields.get("uris", "").split(), fields.get("suites", "").split(), fields)
    for path in (etc_apt / "sources.list", *sorted(folder.glob("*.list"))):
        lines = _text(path).splitlines() if path.is_file() else []
        for line in lines:
            match = re.match(r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)", line)
            if match:
                yield from _entries([match[2]], [match[3]], dict(re.findall(r"([\w-]+)=(\S+)", match[1] or "")))


def _entries(uris: list[str], suites: list[str], fields: dict[str, str]) -> Iterator[tuple[str, Archive]]:
    keyring = fields.get("signed-by", "")
    for uri in uris:
        if uri.startswith(("http://", "https://")):
            archive = Archive(uri, keyring if Path(keyring).is_absolute() else _KEYRING, fields.get("trusted") == "yes")
            yield from ((suite.rstrip("/"), archive) for suite in suites)


def pip_settings(files: Sequence[str], variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """What matters of pip's settings as the text of one pip.conf, and all of them by name.

    The order is pip's own, later ones win: site, user, PIP_CONFIG_FILE, variables (pip.pypa.io, "Configuration").
    """
    read = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        read.read(files, encoding="utf-8")
    except configparser.Error:
        return "", {}
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if read.has_section(section):
            found |= {name.replace("_", "-"): value for name, value in read.items(section)}
    found |= {
        name[4:].lower().replace("_", "-"): value
        for name, value in variables.items()
        if name.startswith("PIP_") and value
    }
    kept = {name: " ".join(value.split()) for name, value in found.items() if name in _PIP_SETTINGS}
    text = "".join(f"{name} = {value}\n" for name, value in sorted(kept.items()))
    return f"[global]\n{text}" if text else "", found


def pip_folders(named: dict[str, str]) -> tuple[Path, ...]:
    """Folders on this system that pip looks into. The files of an index ``simple/`` lie beside it."""
    found: dict[Path, None] = {}
    for setting in ("index-url", "extra-index-url", "find-links"):
        for word in named.get(setting, "").split():
            url = urlsplit(word)
            path = Path(unquote(url.path)) if url.scheme == "file" else Path(word).expanduser()
            if url.scheme in ("", "file") and path.is_absolute() and path.is_dir():
                found[path.parent if path.name == "simple" and path.parent != Path("/") else path] = None
    return tuple(found)
