"""Packets for the differential test of the binary protocol: a script of conversations worth having by name, and a random source.

What memcached answers depends in some places on how bytes arrive, or on what lay in its memory. Nothing here asks for that:

- Bytes that are no packet make memcached close without sending the replies that it has not sent yet. So they come alone, and
  24 bytes or more of them, as it looks at nothing shorter.
- The rest of a packet that is longer than its key and extras, where it should not be, is the next packet to memcached. So it is
  a whole one.
- A number that gets shorter is padded with spaces in place, or not, depending on whether something else still refers to the item:
  an earlier reply, or, once it has been read, the thread that sorts items by use. So it is stored anew right before.
- After body lengths of 2**31 and more it swallows as much as the connection before swallowed last.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meridian_system.binary_packets import (
    NEVER,
    Opcode,
    Request,
    Response,
    Status,
    Token,
    ask,
    count,
    flush,
    join,
    store,
    touch,
)

_LIMIT = 1_048_576
_OVERHEAD = 48 + 8 + 1 + 2
"""What memcached adds to key and value: the item's head, its CAS value, the key's end, the value's end. Flags are four more."""
_DAYS_30 = 2_592_000
_ABSOLUTE_PAST = _DAYS_30 + 1
_ABSOLUTE_FUTURE = 4_102_444_800
_ALL_ONES = 0xFFFFFFFF
_WRONG = 2**62
"""No server has counted so far."""
_LONG = b"k" * 250
_ODD_KEYS = (b"a b", b"\x00", b"nul\x00nul", b"\x01\x7f", b"line\r\nend", b" ", "schl\u00fcssel".encode(), b"\xff\xfe", b"o \x01" * 62)
"""Keys that only a length can carry; the longest has 186 bytes."""


@dataclass(frozen=True)
class Text:
    """Commands for the text protocol, on a connection of their own."""

    sent: bytes


@dataclass(frozen=True)
class Parts:
    """Packets and other bytes, sent in parts that end at these offsets."""

    parts: tuple[Request | bytes, ...]
    cuts: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.parts)


@dataclass(frozen=True)
class Explained:
    """Packets that a proxy answers otherwise than memcached, by intention: what it must answer (CAS values left out), and why."""

    parts: tuple[Request | bytes, ...]
    answers: tuple[Response, ...]
    why: str
    closes: bool = False


Piece = Request | bytes | Text | Parts | Explained | float | Sequence[Request | bytes]
"""What is sent in one write, or in parts, and answered in full before the next; a number is a wait, in seconds."""


@dataclass(frozen=True)
class Conversation:
    """A named sequence of pieces, on a fresh connection."""

    name: str
    pieces: Sequence[Piece]


_GREEDY = "memcached swallows key and extras of a packet that it does not know twice; a proxy keeps in step"
_FORGETFUL = "memcached forgets the replies that it has not sent yet when it meets bytes that are no packet; a proxy sends them"
_UNKNOWN = b"Unknown command"

_O = Opcode
_EXTRAS = bytes(8)


def _everywhere(*parts: Request | bytes) -> list[Parts]:
    """The same bytes, cut once at every place, and then at all of them."""
    size = Parts(parts).size
    return [Parts(parts, (cut,)) for cut in range(1, size)] + [Parts(parts, tuple(range(1, size)))]


def _one_by_one(name: str, *pieces: Piece) -> list[Conversation]:
    """Pieces that end a connection: a conversation for each."""
    return [Conversation(f"{name} {number}", [ask(_O.GET, b"a"), piece]) for number, piece in enumerate(pieces, 1)]


def _encoded(key: bytes) -> bytes:
    return base64.b64encode(key)


_STORES: tuple[Conversation, ...] = (
    Conversation("store and retrieve", [
        store(_O.SET, b"a", b"hello", 0xDEADBEEF), ask(_O.GET, b"a"), ask(_O.GETQ, b"a"), ask(_O.GETK, b"a"), ask(_O.GETKQ, b"a"),
        ask(_O.GET, b"none"), ask(_O.GETQ, b"none"), ask(_O.GETK, b"none"), ask(_O.GETKQ, b"none"),
        store(_O.SET, b"a", b"", _ALL_ONES), ask(_O.GET, b"a"), store(_O.SET, b"a", bytes(range(256))), ask(_O.GETK, b"a"),
        store(_O.SET, b"a", b"\r\nEND\r\n\x80\x81"), ask(_O.GET, b"a"), store(_O.SETQ, b"a", b"quiet", 1), ask(_O.GET, b"a"),
    ]),
    Conversation("opaque, vbucket and data type", [
        ask(_O.GET, b"a", opaque=0), ask(_O.GET, b"none", opaque=_ALL_ONES), ask(_O.NOOP, opaque=0x01020304),
        store(_O.SET, b"a", b"1", opaque=0x80818081), ask(_O.GET, b"a", vbucket=1), ask(_O.GETK, b"a", vbucket=0xFFFF, data_type=5),
        Request(_O.SET, b"a", _EXTRAS, b"2", vbucket=7, data_type=255), ask(_O.GET, b"a"), ask(0x7F, vbucket=9, data_type=1, opaque=5),
    ]),
    Conversation("add and replace", [
        store(_O.ADD, b"n", b"1"), store(_O.ADD, b"n", b"2"), store(_O.ADDQ, b"n", b"3"), store(_O.ADDQ, b"n2", b"3"), ask(_O.GET, b"n2"),
        store(_O.REPLACE, b"n", b"4", 9), store(_O.REPLACEQ, b"n", b"5", 10), ask(_O.GET, b"n"), store(_O.REPLACE, b"none", b"x"),
        store(_O.REPLACEQ, b"none", b"x"), ask(_O.GET, b"none"),
    ]),
    Conversation("append and prepend", [
        store(_O.SET, b"j", b"b", 77, 1000), join(_O.APPEND, b"j", b"c"), join(_O.PREPEND, b"j", b"a"), ask(_O.GET, b"j"),
        join(_O.APPENDQ, b"j", b"d"), join(_O.PREPENDQ, b"j", b"_"), ask(_O.GET, b"j"), Text(b"mg j t f s v c\r\n"),
        join(_O.APPEND, b"j", b""), join(_O.APPEND, b"none", b"x"), join(_O.PREPEND, b"none", b"x"), join(_O.APPENDQ, b"none", b"x"),
        join(_O.PREPENDQ, b"none", b"x"), ask(_O.GET, b"none"), join(_O.APPEND, b"j", b"+", Token(b"j")), join(_O.APPEND, b"j", b"+", _WRONG),
        join(_O.PREPENDQ, b"j", b"+", Token(b"j", 1)), join(_O.PREPEND, b"none", b"+", _WRONG), ask(_O.GET, b"j"),
    ]),
    Conversation("CAS values", [
        store(_O.SET, b"c", b"1"), ask(_O.GET, b"c"), store(_O.SET, b"c", b"2", 5, 0, Token(b"c")), store(_O.SET, b"c", b"3", 5, 0, Token(b"c", 1)),
        store(_O.SETQ, b"c", b"3", 5, 0, Token(b"c", 1)), store(_O.SETQ, b"c", b"4", 5, 0, Token(b"c")), store(_O.SET, b"c", b"5", 5, 0, Token(b"c")),
        ask(_O.GET, b"c"), store(_O.REPLACE, b"c", b"6", 0, 0, Token(b"c")), store(_O.REPLACE, b"c", b"7", 0, 0, _WRONG), ask(_O.GET, b"c"),
        store(_O.ADD, b"c", b"8", 0, 0, Token(b"c")), store(_O.ADD, b"c", b"9", 0, 0, _WRONG), ask(_O.GET, b"c"),
        store(_O.ADD, b"none", b"x", 0, 0, _WRONG), store(_O.SET, b"none", b"x", 0, 0, _WRONG), store(_O.REPLACE, b"none", b"x", 0, 0, _WRONG),
        store(_O.SETQ, b"none", b"x", 0, 0, _WRONG), ask(_O.GET, b"none"), ask(_O.GETQ, b"c", cas=_WRONG), touch(_O.GAT, b"c", 100),
        store(_O.SET, b"c", b"+", 0, 0, Token(b"c")), store(_O.SET, b"c", b"-", 0, 0, 2**64 - 1), ask(_O.DELETE, b"c", cas=_WRONG),
        ask(_O.DELETEQ, b"c", cas=_WRONG), ask(_O.GET, b"c"), ask(_O.DELETE, b"c", cas=Token(b"c")), ask(_O.GET, b"c"),
        store(_O.SET, b"c", b"again"), ask(_O.DELETEQ, b"c", cas=Token(b"c")), ask(_O.GET, b"c"), ask(_O.DELETE, b"c", cas=_WRONG),
    ]),
    Conversation("delete", [
        store(_O.SET, b"d", b"1"), ask(_O.DELETE, b"d"), ask(_O.DELETE, b"d"), ask(_O.DELETEQ, b"d"), store(_O.SET, b"d", b"1"),
        ask(_O.DELETEQ, b"d"), ask(_O.GET, b"d"),
    ]),
    Conversation("numbers", [
        store(_O.SET, b"i", b"10", 3, 500), count(_O.INCREMENT, b"i", 5), ask(_O.GET, b"i"), count(_O.DECREMENT, b"i", 4), ask(_O.GET, b"i"),
        store(_O.SET, b"i", b"11", 3, 500), count(_O.DECREMENT, b"i", 20), ask(_O.GET, b"i"), Text(b"mg i t f s v\r\n"), count(_O.INCREMENT, b"i", 2**64 - 1), count(_O.INCREMENT, b"i", 2),
        count(_O.INCREMENTQ, b"i", 6), count(_O.DECREMENTQ, b"i", 1), ask(_O.GET, b"i"), count(_O.INCREMENT, b"i", 0), store(_O.SET, b"i", b"abc"),
        count(_O.INCREMENT, b"i", 1), count(_O.DECREMENT, b"i", 1), count(_O.INCREMENTQ, b"i", 1), count(_O.INCREMENT, b"i", 1, 5, 0),
        store(_O.SET, b"i", b""), count(_O.INCREMENT, b"i", 1), store(_O.SET, b"i", b" 5"), count(_O.INCREMENT, b"i", 1),
        store(_O.SET, b"i", b"18446744073709551616"), count(_O.INCREMENT, b"i", 1), store(_O.SET, b"i", b"18446744073709551615"),
        count(_O.INCREMENT, b"i", 1), ask(_O.GET, b"i"), store(_O.SET, b"i", b"00012"), count(_O.INCREMENT, b"i", 1), ask(_O.GET, b"i"),
        store(_O.SET, b"i", b"1" * 21), count(_O.INCREMENT, b"i", 1),
    ]),
    Conversation("numbers that are not there", [
        count(_O.INCREMENT, b"none", 1), count(_O.DECREMENT, b"none", 1), count(_O.INCREMENTQ, b"none", 1), count(_O.DECREMENTQ, b"none", 1),
        ask(_O.GET, b"none"), count(_O.INCREMENT, b"m1", 5, 77, 0), ask(_O.GET, b"m1"), count(_O.INCREMENT, b"m1", 5, 77, 0),
        count(_O.DECREMENT, b"m2", 5, 2**63, 100), ask(_O.GET, b"m2"), Text(b"mg m2 t f s v\r\n"), count(_O.INCREMENTQ, b"m3", 5, 0, 0),
        ask(_O.GET, b"m3"), count(_O.INCREMENT, b"m4", 5, 2**64 - 1, _ABSOLUTE_FUTURE), ask(_O.GET, b"m4"),
        count(_O.INCREMENT, b"m5", 5, 7, _ABSOLUTE_PAST), ask(_O.GET, b"m5"), count(_O.INCREMENT, b"m6", 5, 7, NEVER - 1), ask(_O.GET, b"m6"),
    ]),
    Conversation("numbers and CAS values", [
        store(_O.SET, b"q", b"10"), count(_O.INCREMENT, b"q", 1, cas=Token(b"q")), count(_O.INCREMENT, b"q", 1, cas=Token(b"q", 1)),
        count(_O.INCREMENT, b"q", 1, cas=_WRONG), count(_O.INCREMENTQ, b"q", 1, cas=_WRONG), ask(_O.GET, b"q"),
        count(_O.INCREMENT, b"none", 1, cas=_WRONG), count(_O.INCREMENT, b"q2", 1, 7, 0, _WRONG), ask(_O.GET, b"q2"), store(_O.SET, b"q", b"abc"),
        count(_O.INCREMENT, b"q", 1, cas=_WRONG), store(_O.SET, b"q", b""), count(_O.INCREMENT, b"q", 1, cas=_WRONG),
    ]),
    Conversation("touch and get and touch", [
        store(_O.SET, b"t", b"v", 3, 100), touch(_O.TOUCH, b"t", 200), Text(b"mg t t f\r\n"), touch(_O.TOUCH, b"t", 0), Text(b"mg t t\r\n"),
        touch(_O.GAT, b"t", 300), Text(b"mg t t\r\n"), touch(_O.GATK, b"t", 400), touch(_O.GATQ, b"t", 500), Text(b"mg t t\r\n"),
        touch(_O.GATKQ, b"t", 600), Text(b"mg t t\r\n"), touch(_O.TOUCH, b"none", 1), touch(_O.GAT, b"none", 1), touch(_O.GATK, b"none", 1),
        touch(_O.GATQ, b"none", 1), touch(_O.GATKQ, b"none", 1), touch(_O.TOUCH, b"t", _ALL_ONES), ask(_O.GET, b"t"), touch(_O.TOUCH, b"t", _DAYS_30),
        Text(b"mg t t\r\n"), touch(_O.GAT, b"t", _ABSOLUTE_PAST), ask(_O.GET, b"t"), store(_O.SET, b"t", b"v"), touch(_O.TOUCH, b"t", _ABSOLUTE_PAST),
        ask(_O.GET, b"t"),
    ]),
    Conversation("expiry", [
        store(_O.SET, b"e", b"1", 0, 3), store(_O.SET, b"f", b"1", 0, 3), touch(_O.TOUCH, b"f", 100), count(_O.INCREMENT, b"g", 1, 5, 3),
        [ask(_O.GET, b"e"), ask(_O.GET, b"f"), ask(_O.GET, b"g")], 4.2, [ask(_O.GET, b"e"), ask(_O.GET, b"f"), ask(_O.GET, b"g")],
        store(_O.SET, b"e", b"1", 0, _DAYS_30), Text(b"mg e t\r\n"), store(_O.SET, b"e", b"1", 0, _ABSOLUTE_PAST), ask(_O.GET, b"e"),
        store(_O.SET, b"e", b"1", 0, _ABSOLUTE_FUTURE), ask(_O.GET, b"e"), store(_O.SET, b"e", b"1", 0, 0x7FFFFFFF), ask(_O.GET, b"e"),
        store(_O.SET, b"e", b"1", 0, 0x80000000), ask(_O.GET, b"e"), store(_O.SET, b"e", b"1", 0, _ALL_ONES), ask(_O.GET, b"e"),
        store(_O.REPLACE, b"e", b"2", 0, _ABSOLUTE_PAST), ask(_O.GET, b"e"), store(_O.ADD, b"e", b"3", 0, _ABSOLUTE_PAST), ask(_O.GET, b"e"),
        store(_O.ADD, b"e", b"4"), ask(_O.GET, b"e"), store(_O.SETQ, b"e", b"5", 0, _ABSOLUTE_PAST), ask(_O.GET, b"e"),
    ]),
)  # fmt: skip

_SIZES: tuple[Conversation, ...] = (
    Conversation("keys", [
        *(piece for key in (_LONG, *_ODD_KEYS) for piece in (
            [store(_O.SET, key, b"1", 5), ask(_O.GET, key), ask(_O.GETK, key), touch(_O.GATKQ, key, 100), join(_O.APPEND, key, b"0")],
            [count(_O.INCREMENT, key, 1), touch(_O.TOUCH, key, 0), ask(_O.GETKQ, key), ask(_O.DELETE, key), ask(_O.GETK, key)],
        )),
        [store(_O.SET, key, b"%d" % number) for number, key in enumerate(_ODD_KEYS)], [ask(_O.GETKQ, key) for key in _ODD_KEYS],
    ]),
    Conversation("text and binary, one cache", [
        store(_O.SET, b"x", b"binary", 7, 1000), Text(b"get x\r\ngets x\r\nmg x v f t c k\r\n"), Text(b"set x 9 0 4\r\ntext\r\n"), ask(_O.GET, b"x"),
        Text(b"gets x\r\n"), store(_O.SET, b"x", b"1", 0, 0, Token(b"x")), Text(b"incr x 5\r\n"), ask(_O.GETK, b"x"), count(_O.INCREMENT, b"x", 5),
        Text(b"gets x\r\nappend x 0 0 1\r\n0\r\ntouch x 100\r\n"), join(_O.PREPEND, b"x", b"1", Token(b"x")), ask(_O.GET, b"x"), Text(b"delete x\r\n"), ask(_O.GET, b"x"),
        # Without k: memcached shows the key of an item that came in binary as it is, and of one that came in base64 in base64.
        store(_O.SET, b"a b\x00", b"odd"), Text(b"mg " + _encoded(b"a b\x00") + b" b v c\r\n"), Text(b"ms " + _encoded(b"c\nd") + b" 3 b F5\r\nodd\r\n"),
        ask(_O.GETK, b"c\nd"), Text(b"md " + _encoded(b"c\nd") + b" b\r\n"), ask(_O.GETK, b"c\nd"), Text(b"ms " + _encoded(b"plain") + b" 1 b\r\nx\r\n"),
        ask(_O.GETK, b"plain"), Text(b"get plain\r\n"), store(_O.SET, _LONG, b"long"), Text(b"get " + _LONG + b"\r\n"),
    ]),
    Conversation("large values", [
        store(_O.SET, b"l", b"x" * 600_000), [ask(_O.GET, b"l"), ask(_O.GETK, b"l")], store(_O.SET, b"l", b"x" * (_LIMIT - 200)), ask(_O.GET, b"l"),
        join(_O.APPEND, b"l", b"y" * 20), join(_O.APPEND, b"l", b"y" * 300), join(_O.PREPENDQ, b"l", b"y" * 300), count(_O.INCREMENT, b"l", 1),
        store(_O.SET, b"l", b"x" * _LIMIT), ask(_O.GET, b"l"), store(_O.SET, b"l", b"1"), store(_O.SETQ, b"l", b"x" * _LIMIT), ask(_O.GET, b"l"),
        store(_O.SET, b"l", b"1"), store(_O.SET, b"l", b"x" * _LIMIT, 0, 0, _WRONG), ask(_O.GET, b"l"), store(_O.SET, b"l", b"1"),
        store(_O.ADD, b"l", b"x" * _LIMIT), store(_O.ADDQ, b"none", b"x" * _LIMIT), store(_O.REPLACE, b"l", b"x" * (2 * _LIMIT)),
        store(_O.REPLACEQ, b"l", b"x" * _LIMIT), join(_O.APPEND, b"l", b"x" * _LIMIT), join(_O.PREPENDQ, b"l", b"x" * _LIMIT), ask(_O.GET, b"l"),
        [store(_O.SET, b"l", b"x" * (_LIMIT + 1)), store(_O.SET, b"l2", b"x" * 300_000), ask(_O.GET, b"l"), ask(_O.GET, b"l2")],
    ]),
    Conversation("the largest value", [
        piece for flags in (0, 1) for over in (0, 1) for piece in (
            store(_O.SET, b"edge", b"x" * (_LIMIT - _OVERHEAD - 4 - 4 * flags + over), flags), ask(_O.GET, b"edge"),
        )
    ]),
    Conversation("a long pipeline", [
        [store(_O.SET, b"pipe%d" % index, b"%d" % index, index) for index in range(200)], [ask(_O.GET, b"pipe%d" % index) for index in range(200)],
        [ask(_O.GETKQ, b"pipe%d" % (index * 3)) for index in range(100)],
        [request for index in range(200) for request in (count(_O.INCREMENT, b"pipe%d" % index, 1), ask(_O.GETK, b"pipe%d" % index))],
        [request for index in range(200) for request in (ask(_O.DELETEQ, b"pipe%d" % index), ask(_O.GET, b"pipe%d" % ((index + 1) % 200)))],
    ]),
    Conversation("quiet in a pipeline", [
        [store(_O.SETQ, b"q1", b"1"), store(_O.SETQ, b"q2", b"2"), store(_O.ADDQ, b"q1", b"x"), ask(_O.GETQ, b"q1"), ask(_O.GETQ, b"none"),
         ask(_O.GETKQ, b"q2"), store(_O.REPLACEQ, b"none", b"x"), join(_O.APPENDQ, b"q2", b"2"), join(_O.PREPENDQ, b"none", b"x"),
         count(_O.INCREMENTQ, b"q2", 1), count(_O.INCREMENTQ, b"none", 1), ask(_O.DELETEQ, b"q1"), ask(_O.DELETEQ, b"none"), ask(_O.GETKQ, b"q1"),
         touch(_O.GATQ, b"q2", 9), touch(_O.GATKQ, b"none", 9), ask(_O.NOOP), ask(_O.GETQ, b"q2"), ask(_O.NOOP)],
        [ask(_O.GETQ, b"none"), ask(_O.GETKQ, b"none"), touch(_O.GATQ, b"none", 1), store(_O.SETQ, b"q3", b"3")],
    ]),
    Conversation("cut at every byte", [
        *_everywhere(store(_O.SET, b"cut", b"value", 5)), *_everywhere(ask(_O.GETK, b"cut")), *_everywhere(ask(_O.NOOP), ask(_O.GETQ, b"cut")),
        *_everywhere(join(_O.APPENDQ, b"cut", b"+"), ask(_O.GET, b"cut")),
    ]),
)  # fmt: skip

_ODD: tuple[Conversation, ...] = (
    Conversation("server commands", [
        ask(_O.NOOP), ask(_O.VERSION), [ask(_O.NOOP), ask(_O.NOOP), ask(_O.VERSION)], ask(_O.STAT), ask(_O.STAT, b"nonsense"), ask(_O.STAT, b"settings"),
        ask(_O.STAT, b"items"), ask(_O.STAT, b"slabs"), ask(_O.STAT, b"reset"), [ask(_O.GET, b"none"), ask(_O.STAT), ask(_O.NOOP)],
    ]),
    Conversation("unknown commands", [
        ask(_O.VERBOSITY), ask(0x1F), ask(0x25), ask(0x3D), ask(0x40), ask(0xFF, opaque=1), Request(0x50, value=b"value"),
        Request(0x50, value=b"v" * 70_000), ask(_O.SASL_LIST), Request(_O.SASL_AUTH, b"PLAIN", value=b"\x00user\x00secret"), Request(_O.SASL_AUTH, b"m" * 250, value=b"x"),
        Request(_O.SASL_STEP, b"PLAIN", value=b"x"), Request(_O.SASL_AUTH, b"PLAIN"), [ask(0x60), ask(_O.GET, b"a"), ask(0x61), ask(_O.NOOP)],
        Explained((Request(_O.VERBOSITY, extras=b"\x00\x00\x00\x01", opaque=7),), (Response(_O.VERBOSITY, Status.UNKNOWN_COMMAND, value=_UNKNOWN, opaque=7),), _GREEDY),
        Explained((Request(0x50, b"key", b"extras", b"value", opaque=8),), (Response(0x50, Status.UNKNOWN_COMMAND, value=_UNKNOWN, opaque=8),), _GREEDY),
    ]),
    Conversation("quit", [[ask(_O.GET, b"a"), ask(_O.GETQ, b"none"), ask(_O.QUIT), ask(_O.GET, b"a")]]),
    Conversation("quiet quit", [[ask(_O.GET, b"a"), store(_O.SETQ, b"a", b"1"), ask(_O.QUITQ), ask(_O.GET, b"a")]]),
    Conversation("quiet quit alone", [ask(_O.QUITQ)]),
    Conversation("text after binary", [ask(_O.GET, b"a"), b"get a\r\n"]),
    Conversation("more text after binary", [ask(_O.GET, b"a"), b"get a\r\n" * 10]),
    Conversation("binary after text", [b"get none\r\n"]),
    Conversation("a reply instead of a request", [ask(_O.GET, b"a"), Request(_O.GET, b"a", magic=0x81)]),
    Conversation("zeros", [ask(_O.GET, b"a"), bytes(100)]),
    Conversation("a value longer than its body", [
        Explained((Request(_O.SET, b"a", _EXTRAS, b"v" * 42, body_length=10, opaque=9),), (Response(_O.SET, Status.SUCCESS, opaque=9),), _FORGETFUL, closes=True),
        ask(_O.GET, b"a"),
    ]),
    Conversation("a value shorter than its body", [Request(_O.SET, b"a", _EXTRAS, b"v", body_length=14)]),
    Conversation("a body that never comes", [Request(_O.SETQ, b"a", _EXTRAS, b"v", body_length=1000)]),
    Conversation("a key that never comes", [Request(_O.GET, b"a", key_length=2000)]),
    Conversation("a packet in the rest of another", [
        store(_O.SET, b"a", b"1"), Request(_O.TOUCH, b"a", bytes(4), ask(_O.NOOP).encode(21, 0)), Request(_O.GATKQ, b"a", bytes(4), ask(_O.GET, b"a").encode(22, 0)),
        Request(_O.STAT, b"nonsense", value=ask(_O.NOOP).encode(23, 0)),
    ]),
)  # fmt: skip

_CLOSING: tuple[Conversation, ...] = (
    *_one_by_one(
        "a key too long,", *([ask(_O.GETQ, b"none"), make(b"k" * size), ask(_O.NOOP)] for size in (251, 300, 10_000) for make in (
            lambda key: ask(_O.GET, key), lambda key: ask(_O.GETKQ, key), lambda key: store(_O.SETQ, key, b"1"), lambda key: ask(0x50, key),
            lambda key: touch(_O.TOUCH, key, 1), lambda key: ask(_O.STAT, key),
        )),
    ),
    *_one_by_one(
        "wrong extras,", *(Request(opcode, b"a", extras) for opcode, extras in (
            (_O.GET, b"1234"), (_O.GETQ, b"1234"), (_O.GETK, b"1"), (_O.DELETE, b"1234"), (_O.DELETEQ, b"1234"), (_O.SET, b""), (_O.SETQ, b"1234"),
            (_O.ADD, b"1" * 9), (_O.REPLACE, b"1" * 20), (_O.APPEND, _EXTRAS), (_O.PREPENDQ, b"1"), (_O.INCREMENT, b""), (_O.INCREMENTQ, _EXTRAS),
            (_O.DECREMENT, b"1" * 21), (_O.DECREMENT, b"1" * 255), (_O.TOUCH, b""), (_O.TOUCH, _EXTRAS), (_O.GAT, b""), (_O.GATKQ, b"1"), (_O.STAT, b"1234"),
        )),
    ),
    *_one_by_one(
        "wrong parts,", *(Request(opcode, key, extras, value) for opcode, key, extras, value in (
            (_O.GET, b"", b"", b""), (_O.GETQ, b"", b"", b""), (_O.GET, b"a", b"", b"v"), (_O.DELETE, b"", b"", b""), (_O.DELETE, b"a", b"", b"v"),
            (_O.SET, b"", _EXTRAS, b"v"), (_O.APPEND, b"", b"", b"v"), (_O.INCREMENT, b"", b"1" * 20, b""), (_O.INCREMENT, b"a", b"1" * 20, b"v"),
            (_O.TOUCH, b"", b"1234", b""), (_O.GATQ, b"", b"1234", b""), (_O.NOOP, b"k", b"", b""), (_O.NOOP, b"", b"", b"v"), (_O.VERSION, b"k", b"", b""),
            (_O.VERSION, b"", b"", b"v"), (_O.QUIT, b"k", b"", b""), (_O.QUITQ, b"", b"", b"v"), (_O.FLUSH, b"k", b"", b""), (_O.FLUSH, b"", _EXTRAS, b""),
            (_O.FLUSHQ, b"", b"1", b""), (_O.FLUSH, b"", b"", b"v"), (_O.SASL_LIST, b"k", b"", b""), (_O.SASL_LIST, b"", b"", b"v"), (_O.SASL_AUTH, b"", b"", b"v"),
            (_O.SASL_STEP, b"PLAIN", b"1234", b"v"),
        )),
    ),
    *_one_by_one(
        "lengths that lie,", Request(_O.GET, b"a", key_length=10), Request(_O.SETQ, b"a", _EXTRAS, body_length=5), Request(0x50, b"a", key_length=10),
        Request(_O.NOOP, extras_length=4), Request(_O.GET, b"a", body_length=0), Request(_O.GET, b"a", body_length=9), Request(_O.GET, b"a", body_length=0x7FFFFFFF),
        Request(_O.GET, b"abcd", key_length=2, extras_length=2, body_length=4), Request(_O.SET, b"a", _EXTRAS, key_length=0),
    ),
)  # fmt: skip

_FLUSHES: tuple[Conversation, ...] = (
    Conversation("flush", [
        store(_O.SET, b"x", b"1"), flush(_O.FLUSH), ask(_O.GET, b"x"), store(_O.SET, b"x", b"1"), ask(_O.GET, b"x"), flush(_O.FLUSH, 0), ask(_O.GET, b"x"),
        store(_O.SET, b"x", b"1"), flush(_O.FLUSHQ), ask(_O.GET, b"x"), store(_O.SET, b"x", b"1"), flush(_O.FLUSHQ, 0), ask(_O.GET, b"x"),
        store(_O.SET, b"x", b"1"), [ask(_O.GET, b"x"), flush(_O.FLUSHQ), ask(_O.GET, b"x"), store(_O.SET, b"x", b"2"), ask(_O.GET, b"x")],
        flush(_O.FLUSH, 6), ask(_O.GET, b"x"), 8.2, ask(_O.GET, b"x"), store(_O.SET, b"x", b"1"), ask(_O.GET, b"x"), flush(_O.FLUSHQ, 100), ask(_O.GET, b"x"),
        flush(_O.FLUSH), ask(_O.GET, b"x"),
    ]),
)  # fmt: skip

SCRIPT: tuple[Conversation, ...] = (*_STORES, *_SIZES, *_ODD, *_CLOSING, *_FLUSHES)
"""Each conversation starts with a fresh connection."""


class RandomPackets:
    """A random source of packets, most of them right, on few keys so that they meet."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._prefix = b"b%d:" % seed
        self._next: list[Piece] = []

    def piece(self) -> Piece:
        """A pipeline of one or more packets, most of the time."""
        if self._next:
            return self._next.pop(0)
        chance = self._random.random()
        if chance < 0.10:
            return self._shrinking_number()
        if chance < 0.20:
            return self._text()
        if chance < 0.22:
            return self._noise()
        packets = [self._packet() for _ in range(self._random.choice((1, 1, 2, 3, 5, 8, 13, 30)))]
        if self._random.random() < 0.04:
            packets.append(self._mangled())
        return self._cut(packets)

    def _cut(self, packets: list[Request]) -> Parts:
        """The packets as they are sent: whole, in a few parts, or byte by byte."""
        parts = Parts(tuple(packets))
        chance = self._random.random()
        if chance < 0.5 or parts.size < 2:
            return parts
        if chance < 0.6 and parts.size < 120:
            return Parts(parts.parts, tuple(range(1, parts.size)))
        cuts = self._random.sample(range(1, parts.size), min(parts.size - 1, self._random.randint(1, 5)))
        return Parts(parts.parts, tuple(sorted(cuts)))

    # What packets are made of

    def _key(self) -> bytes:
        if self._random.random() < 0.94:
            return self._plain_key()
        return self._random.choice((_LONG, *_ODD_KEYS))

    def _plain_key(self) -> bytes:
        return self._prefix + b"%d" % self._random.randrange(8)

    def _expiry(self) -> int:
        usual = (0, 0, 0, 100, 5000, _ABSOLUTE_PAST)
        rare = (_DAYS_30, _ABSOLUTE_FUTURE, 0x7FFFFFFF, 0x80000000, _ALL_ONES)
        return self._random.choice(rare if self._random.random() < 0.1 else usual)

    def _value(self) -> bytes:
        chance = self._random.random()
        if chance < 0.4:
            # Below 2**63: in a number above, memcached looks for a minus sign, and finds one in what lay in its memory before.
            return b"%d" % self._random.choice((0, 1, 9, 10, 99, 2**32, 2**62, self._random.randrange(1000)))
        usual, rare = (0, 1, 5, 20, 100, 1000, 9000), (70_000, _LIMIT - 500, _LIMIT, _LIMIT + 1)
        size = self._random.choice(usual if chance < 0.995 else rare)
        # Not a digit first: a digit and a space is a number to memcached.
        return (b"#" + self._random.randbytes(63))[:size] + b"v" * max(0, size - 64)

    def _cas(self, key: bytes, often: float = 0.2) -> int | Token:
        if self._random.random() >= often:
            return 0
        return self._random.choice((Token(key), Token(key), Token(key), Token(key, 1), _WRONG, 2**64 - 1))

    # Packets

    def _packet(self) -> Request:
        makers: tuple[tuple[Callable[[], Request], int], ...] = (
            (self._retrieval, 26), (self._store, 24), (self._join, 10), (self._number, 12), (self._delete, 8), (self._touch, 14), (self._server, 6),
        )  # fmt: skip
        maker = self._random.choices([maker for maker, _ in makers], [weight for _, weight in makers])[0]
        return maker()

    def _retrieval(self) -> Request:
        opcode = self._random.choice((_O.GET, _O.GETQ, _O.GETK, _O.GETKQ))
        return ask(opcode, self._key(), vbucket=self._random.choice((0, 0, 0, 1, 0xFFFF)), opaque=self._opaque())

    def _opaque(self) -> int | None:
        return self._random.randrange(2**32) if self._random.random() < 0.1 else None

    def _store(self) -> Request:
        opcode = self._random.choice((_O.SET, _O.SET, _O.SETQ, _O.ADD, _O.ADDQ, _O.REPLACE, _O.REPLACEQ))
        key, flags = self._key(), self._random.choice((0, 0, 1, 768, _ALL_ONES, self._random.randrange(2**32)))
        return store(opcode, key, self._value(), flags, self._expiry(), self._cas(key), self._opaque())

    def _join(self) -> Request:
        opcode = self._random.choice((_O.APPEND, _O.APPENDQ, _O.PREPEND, _O.PREPENDQ))
        # No digit is added to a number: one with a zero in front of it would get shorter when it is incremented.
        key, value = self._key(), self._value()
        return join(opcode, key, b"#" + value if value[:1].isdigit() else value, self._cas(key))

    def _number(self) -> Request:
        opcode = self._random.choice((_O.INCREMENT, _O.INCREMENT, _O.INCREMENTQ))
        key, delta = self._key(), self._random.choice((1, 1, 7, 1000, 0))
        expiry = self._random.choice((NEVER, NEVER, 0, 100, _ABSOLUTE_PAST, NEVER - 1))
        return count(opcode, key, delta, self._random.choice((0, 5, 2**62)), expiry, self._cas(key))

    def _delete(self) -> Request:
        key = self._key()
        return ask(self._random.choice((_O.DELETE, _O.DELETE, _O.DELETEQ)), key, cas=self._cas(key))

    def _touch(self) -> Request:
        return touch(self._random.choice((_O.TOUCH, _O.GAT, _O.GATQ, _O.GATK, _O.GATKQ)), self._key(), self._expiry())

    def _server(self) -> Request:
        chance = self._random.random()
        if chance < 0.05:
            return flush(self._random.choice((_O.FLUSH, _O.FLUSHQ)), self._random.choice((None, 0)))
        known = (ask(_O.NOOP), ask(_O.VERSION), ask(_O.STAT), ask(_O.STAT, b"nonsense"))
        unknown = (ask(_O.VERBOSITY), ask(0x55), Request(0x56, value=b"x" * 100), ask(_O.SASL_LIST), Request(_O.SASL_AUTH, b"PLAIN", value=b"x"))
        return self._random.choice((ask(_O.NOOP), *known, *unknown))

    # Pieces of their own

    def _shrinking_number(self) -> Piece:
        """A number that may get shorter, or is none; afterwards it is looked at, and stored anew without spaces."""
        key = self._plain_key()
        number = store(_O.SET, key, b"%d" % self._random.choice((0, 1, 10, 100, 2**62, self._random.randrange(10_000))))
        first = self._random.choice((number, number, number, number, store(_O.SET, key, b"#none"), ask(_O.DELETE, key)))
        delta = self._random.choice((1, 7, 2**64 - 1, 2**64 - 616))
        opcode = self._random.choice((_O.DECREMENT, _O.DECREMENTQ, _O.DECREMENT, _O.INCREMENT))
        second = count(opcode, key, delta, self._random.randrange(100), self._random.choice((NEVER, 0, 100)), self._cas(key))
        self._next = [second, ask(_O.GETK, key), store(_O.SET, key, b"%d" % self._random.randrange(1000))]
        return first

    def _text(self) -> Piece:
        """What the other protocol sees of the same keys."""
        key, other = self._plain_key(), self._random.choice(_ODD_KEYS)
        self._next = [ask(_O.GETK, key)]
        return Text(
            self._random.choice((
                b"gets %s %s\r\n" % (key, self._plain_key()), b"mg %s v f s c k\r\n" % key, b"set %s 7 0 2\r\n55\r\n" % key, b"delete %s\r\n" % key,
                b"touch %s 100\r\n" % key, b"append %s 0 0 2\r\n#t\r\n" % key, b"mg %s b v f s c\r\n" % _encoded(other), b"ms %s 2 b\r\n42\r\n" % _encoded(other),
            ))
        )  # fmt: skip

    def _noise(self) -> Piece:
        """Bytes that are no packet."""
        return bytes([self._random.choice((0x00, 0x67, 0x81, 0xFF))]) + self._random.randbytes(self._random.randrange(23, 200))

    def _mangled(self) -> Request:
        """A packet with a length that is wrong in itself: memcached says so, and closes."""
        return self._random.choice((
            Request(self._random.choice((_O.GET, _O.DELETEQ, _O.NOOP, _O.VERSION, _O.FLUSH)), b"a", b"123"),
            Request(self._random.choice((_O.SET, _O.ADDQ, _O.INCREMENT, _O.TOUCH, _O.GATK)), b"a", b"1" * self._random.choice((0, 3, 9))),
            ask(self._random.choice((_O.GETQ, _O.GETK, _O.STAT, 0x50)), b"k" * self._random.choice((251, 999))),
            ask(self._random.choice((_O.GET, _O.GETKQ, _O.DELETE))), Request(_O.GET, b"ab", key_length=self._random.choice((3, 20))),
            Request(_O.SETQ, b"ab", _EXTRAS, b"v", body_length=self._random.randrange(10)),
        ))  # fmt: skip
