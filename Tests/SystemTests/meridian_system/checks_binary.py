"""The same binary packets to a memcached and to a proxy in front of memcached: a client must not be able to tell them apart.

Two connections are driven side by side, and two more that speak text, so that each protocol is seen to read what the other one
wrote. After each piece the replies are read up to that of a no-op, whose opaque nothing else has, and compared packet by packet.
What may differ by nature is compared by what it means:

- CAS values: each server counts its own. They must be zero on both sides or on neither, and for one key equal and unequal alike.
  A script uses a value only with the server that gave it.
- `version`: any version. `stat`: any statistics, with the packet that ends them.
- remaining life (`t` of the meta commands): two servers' seconds begin at different moments.

A piece that makes a server wait for more, or close, must do so on both sides, with the same replies before.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meridian_system.binary_commands import SCRIPT, Conversation, Explained, Parts, Piece, RandomPackets, Text
from meridian_system.binary_packets import Opcode, Request, Response, Status, Token, ask, shown, split
from meridian_system.client import Endpoint
from meridian_system.differential import same
from meridian_system.federation import Options
from meridian_system.memcached import Memcached
from meridian_system.report import Failed, require
from meridian_system.world import World

SEEDS = (1, 2, 3, 4, 5, 6)
PIECES = 400

_SILENCE_SECONDS = 1.0
"""A server that says nothing for so long waits for more bytes. A proxy may be slow on a loaded machine, so it gets more."""
_PATIENCE_SECONDS = 4.0
_PART_SECONDS = 0.0005
"""Between parts, so that they arrive as parts."""
_DIFFERENCES_MAX = 20
"""More are not looked for: each may have cost a silence."""
_SENTINEL_OPAQUE = 0x5E000000
_FIRST_OPAQUE = 0x0A000000
_NO_TOKEN = 2**61
"""In place of a CAS value that was never given."""
_VERSION = re.compile(rb"\d+\.\d+\.\d+")
_CAS_IN_TEXT = re.compile(rb"(?<=VALUE )(\S+)( \d+ \d+ )(\d+)(?=\r\n)")
_TEXT_END = b"MN\r\n"


@dataclass
class _Answer:
    """What came back for a piece: packets, and what was no packet."""

    packets: list[Response]
    rest: bytes
    end: str
    """How it ended: "answered", "closed", or "waits for more"."""
    reset: bool = False
    """It was closed with bytes unread, which may take the last replies with it on their way."""


class _Exchange:
    """Parts on their way out, and what comes back, over one connection."""

    def __init__(self, connection: socket.socket, parts: Sequence[bytes], patience: float) -> None:
        self._connection = connection
        self._outgoing = [memoryview(part) for part in parts if part]
        self._patience = patience
        self._heard = time.monotonic()
        self.incoming = bytearray()
        self.reset = False

    def run(self, complete: Callable[[bytearray], bool]) -> str:
        """Sends the parts one by one, and reads until the reply is complete, the end, or a silence; how it ended."""
        self._connection.setblocking(False)
        while not complete(self.incoming):
            writers = [self._connection] if self._outgoing else []
            readable, writable, _ = select.select([self._connection], writers, [], 0.05)
            if writable:
                self._send()
            if readable:
                if not self._receive():
                    return "closed"
            elif time.monotonic() - self._heard > self._patience:
                return "waits for more"
        return "answered"

    def _send(self) -> None:
        try:
            part = self._outgoing[0][self._connection.send(self._outgoing[0]) :]
            self._outgoing[:1] = [part] if part else []
            self._heard = time.monotonic()
            if not part and self._outgoing:
                time.sleep(_PART_SECONDS)
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing = []

    def _receive(self) -> bool:
        try:
            data = self._connection.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            self.reset = True
            return False
        self.incoming += data
        self._heard = time.monotonic()
        return bool(data)


class _Packets:
    """Splits what comes in as it comes in, until the sentinel's reply."""

    def __init__(self, sentinel: int) -> None:
        self._sentinel = sentinel
        self.packets: list[Response] = []
        self.end = 0

    def take(self, data: bytearray) -> bool:
        """Whether the sentinel's reply is there."""
        more, self.end = split(data, self.end)
        self.packets += more
        last = self.packets[-1] if self.packets else None
        return last is not None and last.opcode == Opcode.NOOP and last.opaque == self._sentinel


class _Side:
    """One of the two servers: its connections, and the CAS values that it gave."""

    def __init__(self, endpoint: Endpoint, patience: float) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self._packets: socket.socket | None = None
        self._text: socket.socket | None = None
        self._given: dict[bytes, list[int]] = {}

    def connect(self) -> None:
        """Fresh connections."""
        self.close()
        self._packets, self._text = self._endpoint.connect(5.0), self._endpoint.connect(5.0)

    def close(self) -> None:
        """Closes both connections."""
        for connection in (self._packets, self._text):
            if connection is not None:
                connection.close()
        self._packets = self._text = None

    def forget(self) -> None:
        """Forgets the CAS values."""
        self._given.clear()

    def exchange(self, parts: Parts, sentinel: int) -> _Answer:
        """Sends packets and the sentinel; reads until its reply."""
        assert self._packets is not None
        encoded = b"".join(
            part if isinstance(part, bytes) else part.encode(_FIRST_OPAQUE + index, self._cas(part))
            for index, part in enumerate(parts.parts)
        )
        bounds = [0, *parts.cuts, len(encoded)]
        outgoing = [encoded[start:end] for start, end in itertools.pairwise(bounds)]
        exchange = _Exchange(self._packets, [*outgoing, ask(Opcode.NOOP).encode(sentinel, 0)], self._patience)
        packets = _Packets(sentinel)
        end = exchange.run(packets.take)
        answered = packets.packets[:-1] if end == "answered" else packets.packets
        return _Answer(self._named(parts, answered), bytes(exchange.incoming[packets.end :]), end, exchange.reset)

    def ask_text(self, sent: bytes) -> _Answer:
        """Sends text commands and a no-op; reads until its reply."""
        assert self._text is not None
        exchange = _Exchange(self._text, [sent + b"mn\r\n"], self._patience)
        end = exchange.run(lambda data: data.endswith(_TEXT_END))
        named = _CAS_IN_TEXT.sub(
            lambda match: match[1] + match[2] + b"%d" % self._name(match[1], int(match[3])), bytes(exchange.incoming)
        )
        return _Answer([], named, end)

    def _cas(self, request: Request) -> int:
        if not isinstance(request.cas, Token):
            return request.cas
        given = self._given.get(request.cas.key, [])
        return given[-1 - request.cas.age] if len(given) > request.cas.age else _NO_TOKEN

    def _name(self, key: bytes, cas: int) -> int:
        """A number for a CAS value that is the same on both sides: how many the server had given for this key."""
        if cas == 0:
            return 0
        given = self._given.setdefault(key, [])
        if cas not in given:
            given.append(cas)
        return given.index(cas) + 1

    def _named(self, parts: Parts, answered: list[Response]) -> list[Response]:
        """The replies with CAS values by number, and without what may differ by nature."""
        waiting = [(index, part) for index, part in enumerate(parts.parts) if isinstance(part, Request)]
        named: list[Response] = []
        for packet in answered:
            while waiting and not _belongs(packet, *waiting[0]):
                waiting.pop(0)
            key = waiting[0][1].key if waiting else b""
            meant = _meant(dataclasses.replace(packet, cas=self._name(key, packet.cas)))
            if not (_is_statistic(meant) and named and named[-1] == meant):
                named.append(meant)
        return named


def _belongs(packet: Response, index: int, request: Request) -> bool:
    opaque = _FIRST_OPAQUE + index if request.opaque is None else request.opaque
    return packet.opcode == request.opcode and packet.opaque == opaque


# The differences by nature: all that a proxy may answer otherwise wherever it likes.


def _meant(packet: Response) -> Response:
    if packet.status != Status.SUCCESS:
        return packet
    if packet.opcode == Opcode.VERSION and _VERSION.fullmatch(packet.value):
        return dataclasses.replace(packet, value=b"(a version)")
    if packet.opcode == Opcode.STAT and packet.key:
        return dataclasses.replace(packet, key=b"(statistics)", value=b"")
    return packet


def _is_statistic(packet: Response) -> bool:
    return packet.opcode == Opcode.STAT and bool(packet.key)


def _same_answer(expected: _Answer, found: _Answer) -> bool:
    if expected.reset and not expected.rest and found.end == "closed":
        return found.packets[: len(expected.packets)] == expected.packets
    return expected.packets == found.packets and expected.end == found.end and same(expected.rest, found.rest)


@dataclass
class BinaryDifference:
    """A piece that was answered differently."""

    where: str
    sent: Sequence[str]
    expected: Sequence[str]
    found: Sequence[str]
    by: str = "memcached"
    """Who says what is expected."""

    def _lines(self, limit: int | None) -> list[str]:
        lines = [f"{self.where}:"]
        lines += [f"  sent       {text}" for text in _shortened(self.sent, limit)]
        pairs = list(itertools.zip_longest(self.expected, self.found, fillvalue="(nothing)"))
        first = next((index for index, (one, two) in enumerate(pairs) if one != two), len(pairs))
        lines += [f"  ({first} equal)"] if first else []
        for one, two in pairs[first : None if limit is None else first + limit]:
            lines += [f"  both       {one}"] if one == two else [f"  {self.by:9}  {one}", f"  proxy      {two}"]
        return lines

    @property
    def whole(self) -> str:
        """Everything, for a file."""
        return "\n".join(self._lines(None))

    def __str__(self) -> str:
        return "\n".join(self._lines(4))


def _shortened(lines: Sequence[str], limit: int | None) -> list[str]:
    if limit is None or len(lines) <= 2 * limit:
        return list(lines)
    return [*lines[:limit], f"… {len(lines) - 2 * limit} more …", *lines[-limit:]]


def _described(answer: _Answer) -> list[str]:
    rest = [f"bytes {shown(answer.rest)}"] if answer.rest else []
    return [*(str(packet) for packet in answer.packets), *rest, f"[{answer.end}]"]


def _parts(piece: Request | bytes | Parts | Sequence[Request | bytes]) -> Parts:
    if isinstance(piece, Parts):
        return piece
    return Parts((piece,) if isinstance(piece, (Request, bytes)) else tuple(piece))


@dataclass
class BinaryResult:
    """How two servers compare."""

    pieces: int = 0
    bytes_sent: int = 0
    packets: int = 0
    """Replies that were compared."""
    explained: int = 0
    """Pieces that are answered otherwise by intention."""
    differences: list[BinaryDifference] = field(default_factory=list)


class BinaryDifferential:
    """Drives two servers side by side; with `twins`, both are memcached, and nothing is answered otherwise by intention."""

    def __init__(self, memcached: Endpoint, proxy: Endpoint, *, twins: bool = False) -> None:
        self._reference = _Side(memcached, _SILENCE_SECONDS)
        self._subject = _Side(proxy, _SILENCE_SECONDS if twins else _PATIENCE_SECONDS)
        self._twins = twins
        self._sentinels = 0
        self.result = BinaryResult()

    def script(self, conversations: Sequence[Conversation] = SCRIPT) -> None:
        """The conversations that have names."""
        for conversation in conversations:
            self._begin()
            for number, piece in enumerate(conversation.pieces, 1):
                self._take(f"'{conversation.name}', piece {number}", piece)

    def random(self, seed: int, pieces: int) -> None:
        """Random pieces from a seed."""
        source = RandomPackets(seed)
        self._begin()
        for number in range(1, pieces + 1):
            self._take(f"seed {seed}, piece {number}", source.piece())

    def close(self) -> None:
        """Closes all connections."""
        self._reference.close()
        self._subject.close()

    def _begin(self) -> None:
        for side in (self._reference, self._subject):
            side.forget()
            side.connect()

    def _take(self, where: str, piece: Piece) -> None:
        if len(self.result.differences) >= _DIFFERENCES_MAX:
            return
        if isinstance(piece, float):
            time.sleep(piece)
        elif isinstance(piece, Text):
            answers = [side.ask_text(piece.sent) for side in (self._reference, self._subject)]
            self._judge(where, [f"text {shown(piece.sent)}"], len(piece.sent), answers[0], answers[1])
        elif isinstance(piece, Explained):
            self._ask_explained(f"{where} ({piece.why})", piece)
        else:
            self._ask(where, _parts(piece))

    def _ask(self, where: str, parts: Parts) -> None:
        expected, found = self._exchange(parts)
        sent = [f"bytes {shown(part)}" if isinstance(part, bytes) else str(part) for part in parts.parts]
        if parts.cuts:
            sent.append(f"in parts that end at {', '.join(map(str, parts.cuts))}")
        self._judge(where, sent, parts.size, expected, found)

    def _exchange(self, parts: Parts) -> tuple[_Answer, _Answer]:
        self._sentinels += 1
        sentinel = _SENTINEL_OPAQUE + self._sentinels
        return self._reference.exchange(parts, sentinel), self._subject.exchange(parts, sentinel)

    def _judge(self, where: str, sent: Sequence[str], size: int, expected: _Answer, found: _Answer) -> None:
        self.result.pieces += 1
        self.result.bytes_sent += size
        self.result.packets += len(expected.packets)
        alike = _same_answer(expected, found)
        if not alike:
            self.result.differences.append(BinaryDifference(where, sent, _described(expected), _described(found)))
            self._begin()  # What was given for a key is not comparable any more.
        elif expected.end != "answered":
            self._connect()

    def _connect(self) -> None:
        self._reference.connect()
        self._subject.connect()

    def _ask_explained(self, where: str, piece: Explained) -> None:
        """Sends what is answered otherwise by intention; the proxy's answer must be the intended one, and memcached's another."""
        if self._twins:
            return
        expected, found = self._exchange(Parts(piece.parts))
        found.packets = [dataclasses.replace(packet, cas=0) for packet in found.packets]
        expected.packets = [dataclasses.replace(packet, cas=0) for packet in expected.packets]
        intended = _Answer(list(piece.answers), b"", "closed" if piece.closes else "answered")
        self.result.pieces += 1
        self.result.explained += 1
        sent = [str(part) for part in piece.parts]
        if not _same_answer(intended, found):
            self.result.differences.append(BinaryDifference(where, sent, _described(intended), _described(found), "intended"))
        elif _same_answer(expected, found):
            self.result.differences.append(BinaryDifference(f"{where} is no difference any more", sent, [], _described(found)))
        self._begin()


def check_binary(world: World, seeds: Sequence[int] = SEEDS, pieces: int = PIECES) -> str:
    """The scripted conversations and random packets, to a memcached and to a proxy in front of two."""
    reference = world.memcached("differential-binary-reference")
    try:
        with world.federation("differential-binary", Options(loops=world.loops)) as federation:
            run = BinaryDifferential(reference.endpoint, federation.north.proxies["n1"].clients)
            try:
                run.script()
                for seed in seeds:
                    run.random(seed, pieces)
            finally:
                run.close()
            result = run.result
            file = federation.folder / "differences.txt"
            file.write_text("\n\n".join(difference.whole for difference in result.differences))
            if result.differences:
                shown_first = "\n".join(str(difference) for difference in result.differences[:6])
                raise Failed(f"{len(result.differences)} differences in {result.pieces} pieces; all: {file}\n{shown_first}")
            return (
                f"{result.pieces} pieces ({result.explained} answered otherwise by intention), "
                f"{result.bytes_sent / 1e6:.1f} MB sent, {result.packets} replies equal"
            )
    finally:
        reference.kill()


def binary_tools_can_fail(world: World) -> str:
    """The comparison finds nothing between two memcacheds, and does find what is wrong with a third."""
    one, two = world.memcached("binary-one"), world.memcached("binary-two")
    planted = {
        "no CAS values": (world.memcached("binary-without-cas", "-C"), ("CAS values",)),
        "a larger item limit": (world.memcached("binary-larger", "-I", "1536k"), ("the largest value",)),
        "no flush": (world.memcached("binary-without-flush", "-F"), ("flush",)),
    }
    try:
        equal = _twins(one, two, SCRIPT, random_pieces=100)
        require(not equal.differences, f"two memcacheds differ: {equal.differences[0] if equal.differences else ''}")
        found: dict[str, int] = {}
        for name, (server, names) in planted.items():
            conversations = [conversation for conversation in SCRIPT if conversation.name in names]
            found[name] = len(_twins(one, server, conversations).differences)
            require(found[name] > 0, f"a memcached with {name} was not told from one without")
        counts = ", ".join(f"{number} for {name}" for name, number in found.items())
        return f"differences found where there are some ({counts}), none in {equal.pieces} pieces where there are none"
    finally:
        for server in (one, two, *(server for server, _ in planted.values())):
            server.kill()


def _twins(one: Memcached, two: Memcached, script: Sequence[Conversation], random_pieces: int = 0) -> BinaryResult:
    """Compares two memcacheds, which are emptied first: what is found is not what an earlier comparison left."""
    for server in (one, two):
        server.kill()
        server.start()
    run = BinaryDifferential(one.endpoint, two.endpoint, twins=True)
    try:
        run.script(script)
        run.random(1, random_pieces)
    finally:
        run.close()
    return run.result
