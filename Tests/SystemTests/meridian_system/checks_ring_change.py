"""Servers are added to a site and removed from it under load: SIGHUP to each proxy, and no client notices."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable

from meridian_system import verified_load
from meridian_system.checks_server_faults import OneSite, look_around, one_site, write_static
from meridian_system.client import Client, Endpoint
from meridian_system.federation import Proxy
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.processes import wait_until
from meridian_system.report import require
from meridian_system.verified_load import SHARED_KEYS, Board, Tally, shared_key, shared_value, static_values
from meridian_system.world import World

_SECONDS = 20.0
_LOAD_SECONDS = 2.0
_REQUESTS_MIN = 5_000
_WAIT_SECONDS_MAX = 1.0
"""Longest that a client may wait: clients are held while the proxies agree."""


def check_ring_change(world: World) -> str:
    """Primaries and backups come and go, some with what they held long ago: no error, no miss, nothing stale."""
    with one_site(world, "ring-change") as federation:
        write_static(federation)
        board = Board()
        crew = verified_load.start(federation.north.clients, board, world.seed)
        time.sleep(1.0)
        board.fault_begun.value = time.monotonic()
        north = federation.north
        cache2, backup1 = north.primaries["cache2"], north.backups["backup1"]
        cache3, backup2 = _second_hand(world, federation, "cache3"), _second_hand(world, federation, "backup2")
        steps = {
            "cache3 added": lambda: north.primaries.update(cache3=cache3),
            "cache2 removed": lambda: north.primaries.pop("cache2"),
            "cache2 back with all that it held": lambda: north.primaries.update(cache2=cache2),
            "cache3 removed": lambda: north.primaries.pop("cache3"),
            "backup2 added": lambda: north.backups.update(backup2=backup2),
            "backup1 removed": lambda: north.backups.pop("backup1"),
            "both pools at once": lambda: (north.primaries.update(cache3=cache3), north.backups.update(backup1=backup1)),
        }
        waits: list[int] = []
        for name, step in steps.items():
            step()
            waits += _change(federation, name)
            time.sleep(_LOAD_SECONDS)
        tally = Tally()
        for result in crew.finish():
            tally.add(result)
        time.sleep(0.5)  # What the backup is sent behind the answer.
        look_around(federation, board, tally, gone=False)
        _require_right(federation, tally)
        return (
            f"{len(steps)} changes under {tally.during} requests, none with an error, none missed, stale or wrong: {', '.join(steps)}; "
            f"clients were held for {max(waits)} ms at most, the slowest reply took {tally.longest * 1000:.0f} ms"
        )


def _require_right(federation: OneSite, tally: Tally) -> None:
    found = [*tally.hangs, *tally.misses, *tally.stale, *tally.wrong]
    (federation.folder / "complaints.txt").write_text("\n".join(found) + "\n")
    require(
        not found,
        f"{len(tally.hangs)} hangs, {len(tally.misses)} misses, {len(tally.stale)} stale, {len(tally.wrong)} wrong: "
        f"{'; '.join(found[:3])}; all in {federation.folder / 'complaints.txt'}",
    )
    require(not tally.errors, f"clients saw errors: {tally.errors.most_common(3)}")
    require(tally.during >= _REQUESTS_MIN, f"only {tally.during} requests were answered from the first change on")
    require(tally.longest <= _WAIT_SECONDS_MAX, f"a client waited {tally.longest:.2f} s: {tally.slowest}")


def _change(federation: OneSite, name: str) -> list[int]:
    """Writes both files as the servers are now, tells each proxy, and waits until all is as it was; the milliseconds that clients waited."""
    ring = [f"    - {{name: {label}, weight: 1}}" for label in federation.north.primaries]
    lines = federation.federation_yaml().splitlines()
    begin = lines.index("  servers:") + 1
    end = lines.index("sites:")
    (federation.folder / "federation.yaml").write_text("\n".join([*lines[:begin], *ring, *lines[end:]]) + "\n")
    federation.north.config.write_text(federation.site_yaml(federation.north))
    proxies = federation.north.proxies.values()
    since = {proxy.name: proxy.log_size for proxy in proxies}
    for proxy in proxies:
        assert proxy.process is not None
        proxy.process.signal(signal.SIGHUP)
        time.sleep(0.2)
    names = ",".join([*federation.north.primaries, *federation.north.backups])
    for proxy in proxies:
        said = f"ring changed servers={names} "
        wait_until(
            lambda proxy=proxy, said=said: proxy.log_text(since[proxy.name]).count(said) == 2,  # type: ignore[misc]
            f"{name}: both lanes of {proxy.name} to say '{said}'",
            _SECONDS,
        )
    wait_until(lambda: _are_whole(proxies), f"{name}: every server to be refilled and cleared", _SECONDS)
    return [milliseconds for proxy in proxies for milliseconds in _waits(proxy.log_text(since[proxy.name]))]


def _are_whole(proxies: Iterable[Proxy]) -> bool:
    """Whether no server is being refilled, or still holds what lives elsewhere now."""
    return all(
        backend["state"] == "up" and not backend["holdsMoved"]
        for proxy in proxies
        for lane in proxy.status().lanes
        for backend in lane["backends"]
    )


def _waits(log: str) -> list[int]:
    return [int(line.rsplit("clients_waited_ms=", 1)[1]) for line in log.splitlines() if "clients_waited_ms=" in line]


def _second_hand(world: World, federation: OneSite, label: str) -> Memcached:
    """A memcached that is not empty: old and invented values under the keys that are read."""
    endpoint = Endpoint("127.0.0.1", world.ports.take(federation.north.namespace), federation.north.namespace)
    user = unprivileged_user(world.wire is not None and world.wire.mapped)
    server = Memcached(federation.supervisor, f"north-{label}", endpoint, federation.folder, user=user)
    server.start()
    with Client(server.endpoint) as client:
        for key in static_values():
            client.set(key, b"invented")
        for index in range(SHARED_KEYS):
            client.set(shared_key(index), shared_value(index, 1))
    return server
