"""A memcached that comes back empty is refilled in the background, from the other pool, without anybody reading its keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from meridian_system.checks_server_faults import OneSite
from meridian_system.client import Client, store
from meridian_system.compare import Item, read_server
from meridian_system.memcached import Memcached
from meridian_system.processes import wait_until
from meridian_system.report import require
from meridian_system.world import World

_KEYS = 20_000
_BATCH = 500
_SECONDS = 60.0


def check_refill(world: World) -> str:
    """A primary, then the backup, is killed and comes back empty; each must come to hold what it held, and what was written since.

    Nobody reads meanwhile, so nothing is refilled on demand. Each item must come back with its value, flags and expiry, and what
    was overwritten or deleted during the refill must not come back. In the end each server alone serves every key.
    """
    federation = OneSite(world.folder / "refill", world.binaries, world.supervisor, ports=world.ports)
    federation.start()
    try:
        expected = _fill(federation)
        backup = federation.north.backups["backup1"]
        lines = [_refill(federation, server, expected) for server in (federation.victim, backup)]
        federation.victim.kill()
        with federation.client(federation.north) as client:
            missing = [key for key in expected if client.get(key) is None]
        require(not missing, f"with cache1 down, {len(missing)} of {len(expected)} keys are missing, first {missing[:3]}")
        federation.expect_alive()
        federation.stop()
    finally:
        world.supervisor.kill_all()
    return "\n".join(lines)


def _fill(federation: OneSite) -> dict[bytes, bytes]:
    """Keys of many kinds, through a proxy."""
    values: dict[bytes, bytes] = {}
    for index in range(_KEYS):
        key = b"refill:%d" % index
        if index % 10 == 1:
            key = b"refill/%d?a=%%41&\xc3\xa4~" % index
        values[key] = b"%d " % index * (1 + index % 40)
    with federation.client(federation.north) as client:
        keys = list(values)
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            requests = [store("set", key, values[key], flags=len(key), expiry=0 if index % 3 else 3_000) for index, key in enumerate(batch)]
            require(all(reply.line == b"STORED" for reply in client.ask(requests)), "a set before the fault failed")
    return values


def _refill(federation: OneSite, server: Memcached, expected: dict[bytes, bytes]) -> str:
    """Kills a server, starts it again, and waits until every lane takes it for whole."""
    keys = list(expected)
    before = read_server(server, keys)
    require(len(before) > _KEYS // 4, f"{server.name} holds only {len(before)} of {_KEYS} keys before the fault")
    server.kill()
    wait_until(lambda: "down" in _states(federation, server), f"{server.name} to be down", _SECONDS)
    server.start()
    begun = time.monotonic()
    with _writes(federation, keys) as written:
        wait_until(lambda: "recovering" in _states(federation, server), f"{server.name} to be recovering", _SECONDS)
        wait_until(lambda: _states(federation, server) == {"up"}, f"{server.name} to have recovered", _SECONDS)
    took = time.monotonic() - begun
    time.sleep(0.5)
    after = read_server(server, keys)
    for key in written:
        expected.pop(key, None)
    wrong = list(_differences(before, after, written))
    require(not wrong, f"{server.name} after its refill: {len(wrong)} of {len(before)} keys, first {wrong[:3]}")
    back = [key for key in after if key in written]
    require(not back, f"{server.name} holds {len(back)} keys that were deleted during its refill, first {back[:3]}")
    return f"{server.name} killed and empty: all of its {len(before)} keys are back after {took:.1f} s; {len(written)} deleted meanwhile stay deleted"


def _states(federation: OneSite, server: Memcached) -> set[str]:
    """What the lanes of all proxies say of a server."""
    return {
        backend["state"]
        for proxy in federation.north.proxies.values()
        for backend in proxy.status().backends
        if server.name.endswith(backend["name"])
    }


@contextmanager
def _writes(federation: OneSite, keys: list[bytes]) -> Iterator[set[bytes]]:
    """Deletes keys while the refill is under way, one after the other; yields those that are gone."""
    gone: set[bytes] = set()
    over = threading.Event()

    def work() -> None:
        with Client(federation.north.clients[0]) as client:
            for key in keys[5::17]:
                if over.is_set():
                    return
                if client.delete(key) == b"DELETED":
                    gone.add(key)
                time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield gone
    finally:
        over.set()
        thread.join()


def _differences(before: dict[bytes, Item], after: dict[bytes, Item], gone: set[bytes]) -> Iterator[str]:
    for key, item in before.items():
        if key in gone:
            continue
        if key not in after:
            yield f"{key!r} is missing"
        elif difference := item.differs_from(after[key]):
            yield f"{key!r}: {difference}"
