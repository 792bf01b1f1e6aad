"""Thousands of connections in one thread: opened, asked, left alone, and counted when they end.

Other loads fork processes; this one is a selector over non-blocking sockets, because what matters is how many there are.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import selectors
import socket
import time
from collections.abc import Callable
from types import TracebackType

from meridian_system.client import Endpoint
from meridian_system.report import require

_BATCH = 500
"""Connections that are being made at a time: fewer than a listener's queue."""


def allow_files(wanted: int) -> None:
    """Raises this process's limit on open files, and so that of its children; Failed when the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
    require(hard == resource.RLIM_INFINITY or hard >= wanted, f"this needs {wanted} open files, and {hard} are allowed (ulimit -n)")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Member:
    """One connection of a crowd."""

    def __init__(self, socket_: socket.socket) -> None:
        self.socket = socket_
        self.connected = False
        self.input = bytearray()
        self.ended: float | None = None
        """When the other side closed it, by time.monotonic()."""
        self.began = 0.0

    def send(self, data: bytes) -> int:
        """Sends what the kernel takes; 0 once it has ended."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.ended = self.ended or time.monotonic()
            return 0


class Crowd:
    """Many connections to one endpoint."""

    def __init__(self, endpoint: Endpoint, count: int, *, receive_buffer: int | None = None) -> None:
        """Connects, a batch at a time; whoever is not connected within 20 s is missing from `members`."""
        self.endpoint = endpoint
        self.members: list[Member] = []
        self._selector = selectors.DefaultSelector()
        self._receive_buffer = receive_buffer
        self.join(count)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def join(self, count: int) -> list[Member]:
        """More connections; returns the new ones."""
        joined: list[Member] = []
        deadline = time.monotonic() + 20.0
        while len(joined) < count and time.monotonic() < deadline:
            batch = [self._connect() for _ in range(min(_BATCH, count - len(joined)))]
            self.run(lambda batch=batch: all(member.connected or member.ended for member in batch), deadline - time.monotonic())  # type: ignore[misc]
            joined += batch
        self.members += joined
        return joined

    def _connect(self) -> Member:
        endpoint = self.endpoint
        inside = contextlib.nullcontext() if endpoint.namespace is None else endpoint.namespace.inside()
        with inside:
            made = socket.socket(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET)
        made.setblocking(False)
        if self._receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        member = Member(made)
        member.began = time.monotonic()
        code = made.connect_ex((endpoint.host, endpoint.port))
        if code not in (0, errno.EINPROGRESS):
            member.ended = time.monotonic()
        self._selector.register(made, selectors.EVENT_WRITE, member)
        return member

    def run(self, done: Callable[[], bool], timeout: float, *, reading: bool = True) -> bool:
        """Takes in what comes until `done`; whether it came to that within the timeout."""
        deadline = time.monotonic() + timeout
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self._selector.select(min(left, 0.05)):
                member: Member = key.data
                if not member.connected:
                    self._decided(member)
                elif reading:
                    self._receive(member)
        return True

    def _decided(self, member: Member) -> None:
        if member.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            self._end(member)
            return
        member.connected = True
        self._selector.modify(member.socket, selectors.EVENT_READ, member)

    def _receive(self, member: Member) -> None:
        try:
            data = member.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            member.input += data
        else:
            self._end(member)

    def _end(self, member: Member) -> None:
        member.ended = member.ended or time.monotonic()
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(member.socket)

    def look_away(self) -> None:
        """From now on nothing is read, and ends are not seen."""
        for member in self.members:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(member.socket)

    def ask(self, request: bytes, reply: bytes, timeout: float = 20.0) -> int:
        """Sends a short request over every connection; how many were answered as they should be."""
        for member in self.members:
            member.input.clear()
            member.send(request)
        self.run(lambda: all(len(member.input) >= len(reply) or member.ended for member in self.members), timeout)
        return sum(bytes(member.input) == reply for member in self.members)

    @property
    def ended(self) -> list[Member]:
        """Those that the other side has closed."""
        return [member for member in self.members if member.ended]

    def close(self) -> None:
        """Closes all."""
        self._selector.close()
        for member in self.members:
            member.socket.close()
