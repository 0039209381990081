"""Roots that the system tests boot: with the agent, with a conda channel, and with the quickstart applied."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from agent.sandbox import Bind, Machine, Root, kept, layer
from agent.sandbox.installed import agent_root
from agent.sandbox.sources import put
from tests.channel.build import build

CHECKOUT = Path(__file__).resolve().parents[2]
CHANNEL = Path("/srv/channel")
"""Where the local conda channel is seen in a host."""
CHANNEL_URL = "http://127.0.0.1:8099"
"""Where the host itself serves it, the same in every host."""

_SERVE = f"""[Service]
ExecStart=/usr/bin/python3 -m http.server 8099 --bind 127.0.0.1 --directory {CHANNEL}
Restart=always
RestartSec=0
[Install]
WantedBy=multi-user.target
"""
_MIRROR = f'{{"conda": {{"mirrors": {{"conda-forge": ["{CHANNEL_URL}"]}}}}}}\n'
PINNED = "tls: {names: [localhost], addresses: [127.0.0.1]}\n"
"""Names that are the same in every host, so that a certificate made in one is right in the next."""
QUICKSTART = (CHECKOUT / "examples/quickstart.yaml").read_text() + PINNED


def channel(*more: str) -> Path:
    """The directory, on this machine, of a channel with ``more`` parts than the usual ones; built once."""
    place = Path(os.environ.get("AGENT_CACHE") or "/var/cache/agent")
    return build(place / "-".join(["test-channel", *more]), ["py311", "jupyter", "toy", *more])


def channel_bind(*more: str) -> Bind:
    return Bind(channel(*more), CHANNEL)


def bare_root(suite: str = "bookworm") -> Root:
    """The agent installed, nothing applied; the channel is served as the mirror of conda-forge, if ``channel_bind()`` is among the host's binds."""
    script = f"""
mkdir -p -m 700 /etc/agent/spec.d {CHANNEL}
printf '%s' '{_MIRROR}' >/etc/agent/spec.d/90-mirror.yaml
printf '%s' '{_SERVE}' >/etc/systemd/system/channel.service
systemctl --quiet enable channel.service
"""
    return layer(agent_root(suite), script, "bare")


def write_spec(machine: Machine, text: str, path: str = "/etc/agent/spec.yaml") -> None:
    """As an editor does it: beside, then renamed."""
    machine.run(
        ["sh", "-ec", f"umask 077; mkdir -p $(dirname {path}); cat >{path}.new; mv {path}.new {path}"], stdin=text
    )


def applied_root(suite: str = "bookworm", spec: str = QUICKSTART) -> Root:
    """A host on which ``spec`` has been applied, switched off after that. Boot it with ``prepare=same_host(root)``."""
    lower = bare_root(suite)

    def make(upper: Path) -> None:
        with Machine(lower, network=True, binds=[channel_bind()]) as machine:
            write_spec(machine, spec)
            machine.unit_run(["agent", "apply", "--yes"], timeout=600)
            machine.freeze(upper)

    return kept(lower, "applied", hashlib.sha256(spec.encode()).hexdigest(), make)


def same_host(root: Root) -> Callable[[Path], None]:
    """Gives a host the machine ID that it had when the root was made: a certificate belongs to its host."""
    identity = (root.layers[0] / "etc/machine-id").read_text()

    def prepare(top: Path) -> None:
        put(top, "etc/machine-id", identity)

    return prepare
