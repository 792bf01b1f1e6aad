"""Two sites, key by key, through their memcacheds themselves: value, flags and remaining life must be equal.

Every key is asked of every primary of a site, around the proxies and without knowing the ring: at most one may hold it. The
backups are compared with their own site's primaries.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from meridian_system.client import Client, Reply, meta
from meridian_system.federation import Site
from meridian_system.memcached import Memcached

LIFE_TOLERANCE_SECONDS = 4.0
"""memcached counts whole seconds, each server from a start of its own; a site's life of an item is another server's, rounded. What an
append or an increment leaves is read back in whole seconds, too, and taken for as old as the moment in which a busy proxy looks at it."""

_BATCH = 64
_FOREVER = -1


@dataclass(frozen=True)
class Item:
    """What a memcached holds for a key."""

    value: bytes
    flags: int
    life: int
    """Remaining seconds, -1 when it never expires."""
    stale: bool = False
    read_at: float = 0.0
    """When it was read, in seconds of any one clock: two items may be read some seconds apart."""

    def differs_from(self, other: Item) -> str:
        """What is different, for people; empty when nothing is."""
        if self.value != other.value:
            return f"value of {len(self.value)} bytes against {len(other.value)} bytes ({_short(self.value)} / {_short(other.value)})"
        if self.flags != other.flags:
            return f"flags {self.flags} against {other.flags}"
        apart = (self.life + self.read_at) - (other.life + other.read_at)
        if (self.life == _FOREVER) != (other.life == _FOREVER) or (self.life != _FOREVER and abs(apart) > LIFE_TOLERANCE_SECONDS):
            return f"remaining life {self.life} s against {other.life} s, {apart:.1f} s apart"
        if self.stale != other.stale:
            return "stale against not stale"
        return ""


def _short(value: bytes) -> str:
    return repr(value[:24])


def _item(reply: Reply, read_at: float) -> Item | None:
    if reply.data is None:
        return None
    life = int(reply.meta_flag("t") or _FOREVER)
    return Item(reply.data, int(reply.meta_flag("f") or 0), life, reply.meta_flag("X") is not None, read_at)


def read_server(server: Memcached, keys: Sequence[bytes]) -> dict[bytes, Item]:
    """What one memcached holds of the keys."""
    found: dict[bytes, Item] = {}
    with Client(server.endpoint, timeout=30.0) as client:
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            replies = client.ask([meta(b"mg " + key + b" v t f") for key in batch])
            now = time.monotonic()
            for key, reply in zip(batch, replies):
                if (item := _item(reply, now)) is not None:
                    found[key] = item
    return found


@dataclass
class Comparison:
    """How two sites compare."""

    keys: int = 0
    held: int = 0
    """Keys that both sites hold."""
    differences: list[str] = field(default_factory=list)
    backup_missing: int = 0
    """Items of a primary that the site's backup does not hold."""
    backup_differences: list[str] = field(default_factory=list)
    evictions: int = 0

    @property
    def equal(self) -> bool:
        """Whether the sites are equal."""
        return not self.differences

    def summary(self) -> str:
        """One line for people."""
        text = f"{self.keys} keys compared through memcached, {self.held} held by both sites, {len(self.differences)} differences"
        if self.differences:
            text += ": " + "; ".join(self.differences[:4])
        return text


def read_site(site: Site, keys: Sequence[bytes], comparison: Comparison) -> dict[bytes, Item]:
    """What a site's primaries hold; a key that two of them hold is a difference."""
    held: dict[bytes, Item] = {}
    where: dict[bytes, str] = {}
    for label, server in site.primaries.items():
        for key, item in read_server(server, keys).items():
            if key in held:
                comparison.differences.append(f"{key.decode()} is on {where[key]} and on {label} of {site.name}")
            held[key] = item
            where[key] = label
        comparison.evictions += server.stat("evictions")
    for server in site.backups.values():
        spare = read_server(server, keys)
        comparison.evictions += server.stat("evictions")
        for key, item in held.items():
            if key not in spare:
                comparison.backup_missing += 1
            elif difference := item.differs_from(spare[key]):
                comparison.backup_differences.append(f"{key.decode()} at {site.name}: primary against backup: {difference}")
        for key in spare:
            if key not in held:
                comparison.backup_differences.append(f"{key.decode()} at {site.name}: the backup holds it, the primary does not")
    return held


def compare(north: Site, south: Site, keys: Iterable[bytes]) -> Comparison:
    """Compares two sites."""
    names = list(keys)
    result = Comparison(keys=len(names))
    first = read_site(north, names, result)
    second = read_site(south, names, result)
    for key in names:
        one, two = first.get(key), second.get(key)
        if one is None and two is None:
            continue
        if one is None or two is None:
            holder, lacker = (south, north) if one is None else (north, south)
            item = one or two
            assert item is not None
            result.differences.append(f"{key.decode()}: {holder.name} holds {len(item.value)} bytes, {lacker.name} nothing")
        elif difference := one.differs_from(two):
            result.differences.append(f"{key.decode()}: {north.name} against {south.name}: {difference}")
        else:
            result.held += 1
    return result
