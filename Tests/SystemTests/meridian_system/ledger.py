"""A load that knows what was acknowledged: each key has one writer, which writes down what it was told.

    a key's history    set 1 ✓   set 2 ✓   delete ✓   set 4 ✓   set 5 ?      (✓ acknowledged, ? the connection broke first)
    may be found       4, or 5

A request without an answer leaves two possibilities, and may even be carried out a little later; its key is then left alone for
good, so that at the end every key has at most two right states, and anything else is a lost or an invented write. While
the load runs, a client that reads its own key must find exactly what it was told: the site answers for its acknowledged writes
at once. Counters are incremented by one, so a write that was carried out twice shows as well.
"""

from __future__ import annotations

import datetime
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meridian_system.client import ConnectionLost, Endpoint, Reply, Request, Roaming, line, meta, retrieve, store
from meridian_system.compare import Item, read_server
from meridian_system.federation import Site
from meridian_system.workers import Crew, Stop

_KEYS_OF_A_CLIENT = 40
_ABSENT: bytes | None = None


@dataclass
class LedgerResult:
    """What one client, or all together, did, saw and was told."""

    allowed: dict[bytes, tuple[bytes | None, ...]] = field(default_factory=dict)
    """For each key, what may be found in the end: values, or None for absence."""
    acknowledged: int = 0
    unanswered: int = 0
    reads: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """What the servers said that was neither success nor a plain miss."""
    losses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers that contradict what the client was told before."""
    deleted_already: list[str] = field(default_factory=list)
    """Deletes of keys that were there, answered NOT_FOUND: a proxy that died had done them, and its neighbour was asked again."""
    reconnections: int = 0
    longest: float = 0.0
    """The longest that a request took, reconnection included, in seconds."""
    slowest: list[tuple[float, float, str]] = field(default_factory=list)
    """The slowest requests: seconds, when (monotonic), what."""

    def add(self, other: LedgerResult) -> None:
        """Sums up."""
        self.allowed.update(other.allowed)
        self.acknowledged += other.acknowledged
        self.unanswered += other.unanswered
        self.reads += other.reads
        self.errors += other.errors
        self.losses += other.losses
        self.wrong += other.wrong
        self.deleted_already += other.deleted_already
        self.reconnections += other.reconnections
        self.longest = max(self.longest, other.longest)
        self.slowest = sorted(self.slowest + other.slowest, reverse=True)[:5]


@dataclass(frozen=True)
class _Step:
    """One write: its name, its bytes, the one line that says that it was carried out, and what the key holds then."""

    name: str
    request: Request
    success: bytes
    value: bytes | None


class _Writer:
    """One client: its connection, its keys, what it was told."""

    def __init__(self, endpoints: Sequence[Endpoint], index: int, seed: int, timeout: float, label: str) -> None:
        self._random = random.Random(seed * 7919 + index)
        self._client = Roaming(endpoints, start=index, timeout=timeout)
        self._label = label.encode()
        self._index = index
        self._made = 0
        self._sequence = 0
        self._known: dict[bytes, bytes | None] = {}
        self._active = [self._new_key() for _ in range(_KEYS_OF_A_CLIENT)]
        self.result = LedgerResult()

    def _new_key(self) -> bytes:
        self._made += 1
        kind = b"count" if self._made % 5 == 0 else b"value"
        key = b"%s:%d:%s:%d" % (self._label, self._index, kind, self._made)
        self._known[key] = _ABSENT
        return key

    def turn(self) -> None:
        """One small pipeline of writes to different keys, or of reads."""
        count = self._random.choice((1, 1, 1, 2, 4))
        keys = self._random.sample(self._active, count)
        if self._random.random() < 0.25:
            self._read(keys)
        else:
            self._write(keys)

    def _ask(self, requests: list[Request], what: str) -> list[Reply] | None:
        begun = time.monotonic()
        try:
            replies: list[Reply] | None = self._client.ask(requests)
        except ConnectionLost as lost:
            self.result.losses[str(lost)] += 1
            replies = None
        took = time.monotonic() - begun
        self.result.longest = max(self.result.longest, took)
        if took > 0.1:
            self.result.slowest = sorted([*self.result.slowest, (took, begun, what)], reverse=True)[:5]
        return replies

    def _read(self, keys: list[bytes]) -> None:
        replies = self._ask([retrieve(b"get " + key) for key in keys], f"get {keys[0].decode()}")
        if replies is None:
            return
        for key, reply in zip(keys, replies):
            if reply.line != b"END":
                self.result.errors[f"get: {reply.line.decode(errors='replace')[:160]}"] += 1
                continue
            self.result.reads += 1
            found = reply.values[0].data if reply.values else _ABSENT
            if found != self._known[key]:
                self.result.wrong.append(f"{_now()} {key.decode()}: {_shown(found)} instead of {_shown(self._known[key])}")

    def _write(self, keys: list[bytes]) -> None:
        steps: list[_Step] = []
        for key in keys:
            self._sequence += 1
            steps.append(self._next(key))
        replies = self._ask([step.request for step in steps], steps[0].name)
        for index, (key, step) in enumerate(zip(keys, steps)):
            reply = None if replies is None else replies[index]
            if reply is not None and reply.line == step.success:
                self.result.acknowledged += 1
                self._known[key] = step.value
                continue
            if reply is not None and reply.is_error:
                self.result.errors[f"{step.name.split(' ')[0]}: {reply.line.decode(errors='replace')[:160]}"] += 1
            elif reply is not None and step.value is _ABSENT and reply.line == b"NOT_FOUND":
                self.result.deleted_already.append(f"{_now()} {key.decode()} was deleted already")
            elif reply is not None:
                told = f"{step.name} was answered {reply.line.decode(errors='replace')[:60]}"
                self.result.wrong.append(f"{_now()} {told} when the key held {_shown(self._known[key])}")
            self.result.unanswered += 1
            self.result.allowed[key] = (self._known.pop(key), step.value)
            self._active[self._active.index(key)] = self._new_key()

    def _next(self, key: bytes) -> _Step:
        """The next write of a key."""
        known = self._known[key]
        if b":count:" in key:
            if known is None:
                return _Step("add", store("add", key, b"1"), b"STORED", b"1")
            value = b"%d" % (int(known) + 1)
            return _Step("incr", line(b"incr %s 1" % key), value, value)
        chance = self._random.random()
        if chance < 0.08 and known is not None:
            return _Step("delete", line(b"delete " + key), b"DELETED", _ABSENT)
        if chance < 0.16 and known is not None and len(known) < 4_000:
            more = b"+%d" % self._sequence
            return _Step("append", store("append", key, more), b"STORED", known + more)
        value = b"%d:" % self._sequence + b"x" * self._random.choice((0, 10, 100, 100, 500, 3_000))
        if chance < 0.4:
            return _Step("ms", meta(b"ms %s T3600" % key, value), b"HD", value)
        return _Step("set", store("set", key, value, expiry=self._random.choice((0, 3_600))), b"STORED", value)

    def finish(self) -> LedgerResult:
        """What it was told, in all."""
        for key, value in self._known.items():
            self.result.allowed[key] = (value,)
        self.result.reconnections = self._client.reconnections
        self._client.close()
        return self.result


def _now() -> str:
    """The time as the proxies' logs write it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%H:%M:%S.%f")[:-3]


def _shown(value: bytes | None) -> str:
    return "nothing" if value is None else repr(value[:24])


def start_ledger(
    endpoints: Sequence[Endpoint],
    *,
    clients: int = 10,
    seed: int = 1,
    timeout: float = 10.0,
    processes: int = 2,
    pace: float = 0.0,
    label: str = "ledger",
) -> Crew[LedgerResult]:
    """Starts clients at one site, to go on until told to stop; each begins at another of the endpoints and roams over them.

    `pace` seconds are slept after each pipeline. The label keeps the keys of two crews apart.
    """

    def make(index: int) -> Callable[[Stop], LedgerResult]:
        def job(stop: Stop) -> LedgerResult:
            writer = _Writer(endpoints, index, seed, timeout, label)
            while not stop:
                writer.turn()
                if pace:
                    time.sleep(pace)
            return writer.finish()

        return job

    return Crew([make(index) for index in range(clients)], processes)


def merged(results: Sequence[LedgerResult]) -> LedgerResult:
    """The sum of the clients' results."""
    sum_ = LedgerResult()
    for result in results:
        sum_.add(result)
    return sum_


def missing(result: LedgerResult, sites: Sequence[Site]) -> list[str]:
    """What the sites' primaries hold that a client was told otherwise; empty when no acknowledged write is missing."""
    wrong: list[str] = []
    keys = sorted(result.allowed)
    for site in sites:
        held: dict[bytes, Item] = {}
        for server in site.primaries.values():
            held.update(read_server(server, keys))
        for key in keys:
            found = held[key].value if key in held else None
            if found not in result.allowed[key]:
                told = " or ".join(_shown(value) for value in result.allowed[key])
                wrong.append(f"{key.decode()} at {site.name}: {_shown(found)} instead of {told}")
    return wrong
