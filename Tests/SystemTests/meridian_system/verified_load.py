"""A load in front of failing servers that knows, for each key, what may be read; any other answer is named for what it is.

Three kinds of clients, each with a connection to every proxy of the site, of which each request takes another at random:

    writers      own keys: set, delete, incr, append, gets and cas, touch, get, get of 20 keys
    publishers   write shared keys, one number higher each time, and post each number on a board once it is acknowledged
    readers      read shared keys, and keys that nobody writes any more, by ones and by twenties

What may be read of an own key is a set of values. An acknowledged write leaves one; an unanswered one adds its own to what was
there, because it may or may not have been carried out, or may yet be. The next write of such a key is a set or a delete: once
that is acknowledged there is one value again, and the unanswered one must never come back.

What may be read of a shared key is what its publisher sent, and no lower a number than stood on the board before the read was sent.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meridian_system.client import Client, ConnectionLost, Endpoint, Reply, Request, Value, line, retrieve, store
from meridian_system.workers import Crew, Stop

SHARED_KEYS = 24
STATIC_KEYS = 80
MULTIGET_KEYS = 20
_KEYS_OF_A_WRITER = 40
_WRITERS = 6
_PUBLISHERS = 2
_READERS = 4
_PROCESSES = 3
_PACE_SECONDS = 0.004
_SILENCE_SECONDS = 15.0
"""A request that is not answered for so long hangs; the client gives its connection up."""
_ABSENT: bytes | None = None
_NOTHING_THERE = (b"NOT_FOUND", b"NOT_STORED")


def shared_key(index: int) -> bytes:
    """A key whose values are numbered."""
    return b"shared:%d" % index


def shared_value(index: int, number: int) -> bytes:
    """The one value that a shared key has under a number."""
    return b"%d %s " % (number, shared_key(index)) + b"s" * (number * 37 % 400)


def shared_number(index: int, value: bytes) -> int | None:
    """The number of a shared key's value; None for one that no publisher ever makes."""
    word = value.split(b" ", 1)[0]
    if not word.isdigit() or value != shared_value(index, int(word)):
        return None
    return int(word)


def static_values() -> dict[bytes, bytes]:
    """Keys that are written once, before any fault, and their values."""
    return {b"static:%d" % index: b"value %d of those that stay" % index for index in range(STATIC_KEYS)}


class Board:
    """What clients in different processes tell each other, in shared memory; every number has one writer."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.sent = context.RawArray(ctypes.c_uint64, SHARED_KEYS)
        """The highest number that was sent."""
        self.acknowledged = context.RawArray(ctypes.c_uint64, SHARED_KEYS)
        """The highest number that was answered STORED."""
        self.fault_begun = context.RawValue(ctypes.c_double, 0.0)
        """When the fault began (monotonic); 0 before."""


@dataclass
class Tally:
    """What one client, or all together, did and saw."""

    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    last_error: float = 0.0
    """When the last error was seen (monotonic)."""
    during: int = 0
    """Requests answered after the fault had begun."""
    hangs: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)
    """A key that must be there was said not to be."""
    stale: list[str] = field(default_factory=list)
    """What the key had held before an acknowledged write or delete."""
    wrong: list[str] = field(default_factory=list)
    """What nobody wrote, or a reply that no server may give."""
    refused_cas: int = 0
    """Tokens that a fault made worthless."""
    longest: float = 0.0
    slowest: str = ""
    allowed: dict[bytes, frozenset[bytes | None]] = field(default_factory=dict)
    """For each own key, what may be found in the end."""

    def add(self, other: Tally) -> None:
        """Sums up."""
        self.requests += other.requests
        self.errors += other.errors
        self.last_error = max(self.last_error, other.last_error)
        self.during += other.during
        self.hangs += other.hangs
        self.misses += other.misses
        self.stale += other.stale
        self.wrong += other.wrong
        self.refused_cas += other.refused_cas
        if other.longest > self.longest:
            self.longest, self.slowest = other.longest, other.slowest
        self.allowed.update(other.allowed)


class _Party:
    """One client: its connections, its randomness, its tally."""

    def __init__(self, endpoints: Sequence[Endpoint], board: Board, seed: int) -> None:
        self.board = board
        self.random = random.Random(seed)
        self.tally = Tally()
        self._endpoints = list(endpoints)
        self._clients: dict[int, Client] = {}

    def ask(self, what: str, request: Request) -> Reply | None:
        """One request to one of the proxies; None when it got an error or no answer, which is then in the tally."""
        turn = self.random.randrange(len(self._endpoints))
        begun = time.monotonic()
        reply: Reply | None = None
        try:
            if turn not in self._clients:
                self._clients[turn] = Client(self._endpoints[turn], _SILENCE_SECONDS)
            reply = self._clients[turn].one(request)
        except ConnectionLost as lost:
            if turn in self._clients:
                self._clients.pop(turn).close()
            self.tally.hangs.append(f"{clock()} {what}: {lost}")
        now = time.monotonic()
        self.tally.requests[what] += 1
        self.tally.during += 0.0 < self.board.fault_begun.value < now
        if now - begun > self.tally.longest:
            self.tally.longest = now - begun
            self.tally.slowest = f"{what} through proxy {turn + 1}, answered {clock()}: {reply.line[:60] if reply else None!r}"
        if reply is None or reply.is_error:
            self.tally.last_error = now
            self.tally.errors[f"{what}: {'no answer' if reply is None else reply.line.decode(errors='replace')[:120]}"] += 1
            return None
        return reply

    def read(self, keys: Sequence[bytes], verb: bytes = b"get") -> dict[bytes, Value | None] | None:
        """What one request finds of the keys; None when there was an error."""
        what = verb.decode() if len(keys) == 1 else f"{verb.decode()} of {len(keys)}"
        reply = self.ask(what, retrieve(verb + b" " + b" ".join(keys)))
        if reply is None:
            return None
        if reply.line != b"END" or any(value.key not in keys for value in reply.values):
            self.tally.wrong.append(f"{clock()} {what} was answered {reply.line[:60]!r}, {[value.key for value in reply.values]}")
            return None
        found: dict[bytes, Value | None] = dict.fromkeys(keys)
        found.update({value.key: value for value in reply.values})
        return found

    def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            client.close()


class _Writer(_Party):
    """Writes keys of its own, and holds every answer against what it was told before."""

    def __init__(self, endpoints: Sequence[Endpoint], board: Board, seed: int, index: int) -> None:
        super().__init__(endpoints, board, seed)
        kinds = [b"count" if number % 5 == 0 else b"value" for number in range(_KEYS_OF_A_WRITER)]
        self._keys = [b"own:%d:%s:%d" % (index, kind, number) for number, kind in enumerate(kinds)]
        self._may: dict[bytes, frozenset[bytes | None]] = dict.fromkeys(self._keys, frozenset((_ABSENT,)))
        self._history: dict[bytes, set[bytes]] = {key: set() for key in self._keys}
        self._sequence = 0

    def turn(self) -> None:
        """One request, or the two of a cas."""
        chance = self.random.random()
        if chance < 0.15:
            self._look(self.random.sample(self._keys, MULTIGET_KEYS))
            return
        key = self.random.choice(self._keys)
        if chance < 0.35:
            self._look([key])
            return
        (held, *others) = self._may[key]
        self._sequence += 1
        if chance < 0.43:
            self._delete(key)
        elif others or held is None or chance < 0.55:
            self._set(key)
        elif chance < 0.68:
            self._compare_and_set(key, held)
        elif chance < 0.76:
            self._derive(key, "touch", line(b"touch %s 3600" % key), b"TOUCHED", held)
        elif b":count:" in key:
            self._increase(key, held)
        elif len(held) < 2_000:
            more = b"+%d" % self._sequence
            self._derive(key, "append", store("append", key, more), b"STORED", held + more)
        else:
            self._set(key)

    def _fresh(self, key: bytes) -> bytes:
        if b":count:" in key:
            return b"%d" % (self._sequence * 1_000)
        return b"%s %d " % (key, self._sequence) + b"v" * self.random.choice((0, 10, 100, 100, 900))

    def _look(self, keys: list[bytes]) -> None:
        found = self.read(keys)
        for key, value in (found or {}).items():
            self._judge(key, None if value is None else value.data, "get")

    def _judge(self, key: bytes, found: bytes | None, how: str) -> None:
        """Holds what was found against what may be."""
        if found in self._may[key]:
            return
        may = " or ".join(sorted(shown(value) for value in self._may[key]))
        text = f"{clock()} {how} {key.decode()}: {shown(found)} instead of {may}"
        if found is None:
            self.tally.misses.append(text)
        elif found in self._history[key]:
            self.tally.stale.append(text)
        else:
            self.tally.wrong.append(text)

    def _set(self, key: bytes) -> None:
        value = self._fresh(key)
        self._history[key].add(value)
        reply = self.ask("set", store("set", key, value, expiry=self.random.choice((0, 3_600))))
        self._settle(key, "set", reply, b"STORED", value)

    def _delete(self, key: bytes) -> None:
        reply = self.ask("delete", line(b"delete " + key))
        if reply is not None and reply.line == b"NOT_FOUND":
            self._judge(key, _ABSENT, "delete")
            self._may[key] = frozenset((_ABSENT,))
            return
        if reply is not None and reply.line == b"DELETED" and self._may[key] == {_ABSENT}:
            self.tally.stale.append(f"{clock()} delete {key.decode()} found a value where there is none")
        self._settle(key, "delete", reply, b"DELETED", _ABSENT)

    def _derive(self, key: bytes, what: str, request: Request, success: bytes, value: bytes) -> None:
        """A write whose outcome comes of what the key holds, which is known."""
        self._history[key].add(value)
        self._settle(key, what, self.ask(what, request), success, value)

    def _increase(self, key: bytes, held: bytes) -> None:
        value = b"%d" % (int(held) + 1)
        reply = self.ask("incr", line(b"incr %s 1" % key))
        self._history[key].add(value)
        if reply is not None and reply.line.isdigit() and reply.line != value:
            kind = self.tally.stale if b"%d" % (int(reply.line) - 1) in self._history[key] else self.tally.wrong
            kind.append(f"{clock()} incr {key.decode()} was answered {reply.line.decode()} instead of {value.decode()}")
            self._may[key] = frozenset((reply.line,))
            self._history[key].add(reply.line)
            return
        self._settle(key, "incr", reply, value, value)

    def _compare_and_set(self, key: bytes, held: bytes) -> None:
        found = self.read([key], b"gets")
        if found is None:
            return
        item = found[key]
        self._judge(key, None if item is None else item.data, "gets")
        if item is None or item.data != held or item.cas is None:
            return
        value = self._fresh(key)
        self._history[key].add(value)
        reply = self.ask("cas", store("cas", key, value, cas=item.cas))
        if reply is not None and reply.line == b"EXISTS" and self.board.fault_begun.value > 0:
            self.tally.refused_cas += 1
            return
        self._settle(key, "cas", reply, b"STORED", value)

    def _settle(self, key: bytes, what: str, reply: Reply | None, success: bytes, value: bytes | None) -> None:
        """Notes what a write leaves."""
        if reply is None:
            self._may[key] |= {value}
        elif reply.line == success:
            self._may[key] = frozenset((value,))
        elif reply.line in _NOTHING_THERE:
            self._judge(key, _ABSENT, what)
        else:
            self.tally.wrong.append(f"{clock()} {what} {key.decode()} was answered {reply.line[:60]!r}")
            self._may[key] |= {value}

    def close(self) -> None:
        """Says what it was told of its keys."""
        self.tally.allowed = self._may
        super().close()


class _Publisher(_Party):
    """Writes its share of the shared keys, each time a number higher, whatever became of the one before."""

    def __init__(self, endpoints: Sequence[Endpoint], board: Board, seed: int, index: int) -> None:
        super().__init__(endpoints, board, seed)
        self._indices = range(index, SHARED_KEYS, _PUBLISHERS)

    def turn(self) -> None:
        """The next number of one key."""
        index = self.random.choice(self._indices)
        number = self.board.sent[index] + 1
        self.board.sent[index] = number
        reply = self.ask("set", store("set", shared_key(index), shared_value(index, number)))
        if reply is not None and reply.line == b"STORED":
            self.board.acknowledged[index] = number
        elif reply is not None:
            self.tally.wrong.append(f"{clock()} set {shared_key(index).decode()} was answered {reply.line[:60]!r}")


class _Reader(_Party):
    """Reads what others write, or wrote once."""

    def __init__(self, endpoints: Sequence[Endpoint], board: Board, seed: int, index: int) -> None:
        super().__init__(endpoints, board, seed)
        self._static = static_values()
        self._shared = {shared_key(index): index for index in range(SHARED_KEYS)}
        self._keys = [*self._static, *self._shared]

    def turn(self) -> None:
        """One key, or twenty."""
        keys = self.random.sample(self._keys, MULTIGET_KEYS) if self.random.random() < 0.5 else [self.random.choice(self._keys)]
        floors = {key: self.board.acknowledged[self._shared[key]] for key in keys if key in self._shared}
        for key, value in (self.read(keys) or {}).items():
            found = None if value is None else value.data
            if key in self._static:
                self._judge_static(key, found)
            else:
                self._judge_shared(key, found, floors[key])

    def _judge_static(self, key: bytes, found: bytes | None) -> None:
        if found is None:
            self.tally.misses.append(f"{clock()} get {key.decode()}: nothing")
        elif found != self._static[key]:
            self.tally.wrong.append(f"{clock()} get {key.decode()}: {shown(found)}")

    def _judge_shared(self, key: bytes, found: bytes | None, floor: int) -> None:
        index = self._shared[key]
        if found is None:
            if floor > 0:
                self.tally.misses.append(f"{clock()} get {key.decode()}: nothing, {floor} was acknowledged")
            return
        number = shared_number(index, found)
        if number is None or number > self.board.sent[index]:
            self.tally.wrong.append(f"{clock()} get {key.decode()}: {shown(found)}")
        elif number < floor:
            self.tally.stale.append(f"{clock()} get {key.decode()}: number {number}, {floor} was acknowledged")


def start(endpoints: Sequence[Endpoint], board: Board, seed: int) -> Crew[Tally]:
    """Starts all clients, to go on until told to stop."""

    def job(kind: type[_Writer] | type[_Publisher] | type[_Reader], index: int, salt: int) -> Callable[[Stop], Tally]:
        def run(stop: Stop) -> Tally:
            party = kind(endpoints, board, seed * 7919 + salt, index)
            while not stop:
                party.turn()
                time.sleep(_PACE_SECONDS)
            party.close()
            return party.tally

        return run

    kinds = [*((_Writer, index) for index in range(_WRITERS)), *((_Publisher, index) for index in range(_PUBLISHERS))]
    kinds += [(_Reader, index) for index in range(_READERS)]
    return Crew([job(kind, index, salt) for salt, (kind, index) in enumerate(kinds)], _PROCESSES)


def clock() -> str:
    """The time as the proxies' logs write it."""
    now = time.time()
    return time.strftime("%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"


def shown(value: bytes | None) -> str:
    """A value, for people."""
    return "nothing" if value is None else repr(value[:32] + (b"..." + value[-8:] if len(value) > 40 else b""))
