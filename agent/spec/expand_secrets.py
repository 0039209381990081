"""Secrets of the spec as resources, and where their values are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.kinds.secret import Secret
from agent.steps import SecretRef

if TYPE_CHECKING:
    from agent.spec.secrets import Secret as SecretSection


def secret_ref(section: SecretSection, name: str) -> SecretRef:
    """Where a secret of the spec is; ``name`` is what a generated one is kept under."""
    if section.file is not None:
        return SecretRef("file", section.file)
    if section.credential is not None:
        return SecretRef("credential", section.credential)
    return SecretRef("stored", name)


def secret_of(section: SecretSection, name: str) -> Secret:
    """The secret as a resource."""
    length = section.generate.length if section.generate else 0
    return Secret(name, secret_ref(section, name), length)
