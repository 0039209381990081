"""The network of one throw-away host: its own namespace, one cable to this system, and the way out if asked for.

The host is 10.77.N.2, this system's end of the cable 10.77.N.1. There is no default route unless ``slirp4netns``
provides one, so that an address elsewhere is refused at once and no test waits for a time-out.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
from dataclasses import dataclass

from agent.errors import HostError
from agent.sandbox.programs import PATH, attempt, run

_RANGE = ipaddress.IPv4Network("10.77.0.0/16")


@dataclass(frozen=True)
class Network:
    """A named network namespace and the cable to it. ``number`` is the N of its addresses."""

    name: str
    number: int

    @property
    def address(self) -> str:
        """The host's."""
        return str(_RANGE[256 * self.number + 2])

    @property
    def gateway(self) -> str:
        """This system's end: where a host reaches what a test serves."""
        return str(_RANGE[256 * self.number + 1])

    @property
    def namespace(self) -> str:
        return f"/run/netns/{self.name}"

    @property
    def cable(self) -> str:
        return f"ag-{self.number}"

    def up(self) -> None:
        inside = ("ip", "-n", self.name)
        run("ip", "netns", "add", self.name)
        run(*inside, "link", "set", "lo", "up")
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "host0", "netns", self.name)
        run("ip", "address", "add", f"{self.gateway}/24", "dev", self.cable)
        run("ip", "link", "set", self.cable, "up")
        run(*inside, "address", "add", f"{self.address}/24", "dev", "host0")
        run(*inside, "link", "set", "host0", "up")
        # other hosts stay out of reach even through slirp4netns, which can go wherever this system can
        run(*inside, "route", "add", "unreachable", str(_RANGE))

    def down(self) -> None:
        attempt("ip", "link", "delete", self.cable)
        attempt("ip", "netns", "delete", self.name)


class WayOut:
    """slirp4netns(1): NAT in user space, with a name server at 10.0.2.3.

    Nothing on this system is configured for it, and this system's loopback is out of its reach. It ends by itself when
    we do, since it watches the other end of a pipe of ours.
    """

    nameserver = "10.0.2.3"

    def __init__(self, network: Network) -> None:
        """Returns when it is ready."""
        ready, ready_there = os.pipe()
        exit_there, self._keep = os.pipe()
        argv = [
            "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--ready-fd={ready_there}",
            f"--exit-fd={exit_there}", "--netns-type=path", network.namespace, "tap0",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": PATH},
            pass_fds=(ready_there, exit_there),
            start_new_session=True,
        )
        os.close(ready_there)
        os.close(exit_there)
        with open(ready, "rb") as answer:
            if answer.read(1) != b"1":
                self.close()
                raise HostError("slirp4netns gave up", hint="it needs /dev/net/tun: modprobe tun")

    def close(self) -> None:
        os.close(self._keep)
        self._process.wait()


def free_number(taken: set[int]) -> int:
    """An N whose 10.77.N.0/24 no host and no route of this system uses."""
    used = [
        ipaddress.IPv4Network(route["dst"], strict=False)
        for route in json.loads(run("ip", "-4", "-json", "route", "show", "table", "all"))
        if route["dst"] != "default"
    ]
    for number in range(256):
        wanted = ipaddress.IPv4Network((int(_RANGE[256 * number]), 24))
        if number not in taken and not any(net.subnet_of(wanted) for net in used):
            return number
    raise HostError(f"no free network in {_RANGE}: 256 throw-away hosts are running")
