"""Reads that are spread over primary and backup, and the keys that are read most."""

from __future__ import annotations

import json
from typing import Any

from meridian_system.client import Client, retrieve
from meridian_system.federation import Federation, Options, Site
from meridian_system.memcached import Memcached
from meridian_system.processes import wait_until
from meridian_system.report import Failed, require
from meridian_system.world import World

_READS = 4_000
_BATCH = 50
_ROUNDS = 200
_HOT = "popular:1"
_HOT_SECONDS = 5.0


def check_reads(world: World) -> str:
    """In turn: both servers are read, own writes are seen through either proxy, and a dead backup is not waited for."""
    with world.federation("reads", Options(loops=world.loops, settings="reads: in-turn")) as federation:
        north = federation.north
        with federation.client(north, "n1") as client:
            client.set(_HOT, b"1")
            before = _hits(north)
            _read_much(client)
            after = _hits(north)
            asked = {name: after[name] - before[name] for name in after if after[name] > before[name]}
            primaries = [name for name in asked if name in north.primaries]
            backups = [name for name in asked if name in north.backups]
            require(len(primaries) == 1 and len(backups) == 1, f"{_READS} reads of a key asked {asked}")
            share = asked[backups[0]] / sum(asked.values())
            require(abs(share - 0.5) < 0.1, f"{share:.0%} of the reads asked the backup")
            shown = _hot(federation, north, primaries[0], backups[0])
        _own_writes(federation, north)
        north.backups[backups[0]].kill()
        with federation.client(north, "n2") as client:
            for number in range(20):
                require(client.set(f"after{number}", b"x") == b"STORED", "a write without the backup is not stored")
                require(_get(client, f"after{number}") == b"x", "what was written without the backup is not read")
        north.backups[backups[0]].start()
    return f"{_READS} reads: {asked}; {2 * _ROUNDS} own writes seen through the other proxy; meridian hot: {shown}"


def _get(client: Client, key: str) -> bytes | None:
    """A plain `get`: one that wants a CAS value asks the primary."""
    values = client.one(retrieve(f"get {key}")).values
    return values[0].data if values else None


def _read_much(client: Client) -> None:
    for _ in range(_READS // _BATCH):
        for reply in client.ask([retrieve(f"get {_HOT}")] * _BATCH):
            require(len(reply.values) == 1, "a read of what is there was a miss")


def _hits(site: Site) -> dict[str, int]:
    servers: dict[str, Memcached] = {**site.primaries, **site.backups}
    return {name: server.stat("get_hits") for name, server in servers.items()}


def _hot(federation: Federation, site: Site, primary: str, backup: str) -> str:
    def rows() -> list[dict[str, Any]]:
        ran = federation.meridian(site, "hot", "--config", str(site.config), "--json")
        try:
            found: list[dict[str, Any]] = json.loads(ran.output)["keys"]
        except (ValueError, KeyError):
            raise Failed(f"`meridian hot --json` printed {ran.text[:300]!r}") from None
        return found

    wait_until(lambda: bool(rows()), "`meridian hot` to show the key", _HOT_SECONDS)
    first = rows()[0]
    require(first["key"] == _HOT and first["share"] > 0.8, f"`meridian hot` shows first {first}")
    require(first["servers"] == [primary, backup], f"`meridian hot` says the key is on {first['servers']}")
    lines = federation.meridian(site, "hot", "--config", str(site.config)).output.splitlines()
    require(lines[0].split() == ["READS", "SHARE", "SERVERS", "KEY"], f"`meridian hot` begins with {lines[0]!r}")
    require(lines[1].endswith(_HOT), f"`meridian hot` goes on with {lines[1]!r}")
    return " ".join(lines[1].split())


def _own_writes(federation: Federation, site: Site) -> None:
    """Written through one proxy, read at once through the other, by turns of both servers."""
    with federation.client(site, "n1") as one, federation.client(site, "n2") as other:
        for number in range(_ROUNDS):
            for writer, reader in ((one, other), (other, one)):
                text = b"%d by %d" % (number, writer is one)
                require(writer.set("own", text) == b"STORED", "a write is not stored")
                for _ in range(2):
                    value = _get(reader, "own")
                    require(value == text, f"{value!r} is read where {text!r} was written")
