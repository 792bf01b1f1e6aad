"""`flush: federation`: one `flush_all` empties every site, and takes nothing that was written after it."""

from __future__ import annotations

import time

from meridian_system.client import line
from meridian_system.compare import compare, read_server
from meridian_system.federation import Federation, Options, Site
from meridian_system.report import require
from meridian_system.world import World

_KEYS = 500
_OLD = [b"old:%d" % index for index in range(_KEYS)]
_NEW = [b"new:%d" % index for index in range(_KEYS)]


def check_flush(world: World) -> str:
    """A flush while all is well, and one that reaches the other site late, when that has been written to since."""
    if world.wire is None:
        return f"not run: cutting a link takes network namespaces ({world.without_wire})"
    options = Options(loops=world.loops, settings="flush: federation")
    with world.federation("flush", options) as federation:
        _store(federation, federation.north, _OLD, b"old")
        federation.wait_quiet()
        took = _flush(federation, federation.north)
        federation.wait_quiet()
        for site in federation.sites:
            require(not _held(site, _OLD), f"{site.name} still holds {len(_held(site, _OLD))} keys after the flush")
        _store(federation, federation.north, _OLD, b"old again")
        federation.wait_quiet()
        world.wire.cut()
        time.sleep(0.5)
        _flush(federation, federation.north)
        _store(federation, federation.south, _NEW, b"new")
        require(len(_held(federation.south, _OLD)) == _KEYS, "the flush crossed a link that is cut")
        world.wire.heal()
        begun = time.monotonic()
        federation.wait_quiet()
        healed = time.monotonic() - begun
        time.sleep(0.5)
        for site in federation.sites:
            require(not _held(site, _OLD), f"{site.name} still holds {len(_held(site, _OLD))} keys older than the flush")
            lost = _KEYS - len(_held(site, _NEW))
            require(lost == 0, f"{site.name} lost {lost} keys that were written after the flush")
        compared = compare(federation.north, federation.south, _OLD + _NEW)
        require(compared.equal, f"the sites differ: {compared.differences[:2]}")
        return (
            f"{_KEYS} keys gone from both sites, flush_all answered within {1000 * took:.0f} ms; a flush that came {_KEYS} writes late took the "
            f"{_KEYS} older keys and none of the younger, quiet {healed:.1f} s after healing"
        )


def _store(federation: Federation, site: Site, keys: list[bytes], value: bytes) -> None:
    with federation.client(site) as client:
        for key in keys:
            require(client.set(key, value) == b"STORED", f"set {key.decode()} failed")


def _flush(federation: Federation, site: Site) -> float:
    with federation.client(site) as client:
        begun = time.monotonic()
        reply = client.ask([line(b"flush_all")])[0]
        require(reply.line == b"OK", f"flush_all was answered {reply.line!r}")
        return time.monotonic() - begun


def _held(site: Site, keys: list[bytes]) -> set[bytes]:
    """The keys that a site's servers hold."""
    return {key for server in site.memcacheds for key in read_server(server, keys)}
