"""Commands for the differential test: a script of situations worth asking about by name, and a random source.

Every command is bytes, exactly as it goes over the wire. `@CAS key@` stands for the CAS token that the server at hand gave last
for the key, since each server counts its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

_LIMIT = 1_048_576
_LONG = b"k" * 250
_TOO_LONG = b"k" * 251

CAS = re.compile(rb"@CAS ([^@]*)@")
"""The placeholder for a token."""


@dataclass(frozen=True)
class Explained:
    """A piece that a proxy answers otherwise than memcached, by intention: what it must answer, and why."""

    sent: bytes
    answer: bytes
    why: str
    closes: bool = False


@dataclass(frozen=True)
class Situation:
    """A named sequence of pieces; each piece is sent in one write, and answered in full, before the next.

    A number among the pieces is a wait, in seconds.
    """

    name: str
    pieces: Sequence[bytes | float | Explained]


_LOUD_BIRTH = "memcached 1.6.18 forgets the q of an `ma` that makes the item; a proxy keeps quiet"
_SWALLOWED = "memcached takes the block behind a key that is too long for commands; a proxy swallows it"


def _set(key: bytes, value: bytes, flags: bytes = b"0", expiry: bytes = b"0", verb: bytes = b"set", more: bytes = b"") -> bytes:
    return b"%s %s %s %s %d%s\r\n%s\r\n" % (verb, key, flags, expiry, len(value), more, value)


SCRIPT: tuple[Situation, ...] = (
    Situation("store and retrieve", [
        _set(b"a", b"hello"), b"get a\r\n", b"gets a\r\n", b"get a a b\r\n", b"get b\r\n", b"get\r\n", b"gets\r\n",
        _set(b"a", b"", b"7"), b"get a\r\n", _set(b"a", b"\r\nEND\r\n"), b"get a\r\n", _set(b"a", bytes(range(256))), b"get a\r\n",
    ]),
    Situation("add, replace, append, prepend", [
        _set(b"n", b"1", verb=b"add"), _set(b"n", b"2", verb=b"add"), _set(b"n", b"3", verb=b"replace"), b"get n\r\n",
        _set(b"n", b"+", b"9", b"9", b"append"), _set(b"n", b"-", b"9", b"9", b"prepend"), b"get n\r\n", b"mg n t f s v\r\n",
        _set(b"none", b"x", verb=b"replace"), _set(b"none", b"x", verb=b"append"), _set(b"none", b"x", verb=b"prepend"), b"get none\r\n",
    ]),
    Situation("cas", [
        _set(b"c", b"1"), b"gets c\r\n", b"cas c 5 0 1 @CAS c@\r\n2\r\n", b"cas c 5 0 1 @CAS c@\r\n3\r\n", b"gets c\r\n",
        b"cas nobody 0 0 1 5\r\nx\r\n", b"cas c 0 0 1\r\nx\r\n", b"cas c 0 0 1 abc\r\nx\r\n", b"cas c 0 0 1 -1\r\nx\r\n",
        b"cas c 0 0 1 18446744073709551615\r\nx\r\n", b"cas c 0 0 1 18446744073709551616\r\nx\r\n", b"gets c\r\n",
        b"cas c 0 0 1 @CAS c@ noreply\r\nz\r\n", b"get c\r\n", b"gats 100 c\r\n", b"cas c 0 0 1 @CAS c@\r\ny\r\n", b"get c\r\n",
    ]),
    Situation("numbers", [
        _set(b"i", b"10"), b"incr i 5\r\n", b"decr i 20\r\n", b"get i\r\n", b"incr i 18446744073709551615\r\n", b"incr i 1\r\n",
        b"incr i 2\r\n", b"incr i -1\r\n", b"incr i x\r\n", b"incr i\r\n", b"incr i 18446744073709551616\r\n", b"incr none 1\r\n",
        b"decr none 1\r\n", _set(b"i", b"abc"), b"incr i 1\r\n", b"decr i 1\r\n", _set(b"i", b"100", b"3", b"500"), b"decr i 1\r\n",
        b"mg i t f s v\r\n", _set(b"i", b"99 "), b"incr i 1\r\n", b"get i\r\n", _set(b"i", b" 5"), b"incr i 1\r\n", _set(b"i", b""),
        b"incr i 1\r\n", _set(b"i", b"18446744073709551616"), b"incr i 1\r\n", b"incr i 1 noreply\r\n", b"incr i 1 2\r\n", b"get i\r\n",
        _set(b"i", b"00012"), b"incr i 1\r\n", b"get i\r\n", _set(b"i", b"1" * 21), b"incr i 1\r\n",
    ]),
    Situation("delete", [
        _set(b"d", b"1"), b"delete d\r\n", b"delete d\r\n", b"delete d 0\r\n", _set(b"d", b"1"), b"delete d 0\r\n", b"delete d 1\r\n",
        b"delete d 0 noreply\r\n", b"delete d noreply\r\n", b"delete\r\n", b"delete d 0 0\r\n", b"delete d x y z\r\n", b"get d\r\n",
    ]),
    Situation("touch and gat", [
        _set(b"t", b"v", b"3", b"100"), b"touch t 200\r\n", b"mg t t f\r\n", b"touch t 0\r\n", b"mg t t\r\n", b"gat 300 t\r\n", b"mg t t\r\n",
        b"gats 400 t none t\r\n", b"touch none 1\r\n", b"touch t\r\n", b"touch t abc\r\n", b"touch t 5 noreply\r\n", b"mg t t\r\n",
        b"gat abc t\r\n", b"gat 5\r\n", b"gat\r\n", b"gat 100\r\n", b"touch t -1\r\n", b"get t\r\n", _set(b"t", b"v"), b"gat -1 t\r\n",
        b"get t\r\n",
    ]),
    Situation("expiry", [
        _set(b"e", b"1", expiry=b"1"), _set(b"f", b"1", expiry=b"-1"), b"get e f\r\n", 2.2, b"get e f\r\n", _set(b"e", b"1", expiry=b"2592000"),
        b"mg e t\r\n", _set(b"e", b"1", expiry=b"2592001"), b"get e\r\n", _set(b"e", b"1", expiry=b"4102444800"), b"get e\r\n",
        _set(b"e", b"1", expiry=b"99999999999"), b"get e\r\n", _set(b"e", b"1", expiry=b"abc"), b"get e\r\n", _set(b"e", b"1"),
        _set(b"e", b"2", expiry=b"-5", verb=b"replace"), b"get e\r\n", b"add e 0 0 1\r\n5\r\n", b"get e\r\n",
        _set(b"e", b"2", expiry=b"-1", verb=b"append"), b"get e\r\n", _set(b"g", b"1", expiry=b"1"), b"touch g 100\r\n", 2.2, b"get g\r\n",
    ]),
    Situation("flags", [
        _set(b"f", b"1", b"4294967295"), b"get f\r\n", _set(b"f", b"1", b"4294967296"), _set(b"f", b"1", b"-1"), _set(b"f", b"1", b"x"),
        _set(b"f", b"1", b"0x10"), _set(b"f", b"1", b""), b"get f\r\n", _set(b"f", b"1", b"+5"), b"get f\r\n", _set(b"f", b"1", b"007"), b"get f\r\n",
    ]),
    Situation("bad data", [
        b"set b 0 0 3\r\nabcdef\r\n", b"get b\r\n", b"set b 0 0 5\r\nab\r\n\r\n\r\n", b"get b\r\n", b"set b 0 0 -1\r\nabc\r\n", b"set b 0 0 abc\r\nabc\r\n",
        b"set b 0 0\r\n", b"set b 0 0 2147483647\r\n", b"set b 0 0 2147483648\r\n", b"set b 0 0 4294967296\r\n", b"set b\r\n", b"set\r\n",
        b"set b 0 0 1 2 3 4\r\nx\r\n", b"set b 0 0 1 noreply\r\nx\r\n", b"set b 0 0 1 nonsense\r\nx\r\n", b"get b\r\n",
        b"set b 0 0 3 noreply\r\nabcdef\r\n", b"get b\r\n", b"set b 0 0 0\r\n\r\n", b"get b\r\n", b"set b 0 0 1\nx\n", b"get b\r\n",
        b"set b 0 0 1\r\nx\r\r\n", b"get b\r\n",
    ]),
    Situation("keys", [
        _set(_LONG, b"1"), b"get " + _LONG + b"\r\n", Explained(_set(_TOO_LONG, b"1"), b"CLIENT_ERROR bad command line format\r\n", _SWALLOWED), b"get " + _TOO_LONG + b"\r\n", b"get a " + _TOO_LONG + b" b\r\n",
        b"delete " + _TOO_LONG + b"\r\n", b"incr " + _TOO_LONG + b" 1\r\n", b"touch " + _TOO_LONG + b" 1\r\n", b"gat 1 " + _TOO_LONG + b"\r\n",
        b"mg " + _TOO_LONG + b" v\r\n", Explained(b"ms " + _TOO_LONG + b" 1\r\nx\r\n", b"CLIENT_ERROR bad command line format\r\n", _SWALLOWED), b"md " + _TOO_LONG + b"\r\n", b"ma " + _TOO_LONG + b"\r\n",
        _set(b"a\x01b", b"1"), b"get a\x01b\r\n", b"get a\x00b\r\n", _set("schlüssel".encode(), b"1"), b"get " + "schlüssel".encode() + b"\r\n",
        b"get  a   b \r\n", b" get a\r\n", b"get a \r\n", b"get \r\n",
    ]),
    Situation("large values", [
        _set(b"l", b"x" * (_LIMIT - 200)), b"mg l s\r\n", _set(b"l", b"x" * _LIMIT), b"get l\r\n", _set(b"l", b"1"),
        _set(b"l", b"x" * _LIMIT, more=b" noreply"), b"get l\r\n", _set(b"l", b"1"), _set(b"l", b"x" * (2 * _LIMIT), verb=b"add"), b"get l\r\n",
        _set(b"l", b"x" * _LIMIT, verb=b"replace"), b"get l\r\n", b"ms l %d\r\n" % _LIMIT + b"y" * _LIMIT + b"\r\n", b"mg l s\r\n",
        b"ms l %d q\r\n" % _LIMIT + b"y" * _LIMIT + b"\r\n", _set(b"l", b"x" * (_LIMIT - 200)), _set(b"l", b"y" * 200, verb=b"append"), b"mg l s\r\n",
        _set(b"l", b"x" * 600_000), b"get l\r\n", b"gets l l\r\n", b"ms l %d ME\r\n" % _LIMIT + b"y" * _LIMIT + b"\r\n", b"mg l s\r\n",
    ]),
    Situation("unknown and odd", [
        b"nonsense\r\n", b"\r\n", b"\n", b"GET a\r\n", b"gett a\r\n", b"ge a\r\n", b"get\n", b"verbosity 1\r\n", b"verbosity\r\n",
        b"verbosity 1 noreply\r\n", b"verbosity abc\r\n", b"mn\r\n", b"mn x\r\n", b"mz a\r\n", b"m\r\n", b"noreply\r\n", b"set a 0 0 1 noreply extra\r\nx\r\n",
        b"x" * 1500 + b"\r\n", b"get " + b" ".join(b"many%d" % i for i in range(500)) + b"\r\n",
    ]),
    Situation("a line that never ends", [
        Explained(b"x" * 3000, b"CLIENT_ERROR line too long\r\n", "memcached closes without a word; a proxy says why", closes=True),
    ]),
    Situation("a get that never ends", [b"get " + b"a" * 3000]),
    Situation("quit", [b"get a\r\nquit\r\nget a\r\n"]),
    Situation("quit with words", [b"get a\r\nquit noreply\r\nget a\r\n"]),
    Situation("noreply in a pipeline", [
        b"set p 0 0 1 noreply\r\n1\r\nincr p 5 noreply\r\nappend p 0 0 1 noreply\r\n0\r\nget p\r\ndelete p noreply\r\nget p\r\nadd p 0 0 1 noreply\r\nx\r\nget p\r\n",
        b"touch p 100 noreply\r\nmg p t\r\ndecr p 1 noreply\r\nget p\r\n",
    ]),
    Situation("a long pipeline over all servers", [
        b"".join(_set(b"pipe%d" % i, b"%d" % i) for i in range(200)),
        b"".join(b"get pipe%d\r\n" % i for i in range(200)),
        b"get " + b" ".join(b"pipe%d" % i for i in range(60)) + b"\r\n",
        b"".join(b"incr pipe%d 1\r\nget pipe%d\r\nmg pipe%d v\r\n" % (i, i, (i + 1) % 200) for i in range(200)),
        b"".join(b"delete pipe%d\r\nget pipe%d pipe%d\r\n" % (i, i, (i + 1) % 200) for i in range(200)),
    ]),
    Situation("meta get", [
        _set(b"m", b"value", b"5", b"1000"), b"mg m\r\n", b"mg m v\r\n", b"mg m v f t s k\r\n", b"mg m k s t f v O123 q\r\n", b"mg none\r\n",
        b"mg none v q\r\n", b"mg none k O5\r\n", b"mg none q k O5\r\nmn\r\n", b"mg m h l t\r\n", b"mg m c\r\n", b"mg m c v\r\n", b"mg\r\n", b"mg m !\r\n",
        b"mg m v v\r\n", b"mg m T50 t\r\n", b"mg m t\r\n", b"mg m Tabc\r\n", b"mg m T-1 t\r\n", b"mg m t\r\n", b"mg m vk\r\n",
        b"mg bmlnZ3k= b v k\r\n", b"mg !!! b v\r\n", b"mg m O" + b"o" * 32 + b"\r\n", b"mg m O" + b"o" * 33 + b"\r\n", b"mg m v q\r\nmg none v q\r\nmn\r\n",
    ]),
    Situation("meta set", [
        b"ms s 5\r\nhello\r\n", b"mg s v f t\r\n", b"ms s 5 T100 F77\r\nworld\r\n", b"mg s v f t\r\n", b"ms s 2 q\r\nhi\r\nmn\r\n", b"ms s S2\r\nhi\r\n",
        b"ms s 2 k O9 s\r\nhi\r\n", b"ms s 2 c\r\nhi\r\n", b"ms s 2 b\r\nhi\r\n", b"ms Zm9v 2 b k\r\nhi\r\n", b"mg foo v\r\n", b"ms s 2 MA\r\n++\r\n", b"ms s 2 MP\r\n--\r\n",
        b"mg s v f t\r\n", b"ms s 1 ME\r\nx\r\n", b"ms new 1 ME\r\nx\r\n", b"ms new 1 MR\r\ny\r\n", b"ms none 1 MR\r\ny\r\n", b"ms none 1 MA\r\ny\r\n", b"ms none 1 MA N100 T50\r\ny\r\n",
        b"mg none v t\r\n", b"ms s 1 MZ\r\nx\r\n", b"ms s 1 M\r\nx\r\n", b"ms s 1 MS\r\nx\r\n", b"ms s\r\n", b"ms\r\n", b"ms s abc\r\nxx\r\n", b"ms s -1\r\nxx\r\n", b"ms s 3\r\nabcdef\r\n",
        b"mg s v\r\n", b"ms s 1 Fx\r\nx\r\n", b"ms s 1 T-1\r\nx\r\n", b"mg s v\r\n", b"ms s 1 C5\r\nx\r\n", b"ms s 1 T100 T200\r\nx\r\n", b"ms s 0\r\n\r\n", b"mg s v s\r\n",
        b"gets s\r\n", b"ms s 3 C@CAS s@\r\nnew\r\n", b"ms s 3 C@CAS s@\r\nold\r\n", b"mg s v\r\n", b"ms s 1 F4294967296\r\nx\r\n", b"ms s 1 I\r\nx\r\n", b"mg s v\r\n",
    ]),
    Situation("meta delete", [
        b"ms d 1\r\nx\r\n", b"md d\r\n", b"md d\r\n", b"md d q\r\nmn\r\n", b"ms d 1\r\nx\r\n", b"md d q k O1\r\nmn\r\n", b"ms d 1\r\nx\r\n", b"gets d\r\n", b"md d C1\r\n",
        b"md d C@CAS d@\r\n", b"mg d v\r\n", b"md\r\n", b"md d k O7\r\n", b"md d b\r\n", b"md ZA== b\r\n", b"md d !\r\n",
    ]),
    Situation("stale and winning", [
        b"ms w 5 T100\r\nhello\r\n", b"md w I T30\r\n", b"mg w v t\r\n", b"mg w v t\r\n", b"mg w c v\r\n", b"ms w 3\r\nnew\r\n", b"mg w v t\r\n",
        b"mg viv N30 v t\r\n", b"mg viv N30 v t\r\n", b"mg viv v\r\n", b"ms viv 1\r\nx\r\n", b"mg viv N30 v\r\n", b"mg viv R1000 v\r\n", b"ms r 1 T20\r\nx\r\n", b"mg r R30 v t\r\n", b"mg r R30 v t\r\n",
        b"ms w 1\r\n1\r\n", b"md w I\r\n", b"incr w 1\r\n", 0.3, b"mg w v\r\n", b"mg w v\r\n",
        b"ms w 1\r\nx\r\n", b"gets w\r\n", b"ms w 1\r\ny\r\n", b"ms w 3 I C@CAS w@\r\nold\r\n", b"mg w v\r\n", b"mg w v\r\n",
    ]),
    Situation("meta arithmetic", [
        b"ma n\r\n", b"ma n N0 J13 v\r\n", b"ma n v\r\n", b"ma n D10 v t\r\n", b"ma n MD D5 v\r\n", b"ma n M- v\r\n", b"ma n M+ v\r\n", b"ma n MI v\r\n", b"ma n MX v\r\n", b"ma n Dx v\r\n",
        b"ma n D18446744073709551615 v\r\n", b"ma n T100 v t\r\n", b"ma n q\r\nmn\r\n", b"ma none q\r\nmn\r\n", b"ma n k O4 v c\r\n", b"ms n 3\r\nabc\r\n", b"ma n\r\n", b"ma n q\r\nmn\r\n",
        b"ma bg== b N60 v k\r\n", b"ma\r\n", b"ma a N60 J5 q v\r\nmn\r\n",
        Explained(b"ma unborn N60 J5 q v\r\nmn\r\n", b"MN\r\n", _LOUD_BIRTH), b"ma unborn q N60\r\nma unborn v t\r\nmn\r\n", b"ma n D-1\r\n", b"ma n MD D99999 v\r\n",
    ]),
    Situation("meta debug", [b"ms dbg 3 T100\r\nabc\r\n", b"me dbg\r\n", b"me none\r\n", b"me\r\n", b"me dbg b\r\n"]),
    Situation("quiet and opaque in a pipeline", [
        b"ms q1 1\r\n1\r\nms q2 1\r\n2\r\nmg q1 v q O1\r\nmg nope v q O2\r\nmg q2 v q O3\r\nmd q1 q O4\r\nmd nope q O5\r\nma q2 q O6\r\nms q3 1 q O7\r\n3\r\nms q3 1 ME q O8\r\n4\r\nmn\r\n",
        b"mg q1 v k O1\r\nmg q2 v k O2\r\nmg q3 v k O3\r\nget q1 q2 q3\r\nmn\r\n",
    ]),
    Situation("flush_all", [
        _set(b"x", b"1"), _set(b"y", b"1"), b"flush_all\r\n", b"get x y\r\n", _set(b"x", b"1"), b"get x\r\n", b"flush_all 0\r\n", b"get x\r\n", b"flush_all noreply\r\n", b"flush_all abc\r\n",
        b"flush_all 0 noreply\r\n", b"flush_all 1 2 3\r\n", _set(b"x", b"1"), b"flush_all 6\r\n", b"get x\r\n", 8.2, b"get x\r\n", _set(b"x", b"1"), b"get x\r\n", b"flush_all -1\r\n",
    ]),
)  # fmt: skip
"""Each situation starts with a fresh connection."""


def _without_leading_zero(verb: bytes, value: bytes) -> bytes:
    """A value that makes no number with a zero in front of it: such a number gets shorter when it is incremented (see `piece`)."""
    if verb == b"append" and value.isdigit():
        return b"#" + value
    return b"1" if verb == b"prepend" and value == b"0" else value


class RandomCommands:
    """A random source of commands, most of them right, on few keys so that they meet."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._prefix = b"r%d:" % seed
        self._stale_keys = (self._prefix + b"6", self._prefix + b"7")
        self._next: list[bytes] = []

    def piece(self) -> bytes:
        """A pipeline of one or more commands, most of the time.

        What memcached answers to some commands depends on how their bytes arrive. They come alone:

        - A number that gets shorter: memcached pads it with spaces in place, or not, depending on whether an earlier reply
          in the pipeline still refers to the item. Afterwards it is looked at, and stored anew without spaces.
        - A retrieval with a key that is too long: memcached 1.6.18 answers it by dropping every reply that it has not sent
          yet, those of earlier commands in the pipeline included.
        """
        if self._next:
            return self._next.pop(0)
        if self._random.random() < 0.02:
            keys = [self._key(), self._random.choice((_TOO_LONG, b"k" * 1000)), self._key()]
            verb = self._random.choice((b"get", b"gets", b"gat 100"))
            return b"%s %s\r\n" % (verb, b" ".join(keys[self._random.randrange(3) :]))
        if self._random.random() < 0.12:
            key = self._counting_key()
            self._next = [b"gets %s\r\n" % key, _set(key, b"%d" % self._random.randrange(1000))]
            return self._shrinking_number(key)
        count = self._random.choice((1, 1, 2, 3, 5, 8, 13, 30))
        return b"".join(self._command() for _ in range(count))

    def splits(self, piece: bytes) -> list[bytes]:
        """The piece as it is sent: whole, in a few parts, or byte by byte."""
        chance = self._random.random()
        if chance < 0.5 or len(piece) < 2:
            return [piece]
        if chance < 0.6 and len(piece) < 120:
            return [piece[index : index + 1] for index in range(len(piece))]
        cuts = sorted(self._random.sample(range(1, len(piece)), min(len(piece) - 1, self._random.randint(1, 5))))
        return [piece[start:end] for start, end in zip([0, *cuts], [*cuts, len(piece)])]

    # Words

    def _key(self) -> bytes:
        chance = self._random.random()
        if chance < 0.96:
            return self._prefix + b"%d" % self._random.randrange(8)
        return self._random.choice((_LONG, _TOO_LONG, b"a\x01b", b"\x7f", b"0", b"k" * 1000, b"-", "ü".encode()))

    def _counting_key(self) -> bytes:
        """A key of those that are never marked as stale: of what was, a proxy that reads back what became of it takes the win, and
        hands it back a moment later; a client in a hurry is told `Z` instead of `W`."""
        while (key := self._fitting_key()) in self._stale_keys:
            pass
        return key

    def _fitting_key(self) -> bytes:
        """A key that is not too long: of those that are, memcached takes the data block for commands."""
        while len(key := self._key()) > len(_LONG):
            pass
        return key

    def _expiry(self) -> bytes:
        return self._random.choice((b"0", b"0", b"0", b"100", b"100", b"3000", b"-1", b"2592000", b"4102444800", b"600", b"x", b"9999999999") if
                                   self._random.random() < 0.1 else (b"0", b"0", b"100", b"5000", b"-1"))  # fmt: skip

    def _flags(self) -> bytes:
        return self._random.choice(
            (b"0", b"1", b"768", b"4294967295") if self._random.random() < 0.95 else (b"-1", b"4294967296", b"x")
        )

    def _value(self) -> bytes:
        chance = self._random.random()
        if chance < 0.4:
            # Below 2**63: in a number above, memcached looks for a minus sign, and finds one in what lay in its memory before.
            return b"%d" % self._random.choice((0, 1, 9, 10, 99, 2**32, 2**62, self._random.randrange(1000)))
        size = (
            self._random.choice((0, 1, 5, 20, 100, 1000, 9000))
            if chance < 0.995
            else self._random.choice((70_000, _LIMIT - 500, _LIMIT, _LIMIT + 1))
        )
        # Not a digit first: a digit and a space is a number to memcached, which incr pads, or not, as above.
        return (b"#" + self._random.randbytes(63))[:size] + b"v" * max(0, size - 64)

    def _noreply(self) -> bytes:
        return b" noreply" if self._random.random() < 0.15 else b""

    # Commands

    def _command(self) -> bytes:
        makers = (
            (self._storage, 22), (self._retrieval, 18), (self._number, 10), (self._remove, 8), (self._touch, 8), (self._cas, 8),
            (self._meta_get, 12), (self._meta_set, 12), (self._meta_delete, 5), (self._meta_number, 7), (self._barrier, 1), (self._mangled, 4),
        )  # fmt: skip
        maker = self._random.choices([maker for maker, _ in makers], [weight for _, weight in makers])[0]
        return maker()

    def _storage(self) -> bytes:
        verb = self._random.choice((b"set", b"set", b"set", b"add", b"replace", b"append", b"prepend"))
        value, flags, expiry = _without_leading_zero(verb, self._value()), self._flags(), self._expiry()
        if not (flags + expiry).replace(b"-", b"").isdigit() or flags in (b"-1", b"4294967296"):
            value = b"1"  # memcached may take it for a command; a long one would be a line that is too long.
        length = len(value)
        if self._random.random() < 0.02 and length < 200:
            length = max(0, length + self._random.choice((-1, 1, -2, 3)))
        key = self._counting_key() if verb in (b"append", b"prepend") else self._fitting_key()
        # A block that is too short reaches into the next command, which must be a short one: if the head of a long block
        # were cut off so, memcached would take the block for a line, and its answer to a line that is too long depends on
        # whether it arrives at once.
        sacrifice = b"mn\r\n" if length > len(value) + 2 else b""
        return b"%s %s %s %s %d%s\r\n%s\r\n%s" % (verb, key, flags, expiry, length, self._noreply(), value, sacrifice)

    def _retrieval(self) -> bytes:
        keys = b" ".join(self._fitting_key() for _ in range(self._random.choice((1, 1, 1, 2, 4, 9))))
        if self._random.random() < 0.25:
            return b"%s %s %s\r\n" % (self._random.choice((b"gat", b"gats")), self._expiry(), keys)
        return b"%s %s\r\n" % (self._random.choice((b"get", b"gets")), keys)

    def _number(self) -> bytes:
        by = self._random.choice((b"1", b"1", b"7", b"1000", b"0", b"x", b"-1"))
        return b"incr %s %s%s\r\n" % (self._counting_key(), by, self._noreply())

    def _shrinking_number(self, key: bytes) -> bytes:
        by = self._random.choice((b"1", b"7", b"18446744073709551615", b"18446744073709551000"))
        if self._random.random() < 0.3:
            return b"ma %s %s D%s v\r\n" % (key, self._random.choice((b"MD", b"MI", b"M-")), by)
        return b"%s %s %s%s\r\n" % (self._random.choice((b"decr", b"decr", b"incr")), key, by, self._noreply())

    def _remove(self) -> bytes:
        zero = self._random.choice((b"", b"", b"", b" 0", b" 5"))
        return b"delete %s%s%s\r\n" % (self._key(), zero, self._noreply())

    def _touch(self) -> bytes:
        return b"touch %s %s%s\r\n" % (self._key(), self._expiry(), self._noreply())

    def _cas(self) -> bytes:
        key = self._prefix + b"%d" % self._random.randrange(8)
        value = self._value()
        token = b"@CAS %s@" % key if self._random.random() < 0.8 else b"%d" % self._random.randrange(10**15, 10**16)
        expiry = self._random.choice((b"0", b"100", b"-1"))
        head = b"gets %s\r\ncas %s %d %s %d %s%s\r\n" % (key, key, 5, expiry, len(value), token, self._noreply())
        return head + value + b"\r\n"

    def _meta_flags(self, letters: str) -> bytes:
        chosen = self._random.sample(letters, self._random.randint(0, min(4, len(letters))))
        tokens = {
            "O": b"O%d" % self._random.randrange(1000), "T": b"T" + self._random.choice((b"0", b"100", b"5000")), "N": b"N100", "R": b"R30",
            "F": b"F%d" % self._random.randrange(2**32), "D": b"D%d" % self._random.randrange(100), "J": b"J%d" % self._random.randrange(100),
            "C": b"C%d" % self._random.randrange(10**15, 10**16),
        }  # fmt: skip
        text = b"".join(b" " + tokens.get(letter, letter.encode()) for letter in chosen)
        if self._random.random() < 0.02:
            # No opaque that is too long: `ma` counts before it complains of it, in memcached.
            text += self._random.choice((b" !", b" Tx", b" v v", b" Dx"))
        return text

    def _meta_get(self) -> bytes:
        return b"mg %s%s\r\n" % (self._key(), self._meta_flags("vkftsqOTcNR"))

    def _meta_set(self) -> bytes:
        mode = self._random.choice((b"", b"", b" MS", b" ME", b" MA", b" MP", b" MR", b" Ma", b" MX"))
        verb = {b"A": b"append", b"a": b"append", b"P": b"prepend"}.get(mode[-1:], b"")
        value = _without_leading_zero(verb, self._value())
        key = self._counting_key() if verb else self._fitting_key()
        return b"ms %s %d%s%s\r\n%s\r\n" % (key, len(value), mode, self._meta_flags("kTFqOcCI"), value)

    def _meta_delete(self) -> bytes:
        if self._random.random() < 0.4:
            return b"md %s I%s\r\n" % (self._random.choice(self._stale_keys), self._meta_flags("kqOTC"))
        return b"md %s%s\r\n" % (self._key(), self._meta_flags("kqOTC"))

    def _meta_number(self) -> bytes:
        mode = self._random.choice((b"", b"", b" MI", b" M+", b" MX"))
        # Not q and N together: an explained difference, see the script.
        letters = self._random.choice(("vtkqODJTc", "vtkONDJTc"))
        return b"ma %s%s%s\r\n" % (self._counting_key(), mode, self._meta_flags(letters))

    def _barrier(self) -> bytes:
        return b"mn\r\n"

    def _mangled(self) -> bytes:
        """A line with something wrong; storage commands are left out, as their block would be taken for commands."""
        text = self._random.choice(
            (self._retrieval, self._number, self._remove, self._touch, self._meta_get, self._meta_delete)
        )().rstrip(b"\r\n")
        words = text.split(b" ")
        kind = self._random.randrange(6)
        if kind == 0:
            words = words[: self._random.randint(1, len(words))]
        elif kind == 1:
            words.insert(self._random.randint(0, len(words)), self._random.choice((b"", b"x", b"noreply", b"0", b"-1")))
        elif kind == 2:
            words[0] = self._random.choice((b"Get", b"nope", b"mg2", b"", b"setx", words[0] + b"x"))
        elif kind == 3 and words[0] not in (b"get", b"gets", b"gat", b"gats"):
            words[-1] = b"z" * self._random.choice((250, 251, 900))
        elif kind == 4:
            return b" ".join(words) + b"\n"
        else:
            return self._random.choice(
                (b"\r\n", b"\n", b" \r\n", b"verbosity 1\r\n", b"mn x\r\n", b"get\r\n", b"ms\r\n", b"x" * 500 + b"\r\n")
            )
        return b" ".join(words) + b"\r\n"
