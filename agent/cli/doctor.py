"""The verb `doctor`: what commonly stands in the way, looked for one by one. Changes nothing."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import socket
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

from agent.cli.console import paint
from agent.errors import AgentError, Exit, SpecError
from agent.host.machine import Host
from agent.wanted import Wanted, want

GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One look: what was looked at, whether it is well, what was seen, and the way out."""

    about: str
    well: bool
    seen: str
    hint: str = ""


def doctor(options: argparse.Namespace) -> int:
    """Says what stands in the way; exits with 2 when something does."""
    host = Host()
    findings = [*_system(), *_spec(os.path.abspath(options.spec), host)]
    bad = [each for each in findings if not each.well]
    if options.json:
        print(json.dumps([vars(each) for each in findings], indent=1))
    else:
        for each in bad if options.quiet else findings:
            print(f"{paint('ok  ', '32') if each.well else paint('BAD ', '31')} {each.about}: {each.seen}")
            if not each.well and each.hint:
                print(f"       hint: {each.hint}")
    return Exit.PENDING if bad else Exit.OK


def _system() -> Iterator[Finding]:
    yield Finding("root", os.geteuid() == 0, f"uid {os.geteuid()}", "sudo agent doctor sees more")
    booted = os.path.isdir("/run/systemd/system")
    yield Finding(
        "systemd", booted, "booted" if booted else "this host was not booted with it",
        "in a container, try the spec in a throw-away host: sudo agent try SPEC",
    )  # fmt: skip
    for path, needed in (("/", 2), ("/opt", 3), ("/var", 1)):
        free = shutil.disk_usage(path).free / GIBIBYTE
        yield Finding(f"space below {path}", free > needed, f"{free:.1f} GiB free", f"about {needed} GiB are needed")
    with open("/proc/meminfo", encoding="ascii") as file:
        total = int(file.readline().split()[1]) / (1 << 20)
    yield Finding(
        "memory", total > 1.5, f"{total:.1f} GiB", "solving conda environments of real size takes 1 GiB and more"
    )
    yield _module("systemd", "python3-systemd")


def _module(name: str, package: str) -> Finding:
    import importlib.util

    there = importlib.util.find_spec(name) is not None
    return Finding(
        f"Python module {name}", there, "there" if there else "missing", f"install {package}, then run install.sh again"
    )


def _spec(path: str, host: Host) -> Iterator[Finding]:
    try:
        wanted = want(path, host, trusted_only=os.geteuid() == 0)
    except SpecError as error:
        yield Finding("spec", False, f"{path}: {error}", f"agent validate {path}")
        return
    except AgentError as error:
        yield Finding("spec", False, str(error), error.hint)
        return
    yield Finding("spec", True, f"{path}: {len(wanted.resources)} resources")
    yield from _ports(wanted, host)
    yield from _channels(wanted)
    yield from _kernels(wanted, host)


def _ports(wanted: Wanted, host: Host) -> Iterator[Finding]:
    jupyter, mysql = wanted.spec.jupyter, wanted.spec.mysql
    services = [("jupyter.service", jupyter.port)] if jupyter else []
    services += [(f"{mysql.server}.service", mysql.port)] if mysql and mysql.server != "external" else []
    for unit, port in services:
        facts = host.units.show(unit)
        if facts is not None and facts.active == "active":
            yield Finding(f"port {port}", True, f"{unit} is running")
            continue
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        yield Finding(
            f"port {port}",
            not taken,
            "taken by another program" if taken else "free",
            f"ss -ltnp 'sport = :{port}' says by which",
        )


def _channels(wanted: Wanted) -> Iterator[Finding]:
    """Whether the hosts that packages come from have an address and take a connection."""
    conda = wanted.spec.conda
    if conda is None or not wanted.spec.environments():
        return
    for channel in conda.channels:
        for url in conda.mirrors.get(channel) or [channel if "://" in channel else f"{conda.channel_alias}/{channel}"]:
            parts = urllib.parse.urlsplit(url)
            if parts.scheme not in ("http", "https"):
                continue
            try:
                socket.create_connection(
                    (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), 5
                ).close()
            except OSError as error:
                yield Finding(
                    f"channel {channel}",
                    False,
                    f"{parts.hostname}: {error}",
                    "a mirror that can be reached goes under conda.mirrors",
                )
            else:
                yield Finding(f"channel {channel}", True, f"{parts.hostname} takes connections")


def _kernels(wanted: Wanted, host: Host) -> Iterator[Finding]:
    """What Jupyter lists on this host, whoever registered it."""
    from agent.host.kernelspecs import kernelspecs

    for each in kernelspecs(host, wanted.resources):
        seen = ": ".join(filter(None, (each.path, each.display_name, each.why)))
        yield Finding(
            f"kernel {each.name}",
            each.state != "dead",
            seen,
            f"sudo agent apply, if it is one of the spec's; else install what it runs, or: rm -r {shlex.quote(each.path)}",
        )
