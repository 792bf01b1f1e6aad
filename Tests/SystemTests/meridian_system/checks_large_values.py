"""Values of many megabytes: a proxy holds each once, however many servers and logs it goes to, and lets go of it at once."""

from __future__ import annotations

import random
import shutil
import struct
import time
from pathlib import Path

from meridian_system import binary_packets
from meridian_system.binary_packets import HEADER, Opcode, Status
from meridian_system.checks_magent import Farm, Magent
from meridian_system.client import Client, Endpoint, retrieve, store
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.processes import wait_until
from meridian_system.report import require
from meridian_system.world import World

_MEGABYTES = 48
_SECONDS = 60.0
_SHARE_MAX = 1.5
"""Most of a value's size that a proxy may grow by while the value is on its way."""
_REST_MEGABYTES = 8


class _Peak:
    """How much more memory a process holds at its peak than at rest, in bytes."""

    def __init__(self, process_id: int) -> None:
        self._folder = Path(f"/proc/{process_id}")
        self._rest = self._field("VmRSS:")

    def begin(self) -> None:
        """Forgets earlier peaks, once the process has let go of everything."""
        wait_until(lambda: self._field("VmRSS:") < self._rest + (_REST_MEGABYTES << 20), "the proxy to be at rest", _SECONDS)
        (self._folder / "clear_refs").write_text("5")

    def _field(self, name: str) -> int:
        text = (self._folder / "status").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(name))

    @property
    def grown(self) -> int:
        return self._field("VmHWM:") - self._rest


def check_large_values(world: World) -> str:
    """Text and binary, in and out: byte for byte what was stored, at both servers, and never held twice."""
    folder = world.folder / "large-values"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    namespace = world.wire.north if world.wire is not None else None
    user = unprivileged_user(world.wire is not None and world.wire.mapped)
    options = ("-I", "128m")

    def memcached(name: str) -> Memcached:
        endpoint = Endpoint("127.0.0.1", world.ports.take(namespace), namespace)
        return Memcached(world.supervisor, name, endpoint, folder, megabytes=1024, user=user, options=options)

    primary, backup = memcached("large-primary"), memcached("large-backup")
    try:
        for server in (primary, backup):
            server.start()
        magent = Farm(world, folder, namespace, [primary], backup).start(
            "large", "-s", str(primary.endpoint), "-b", str(backup.endpoint), "--item-size-max", "128MiB"
        )
        return _walk(magent, primary, backup)
    finally:
        world.supervisor.kill_all()


def _walk(magent: Magent, primary: Memcached, backup: Memcached) -> str:
    value = random.Random(1).randbytes(_MEGABYTES << 20)
    told: list[str] = []
    peak = _Peak(magent.process.pid)

    def measured(name: str, data: bytes, count: int) -> bytes:
        """Sends a request and reads `count` bytes of reply, which must not have the proxy grow by more than a share of the value."""
        with Client(magent.clients, timeout=_SECONDS) as client:
            peak.begin()
            client.send(data)
            reply = client.read_exactly(count)
            share = peak.grown / len(value)
        require(share < _SHARE_MAX, f"{name}: the proxy grew by {share:.2f} times the value")
        told.append(f"{name} {share:.2f}")
        return reply

    stored = len(b"STORED\r\n")
    for verb, key in (("set", b"one"), ("add", b"two"), ("replace", b"two"), ("set", b"one")):
        reply = measured(verb, store(verb, key, value).data, stored)
        require(reply == b"STORED\r\n", f"{verb} of {_MEGABYTES} MiB was answered {reply!r}")
    with Client(magent.clients, timeout=_SECONDS) as client:
        held = client.get(b"one")
    require(held is not None and held.cas is not None, "what was set has no CAS value")
    assert held is not None
    for cas, answer in ((held.cas, b"STORED\r\n"), (held.cas, b"EXISTS\r\n")):
        reply = measured("cas", store("cas", b"one", value, cas=cas).data, len(answer))
        require(reply == answer, f"cas of {_MEGABYTES} MiB was answered {reply!r}")
    reply = measured("append", store("append", b"two", b"end").data, stored)
    require(reply == b"STORED\r\n", f"append to {_MEGABYTES} MiB was answered {reply!r}")
    head = b"VALUE one 0 %d\r\n" % len(value)
    found = measured("get", retrieve(b"get one").data, len(head) + len(value) + len(b"\r\nEND\r\n"))
    require(found == head + value + b"\r\nEND\r\n", "get gives other bytes than were set")

    packet = binary_packets.Request(Opcode.SET, b"bin", struct.pack(">II", 7, 0), value).encode(1, 0)
    reply = measured("binary set", packet, HEADER.size)
    (answer,), _ = binary_packets.split(reply)
    require(answer.status == Status.SUCCESS, f"a binary set of {_MEGABYTES} MiB is answered {answer}")
    found = measured("binary get", binary_packets.Request(Opcode.GET, b"bin").encode(2, 0), HEADER.size + 4 + len(value))
    (answer,), _ = binary_packets.split(found)
    require(answer.extras == b"\0\0\0\7" and answer.value == value, "a binary get gives other bytes than were set")

    def equal() -> bool:
        expected = {b"one": value, b"two": value + b"end", b"bin": value}
        return all(_held(server, key) == data for server in (primary, backup) for key, data in expected.items())

    wait_until(equal, "both servers to hold what was stored", _SECONDS)
    begun = time.monotonic()
    with Client(magent.clients) as client:
        require(client.get(b"nothing") is None, "a key that was never set is there")
    require(time.monotonic() - begun < 1.0, "a small request waits")
    return f"values of {_MEGABYTES} MiB; growth as a share of the value: {', '.join(told)}"


def _held(server: Memcached, key: bytes) -> bytes | None:
    with Client(server.endpoint, timeout=_SECONDS) as client:
        item = client.get(key)
        return None if item is None else item.data
