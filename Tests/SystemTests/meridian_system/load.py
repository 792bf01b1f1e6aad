"""A mixed load: every write command of the text protocol, on keys that all clients of both sites share.

What is written is random, by a seed for each client, so nobody knows what a key should hold in the end; only that both sites
must hold the same. What each command may be answered is known, and everything else is counted as unexpected.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meridian_system.client import Client, ConnectionLost, Endpoint, Reply, Request, Shape, line, meta, retrieve, silent, store
from meridian_system.workers import Crew, Stop

KEYS = 5_000
LARGEST_STORED = 1_048_400
"""A value that fits an item of 1 MiB with its key and head."""
REFUSED = 1_048_576
"""A value that does not, and is refused; memcached deletes what was there."""

_TOO_LARGE = b"SERVER_ERROR object too large for cache"
_STORE = (b"STORED", b"NOT_STORED", _TOO_LARGE)
_META_STORE = (b"HD", b"NS", b"EX", b"NF", _TOO_LARGE)
_NUMBER = (b"NOT_FOUND", b"CLIENT_ERROR cannot increment or decrement non-numeric value")
_META_NUMBER = (b"HD", b"VA ", b"NF", b"NS", *_NUMBER)
_LONG_LIFE = (0, 0, 0, 600, 3_600, 86_400)


@dataclass
class LoadResult:
    """What one client, or all together, did and saw."""

    writes: int = 0
    reads: int = 0
    bytes: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    """The longest that a pipeline of a few requests took, in seconds."""
    largest: int = 0
    """The largest value that was stored."""
    refused: int = 0
    """Values that were too large."""

    def add(self, other: LoadResult) -> None:
        """Sums up."""
        self.writes += other.writes
        self.reads += other.reads
        self.bytes += other.bytes
        self.commands += other.commands
        self.replies += other.replies
        self.unexpected += other.unexpected
        self.losses += other.losses
        self.longest = max(self.longest, other.longest)
        self.largest = max(self.largest, other.largest)
        self.refused += other.refused


def key_name(index: int) -> bytes:
    """The name of a shared key."""
    return b"shared:%d" % index


@dataclass(frozen=True)
class _Step:
    """One request of the load: its name, its bytes, what may be answered, the value's size, whether it writes."""

    command: str
    request: Request
    expected: tuple[bytes, ...]
    size: int = 0
    writes: bool = True
    key: bytes = b""


class MixedClient:
    """One client's random commands."""

    def __init__(self, seed: int, keys: int = KEYS) -> None:
        self._random = random.Random(seed)
        self._keys = keys
        self._filler = self._random.randbytes(2 * REFUSED)
        self._tokens: dict[bytes, int] = {}
        self._commands: list[tuple[Callable[[bytes], _Step], int]] = [
            (self._set, 26), (self._add, 5), (self._replace, 6), (self._append, 6), (self._prepend, 4), (self._cas, 10),
            (self._incr, 8), (self._decr, 4), (self._delete, 7), (self._touch, 6), (self._gat, 4),
            (self._meta_set, 10), (self._meta_delete, 4), (self._meta_number, 5), (self._meta_touch, 3),
        ]  # fmt: skip
        self._choices = [command for command, _ in self._commands]
        self._weights = [weight for _, weight in self._commands]

    def batch(self, count: int) -> list[_Step]:
        """The next requests, `count` of them writes."""
        steps: list[_Step] = []
        for command in self._random.choices(self._choices, self._weights, k=count):
            key = key_name(self._random.randrange(self._keys))
            if command == self._cas and (key not in self._tokens or self._random.random() < 0.2):
                steps.append(_Step("gets", retrieve(b"gets " + key), (b"END",), writes=False, key=key))
            steps.append(command(key))
        return steps

    def saw(self, step: _Step, reply: Reply) -> None:
        """Remembers the CAS tokens that a later cas needs."""
        if step.command == "gets" and reply.values and reply.values[0].cas is not None:
            self._tokens[step.key] = reply.values[0].cas

    # Values

    def _size(self) -> int:
        chance = self._random.random()
        if chance < 0.02:
            return 0
        if chance < 0.62:
            return self._random.randint(1, 100)
        if chance < 0.92:
            return self._random.randint(100, 2_000)
        if chance < 0.99:
            return self._random.randint(2_000, 16_000)
        if chance < 0.999:
            return self._random.randint(16_000, 64_000)
        return self._random.choice((200_000, 524_288, 700_000, LARGEST_STORED, LARGEST_STORED, REFUSED))

    def _bytes(self, size: int) -> bytes:
        start = self._random.randrange(len(self._filler) - size)
        return self._filler[start : start + size]

    def _expiry(self) -> int:
        chance = self._random.random()
        if chance < 0.01:
            return -1
        if chance < 0.05:
            return int(time.time()) + 7_200
        return self._random.choice(_LONG_LIFE)

    def _flags(self) -> int:
        return self._random.choice((0, 1, 768, 65_536, 4_294_967_295))

    def _stored(self, verb: str, key: bytes, size: int, cas: int | None = None, more: tuple[bytes, ...] = ()) -> _Step:
        noreply = size < 10_000 and self._random.random() < 0.1
        value = self._bytes(size)
        request = store(verb, key, value, flags=self._flags(), expiry=self._expiry(), cas=cas, noreply=noreply)
        return _Step(verb + (" noreply" if noreply else ""), request, (*_STORE, *more), size)

    def _said(self, command: str, text: bytes, expected: tuple[bytes, ...]) -> _Step:
        if self._random.random() < 0.1:
            return _Step(command + " noreply", silent(text), ())
        return _Step(command, line(text), expected)

    # Commands

    def _set(self, key: bytes) -> _Step:
        if self._random.random() < 0.8 and key.endswith(b"0"):  # Something for incr and decr to work on.
            value = b"%d" % self._random.randrange(10**6)
            return _Step("set", store("set", key, value, flags=self._flags(), expiry=self._expiry()), _STORE, len(value))
        return self._stored("set", key, self._size())

    def _add(self, key: bytes) -> _Step:
        return self._stored("add", key, self._size())

    def _replace(self, key: bytes) -> _Step:
        return self._stored("replace", key, self._size())

    def _append(self, key: bytes) -> _Step:
        return self._stored("append", key, self._random.randint(0, 60), more=(b"SERVER_ERROR out of memory storing object",))

    def _prepend(self, key: bytes) -> _Step:
        return self._stored("prepend", key, self._random.randint(0, 60), more=(b"SERVER_ERROR out of memory storing object",))

    def _cas(self, key: bytes) -> _Step:
        token = self._tokens.get(key, 1)
        return self._stored("cas", key, self._size(), cas=token, more=(b"EXISTS", b"NOT_FOUND"))

    def _number_key(self, key: bytes) -> bytes:
        """Mostly a key that holds numbers."""
        return key[:-1] + b"0" if self._random.random() < 0.7 else key

    def _incr(self, key: bytes) -> _Step:
        key = self._number_key(key)
        return self._said("incr", b"incr %s %d" % (key, self._random.randrange(1000)), (*_NUMBER, b"#"))

    def _decr(self, key: bytes) -> _Step:
        key = self._number_key(key)
        return self._said("decr", b"decr %s %d" % (key, self._random.randrange(1000)), (*_NUMBER, b"#"))

    def _delete(self, key: bytes) -> _Step:
        return self._said("delete", b"delete " + key, (b"DELETED", b"NOT_FOUND"))

    def _touch(self, key: bytes) -> _Step:
        return self._said("touch", b"touch %s %d" % (key, self._random.choice(_LONG_LIFE)), (b"TOUCHED", b"NOT_FOUND"))

    def _gat(self, key: bytes) -> _Step:
        verb = self._random.choice(("gat", "gats"))
        text = b"%s %d %s" % (verb.encode(), self._random.choice(_LONG_LIFE), key)
        return _Step(verb, retrieve(text), (b"END",))

    def _meta_set(self, key: bytes) -> _Step:
        size = self._size()
        mode = self._random.choice(("", "", "", " ME", " MA", " MP", " MR", " MS"))
        if mode in (" MA", " MP"):
            size = min(size, 60)
        text = b"ms %s T%d F%d" % (key, max(self._expiry(), -1), self._flags()) + mode.encode()
        return _Step(
            f"ms{mode}", meta(text, self._bytes(size)), (*_META_STORE, b"SERVER_ERROR out of memory storing object"), size
        )

    def _meta_delete(self, key: bytes) -> _Step:
        return _Step("md", meta(b"md " + key), (b"HD", b"NF"))

    def _meta_number(self, key: bytes) -> _Step:
        mode = self._random.choice((b"", b" MI", b" MD", b" v", b" D7", b" N600 J5 v"))
        return _Step("ma", meta(b"ma " + key + mode), _META_NUMBER)

    def _meta_touch(self, key: bytes) -> _Step:
        return _Step("mg T", meta(b"mg %s T%d f" % (key, self._random.choice(_LONG_LIFE[1:] + (600,)))), (b"HD", b"EN"))


def _job(endpoint: Endpoint, seed: int, writes: int | None, depth: int, keys: int, pace: float) -> Callable[[Stop], LoadResult]:
    def job(stop: Stop) -> LoadResult:
        source = MixedClient(seed, keys)
        result = LoadResult()
        try:
            client = Client(endpoint, timeout=30.0)
        except ConnectionLost as lost:
            result.losses[str(lost)] += 1
            return result
        with client:
            while not stop and (writes is None or result.writes < writes):
                wanted = depth if writes is None else min(depth, writes - result.writes)
                steps = source.batch(wanted)
                begun = time.monotonic()
                try:
                    replies = client.ask([step.request for step in steps])
                except ConnectionLost as lost:
                    result.losses[str(lost)] += 1
                    break
                result.longest = max(result.longest, time.monotonic() - begun)
                for step, reply in zip(steps, replies):
                    source.saw(step, reply)
                    _count(result, step, reply)
                if pace:
                    time.sleep(pace)
            # What was sent with noreply has been carried out when this is answered.
            try:
                client.one(Request(b"mn\r\n", Shape.LINE))
            except ConnectionLost as lost:
                result.losses[str(lost)] += 1
        return result

    return job


def _count(result: LoadResult, step: _Step, reply: Reply) -> None:
    result.commands[step.command] += 1
    if step.writes:
        result.writes += 1
        result.bytes += step.size
    else:
        result.reads += 1
    if step.request.shape is Shape.SILENT:
        return
    text = reply.line
    if text.startswith((b"STORED", b"HD")):
        result.largest = max(result.largest, step.size)
    if text == _TOO_LARGE:
        result.refused += 1
    allowed = any(text.startswith(start) if start != b"#" else text.strip().isdigit() for start in step.expected)
    shown = "a number" if text.strip().isdigit() else text.split(b" ")[0].decode(errors="replace")
    result.replies[shown] += 1
    if not allowed:
        result.unexpected[f"{step.command}: {text.decode(errors='replace')[:120]}"] += 1


def start_mixed(
    endpoints: Sequence[Endpoint],
    *,
    clients: int = 20,
    writes: int | None = 200_000,
    seed: int = 1,
    depth: int = 8,
    keys: int = KEYS,
    processes: int = 4,
    pace: float = 0.0,
) -> Crew[LoadResult]:
    """Starts clients that are spread over the endpoints; `writes` is shared among them, or None to go on until told to stop.

    `depth` writes are sent in one piece, `pace` seconds are slept after each piece.
    """
    each = None if writes is None else writes // clients
    jobs = [_job(endpoints[index % len(endpoints)], seed * 1000 + index, each, depth, keys, pace) for index in range(clients)]
    return Crew(jobs, processes)


def total(results: Sequence[LoadResult]) -> LoadResult:
    """The sum of the clients' results."""
    sum_ = LoadResult()
    for result in results:
        sum_.add(result)
    return sum_
