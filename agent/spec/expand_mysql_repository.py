"""The repository of a database server as resources: its key, what is taken from it, and the source itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.errors import Problem, SpecError
from agent.kinds.file import File
from agent.kinds.repository import Repository
from agent.resource import Resource
from agent.spec.openpgp import BEGIN, armored, fingerprints
from agent.steps import Content

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.sections.mysql_repository import Repository as Section

NAME = "agent-mysql"
OURS = "mysql* libmysql* mariadb* libmariadb* galera* percona*"
"""Packages that are taken from the repository rather than from the distribution."""


def expand_repository(section: Section, host: Host) -> Iterator[Resource]:
    """The last one is the repository."""
    text = _key(section, host)
    # another key is another file, so that the source that is signed by it is read anew
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    key = File(f"/etc/apt/keyrings/{NAME}-{digest}.asc", Content.of(text))
    site = urlsplit(section.uri).hostname or ""
    preferences = File(
        f"/etc/apt/preferences.d/{NAME}",
        Content.of(
            "# Written by agent from mysql.repository of its spec; changes here are undone.\n"
            f'Package: {OURS}\nPin: origin "{site}"\nPin-Priority: 990\n\n'
            f'Package: *\nPin: origin "{site}"\nPin-Priority: 100\n'
        ),
    )
    parts = f"Components: {' '.join(section.components)}\n" if section.components else ""
    yield key
    yield preferences
    yield Repository(
        NAME,
        "# Written by agent from mysql.repository of its spec; changes here are undone.\n"
        f"Types: deb\nURIs: {section.uri}\nSuites: {section.suite}\n{parts}Signed-By: {key.name}\n",
        f"mysql.repository.key ({'in the spec' if _inline(section) else section.key}, {', '.join(fingerprints(text))})",
        after=(key.ref, preferences.ref),
    )


def _inline(section: Section) -> bool:
    return section.key.startswith(BEGIN)


def _key(section: Section, host: Host) -> str:
    if _inline(section):
        text = section.key
    else:
        content = host.files.content(section.key)
        if content is None:
            raise _refusal("key", f"{section.key} does not exist", "put the repository's public key there")
        try:
            text = armored(content)
        except ValueError as error:
            raise _refusal("key", f"{section.key} is no public key: {error}") from None
    found = fingerprints(text)
    if section.fingerprint and section.fingerprint not in found:
        raise _refusal("fingerprint", f"is not that of the key, which is {', '.join(found)}")
    return text


def _refusal(field: str, message: str, hint: str = "") -> SpecError:
    return SpecError((Problem(None, f"mysql.repository.{field}", message, hint=hint),))
