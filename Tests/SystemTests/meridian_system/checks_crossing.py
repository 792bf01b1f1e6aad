"""Checks 1 and 2: what is written at one site is what the other site holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from meridian_system import load
from meridian_system.client import Client, meta, retrieve, line, silent, store
from meridian_system.compare import Item, compare
from meridian_system.federation import Federation, Options, Site
from meridian_system.report import require
from meridian_system.world import World

_ARRIVAL_SECONDS = 5.0


def _item(client: Client, key: bytes) -> Item | None:
    reply = client.one(meta(b"mg " + key + b" v t f"))
    if reply.data is None:
        return None
    return Item(reply.data, int(reply.meta_flag("f") or 0), int(reply.meta_flag("t") or -1), reply.meta_flag("X") is not None)


def _alike(one: Item | None, two: Item | None) -> bool:
    if one is None or two is None:
        return one is two
    return not one.differs_from(two)


@dataclass(frozen=True)
class _Write:
    """One write command: what makes the key ready, the command, its answer, and what the key then holds (None: nothing)."""

    name: str
    before: Callable[[Client, bytes], object]
    command: Callable[[Client, bytes], bytes]
    answer: bytes
    value: bytes | None
    flags: int = 0
    life: int = -1


def _nothing(client: Client, key: bytes) -> None:
    """The key is absent."""


def _stored(value: bytes = b"10", flags: int = 5, expiry: int = 500) -> Callable[[Client, bytes], object]:
    return lambda client, key: client.set(key, value, flags=flags, expiry=expiry)


def _token(client: Client, key: bytes) -> int:
    value = client.get(key)
    return value.cas or 0 if value is not None else 0


def _store(verb: str, value: bytes, *, flags: int = 0, expiry: int = 0) -> Callable[[Client, bytes], bytes]:
    return lambda client, key: client.one(store(verb, key, value, flags=flags, expiry=expiry)).line


def _say(text: bytes) -> Callable[[Client, bytes], bytes]:
    return lambda client, key: client.one(line(text.replace(b"KEY", key))).line


def _meta(text: bytes, value: bytes | None = None) -> Callable[[Client, bytes], bytes]:
    return lambda client, key: client.one(meta(text.replace(b"KEY", key), value)).line


def _retrieve(text: bytes) -> Callable[[Client, bytes], bytes]:
    return lambda client, key: client.one(retrieve(text.replace(b"KEY", key))).line


def _quietly(text: bytes) -> Callable[[Client, bytes], bytes]:
    def command(client: Client, key: bytes) -> bytes:
        return client.ask([silent(text.replace(b"KEY", key)), meta(b"mn")])[1].line

    return command


def _quiet_store(verb: str, value: bytes) -> Callable[[Client, bytes], bytes]:
    return lambda client, key: client.ask([store(verb, key, value, noreply=True), meta(b"mn")])[1].line


def _cas(client: Client, key: bytes) -> bytes:
    return client.one(store("cas", key, b"swapped", flags=9, expiry=300, cas=_token(client, key))).line


def _meta_cas(client: Client, key: bytes) -> bytes:
    return client.one(meta(b"ms %s C%d T200 F3" % (key, _token(client, key)), b"swapped")).line


WRITES: tuple[_Write, ...] = (
    _Write("set", _nothing, _store("set", b"hello", flags=7, expiry=900), b"STORED", b"hello", 7, 900),
    _Write("set of nothing", _nothing, _store("set", b""), b"STORED", b""),
    _Write("set of 1 MiB", _nothing, _store("set", b"M" * load.LARGEST_STORED), b"STORED", b"M" * load.LARGEST_STORED),
    _Write("set over", _stored(), _store("set", b"new", flags=4_294_967_295), b"STORED", b"new", 4_294_967_295),
    _Write("set expired", _stored(), _store("set", b"x", expiry=-1), b"STORED", None),
    _Write("add", _nothing, _store("add", b"added", flags=1, expiry=400), b"STORED", b"added", 1, 400),
    _Write("add refused", _stored(), _store("add", b"x"), b"NOT_STORED", b"10", 5, 500),
    _Write("replace", _stored(), _store("replace", b"replaced", flags=2), b"STORED", b"replaced", 2),
    _Write("append", _stored(), _store("append", b"+"), b"STORED", b"10+", 5, 500),
    _Write("prepend", _stored(), _store("prepend", b"+"), b"STORED", b"+10", 5, 500),
    _Write("cas", _stored(), _cas, b"STORED", b"swapped", 9, 300),
    _Write("incr", _stored(), _say(b"incr KEY 5"), b"15", b"15", 5, 500),
    _Write("decr", _stored(), _say(b"decr KEY 7"), b"3", b"3 ", 5, 500),
    _Write("touch", _stored(), _say(b"touch KEY 1000"), b"TOUCHED", b"10", 5, 1000),
    _Write("gat", _stored(), _retrieve(b"gat 1100 KEY"), b"END", b"10", 5, 1100),
    _Write("gats", _stored(), _retrieve(b"gats 1200 KEY"), b"END", b"10", 5, 1200),
    _Write("delete", _stored(), _say(b"delete KEY"), b"DELETED", None),
    _Write("set noreply", _stored(), _quiet_store("set", b"quiet"), b"MN", b"quiet"),
    _Write("append noreply", _stored(), _quiet_store("append", b"!"), b"MN", b"10!", 5, 500),
    _Write("incr noreply", _stored(), _quietly(b"incr KEY 1"), b"MN", b"11", 5, 500),
    _Write("touch noreply", _stored(), _quietly(b"touch KEY 700"), b"MN", b"10", 5, 700),
    _Write("delete noreply", _stored(), _quietly(b"delete KEY"), b"MN", None),
    _Write("ms", _nothing, _meta(b"ms KEY T600 F8", b"meta"), b"HD", b"meta", 8, 600),
    _Write("ms add", _nothing, _meta(b"ms KEY ME", b"meta"), b"HD", b"meta"),
    _Write("ms append", _stored(), _meta(b"ms KEY MA", b"~"), b"HD", b"10~", 5, 500),
    _Write("ms prepend", _stored(), _meta(b"ms KEY MP", b"~"), b"HD", b"~10", 5, 500),
    _Write("ms replace", _stored(), _meta(b"ms KEY MR", b"meta"), b"HD", b"meta"),
    _Write("ms compare", _stored(), _meta_cas, b"HD", b"swapped", 3, 200),
    _Write("ma", _stored(), _meta(b"ma KEY D3 v"), b"VA 2", b"13", 5, 500),
    _Write("ma down", _stored(), _meta(b"ma KEY MD D4"), b"HD", b"6 ", 5, 500),
    _Write("ma of nothing", _nothing, _meta(b"ma KEY N450 J77 v"), b"VA 2", b"77", 0, 450),
    _Write("mg touching", _stored(), _meta(b"mg KEY T800"), b"HD", b"10", 5, 800),
    _Write("md", _stored(), _meta(b"md KEY"), b"HD", None),
)  # fmt: skip


def _await(site: Site, key: bytes, wanted: Item | None, what: str) -> float:
    """Waits until every proxy of a site answers so; returns the seconds it took."""
    begun = time.monotonic()
    for proxy in site.proxies.values():
        with Client(proxy.clients) as client:
            while True:
                found = _item(client, key)
                if _alike(found, wanted):
                    break
                require(
                    time.monotonic() - begun < _ARRIVAL_SECONDS,
                    f"{what}: {site.name} (through {proxy.name}) has {_told(found)}, not {_told(wanted)}",
                )
                time.sleep(0.002)
    return time.monotonic() - begun


def _told(item: Item | None) -> str:
    return "nothing" if item is None else f"{item.value[:24]!r} flags {item.flags} life {item.life}"


def _every_write(federation: Federation) -> tuple[int, float]:
    """Every write command at each site, seen at the other; returns the count and the longest way in seconds."""
    count, longest = 0, 0.0
    for origin, destination in federation.pairs():
        names = list(origin.proxies)
        for number, write in enumerate(WRITES):
            key = b"crossing:%s:%d" % (origin.name.encode(), number)
            what = f"'{write.name}' in the {origin.name}"
            with federation.client(origin, names[number % 2]) as client:
                write.before(client, key)
                # What was there before must have arrived, or its arrival could be taken for the write's.
                _await(destination, key, _item(client, key), f"before {what}")
                answer = write.command(client, key)
                require(answer.rstrip() == write.answer, f"{what} was answered {answer[:60]!r}, not {write.answer!r}")
                wanted = None if write.value is None else Item(write.value, write.flags, write.life)
                at_origin = _item(client, key)
                require(
                    _alike(at_origin, wanted), f"{what}: the {origin.name} itself has {_told(at_origin)}, not {_told(wanted)}"
                )
                longest = max(longest, _await(destination, key, wanted, what))
            count += 1
    return count, longest


def _deletes_of_what_is_gone(federation: Federation) -> int:
    """A delete crosses although the origin's memcached no longer has the key (an eviction, in effect)."""
    count = 0
    for origin, destination in federation.pairs():
        for number in range(20):
            key = b"evicted:%s:%d" % (origin.name.encode(), number)
            with federation.client(origin) as client:
                client.set(key, b"session", expiry=1440)
                _await(destination, key, Item(b"session", 0, 1440), "before a delete of what is gone")
                for server in origin.primaries.values():
                    with server.client() as direct:
                        direct.delete(key)
                answer = client.delete(key)
                require(answer == b"NOT_FOUND", f"delete of an evicted key was answered {answer!r}")
                _await(destination, key, None, f"delete in the {origin.name} of a key that it no longer has")
            count += 1
    return count


def check_crossing(world: World) -> str:
    """1: set here, get there, with every write command."""
    with world.federation("check-1") as federation:
        count, longest = _every_write(federation)
        deletes = _deletes_of_what_is_gone(federation)
        federation.wait_quiet()
        keys = [b"crossing:%s:%d" % (site.name.encode(), number) for site in federation.sites for number in range(len(WRITES))]
        comparison = compare(federation.north, federation.south, keys)
        require(comparison.equal, comparison.summary())
        return (
            f"{count} writes of {len(WRITES)} kinds in both directions, {deletes} deletes of keys that the origin had lost; equal value, flags "
            f"and life through both proxies of the other site, at most {longest * 1000:.0f} ms later; {comparison.summary()}"
        )


def check_large_load(world: World, *, writes: int = 200_000, clients: int = 20) -> str:
    """2: a large mixed load at both sites on shared keys; the sites are equal."""
    with world.federation("check-2", Options(loops=world.loops, megabytes=512)) as federation:
        endpoints = [endpoint for pair in zip(federation.north.clients, federation.south.clients) for endpoint in pair]
        begun = time.monotonic()
        crew = load.start_mixed(endpoints, clients=clients, writes=writes, seed=world.seed)
        result = load.total(crew.results(timeout=280))
        seconds = time.monotonic() - begun
        require(not result.losses, f"{sum(result.losses.values())} connections were lost: {dict(result.losses.most_common(3))}")
        require(
            not result.unexpected,
            f"{sum(result.unexpected.values())} unexpected replies: {dict(result.unexpected.most_common(3))}",
        )
        quiet = federation.wait_quiet()
        comparison = compare(federation.north, federation.south, [load.key_name(index) for index in range(load.KEYS)])
        require(comparison.evictions == 0, f"{comparison.evictions} evictions: the comparison would mean nothing")
        require(comparison.equal, comparison.summary())
        require(not comparison.backup_differences, f"{len(comparison.backup_differences)} keys differ between a primary and its backup: "
                + "; ".join(comparison.backup_differences[:3]))  # fmt: skip
        require(comparison.backup_missing == 0, f"{comparison.backup_missing} items of a primary are not on its backup")
        require(comparison.held > load.KEYS // 3, f"only {comparison.held} keys are held at all: the load was no load")
        return (
            f"{result.writes} writes ({len(result.commands)} kinds of command, {result.bytes / 1e6:.0f} MB, values of 0 to {result.largest} bytes, "
            f"{result.refused} refused as too large) from {clients} clients in {seconds:.1f} s, {result.writes / seconds:.0f}/s, "
            f"longest pipeline {result.longest * 1000:.0f} ms; lag zero {quiet:.1f} s later; {comparison.summary()}; backups equal"
        )
