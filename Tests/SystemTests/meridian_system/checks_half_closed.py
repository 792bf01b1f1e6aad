"""Clients that end their sending and read on, as `printf 'get k\\r\\n' | nc` does: they get what a memcached would send them."""

from __future__ import annotations

import socket
import time

from meridian_system.client import Client, Endpoint
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.report import require
from meridian_system.world import World

_LARGE = b"L" * 900_000
_STEP_SECONDS = 0.3
"""Between two reads of a slow client: with some twelve of them it takes longer than any proxy would wait for one that reads nothing."""
_CONVERSATIONS = (
    b"version\r\nget a\r\n",
    b"get a\r\nget b\r\nget c\r\nget d\r\nmn\r\n",
    b"nonsense\r\nset a 0 0 1\r\n2\r\nincr a 5\r\nget a b\r\n",
    b"set e 0 0 3 noreply\r\nabc\r\nget e\r\nget unfinis",
    b"get a\r\nset f 0 0 10\r\nabc",
    b"",
)


def check_half_closed(world: World) -> str:
    """Every conversation ends with the same bytes as with memcached, also a large value that is read slowly."""
    with world.federation("half-closed") as federation:
        user = unprivileged_user(world.wire is not None and world.wire.mapped)
        alone = Endpoint("127.0.0.1", world.ports.take(None))
        memcached = Memcached(world.supervisor, "half-closed-memcached", alone, federation.folder, user=user)
        memcached.start()
        for endpoint in (federation.north.clients[0], memcached.endpoint):
            with Client(endpoint) as client:
                for key in (b"a", b"b", b"c", b"d"):
                    client.set(key, b"1")
                client.set(b"large", _LARGE)
        for _ in range(20):
            for conversation in _CONVERSATIONS:
                ours = _hear(federation.north.clients[0], conversation)
                theirs = _hear(memcached.endpoint, conversation)
                require(ours == theirs, f"{conversation!r} and the end was answered {ours!r}, by memcached {theirs!r}")
        for words in (b"get large\r\n", b"get a\r\nget large\r\nquit\r\n"):
            heard = _hear(federation.north.clients[0], words, step=_STEP_SECONDS)
            require(heard.endswith(_LARGE + b"\r\nEND\r\n"), f"of {words!r}, read slowly, {len(heard):,} bytes came")
        memcached.kill()
        return f"{len(_CONVERSATIONS)} conversations, 20 times each, as with memcached; {len(_LARGE):,} bytes, read slowly"


def _hear(endpoint: Endpoint, words: bytes, step: float = 0.0) -> bytes:
    """Says something, ends, and hears all that comes."""
    with endpoint.connect(10.0) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.sendall(words)
        client.shutdown(socket.SHUT_WR)
        heard = b""
        while True:
            time.sleep(step)
            try:
                piece = client.recv(65_536)
            except ConnectionResetError:
                return heard + b"(reset)"
            if not piece:
                return heard
            heard += piece
