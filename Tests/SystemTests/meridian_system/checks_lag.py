"""Check 8: what `meridian lag` says against what is seen from outside.

Two measurements. With the way to the south closed, the number of records behind, and the age of the oldest, are known exactly:
the test wrote them. With the way open, a marker is written in the north and watched for in the south's memcached, a few hundred
times; what lag says meanwhile must be of the same size as what the markers took.
"""

from __future__ import annotations

import json
import time
from typing import Any

from meridian_system.checks_faults import STATUS_SECONDS
from meridian_system.client import Client, meta, store
from meridian_system.federation import Federation, Site
from meridian_system.report import Failed, require
from meridian_system.world import World

_AGE_TOLERANCE_SECONDS = 0.6
_CLOSED_SECONDS = 6.0
_VALUE = b"v" * 1_000


def lag_rows(federation: Federation, site: Site) -> list[dict[str, Any]]:
    """The links of `meridian lag --json`."""
    ran = federation.meridian(site, "lag", "--config", str(site.config), "--json")
    try:
        found = json.loads(ran.output)
    except ValueError:
        raise Failed(f"`meridian lag --json` printed no JSON: {ran.text[:300]!r}") from None
    require(not found["unanswered"], f"`meridian lag` did not reach every proxy: {found['unanswered']}")
    rows: list[dict[str, Any]] = found["links"]
    require(bool(rows), f"`meridian lag --json` has no links: {ran.output[:300]!r}")
    return rows


def lag_sum(rows: list[dict[str, Any]]) -> tuple[float, int, int]:
    """The greatest age in seconds, and the records and bytes behind, over all rows."""
    return (
        max(float(row["seconds"] or 0) for row in rows),  # null: silent, and nothing is known to be behind
        sum(int(row["records"]) for row in rows),
        sum(int(row["bytes"]) for row in rows),
    )


def _close(world: World, federation: Federation) -> None:
    if world.wire is not None:
        world.wire.cut()
        return
    for proxy in federation.south.proxies.values():
        if proxy.process is not None:
            proxy.process.pause()


def _open(world: World, federation: Federation) -> None:
    if world.wire is not None:
        world.wire.heal()
        return
    for proxy in federation.south.proxies.values():
        if proxy.process is not None:
            proxy.process.resume()


def _closed(world: World, federation: Federation) -> str:
    """Known records wait for a closed way."""
    north = federation.north
    written, shown = 0, []
    _close(world, federation)
    begun = time.monotonic()
    with federation.client(north) as client:
        while time.monotonic() - begun < _CLOSED_SECONDS:
            for _ in range(100):
                answer = client.one(store("set", b"closed:%d" % written, _VALUE)).line
                require(answer == b"STORED", f"set with the way closed was answered {answer!r}")
                written += 1
            time.sleep(STATUS_SECONDS)
            seconds, records, size = lag_sum(lag_rows(federation, north))
            age = time.monotonic() - begun
            require(records == written, f"lag counts {records} records behind; {written} were written since the way was closed")
            require(abs(seconds - age) < _AGE_TOLERANCE_SECONDS, f"lag says {seconds:.2f} s; the oldest write is {age:.2f} s old")
            require(
                written * len(_VALUE) <= size <= written * (len(_VALUE) + 400),
                f"lag says {size} bytes for {written} records of {len(_VALUE)} bytes",
            )
            shown.append(abs(seconds - age))
    _open(world, federation)
    last = b"closed:%d" % (written - 1)
    healed = time.monotonic()
    _wait_at(federation.south, last, b"", healed + 30.0)
    arrived = time.monotonic()
    federation.wait_quiet()
    zero = time.monotonic()
    require(zero - arrived < 2.0, f"lag came to zero {zero - arrived:.1f} s after the last record had arrived")
    return (
        f"way closed for {_CLOSED_SECONDS:.0f} s: {written} records counted exactly in {len(shown)} looks, age off by {max(shown):.2f} s at most; "
        f"reopened: last record there after {arrived - healed:.1f} s, lag zero {zero - arrived:.1f} s later"
    )


def _wait_at(site: Site, key: bytes, value: bytes, deadline: float) -> None:
    """Waits until one of a site's memcacheds holds the value (or anything, for an empty one) under the key."""
    clients = [server.client() for server in site.primaries.values()]
    try:
        while True:
            for client in clients:
                reply = client.one(meta(b"mg " + key + b" v"))
                if reply.data is not None and (not value or reply.data == value):
                    return
            require(time.monotonic() < deadline, f"{key.decode()} did not arrive at the {site.name}")
    finally:
        for client in clients:
            client.close()


def _open_way(federation: Federation) -> str:
    """Markers race lag."""
    ways: list[float] = []
    lags: list[float] = []
    servers: list[Client] = [server.client() for server in federation.south.primaries.values()]
    with federation.client(federation.north) as client:
        for index in range(300):
            value = b"%d" % index
            begun = time.monotonic()
            client.one(store("set", b"marker:%d" % (index % 7), value))
            while not any(server.one(meta(b"mg marker:%d v" % (index % 7))).data == value for server in servers):
                require(time.monotonic() - begun < 5.0, f"marker {index} did not arrive within 5 s")
            ways.append(time.monotonic() - begun)
            if index % 10 == 0:
                lags.append(lag_sum(lag_rows(federation, federation.north))[0])
            time.sleep(0.003)
    for server in servers:
        server.close()
    ways.sort()
    lags.sort()
    require(
        lags[-1] <= ways[-1] + 0.25,
        f"lag says up to {lags[-1] * 1000:.0f} ms; no marker took longer than {ways[-1] * 1000:.0f} ms",
    )
    return (
        f"way open: {len(ways)} markers took {ways[len(ways) // 2] * 1000:.1f} ms (median) to {ways[-1] * 1000:.1f} ms, "
        f"lag said at most {lags[-1] * 1000:.1f} ms in {len(lags)} looks"
    )


def check_lag(world: World) -> str:
    """8: `meridian lag` agrees with what is measured from outside."""
    with world.federation("check-8") as federation:
        federation.wait_quiet()
        closed = _closed(world, federation)
        return f"{closed}; {_open_way(federation)}"
