"""A soak: clients come and go, with small and large values, for as long as is asked; memory must be flat and every answer right."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from meridian_system.checks_bytes import resident_megabytes
from meridian_system.client import Client, Endpoint, retrieve, store
from meridian_system.federation import Options
from meridian_system.report import require
from meridian_system.workers import Crew, Stop
from meridian_system.world import World

_CLIENTS = 12
_KEYS = 300
"""Keys of each client."""
_COMMANDS_MAX = 400
"""A client leaves after so many commands at most, and another takes its place."""
_WARM_UP_SHARE = 0.4
_WARM_UP_SECONDS_MAX = 300.0
_GROWTH_SHARE_MAX = 0.10
_GROWTH_MEGABYTES_MIN = 12.0
"""Flat is: the mean of the last tenth is above the mean of the tenth after the warm-up by no more than a tenth, or so many megabytes."""


@dataclass
class _Seen:
    commands: int = 0
    bytes: int = 0
    connections: int = 0
    wrong: list[str] = field(default_factory=list)


def _client(endpoints: list[Endpoint], number: int, seed: int) -> Callable[[Stop], _Seen]:
    """A client that knows what each of its keys holds, since nobody else writes them, whichever proxy it asks."""

    def job(stop: Stop) -> _Seen:
        source = random.Random(seed * 1_000 + number)
        filler = source.randbytes(1 << 20)
        held: dict[bytes, bytes | None] = {}
        seen = _Seen()

        def expect(what: str, key: bytes, found: object, wanted: object) -> None:
            if found != wanted and len(seen.wrong) < 20:
                seen.wrong.append(f"{what} {key.decode()}: {str(found)[:60]} instead of {str(wanted)[:60]}")

        while not stop:
            with Client(source.choice(endpoints), timeout=20.0) as client:
                seen.connections += 1
                for _ in range(source.randrange(1, _COMMANDS_MAX)):
                    if stop:
                        break
                    key = b"soak:%d:%d" % (number, source.randrange(_KEYS))
                    chance = source.random()
                    seen.commands += 1
                    if chance < 0.6:
                        found = client.get(key)
                        expect("get", key, None if found is None else found.data, held.get(key))
                    elif chance < 0.9:
                        value = _value(source, filler)
                        expect("set", key, client.set(key, value), b"STORED")
                        held[key] = value
                        seen.bytes += len(value)
                    elif chance < 0.95:
                        wanted = b"DELETED" if held.get(key) is not None else b"NOT_FOUND"
                        expect("delete", key, client.delete(key), wanted)
                        held[key] = None
                    else:
                        many = [b"soak:%d:%d" % (number, source.randrange(_KEYS)) for _ in range(10)]
                        value = _value(source, filler)
                        stored, *found_all = client.ask([store("set", key, value), *(retrieve(b"get " + each) for each in many)])
                        held[key] = value
                        expect("set", key, stored.line, b"STORED")
                        for each, reply in zip(many, found_all, strict=True):
                            expect("get", each, reply.values[0].data if reply.values else None, held.get(each))
        return seen

    return job


def _value(source: random.Random, filler: bytes) -> bytes:
    chance = source.random()
    size = source.randrange(200) if chance < 0.8 else source.randrange(20_000) if chance < 0.99 else source.randrange(1_000_000)
    start = source.randrange(len(filler) - size)
    return filler[start : start + size]


def _mean(samples: list[float]) -> float:
    return sum(samples) / len(samples)


def check_soak(world: World, seconds: float) -> str:
    """A mixed load at one site, replicated to the other, with every proxy's memory watched."""
    # Large enough that nothing is evicted: what is gone would be a wrong answer.
    with world.federation("soak", Options(loops=world.loops, megabytes=1_024)) as federation:
        load = Crew([_client(federation.north.clients, number, world.seed) for number in range(_CLIENTS)], processes=2)
        begun = time.monotonic()
        samples: dict[str, list[tuple[float, float]]] = {proxy.name: [] for proxy in federation.proxies}
        while time.monotonic() - begun < seconds:
            for proxy in federation.proxies:
                samples[proxy.name].append((time.monotonic() - begun, resident_megabytes(proxy)))
            federation.expect_alive()
            require(load.running, "the load has ended early")
            time.sleep(min(1.0, seconds / 100))
        seen = load.finish()
        wrong = [text for client in seen for text in client.wrong]
        require(not wrong, f"{len(wrong)} wrong answers: {'; '.join(wrong[:3])}")
        warm_up = min(seconds * _WARM_UP_SHARE, _WARM_UP_SECONDS_MAX)
        tenth = seconds / 10
        told = []
        for name, found in samples.items():
            first = _mean([megabytes for at, megabytes in found if warm_up <= at < warm_up + tenth])
            last = _mean([megabytes for at, megabytes in found if at >= seconds - tenth])
            allowed = max(first * _GROWTH_SHARE_MAX, _GROWTH_MEGABYTES_MIN)
            require(last - first < allowed, f"{name} grew from {first:.1f} to {last:.1f} MB, more than {allowed:.1f} MB")
            told.append(f"{name} {first:.0f}→{last:.0f}")
        commands = sum(client.commands for client in seen)
        require(commands > 100 * seconds, f"only {commands} commands in {seconds:.0f} s")
        return (
            f"{seconds:.0f} s, {commands} commands, {sum(client.bytes for client in seen) / 1e6:.0f} MB written, "
            f"{sum(client.connections for client in seen)} connections, no wrong answer; MB of memory after {warm_up:.0f} s and at the end: "
            f"{', '.join(told)} (flat within {_GROWTH_SHARE_MAX:.0%} or {_GROWTH_MEGABYTES_MIN:.0f} MB)"
        )
