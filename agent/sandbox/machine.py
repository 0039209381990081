"""A throw-away host: a real Debian, booted with systemd in half a second, gone without a trace at the end.

    with Machine(base_root("bookworm")) as machine:
        machine.unit_run(["apt-get", "--version"])

It is a systemd-nspawn(1) container over cached layers; everything it writes goes to a RAM disk.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.errors import HostError
from agent.sandbox import cgroups, mounts, nspawn, roots, sources, state
from agent.sandbox.commands import Commands
from agent.sandbox.forward import Forward
from agent.sandbox.network import WayOut
from agent.sandbox.nspawn import Bind
from agent.sandbox.programs import require
from agent.sandbox.roots import Root
from agent.sandbox.signals import shielded, unwind_on_sigterm

_POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), "Signals"
_REBOOT_STATUS = 133  # with --keep-unit, systemd-nspawn leaves a reboot to whoever started it
_CONTROLLERS = "memory cpu cpuacct pids blkio devices freezer cpuset"
_LIMITS = f"""
for name in {_CONTROLLERS}; do
    if [ -d /sys/fs/cgroup/$name ]; then mount -o remount,rw,bind /sys/fs/cgroup/$name; fi
done
systemctl daemon-reexec
"""


_living: list[Machine] = []


def living() -> tuple[Machine, ...]:
    """The hosts that this program has started and not stopped yet."""
    return tuple(_living)


@atexit.register
def _stop_forgotten() -> None:
    for machine in living():
        machine.stop(orderly=False)


def sweep() -> list[str]:
    """Removes the hosts and half-built roots of programs that were killed, and returns their names."""
    return [*state.sweep(), *roots.sweep()]


class Machine(Commands):
    """One throw-away host, from ``start()`` to ``stop()``; better as a context manager.

    ``network``: a way out through this system, for apt and pip; without it every look-up is refused at once.
    ``binds``: further files of this system to see inside. ``prepare``: called with the root directory before the first
    boot. ``disk``: the most that its RAM disk may grow to. ``capabilities``: beyond those systemd-nspawn gives; not
    all, with which a host could set this system's clock. ``syscalls``: beyond its filter's, as in its
    --system-call-filter. ``unified``: control groups v2 although this system has v1; limits then do nothing.
    ``patience``: seconds that a boot may take.
    """

    def __init__(
        self,
        root: Root,
        *,
        network: bool = False,
        binds: Sequence[Bind] = (),
        prepare: Callable[[Path], None] | None = None,
        disk: str = "8g",
        capabilities: Sequence[str] = ("CAP_NET_ADMIN",),
        syscalls: Sequence[str] = (),
        unified: bool = False,
        patience: float = 90,
    ) -> None:
        self.suite = root.suite
        self._layers = root.layers
        self._network = network
        self._binds = list(binds)
        self._prepare = prepare
        self._disk = disk
        self._capabilities = capabilities
        self._syscalls = syscalls
        self._unified = unified or root.suite == sources.ROLLING  # its systemd refuses to boot on v1
        self._patience = patience
        self._lease: state.Lease | None = None
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._way_out: WayOut | None = None
        self._forwards: list[Forward] = []

    # -- from boot to end

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(orderly=kind is None)

    def start(self) -> None:
        """Boots, and returns when the boot has finished. Raises HostError with the console's end when it does not."""
        if self._lease is not None:
            raise HostError(f"{self.name}: was started before")
        require(
            "systemd-nspawn", "ip", "nsenter", "setpriv", "mount", "umount", *(["slirp4netns"] if self._network else [])
        )
        unwind_on_sigterm()
        try:
            self._lease = state.claim()
            _living.append(self)
            self._make_disk(self._lease)
            self._lease.network.up()
            if self._network:
                self._way_out = WayOut(self._lease.network)
            self._boot()
        except BaseException:
            self.stop(orderly=False)
            raise

    def stop(self, *, orderly: bool = True) -> None:
        """Powers off, or just pulls the plug, and removes all there was. Doing so twice is harmless."""
        if self._lease is None:
            return
        try:
            if orderly and self.running:
                os.kill(self._leader, _POWER_OFF)
                self._wait_for_nspawn(20)
        finally:
            with shielded():
                self._clear(self._lease)

    def reboot(self) -> None:
        """A clean reboot: the same disk, addresses and machine ID, a new boot ID."""
        self.run(["systemctl", "reboot"], check=False)
        self.come_back()

    def come_back(self) -> None:
        """Waits until the host, told so from inside, goes down for a reboot, and boots it again."""
        status = self._wait_for_nspawn(60)
        if status != _REBOOT_STATUS:
            raise HostError(f"{self.name}: ended with status {status} where a reboot was expected\n{self.console()}")
        self._boot()

    def crash(self) -> None:
        """A power cut, and a boot from what is on the disk then.

        Every process dies at once. This system's page cache survives, so it shows what is not atomic or not recovered
        from, never a missing fsync.
        """
        os.kill(self._leader, signal.SIGKILL)  # never systemd-nspawn itself, which its payload would survive
        self._wait_for_nspawn(20)
        self._boot()

    def freeze(self, upper: Path) -> None:
        """Powers off, and copies what the host has written into ``upper``, for a root made of it (agent.sandbox.kept). Ends this host."""
        os.kill(self._leader, _POWER_OFF)
        self._wait_for_nspawn(60)
        subprocess.run(
            ["cp", "--archive", "--no-target-directory", str(self._there.disk / "upper"), str(upper)], check=True
        )
        self.stop()

    # -- what it is

    @property
    def name(self) -> str:
        return self._there.name

    @property
    def root(self) -> Path:
        """Its root directory, seen from this system: its disk, without what it mounts itself (/run, /tmp, /proc)."""
        return self._there.root

    @property
    def address(self) -> str:
        """Where this system reaches it."""
        return self._there.network.address

    @property
    def gateway(self) -> str:
        """Where it reaches this system."""
        return self._there.network.gateway

    @property
    def namespace(self) -> str:
        """The path of its network namespace, for ``nsenter --net=``."""
        return self._there.network.namespace

    @property
    def running(self) -> bool:
        return self._nspawn is not None and self._nspawn.poll() is None

    @property
    def _there(self) -> state.Lease:
        if self._lease is None:
            raise HostError("this throw-away host was not started, or has ended")
        return self._lease

    # -- what to do with it

    def forward(self, port: int, *, local: int = 0) -> int:
        """Connects 127.0.0.1:``local`` of this system (0: any free port) with a TCP port of the host.

        Returns the local port. It works over reboots, and for services bound to the host's loopback as well.
        """
        forward = Forward(self.namespace, ("127.0.0.1", self.address), port, local)
        self._forwards.append(forward)
        return forward.port

    def wait_booted(self, timeout: float = 60) -> str:
        """What systemd says of the finished boot: ``running``, or ``degraded`` when a unit failed."""
        words = ["systemctl", "is-system-running", "--wait"]
        return self.run(words, check=False, timeout=timeout).stdout.strip()

    def journal(self, *options: str) -> str:
        """Its journal since it booted; options as for journalctl(1)."""
        return self.run(["journalctl", "--no-pager", "--boot", *options], check=False).stdout

    def console(self) -> str:
        """The end of what was written on its console."""
        path = self._there.directory / "console.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def save_logs(self, folder: Path) -> None:
        """Puts ``journal.txt`` and ``console.log`` into a folder. Works for a host that hangs or has ended, too."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "console.log").write_text(self.console())
        journals = [self.root / "var/log/journal"]
        if self.running:
            journals.append(Path(f"/proc/{self._leader}/root/run/log/journal"))
        with (folder / "journal.txt").open("w") as output:
            for journal in filter(Path.is_dir, journals):
                argv = ["journalctl", "--no-pager", "--output=short-precise", f"--directory={journal}"]
                subprocess.run(argv, check=False, stdout=output, stderr=subprocess.STDOUT)

    # -- how it is made

    def _clear(self, lease: state.Lease) -> None:
        for forward in self._forwards:
            forward.close()
        self._forwards.clear()
        if self._way_out:
            self._way_out.close()
            self._way_out = None
        lease.cgroup.remove()
        if self._nspawn:
            self._nspawn.wait()
            self._nspawn = None
        if self._network:
            roots.harvest(self.suite, lease.disk / "upper")
        lease.remove()
        self._lease = None
        _living.remove(self)

    def _make_disk(self, lease: state.Lease) -> None:
        lease.disk.mkdir()
        mounts.tmpfs(lease.disk, self._disk)
        for name in ("upper", "work", "root"):
            (lease.disk / name).mkdir()
            (lease.disk / name).chmod(0o755)
        mounts.overlay((roots.debs(self.suite), *self._layers), lease.disk / "upper", lease.disk / "work", lease.root)
        here = sources.of_this_system()
        here.install(lease.root, self.suite)
        nameserver = WayOut.nameserver if self._network else "127.0.0.1"  # nothing there: refused at once
        for path, text in (
            ("etc/machine-id", uuid.uuid4().hex),
            ("etc/hostname", lease.name),
            ("etc/hosts", f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{lease.network.address} {lease.name}"),
            ("etc/resolv.conf", f"nameserver {nameserver}"),
        ):
            sources.put(lease.root, path, text + "\n")
        if self._prepare:
            self._prepare(lease.root)

    def _boot(self) -> None:
        lease = self._there
        lease.cgroup.remove()
        self._leader = 0
        options = [
            "--boot",
            "--notify-ready=yes",
            "--resolv-conf=off",
            f"--network-namespace-path={lease.network.namespace}",
        ]
        if self._capabilities:
            options.append(f"--capability={','.join(self._capabilities)}")
        if self._syscalls:
            options.append(f"--system-call-filter={' '.join(self._syscalls)}")
        binds = [*(Bind(folder) for folder in sources.of_this_system().folders), *self._binds]
        argv = nspawn.command(lease.root, lease.name, *options, binds=binds)
        address = lease.directory / "notify"
        address.unlink(missing_ok=True)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
            (lease.directory / "console.log").open("ab") as log,
        ):
            notify.bind(str(address))
            self._nspawn = subprocess.Popen(
                lease.cgroup.enter(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **nspawn.ENVIRONMENT,
                    "NOTIFY_SOCKET": str(address),
                    **({"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"} if self._unified else {}),
                },
            )
            try:
                self._leader = nspawn.wait_ready(notify, lambda: self.running, self._patience)
            except HostError as error:
                raise HostError(f"{self.name}: {error}\n{self.console()}") from None
        if not self._unified and cgroups.controllers_are_v1():
            # mounted read-only by systemd-nspawn: without this, MemoryMax= and the like do nothing, silently
            self.run(_LIMITS)

    def _wait_for_nspawn(self, timeout: float) -> int | None:
        assert self._nspawn is not None  # noqa: S101 - only called for a host that was booted
        try:
            return self._nspawn.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
