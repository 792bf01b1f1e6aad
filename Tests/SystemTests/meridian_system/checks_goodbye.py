"""What a proxy owes its clients when it ends, and what must not end it."""

from __future__ import annotations

import signal
import socket
import time

from meridian_system.client import Client, Endpoint
from meridian_system.report import require
from meridian_system.world import World

_LARGE = b"L" * 900_000
_REPLY_BYTES = len(b"VALUE large 0 900000\r\n") + len(_LARGE) + len(b"\r\nEND\r\n")
_ASKED = 12
"""More than the kernel takes from the proxy ahead of a client that reads slowly."""
_PIECE_BYTES = 65_536
_PAUSE_SECONDS = 0.02
"""After each piece: some three megabytes a second, so that it takes less than the 5 s that a proxy has for its goodbyes."""


def check_last_replies(world: World) -> str:
    """SIGTERM while a client reads large values slowly: each that was begun comes whole, and then the end."""
    with world.federation("last-replies") as federation:
        proxy = federation.north.proxies["n1"]
        with Client(proxy.clients) as client:
            client.set(b"large", _LARGE)
        assert proxy.process is not None
        with proxy.clients.connect(10.0) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE_BYTES)
            slow.sendall(b"get large\r\n" * _ASKED)
            heard = slow.recv(1_000)
            proxy.process.signal(signal.SIGTERM)
            while piece := _slowly(slow):
                heard += piece
        whole, rest = divmod(len(heard), _REPLY_BYTES)
        require(whole > 0 and rest == 0, f"{whole} replies came whole, and {rest:,} bytes of another")
        took = proxy.process.terminate()
        federation.start_proxy(proxy)
        return f"{whole} replies, {len(heard):,} bytes, read slowly, came whole; the process was gone {took:.1f} s later"


def _slowly(client: socket.socket) -> bytes:
    time.sleep(_PAUSE_SECONDS)
    try:
        return client.recv(_PIECE_BYTES)
    except ConnectionResetError:
        return b""


def check_unwritable_log(world: World) -> str:
    """A log that cannot be written, as on a full disk, costs its lines and nothing else."""
    with world.federation("unwritable-log") as federation:
        proxy, site = federation.north.proxies["n1"], federation.north
        assert proxy.process is not None
        proxy.process.terminate()
        command = ["sh", "-c", 'exec "$0" "$@" 2>/dev/full']
        proxy.process = federation.supervisor.start(
            proxy.name,
            [*command, str(federation.binaries / "meridiand"), "--config", str(site.config), "--proxy", proxy.name],
            proxy.log, namespace=site.namespace,
        )  # fmt: skip
        federation.wait_serving(proxy)
        _serves(proxy.clients)
        proxy.process.signal(signal.SIGHUP)
        time.sleep(1.0)
        proxy.process.expect_alive()
        _serves(proxy.clients)
        return "started, reloaded and served with its log on /dev/full"


def _serves(endpoint: Endpoint) -> None:
    with Client(endpoint) as client:
        require(client.set(b"alive", b"yes") == b"STORED", "a set is not served")
