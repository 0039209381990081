"""The account that notebooks run as."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from ..base import Section, refuse
from ..fields import AbsolutePath, GroupName, NotebookName, one_line

KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


def _public_key(text: str) -> str:
    if "PRIVATE KEY" in text:
        raise refuse("is a private key; the public one goes here, from the file that ends in .pub", show=False)
    words = one_line(text).split()
    if len(words) < 2 or words[0] not in KEY_TYPES:
        raise refuse("must be a public key as ssh-keygen writes it: 'ssh-ed25519 AAAA... comment'")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        raise refuse("must be a whole public key; this one is cut or changed") from None
    if not re.match(re.escape(len(words[0]).to_bytes(4) + words[0].encode()), blob) or len(blob) < 40:
        raise refuse("must be a whole public key; this one is cut or changed")
    return text


class User(Section):
    """The account that notebooks run as. It gets no password; people log in to Jupyter, or with a key over SSH."""

    name: NotebookName = Field(
        default="notebook",
        description="Login name. `root` and system accounts are refused.",
        examples=["notebook", "alice"],
    )
    home: AbsolutePath | None = Field(
        default=None,
        description="Home directory. Left out: /home/NAME. It is created, and never removed.",
        examples=["/srv/home/alice"],
    )
    shell: AbsolutePath = Field(
        default="/bin/bash",
        description="Login shell, also that of terminals in Jupyter.",
        examples=["/bin/bash", "/usr/bin/zsh"],
    )
    groups: tuple[GroupName, ...] | None = Field(
        default=None,
        description="Supplementary groups, exactly these; missing ones are created. Left out: not managed.",
        examples=[["research", "video"]],
    )
    authorized_keys: tuple[Annotated[str, AfterValidator(_public_key)], ...] | None = Field(
        default=None,
        description="Public SSH keys, exactly these. Left out: not managed.",
        examples=[["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJk2WmXU7AAbHs3bcf/dWkGGQNR9eAahYhlxPhyc2GVa alice@laptop"]],
    )

    @property
    def directory(self) -> str:
        """The home directory, decided."""
        return self.home or f"/home/{self.name}"

    def below_home(self, path: str) -> str:
        """``~/x`` as an absolute path; an absolute one as it is."""
        return f"{self.directory}/{path[2:]}" if path.startswith("~/") else path
