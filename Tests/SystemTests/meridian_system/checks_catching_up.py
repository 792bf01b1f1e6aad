"""A site that was away for longer than memory remembers: what it missed is read from the log, from its very first segment on."""

from __future__ import annotations

import random
import time

from meridian_system.client import Client, store
from meridian_system.federation import Options, Site
from meridian_system.processes import wait_until
from meridian_system.report import require
from meridian_system.world import World

_MEGABYTES = 160
"""More than the 32 MiB that each of four lanes keeps in memory for its streams."""
_VALUE_BYTES = 200_000
_SECONDS = 60.0


def check_catching_up(world: World) -> str:
    """New proxies, of which the other site hears nothing until their logs are longer than what they remember."""
    with world.federation("catching-up", Options(loops=world.loops, megabytes=512)) as federation:
        south = federation.south
        for proxy in south.proxies.values():
            assert proxy.process is not None
            proxy.process.kill()
        source = random.Random(3)
        values = {b"key%d" % number: source.randbytes(_VALUE_BYTES) for number in range(_MEGABYTES * 1_000_000 // _VALUE_BYTES)}
        begun = time.monotonic()
        with federation.client(federation.north, timeout=_SECONDS) as client:
            for key, value in values.items():
                reply = client.one(store("set", key, value)).line
                require(reply == b"STORED", f"set {key!r} was answered {reply!r}")
        written = time.monotonic() - begun
        for proxy in south.proxies.values():
            federation.start_proxy(proxy)
        begun = time.monotonic()
        federation.wait_quiet(_SECONDS)
        caught_up = time.monotonic() - begun
        wait_until(lambda: _missing(south, values) == 0, "the south to hold what the north wrote", _SECONDS)
        return (
            f"{len(values)} values of {_VALUE_BYTES} bytes written in {written:.1f} s, "
            f"all at the other site {caught_up:.1f} s after its start"
        )


def _missing(site: Site, values: dict[bytes, bytes]) -> int:
    missing = 0
    with Client(next(iter(site.proxies.values())).clients, timeout=_SECONDS) as client:
        for key, value in values.items():
            item = client.get(key)
            missing += item is None or item.data != value
    return missing
