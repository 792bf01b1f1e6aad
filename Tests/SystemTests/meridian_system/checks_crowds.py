"""Ten thousand idle clients, hundreds that never finish a request, and some that fill memory: the others must not notice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from meridian_system.checks_bytes import require_healthy, resident_megabytes
from meridian_system.client import Client, Endpoint
from meridian_system.crowd import Crowd, Member, allow_files
from meridian_system.federation import Federation, Options, Proxy
from meridian_system.report import require
from meridian_system.workers import Crew, Stop
from meridian_system.world import World

_IDLE = 10_000
_SLOW = 200
_REQUEST_SECONDS = 4
_PHASE_SECONDS = 6.0
_IDLE_KIBIBYTES_MAX = 40
_CEILING_MEGABYTES = 64


@dataclass
class _Seen:
    """What a client of the normal load saw: when it asked and how long it took, and what was answered wrongly."""

    asked: list[tuple[float, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def _normal_load(endpoint: Endpoint, number: int) -> Callable[[Stop], _Seen]:
    """One client that sets and gets its own keys and knows what it must be told."""

    def job(stop: Stop) -> _Seen:
        seen = _Seen()
        source = random.Random(number)
        held: dict[bytes, bytes] = {}
        with Client(endpoint, timeout=20.0) as client:
            while not stop:
                key = b"normal:%d:%d" % (number, source.randrange(500))
                begun = time.monotonic()
                if source.random() < 0.2 or key not in held:
                    value = b"%d" % source.getrandbits(64) * 6
                    answer: object = client.set(key, value)
                    right = answer == b"STORED"
                    held[key] = value
                else:
                    found = client.get(key)
                    answer = None if found is None else found.data
                    right = answer == held[key]
                seen.asked.append((begun, time.monotonic() - begun))
                if not right:
                    seen.wrong.append(f"{key!r}: {answer!r}")
        return seen

    return job


def _percentile(seen: list[_Seen], since: float, until: float, percent: float, least: int = 500) -> float:
    """In microseconds; Failed when fewer than `least` were answered."""
    taken = sorted(taken for client in seen for begun, taken in client.asked if since <= begun < until)
    require(len(taken) >= least, f"only {len(taken)} requests were answered in {until - since:.0f} s")
    return taken[int(len(taken) * percent / 100)] * 1e6


def check_crowd(world: World) -> str:
    """10,000 idle connections and 200 slowloris connections beside a normal load."""
    allow_files(_IDLE + _SLOW * 8 + 1_000)
    settings = (
        f"connections-max: {_IDLE + 2 * _SLOW + 200}\nmemory-max: {_CEILING_MEGABYTES}MiB\n"
        f"times: {{client-request: {_REQUEST_SECONDS}s}}"
    )
    with world.federation("crowd", Options(loops=world.loops, settings=settings)) as federation:
        proxy = federation.north.proxies["n1"]
        # Forked before there are thousands of sockets to inherit.
        load = Crew([_normal_load(proxy.clients, number) for number in range(4)], processes=2)
        time.sleep(1.0)
        quiet = time.monotonic()
        time.sleep(_PHASE_SECONDS)
        quiet_end = time.monotonic()
        before = resident_megabytes(proxy)
        with Crowd(proxy.clients, _IDLE) as idle:
            require(idle.ask(b"mn\r\n", b"MN\r\n") == _IDLE, f"not all of {_IDLE} connections were answered")
            each = (resident_megabytes(proxy) - before) * 1024 / _IDLE
            with Crowd(proxy.clients, _SLOW) as slow:
                crowded = time.monotonic()
                peak, closed, newcomers = _besiege(federation, proxy, slow)
                crowded_end = time.monotonic()
            seen = load.finish()
            require(idle.ask(b"mn\r\n", b"MN\r\n") == _IDLE, f"{len(idle.ended)} idle connections were closed")
        wrong = [text for client in seen for text in client.wrong]
        require(not wrong, f"{len(wrong)} wrong answers to the normal load: {wrong[:3]}")
        require(each < _IDLE_KIBIBYTES_MAX, f"an idle connection costs {each:.1f} KiB")
        ceiling = before + _CEILING_MEGABYTES + _IDLE_KIBIBYTES_MAX * (_IDLE + _SLOW) / 1024
        require(peak < ceiling, f"the proxy grew to {peak:.0f} MB, more than {ceiling:.0f} MB")
        one = _percentile(seen, quiet, quiet_end, 99)
        other = _percentile(seen, crowded, crowded_end, 99)
        return (
            f"{_IDLE} idle connections, {each:.1f} KiB each, all still there; {closed} of {_SLOW} and more slow ones closed after "
            f"{_REQUEST_SECONDS} s; {newcomers} new clients got in; the load's p50 {_percentile(seen, quiet, quiet_end, 50):.0f} µs "
            f"alone and {_percentile(seen, crowded, crowded_end, 50):.0f} µs beside them, p99 {one:.0f} and {other:.0f} µs "
            f"({(other / one - 1) * 100:+.0f}%); {sum(len(client.asked) for client in seen)} right answers; peak {peak:.0f} MB"
        )


def _besiege(federation: Federation, proxy: Proxy, slow: Crowd) -> tuple[float, int, int]:
    """Requests that drip in, each closed one replaced; the peak of memory, how many were closed, and how many newcomers were served."""
    begun = time.monotonic()
    sent: dict[Member, float] = {}
    peak, newcomers, closed = 0.0, 0, 0
    next_look = begun
    while time.monotonic() - begun < max(_PHASE_SECONDS, _REQUEST_SECONDS * 2 + 2):
        now = time.monotonic()
        for member in slow.members:
            if member not in sent:
                sent[member] = now
                member.send(b"set slow 0 0 1000\r\n")
            else:
                member.send(b"x")
        slow.run(lambda: False, 0.25)
        for member in slow.ended:
            lasted = (member.ended or 0.0) - sent[member]
            require(lasted > _REQUEST_SECONDS - 0.5, f"a slow client was closed after {lasted:.1f} s already")
            require(lasted < _REQUEST_SECONDS + 3.0, f"a slow client was closed only after {lasted:.1f} s")
            member.socket.close()
            slow.members.remove(member)
            del sent[member]
            closed += 1
        overdue = [now - since for since in sent.values() if now - since > _REQUEST_SECONDS + 3.0]
        require(not overdue, f"{len(overdue)} slow clients are still there after {max(overdue, default=0):.1f} s")
        slow.join(_SLOW - len(slow.members))
        if now >= next_look:
            next_look = now + 1.0
            require_healthy(federation, proxy, b"%d" % newcomers)
            newcomers += 1
            peak = max(peak, resident_megabytes(proxy))
    require(closed >= _SLOW, f"only {closed} of the slow clients were closed")
    return peak, closed, newcomers


# Memory


_READERS = 80
_SENDERS = 40
_MEMORY_MAX_MEGABYTES = 32
_SLACK_MEGABYTES = 160
"""What a proxy may grow by besides its clients' buffers: the log's and the streams' tails, replies of one turn."""


def check_memory(world: World) -> str:
    """Clients that read nothing of the large values they ask for, and clients that send large values: memory-max holds."""
    # No time is asserted: on a busy machine a large value that everybody waits behind must not count as a dead server.
    settings = (
        f"memory-max: {_MEMORY_MAX_MEGABYTES}MiB\n"
        "times: {client-stalled: 8s, backend-timeout: 20s, sibling-timeout: 20s, stream-timeout: 20s}"
    )
    large = random.Random(world.seed).randbytes(1_000_000)
    with world.federation("client-memory", Options(loops=world.loops, settings=settings)) as federation:
        proxy = federation.north.proxies["n1"]
        with federation.client(federation.north) as client:
            require(client.set(b"large", large) == b"STORED", "storing 1 MB failed")
        before = peak = resident_megabytes(proxy)
        longest = 0.0
        with (
            Crowd(proxy.clients, _READERS, receive_buffer=1 << 16) as readers,
            Crowd(proxy.clients, _SENDERS) as senders,
            federation.client(federation.north, timeout=30.0) as other,
        ):
            readers.look_away()
            asked = [b"get large\r\n" * 60] * _READERS
            data = b"set sent 0 0 %d\r\n%s\r\n" % (len(large), large)
            left = {member: memoryview(data) for member in senders.members}
            deadline = time.monotonic() + 40.0
            begun = time.monotonic()
            while time.monotonic() < deadline:
                for index, reader in enumerate(readers.members):
                    asked[index] = asked[index][reader.send(asked[index]) :] if asked[index] else b""
                for member, rest in left.items():
                    left[member] = rest[member.send(rest[:100_000]) :] if rest else rest
                senders.run(lambda: False, 0.02)
                since = time.monotonic()
                require(other.set(b"other", b"x") == b"STORED", "another client's set failed")
                longest = max(longest, time.monotonic() - since)
                peak = max(peak, resident_megabytes(proxy))
                if time.monotonic() - begun > 12.0 and all(member.input for member in senders.members):
                    break
            stored = sum(bytes(member.input) == b"STORED\r\n" for member in senders.members)
            require(
                stored == _SENDERS,
                f"only {stored} of {_SENDERS} clients that send large values were told that they are stored; "
                f"{len(senders.ended)} were closed, {sum(not rest for rest in left.values())} have sent all; the proxy grew by "
                f"{peak - before:.0f} MB and says {proxy.log_text()[-600:]}",
            )
        grown = peak - before
        allowed = _MEMORY_MAX_MEGABYTES + _SLACK_MEGABYTES
        require(grown < allowed, f"the proxy grew by {grown:.0f} MB, more than {allowed} MB")
        require(proxy.status().counter("client_memory_tight") > 0, "memory was never tight: this shows nothing")
        require_healthy(federation, proxy, b"after")
        closed = proxy.status().counter("clients_closed_memory")
        return (
            f"{_READERS} clients asked for 60 MB each and read nothing, {_SENDERS} sent 1 MB each: the proxy grew by {grown:.0f} MB "
            f"with memory-max {_MEMORY_MAX_MEGABYTES} MB, all {stored} values were stored, {closed} who did not read were closed for it, "
            f"others waited {longest * 1000:.0f} ms at most"
        )


# Turns


def check_turns(world: World) -> str:
    """Clients that send without end, and read: others get their turns."""
    with world.federation("turns", Options(loops=1)) as federation:
        proxy = federation.north.proxies["n1"]
        load = Crew([_normal_load(proxy.clients, 1)], processes=1)
        time.sleep(0.5)
        alone = time.monotonic()
        time.sleep(2.0)
        together = time.monotonic()
        block = b"mn\r\n" * 60_000
        with Crowd(proxy.clients, 8) as pushers:
            rest = {member: memoryview(block) for member in pushers.members}
            answered = 0
            while time.monotonic() < together + 4.0:
                for member, left in rest.items():
                    left = left[member.send(left) :]
                    rest[member] = left or memoryview(block)
                pushers.run(lambda: False, 0.005)
                for member in pushers.members:
                    require(not member.ended, "a client that sends much was closed")
                    require(bytes(member.input[:4]) in (b"", b"MN\r\n"), "a client that sends much was answered wrongly")
                    answered += len(member.input) // 4
                    del member.input[: len(member.input) // 4 * 4]
            end = time.monotonic()
        (seen,) = load.finish()
        require(not seen.wrong, f"wrong answers: {seen.wrong[:3]}")
        require(answered > 100_000, f"only {answered} commands of the pushers were answered")
        return (
            f"{answered} commands of 8 clients that send without end; beside them one client's p99 is "
            f"{_percentile([seen], together, end, 99, 20):.0f} µs, alone {_percentile([seen], alone, together, 99, 20):.0f} µs"
        )
