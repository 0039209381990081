"""Runs inside a host, between an agent and its database server: lets statements through, and does something at the n-th that changes anything.

    inside_proxy.py LISTEN SERVER PLAN LOG

The plan is a JSON file that is read anew when a client connects: {"at": n, "what": "..."}. Counted from 1 over all connections since the plan was written:

    before     the client is killed when the n-th statement comes; the server never sees it
    after      ... when the server has answered; the client never sees the answer
    crash      the server is killed when the n-th statement comes      (any of these three: with the statement in its hands)
    restart    ... is restarted by systemd
    lose       the connection is cut when the server has answered; both live on
    watch      what the server holds is noted (inside_sql.py's snapshot) after each of them; ``at`` counts nothing

The log has a JSON line for each such statement, and with ``watch`` the snapshot. The proxy is root's as the server sees it, and so was its client.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

from tests.system import inside_sql

HARMLESS = (b"SELECT", b"SHOW", b"SET SESSION", b"SET NAMES", b"SET AUTOCOMMIT")
QUERY = 3


class Proxy:
    """One for all connections; statements are told one at a time, as the agent sends them."""

    def __init__(self, listen: str, server: str, plan: str, log: str) -> None:
        self.listen, self.server, self.plan, self.log = listen, server, plan, log
        self.lock = threading.Lock()
        self.version: Any = None
        self.seen = 0
        self.asked: dict[str, Any] = {}

    def serve(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.listen)
        listener.listen(16)
        while True:
            client, _ = listener.accept()
            with self.lock:
                self.read_plan()
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def read_plan(self) -> None:
        version = os.stat(self.plan).st_mtime_ns
        if version != self.version:
            self.version, self.seen = version, 0
            with open(self.plan) as file:
                self.asked = json.load(file)

    def connect(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.server)
        except OSError:
            client.close()  # as good as a server that hangs up
            return
        due = threading.Event()
        """Something is to be done at the server's answer."""
        back = threading.Thread(target=self.carry_back, args=(server, client, due), daemon=True)
        back.start()
        try:
            while packet := whole_packet(client):
                if packet[3] == 0 and packet[4] == QUERY and not packet[5:].lstrip().upper().startswith(HARMLESS):
                    self.meet(packet, client, due)
                server.sendall(packet)
        except OSError:
            pass
        hang_up(server, client)

    def meet(self, packet: bytes, client: socket.socket, due: threading.Event) -> None:
        """Notes a statement, and does what is to be done before the server sees it."""
        with self.lock:
            self.seen += 1
            self.note({"statement": packet[5:].decode(errors="replace")})
            what = self.asked.get("what")
            if what == "watch":
                due.set()
            if self.seen != self.asked.get("at"):
                return
            if what == "before":
                kill(client)
                raise OSError
            if what in ("after", "lose"):
                due.set()
            elif what == "crash":
                subprocess.run(["systemctl", "kill", "--signal=KILL", self.asked["unit"]], check=True)
            elif what == "restart":
                subprocess.run(["systemctl", "restart", self.asked["unit"]], check=True)

    def carry_back(self, server: socket.socket, client: socket.socket, due: threading.Event) -> None:
        try:
            while some := server.recv(1 << 16):
                if due.is_set():
                    due.clear()
                    self.answered(client)
                client.sendall(some)
        except OSError:
            pass
        hang_up(server, client)

    def answered(self, client: socket.socket) -> None:
        """The answer to a statement that changed something is one small packet: it came whole."""
        what = self.asked.get("what")
        if what == "watch":
            with self.lock:
                self.note({"snapshot": inside_sql.Server(self.server).snapshot()})
            return
        if what == "after":
            kill(client)
        raise OSError

    def note(self, line: dict[str, Any]) -> None:
        with open(self.log, "a") as file:
            file.write(json.dumps(line) + "\n")


def whole_packet(client: socket.socket) -> bytes:
    head = exactly(client, 4)
    return head + exactly(client, int.from_bytes(head[:3], "little")) if head else b""


def exactly(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = client.recv(count - len(found))
        if not part:
            return b""
        found += part
    return found


def kill(client: socket.socket) -> None:
    pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    os.kill(pid, signal.SIGKILL)


def hang_up(*ends: socket.socket) -> None:
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


if __name__ == "__main__":
    Proxy(*sys.argv[1:]).serve()
