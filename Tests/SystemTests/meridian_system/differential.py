"""The same bytes to a memcached and to a proxy in front of one: a client must not be able to tell them apart.

Two connections are driven side by side. After each piece both replies are read up to a sentinel (a key of its own, stored and
read) and compared byte for byte. What may differ by nature is compared by what it means:

- CAS tokens: each server counts its own. A script uses a token only with the server that gave it.
- remaining life and time since access (`t`, `l`, `la=`, `exp=`): two servers' seconds begin at different moments.

A piece that makes a server swallow the sentinel, or close, must do so on both sides.
"""

from __future__ import annotations

import itertools
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from meridian_system.client import Endpoint
from meridian_system.commands import CAS, SCRIPT, Explained, RandomCommands, Situation

_SILENCE_SECONDS = 1.0
"""A server that says nothing for so long waits for more bytes. A proxy may be slow on a loaded machine, so it gets more."""
_PATIENCE_SECONDS = 4.0
_LIFE_TOLERANCE_SECONDS = 2


@dataclass
class _Answer:
    """What came back for a piece."""

    data: bytes
    sentinel: bool
    closed: bool


class _Side:
    """One of the two servers: its connection and the CAS tokens that it gave."""

    def __init__(self, endpoint: Endpoint, patience: float) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self._socket: socket.socket | None = None
        self._tokens: dict[bytes, bytes] = {}

    def connect(self) -> None:
        self.close()
        self._socket = self._endpoint.connect(5.0)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def fill(self, piece: bytes) -> bytes:
        """The piece with this server's tokens in their places."""
        return CAS.sub(lambda match: self._tokens.get(match[1], b"1"), piece)

    def exchange(self, parts: Sequence[bytes], sentinel: bytes) -> _Answer:
        """Sends the parts one by one and then the sentinel; reads until its reply, the end, or a silence."""
        assert self._socket is not None
        connection = self._socket
        mark = b"VALUE %s 0 1\r\nx\r\nEND\r\n" % sentinel
        outgoing = [bytearray(part) for part in parts]
        outgoing.append(bytearray(b"set %s 0 0 1\r\nx\r\nget %s\r\n" % (sentinel, sentinel)))
        incoming = bytearray()
        connection.setblocking(False)
        heard = time.monotonic()
        while True:
            if incoming.endswith(mark):
                self._learn(incoming)
                return _Answer(bytes(incoming[: -len(mark)]), sentinel=True, closed=False)
            readable, writable, _ = select.select([connection], [connection] if outgoing else [], [], 0.05)
            if writable:
                try:
                    sent = connection.send(outgoing[0])
                    del outgoing[0][:sent]
                    if not outgoing[0]:
                        del outgoing[0]
                        if outgoing:
                            time.sleep(0.0005)  # So that the parts arrive as parts.
                    heard = time.monotonic()
                except BlockingIOError:
                    pass
                except OSError:
                    outgoing = []
            if readable:
                try:
                    data = connection.recv(1 << 16)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    return _Answer(bytes(incoming), sentinel=False, closed=True)
                incoming += data
                heard = time.monotonic()
            elif time.monotonic() - heard > self._patience:
                return _Answer(bytes(incoming), sentinel=False, closed=False)

    def _learn(self, data: bytes | bytearray) -> None:
        for match in re.finditer(rb"VALUE (\S+) \d+ \d+ (\d+)\r\n", data):
            self._tokens[match[1]] = match[2]


@dataclass
class Difference:
    """A piece that was answered differently."""

    where: str
    sent: bytes
    expected: bytes
    found: bytes

    @property
    def lines(self) -> str:
        """The first line that is different."""
        for one, two in itertools.zip_longest(self.expected.split(b"\r\n"), self.found.split(b"\r\n"), fillvalue=b"(nothing)"):
            if not _same_line(one, two):
                return f"{_shown(one[:120])}  against  {_shown(two[:120])}"
        return "where the replies end"

    @property
    def whole(self) -> str:
        """Everything, for a file."""
        return f"{self.where}: {self.lines}\n  sent      {self.sent!r}\n  memcached {self.expected!r}\n  proxy     {self.found!r}"

    def __str__(self) -> str:
        return f"{self.where}: {self.lines}\n  sent      {_shown(self.sent)}\n  memcached {_shown(self.expected)}\n  proxy     {_shown(self.found)}"


def _shown(data: bytes) -> str:
    text = repr(data)[2:-1]
    text = re.sub(r"(.)\1{40,}", lambda match: f"{match[1]}…×{len(match[0])}…", text)
    return text if len(text) <= 700 else text[:500] + f" … {len(text) - 650} more … " + text[-150:]


@dataclass
class DifferentialResult:
    """How two servers compare."""

    pieces: int = 0
    bytes_sent: int = 0
    bytes_compared: int = 0
    explained: int = 0
    """Pieces that are answered otherwise by intention."""
    differences: list[Difference] = field(default_factory=list)


_CAS_IN_VALUE = re.compile(rb"^(VALUE \S+ \d+ \d+) \d+$")
_TIMES = re.compile(rb"^(t|l|exp=|la=)(-?\d+)$")


def same(expected: bytes, found: bytes) -> bool:
    """Whether two replies mean the same, byte for byte but for what must differ."""
    if expected == found:
        return True
    ours, theirs = expected.split(b"\r\n"), found.split(b"\r\n")
    return len(ours) == len(theirs) and all(_same_line(one, two) for one, two in zip(ours, theirs))


def _same_line(one: bytes, two: bytes) -> bool:
    if one == two:
        return True
    if _CAS_IN_VALUE.match(one):
        return _CAS_IN_VALUE.sub(rb"\1", one) == _CAS_IN_VALUE.sub(rb"\1", two)
    if not one.startswith((b"HD", b"VA", b"ME", b"EN", b"NF", b"NS", b"EX")):
        return False
    first, second = one.split(b" "), two.split(b" ")
    return len(first) == len(second) and all(_same_word(left, right) for left, right in zip(first, second))


def _same_word(left: bytes, right: bytes) -> bool:
    if left == right:
        return True
    one, two = _TIMES.match(left), _TIMES.match(right)
    if one and two and one[1] == two[1]:
        return abs(int(one[2]) - int(two[2])) <= _LIFE_TOLERANCE_SECONDS
    return any(left.startswith(mark) and right.startswith(mark) and left[len(mark) :].isdigit() and right[len(mark) :].isdigit()
               for mark in (b"c", b"cas="))  # fmt: skip


class Differential:
    """Drives a memcached and a proxy side by side."""

    def __init__(self, memcached: Endpoint, proxy: Endpoint) -> None:
        self._reference = _Side(memcached, _SILENCE_SECONDS)
        self._subject = _Side(proxy, _PATIENCE_SECONDS)
        self._sentinels = 0
        self.result = DifferentialResult()

    def script(self, situations: Sequence[Situation] = SCRIPT) -> None:
        """The situations that have names."""
        for situation in situations:
            self._connect()
            for number, piece in enumerate(situation.pieces, 1):
                if isinstance(piece, float):
                    time.sleep(piece)
                elif isinstance(piece, Explained):
                    self._ask_explained(f"'{situation.name}', piece {number}", piece)
                elif not self._ask(f"'{situation.name}', piece {number}", piece, None):
                    self._connect()

    def random(self, seed: int, pieces: int) -> None:
        """Random pieces from a seed."""
        source = RandomCommands(seed)
        self._connect()
        for number in range(1, pieces + 1):
            if not self._ask(f"seed {seed}, piece {number}", source.piece(), source):
                self._connect()

    def close(self) -> None:
        """Closes both connections."""
        self._reference.close()
        self._subject.close()

    def _connect(self) -> None:
        self._reference.connect()
        self._subject.connect()

    def _ask(self, where: str, piece: bytes, source: RandomCommands | None) -> bool:
        """Sends a piece to both; whether the connections can go on."""
        self._sentinels += 1
        sentinel = b"sentinel:%d:%d" % (id(self) % 10**6, self._sentinels)
        lengths = [len(piece)] if source is None else [len(part) for part in source.splits(piece)]
        answers = [side.exchange(_cut(side.fill(piece), lengths), sentinel) for side in (self._reference, self._subject)]
        expected, found = answers
        self.result.pieces += 1
        self.result.bytes_sent += len(piece)
        self.result.bytes_compared += len(expected.data)
        alike = same(expected.data, found.data) and (expected.sentinel, expected.closed) == (found.sentinel, found.closed)
        if not alike:
            self.result.differences.append(Difference(where, piece, _described(expected), _described(found)))
        return alike and expected.sentinel

    def _ask_explained(self, where: str, piece: Explained) -> None:
        """Sends a piece that is answered otherwise by intention, to both; the proxy's answer must be the intended one."""
        self._sentinels += 1
        sentinel = b"sentinel:%d:%d" % (id(self) % 10**6, self._sentinels)
        expected, found = (side.exchange([piece.sent], sentinel) for side in (self._reference, self._subject))
        self.result.pieces += 1
        self.result.explained += 1
        answer = piece.answer + (b"" if piece.closes else b"STORED\r\n")  # The sentinel's first half.
        if found.data != answer or found.closed != piece.closes:
            self.result.differences.append(Difference(f"{where} ({piece.why})", piece.sent, answer, _described(found)))
        elif found.data == expected.data and found.closed == expected.closed:
            self.result.differences.append(
                Difference(f"{where} is no difference any more", piece.sent, b"", _described(expected))
            )
        if expected.closed or found.closed:
            self._connect()


def _described(answer: _Answer) -> bytes:
    return answer.data + (b"" if answer.sentinel else b" [closed]" if answer.closed else b" [waits for more]")


def _cut(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    """The data in parts of the given lengths; tokens of different lengths make the last one longer or shorter."""
    parts: list[bytes] = []
    start = 0
    for length in lengths[:-1]:
        parts.append(data[start : start + length])
        start += length
    parts.append(data[start:])
    return [part for part in parts if part]
