"""PHP sessions through the proxies, with both of Debian's extensions and real `php` processes.

    request ── php-memcached, binary or text ──▶ n1 ┐                       ┌ s1 ◀── another request of the same visitor
    request ── php-memcache, text ─────────────▶ n2 ┘ ◀═══ replication ═══▶ └ s2

What each extension sends differs: one locks with `add`, prolongs with `touch` and asks in strict mode with an `add` that is dead
on arrival; the other pipelines `incr`, `add` and `get`, marks its locks with flags of 768 and stores absolute expiries. What a
visitor sees must not differ: a session is there at both sites, lives as long as it is used, and is gone when it was ended.

What the memcacheds hold is looked up around the proxies.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meridian_system.client import Client, ConnectionLost, Endpoint
from meridian_system.compare import read_server
from meridian_system.federation import Federation, Options
from meridian_system.php import (
    ANSWER_SECONDS_MAX,
    HANG_SECONDS,
    LIFE_SECONDS,
    LOCK_SECONDS,
    MEMCACHE,
    Cell,
    Visitor,
    php_program,
    soon,
    told_by,
)
from meridian_system.processes import Process, wait_until
from meridian_system.report import Failed, require
from meridian_system.world import World

_SHORT_LIFE = 4
_INCREMENTS = 150
_SESSIONS = 8
_REQUESTS_IN_EACH_STATE = 60
_VALUE_NAMES = ("integer", "float", "true", "false", "text", "array", "long")
"""What values.php stores."""
_GRACE_SECONDS = 0.1
"""How long after a kill a proxy may take to hear of it."""


# The nine steps


def _stored(visitor: Visitor) -> str:
    """1: what one process writes another one reads, through either proxy, a large session as well as a small one."""
    large = "0123456789 abcdefghij;|" * 2_000
    id = visitor.request("n1", "-", "user=Ada", f"basket={large}").id
    for proxy in ("n1", "n2"):
        again = visitor.request(proxy, id)
        require(again.id == id, f"{again.what}: became {again.id}")
        require(
            again.found == {"user": "Ada", "basket": large},
            f"{again.what}: found {again.found.get('user')!r} and a basket of {len(again.found.get('basket', ''))} bytes, "
            f"not 'Ada' and {len(large)} bytes",
        )
    return f"{len(large)} bytes read back"


@dataclass(frozen=True)
class _Prolonged:
    """A session whose first life would be over at a moment."""

    id: str
    over: float


def _prolonged(visitor: Visitor) -> tuple[_Prolonged, float]:
    """2: a session that is closed as it was found lives on, at both sites; also returns the seconds until the other site knows."""
    id = visitor.new_id("prolonged")
    visitor.request("n1", id, "user=Ada", life=_SHORT_LIFE)
    over = time.monotonic() + _SHORT_LIFE + 1.5
    again = visitor.request("n2", id, life=LIFE_SECONDS)
    require(again.found == {"user": "Ada"}, f"{again.what}: found {again.found}")
    took = soon(lambda: visitor.lives(id, LIFE_SECONDS), f"{again.what}, closed unchanged: it lives longer at both sites")
    return _Prolonged(id, over), took


def _outlived(visitor: Visitor, prolonged: _Prolonged) -> None:
    """2, later: it is still there when its first life is over."""
    time.sleep(max(0.0, prolonged.over - time.monotonic()))
    for proxy in ("n1", "s1"):
        again = visitor.request(proxy, prolonged.id)
        require(again.found == {"user": "Ada"}, f"{again.what}: found {again.found} after its first life, which was prolonged")


def _regenerated(visitor: Visitor) -> None:
    """3: the new id has the data, the old one is gone."""
    old = visitor.new_id("old")
    visitor.request("n1", old, "user=Ada")
    soon(lambda: visitor.equal(old), f"session {old} to be in the south")
    changed = visitor.request("n2", old, "regenerate", "role=admin")
    require(changed.id not in ("", old), f"{changed.what}: the id is {changed.id!r} now")
    soon(lambda: visitor.gone(old) or visitor.equal(changed.id), f"{changed.what}: {old} gone, {changed.id} there, at both sites")
    for proxy in ("n1", "s1"):
        again = visitor.request(proxy, changed.id)
        require(again.found == {"user": "Ada", "role": "admin"}, f"{again.what}, regenerated from {old}: found {again.found}")


def _destroyed(visitor: Visitor) -> None:
    """4: a session that is ended at one site is gone at both."""
    for first, second in (("n1", "n2"), ("n1", "s2")):
        id = visitor.new_id("ended")
        visitor.request(first, id, "user=Ada")
        soon(lambda: visitor.equal(id), f"session {id} to be in the south")
        ended = visitor.request(second, id, "destroy")
        require(ended.found == {"user": "Ada"}, f"{ended.what}: found {ended.found}")
        soon(lambda: visitor.gone(id), f"{ended.what}: gone at both sites, and its lock")


def _locked(visitor: Visitor) -> str:
    """5: requests of one visitor at the same time, through two proxies, wait for each other."""
    id = visitor.new_id("counter")
    proxies = list(visitor.federation.north.proxies.values())
    begun = time.monotonic()
    clients = [
        (proxy, visitor.start(proxy, f"counter-{proxy.name}", "counter.php", id, str(_INCREMENTS))) for proxy in proxies
    ]
    for proxy, process in clients:
        try:
            wait_until(lambda process=process: not process.alive, "", HANG_SECONDS)  # type: ignore[misc]
        except TimeoutError:
            raise Failed(f"{_INCREMENTS} increments of one session through {proxy.name}, beside another client, hang") from None
        told = told_by("counter.php", process.log.read_text())
        require(
            told["done"] == _INCREMENTS and not told["warnings"],
            f"{told['done']} of {_INCREMENTS} increments done through {proxy.name}: {told['warnings']}",
        )
    took = time.monotonic() - begun
    again = visitor.request("n1", id)
    expected = _INCREMENTS * len(clients)
    require(
        again.found == {"counter": expected}, f"{expected} increments were done, the session counts {again.found.get('counter')}"
    )
    soon(lambda: visitor.equal(id), f"{again.what}: counted at both sites")
    there = [name for name, items in visitor.held(visitor.federation.south, visitor.cell.locks(id)).items() if items]
    require(not there, f"the lock of a session in the north is held by {there}")
    return f"{expected} increments by two clients in {took:.1f} s, none lost"


def _strict(world: World, visitor: Visitor) -> str:
    """6: in strict mode a known id is kept, an unknown one replaced, and asking for one harms no session at the other site."""
    id, unknown = visitor.new_id("strict"), visitor.new_id("unknown")
    visitor.request("n1", id, "user=Ada")
    soon(lambda: visitor.equal(id), f"session {id} to be in the south")
    replaced = visitor.request("n1", unknown, "user=Eve", strict=True)
    if visitor.cell.strict:
        require(replaced.id != unknown, f"{replaced.what}: kept, although nobody knows it")
        soon(
            lambda: visitor.gone(unknown) or visitor.equal(replaced.id),
            f"{replaced.what}: {unknown} nowhere, {replaced.id} at both sites",
        )
    else:
        require(replaced.id == unknown, f"{replaced.what}: became {replaced.id}; with memcached itself the extension keeps it")
    fresh = visitor.request("s1", "-", "user=Eve", strict=True)
    for proxy in ("s2", "n2"):
        kept = visitor.request(proxy, id, strict=True)
        require(kept.id == id and kept.found == {"user": "Ada"}, f"{kept.what}: became {kept.id} and found {kept.found}")
    soon(lambda: visitor.equal(id, replaced.id, fresh.id), "three sessions of strict mode to be equal at both sites")
    if not visitor.cell.strict:
        return "strict mode: the extension does not look ids up"
    return _strict_across(world, visitor)


def _strict_across(world: World, visitor: Visitor) -> str:
    """6: an id is asked for at a site that has not heard of its session yet."""
    if world.wire is None:
        return "strict mode: not tried across a cut link, which takes network namespaces"
    id = visitor.new_id("crossing")
    world.wire.cut()
    try:
        visitor.request("n1", id, "user=Ada")
        early = visitor.request("s1", id, "user=Eve", strict=True)
        require(early.id != id, f"{early.what}: kept, although the south cannot know it")
    finally:
        world.wire.heal()
    soon(lambda: visitor.equal(id, early.id), f"{early.what}, asked for before it came: both sites equal", 30.0)
    for proxy in ("n1", "s1"):
        again = visitor.request(proxy, id, strict=True)
        require(again.id == id and again.found == {"user": "Ada"}, f"{again.what}: became {again.id} and found {again.found}")
    return "an id asked for in strict mode before its session came harmed nothing"


def _carried(visitor: Visitor) -> float:
    """7: a visitor goes to the other site and back; returns the longest that a session took to get there."""
    id = visitor.new_id("traveller")
    slowest = 0.0
    expected: dict[str, str] = {}
    for turn, (here, there) in enumerate((("n1", "s1"), ("s2", "n2"), ("n1", "s2"))):
        expected[f"turn{turn}"] = here
        visitor.request(here, id, f"turn{turn}={here}")
        slowest = max(slowest, soon(lambda: visitor.equal(id), f"session {id}, written at {here}, to be equal at both sites"))
        again = visitor.request(there, id)
        require(again.found == expected, f"{again.what}: found {again.found}, not {expected}")
    return slowest


# 8: a primary dies


@dataclass(frozen=True)
class _Kill:
    """When a server was killed, by the wall clock."""

    begun: float
    ended: float

    def concerns(self, told: dict[str, Any]) -> bool:
        """Whether a request was under way when the server died, or began before the proxies could know."""
        return bool(told["begun"] < self.ended + _GRACE_SECONDS and told["ended"] > self.begun)


def _with_primary_killed(visitor: Visitor) -> str:
    """8: in the middle of a series of requests a primary is killed, and comes back empty."""
    north = visitor.federation.north
    label, victim = next(iter(north.primaries.items()))
    ids = [visitor.new_id("visitor") for _ in range(_SESSIONS)]
    for id in ids:
        visitor.request("n1", id, "counter=0")
    there = set(read_server(victim, visitor.cell.keys(*ids)))
    require(0 < len(there) < len(ids), f"{len(there)} of {len(ids)} sessions are on {label}; other ids must be chosen")
    stop = visitor.federation.folder / "series-stop"
    half = _SESSIONS // 2
    series = [
        visitor.start(proxy, f"series-{proxy.name}", "series.php", str(stop), *some)
        for proxy, some in zip(north.proxies.values(), (ids[:half], ids[half:]))
    ]
    _further_requests(series, "with all servers up")
    begun = time.time()
    victim.kill()
    kill = _Kill(begun, time.time())
    _further_requests(series, f"with {label} killed")
    victim.start()
    _further_requests(series, f"with {label} back and empty")
    stop.touch()
    soon(lambda: " ".join(process.name for process in series if process.alive), "the series of requests to end")
    judged = _Judged()
    for process in series:
        judged.series(_lines(process), kill)
    for id in ids:
        for proxy in ("n1", "n2"):
            again = visitor.request(proxy, id)
            require(
                int(again.found.get("counter", -1)) in judged.counters[id],
                f"{again.what}: found {again.found} after a series that left {sorted(judged.counters[id])}",
            )
    soon(lambda: visitor.equal(*ids), "the sessions of the series to be equal at both sites")
    back = read_server(victim, visitor.cell.keys(*ids))
    require(set(back) == there, f"{label} holds {len(back)} of the {len(there)} sessions that are its own after its return")
    return (
        f"{judged.requests} requests around the kill of a primary with {len(there)} of {len(ids)} sessions, "
        f"{judged.failed} of them under way then failed, longest {1000 * judged.longest:.0f} ms"
    )


def _lines(process: Process) -> list[str]:
    """What a series has told so far; a line that is being written is not counted."""
    return process.log.read_text().split("\n")[:-1]


def _further_requests(series: Sequence[Process], when: str) -> None:
    """Waits until each series is so many requests further."""
    goals = [(process, len(_lines(process)) + _REQUESTS_IN_EACH_STATE) for process in series]

    def behind() -> str:
        for process, _ in goals:
            process.expect_alive()
        return "; ".join(
            f"{process.name} has {to_go} requests to go" for process, goal in goals if (to_go := goal - len(_lines(process))) > 0
        )

    soon(behind, f"{_REQUESTS_IN_EACH_STATE} requests of each series {when}", HANG_SECONDS)


class _Judged:
    """Goes through what series of requests tell: each finds what the one before it left."""

    def __init__(self) -> None:
        self.counters: dict[str, set[int]] = {}
        """What a session may count: one number, two after a write whose outcome nobody knows."""
        self.requests = 0
        self.failed = 0
        self.longest = 0.0

    def series(self, lines: Sequence[str], kill: _Kill) -> None:
        """Judges one series, in its order."""
        left_locked: set[str] = set()
        for text in lines:
            told = told_by("series.php", text)
            self.requests += 1
            self._took(told, left_locked, kill)
            known = self.counters.get(told["id"], {0})
            if self._sound(told, known):
                self.counters[told["id"]] = {int(told["found"]) + 1}
                continue
            require(kill.concerns(told), f"{_when(told, kill)}: {text}; what the request before left is {sorted(known)}")
            self.failed += 1
            left_locked.add(told["id"])
            found = {int(told["found"])} if told["found"] is not None else known
            self.counters[told["id"]] = found | {count + 1 for count in found}

    @staticmethod
    def _sound(told: dict[str, Any], known: set[int]) -> bool:
        found = told["found"]
        return bool(told["opened"] and told["closed"] and not told["warnings"]) and found is not None and int(found) in known

    def _took(self, told: dict[str, Any], left_locked: set[str], kill: _Kill) -> None:
        """A request takes no longer than a time-out, but for the one that finds the lock of a failed one."""
        seconds = told["ended"] - told["begun"]
        allowed = ANSWER_SECONDS_MAX
        if told["id"] in left_locked:
            left_locked.remove(told["id"])
            allowed += LOCK_SECONDS + 1
        self.longest = max(self.longest, seconds)
        require(seconds < allowed, f"{_when(told, kill)}: a request to {told['id']} took {seconds:.2f} s")


def _when(told: dict[str, Any], kill: _Kill) -> str:
    return f"{told['begun'] - kill.begun:+.3f} s from the kill of a primary"


# 9: php-memcache's values


def _values(visitor: Visitor) -> str:
    """9: the types of values, which php-memcache keeps in flags of 256 and more, survive at both sites."""
    prefix = "values:"
    _run_values(visitor, "n1", prefix, "write")
    keys = [f"{prefix}{name}".encode() for name in _VALUE_NAMES]
    soon(lambda: visitor.equal_keys(keys), "values of php-memcache to be equal at both sites")
    integer = keys[0]
    flags = [
        items[integer].flags
        for site in visitor.federation.sites
        for items in visitor.held(site, [integer]).values()
        if integer in items
    ]
    require(len(flags) == 4 and min(flags) >= 768, f"the flags of an integer are {flags} at the two sites, not four of 768 or more")
    for proxy in ("n1", "n2", "s1", "s2"):
        told = _run_values(visitor, proxy, prefix, "read")
        require(not told["missing"], f"{told['missing']} are missing at {proxy}")
    return f"flags of {max(flags)} survive"


def _run_values(visitor: Visitor, proxy: str, prefix: str, what: str) -> dict[str, Any]:
    """Runs values.php; nothing may be refused or different, and the extension must not have given the server up."""
    chosen = visitor.proxy(proxy)
    told = visitor.run(chosen, "values.php", chosen.clients.host, str(chosen.clients.port), prefix, what)
    require(not told["refused"], f"{proxy} refused to store {told['refused']}: {told['warnings']}")
    require(not told["different"], f"at {proxy} {'; '.join(told['different'])}")
    require(told["server"] != 0, f"php-memcache has given {proxy} up: {told['warnings']}")
    require(not told["warnings"], f"php-memcache warns at {proxy}: {told['warnings']}")
    return told


def _unavailable(world: World) -> str:
    """9: what a killed server without a backup held is a miss, and php-memcache does not give the proxy up for it."""
    options = Options(loops=world.loops, backup=False)
    with world.federation("php-memcache-without-backup", options) as federation:
        visitor = Visitor(MEMCACHE, federation)
        _run_values(visitor, "n1", "values:", "write")
        victim = federation.north.primaries["cache1"]
        held = read_server(victim, [f"values:{name}".encode() for name in _VALUE_NAMES])
        lost = {key.decode().removeprefix("values:") for key in held}
        kept = len(_VALUE_NAMES) - len(lost)
        require(bool(lost) and kept > 0, f"{len(lost)} values are on cache1 and {kept} are not; another prefix must be chosen")
        victim.kill()
        soon(lambda: _answered(federation, f"values:{min(lost)}"), "a read of a killed server to be a miss")
        for proxy in federation.north.proxies:
            told = _run_values(visitor, proxy, "values:", "miss")
            require(set(told["missing"]) == lost, f"{proxy} misses {told['missing']}, the killed server held {sorted(lost)}")
        return f"{len(lost)} values of a killed server without a backup are misses, the other {kept} are there"


def _answered(federation: Federation, key: str) -> str:
    """Why a read is not a miss at all proxies of the north; empty when it is."""
    for endpoint in federation.north.clients:
        try:
            with Client(endpoint) as client:
                if client.get(key) is not None:
                    return f"{endpoint} still has {key}"
        except ConnectionLost as lost:
            return str(lost)
    return ""


# The cells


def check_php(world: World, cell: Cell) -> str:
    """All steps for one extension and protocol, on two fresh sites."""
    php_program()
    with world.federation(cell.name, Options(loops=world.loops)) as federation:
        if cell.binary:
            for site in federation.sites:
                for endpoint in site.clients:
                    _require_binary(endpoint)
        visitor = Visitor(cell, federation)
        said = [_stored(visitor)]
        prolonged, took = _prolonged(visitor)
        said.append(f"lives prolonged at both sites within {took:.2f} s")
        _regenerated(visitor)
        _destroyed(visitor)
        said.append(_locked(visitor))
        said.append(_strict(world, visitor))
        said.append(f"in the other site within {_carried(visitor):.2f} s")
        said.append(_with_primary_killed(visitor))
        if cell is MEMCACHE:
            said.append(_values(visitor))
        _outlived(visitor, prolonged)
        said.append(f"{visitor.requests} other requests in processes of their own, longest {1000 * visitor.longest:.0f} ms")
    if cell is MEMCACHE:
        said.append(_unavailable(world))
    return "; ".join(said)


def _require_binary(endpoint: Endpoint) -> None:
    """The binary protocol's noop is answered: without that PHP could only say that a lock cannot be written."""
    request = struct.pack("!BBHBBHIIQ", 0x80, 0x0A, 0, 0, 0, 0, 0, 7, 0)
    expected = struct.pack("!BBHBBHIIQ", 0x81, 0x0A, 0, 0, 0, 0, 0, 7, 0)
    answer = b""
    try:
        with endpoint.connect(5.0) as connection:
            connection.sendall(request)
            while expected.startswith(answer[:1]) and len(answer) < len(expected):
                more = connection.recv(len(expected) - len(answer))
                if not more:
                    break
                answer += more
    except (OSError, ConnectionLost) as error:
        raise Failed(f"{endpoint} does not speak the binary protocol: noop was answered {answer!r}, then {error}") from None
    require(answer == expected, f"{endpoint} does not speak the binary protocol: noop was answered {answer!r}")
