"""Carries TCP connections from this system's loopback to a service of a throw-away host, on its loopback or not."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading

from agent.errors import HostError

_CLONE_NEWNET = 0x40000000  # sched.h


class Forward:
    """Listens on 127.0.0.1 from construction to ``close()``; ``port`` is the one it listens on.

    One thread, which joins the host's network namespace: the listening socket was made before and stays outside, the
    sockets it opens are inside. So services bound to the host's 127.0.0.1 are reached as well.
    """

    def __init__(self, namespace: str, addresses: tuple[str, ...], target: int, port: int = 0) -> None:
        """``addresses`` are tried in order for each connection. ``port`` 0 takes any free one."""
        self._addresses = addresses
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(namespace,), name=f"forward-{self.port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        self._listening.close()

    def _run(self, namespace: str) -> None:
        join_network(namespace)
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._carry, sock=self._listening)
        await self._stop.wait()
        server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for address in self._addresses:
            try:
                inner_reader, inner_writer = await asyncio.open_connection(address, self._target)
            except OSError:
                continue
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
            for end in (inner_writer, writer):
                end.close()
            return
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of input, which is passed on, so that half-closed connections work."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def join_network(namespace: str) -> None:
    """Moves the calling thread, and no other, into a network namespace: setns(2). Python has it from 3.12 on."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            raise HostError(f"{namespace}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)
