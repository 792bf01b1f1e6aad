"""Packets of memcached's binary protocol: requests are built, with everything in them that can be wrong, and replies are split.

     0       1        2-3         4         5          6-7              8-11         12-15    16-23
     magic | opcode | key bytes | extras  | data type | vbucket/status | body bytes | opaque | CAS value | extras | key | value

All numbers are big-endian. See memcached's doc/protocol-binary.txt and protocol_binary.h.
"""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass

HEADER = struct.Struct(">BBHBBHIIQ")
REQUEST_MAGIC = 0x80
RESPONSE_MAGIC = 0x81
NEVER = 0xFFFFFFFF
"""The exptime of an incr or decr that must not make what is not there."""


class Opcode(enum.IntEnum):
    """What a packet wants done."""

    GET = 0x00
    SET = 0x01
    ADD = 0x02
    REPLACE = 0x03
    DELETE = 0x04
    INCREMENT = 0x05
    DECREMENT = 0x06
    QUIT = 0x07
    FLUSH = 0x08
    GETQ = 0x09
    NOOP = 0x0A
    VERSION = 0x0B
    GETK = 0x0C
    GETKQ = 0x0D
    APPEND = 0x0E
    PREPEND = 0x0F
    STAT = 0x10
    SETQ = 0x11
    ADDQ = 0x12
    REPLACEQ = 0x13
    DELETEQ = 0x14
    INCREMENTQ = 0x15
    DECREMENTQ = 0x16
    QUITQ = 0x17
    FLUSHQ = 0x18
    APPENDQ = 0x19
    PREPENDQ = 0x1A
    VERBOSITY = 0x1B
    TOUCH = 0x1C
    GAT = 0x1D
    GATQ = 0x1E
    SASL_LIST = 0x20
    SASL_AUTH = 0x21
    SASL_STEP = 0x22
    GATK = 0x23
    GATKQ = 0x24


class Status(enum.IntEnum):
    """What a reply says."""

    SUCCESS = 0x00
    NOT_FOUND = 0x01
    EXISTS = 0x02
    TOO_LARGE = 0x03
    INVALID = 0x04
    NOT_STORED = 0x05
    NOT_A_NUMBER = 0x06
    AUTH_ERROR = 0x20
    UNKNOWN_COMMAND = 0x81
    OUT_OF_MEMORY = 0x82
    INTERNAL_ERROR = 0x84
    TEMPORARY_FAILURE = 0x86


@dataclass(frozen=True)
class Token:
    """Stands for a CAS value that the server at hand gave for a key: the last one, or one before it."""

    key: bytes
    age: int = 0


@dataclass(frozen=True)
class Request:
    """A packet to send. Lengths follow from the content, unless they are to lie; without an opaque it gets one of its own."""

    opcode: int
    key: bytes = b""
    extras: bytes = b""
    value: bytes = b""
    cas: int | Token = 0
    opaque: int | None = None
    vbucket: int = 0
    data_type: int = 0
    magic: int = REQUEST_MAGIC
    key_length: int | None = None
    extras_length: int | None = None
    body_length: int | None = None

    def encode(self, opaque: int, cas: int) -> bytes:
        """The bytes, with an opaque and a CAS value in the places of those that are open."""
        body = self.extras + self.key + self.value
        head = HEADER.pack(
            self.magic,
            self.opcode,
            len(self.key) if self.key_length is None else self.key_length,
            len(self.extras) if self.extras_length is None else self.extras_length,
            self.data_type,
            self.vbucket,
            len(body) if self.body_length is None else self.body_length,
            opaque if self.opaque is None else self.opaque,
            cas if isinstance(self.cas, Token) else self.cas,
        )
        return head + body

    @property
    def size(self) -> int:
        """How many bytes `encode` makes."""
        return HEADER.size + len(self.extras) + len(self.key) + len(self.value)

    def __str__(self) -> str:
        words = [opcode_name(self.opcode)]
        words += [f"{name}={shown(data)}" for name, data in _parts(self) if data]
        if isinstance(self.cas, Token):
            words.append(f"cas=of({shown(self.cas.key)}, {self.cas.age})")
        elif self.cas:
            words.append(f"cas={self.cas}")
        odd = ("opaque", "vbucket", "data_type", "key_length", "extras_length", "body_length")
        words += [f"{name}={getattr(self, name):#x}" for name in odd if getattr(self, name)]
        return " ".join(words) + ("" if self.magic == REQUEST_MAGIC else f" magic={self.magic:#04x}")


@dataclass(frozen=True)
class Response:
    """A packet that came back."""

    opcode: int
    status: int
    key: bytes = b""
    extras: bytes = b""
    value: bytes = b""
    opaque: int = 0
    cas: int = 0
    data_type: int = 0

    def __str__(self) -> str:
        status = Status(self.status).name if self.status in set(Status) else f"status {self.status:#06x}"
        words = [opcode_name(self.opcode), status]
        words += [f"{name}={shown(data)}" for name, data in _parts(self) if data]
        words += [f"cas={self.cas}"] if self.cas else []
        words += [f"opaque={self.opaque:#x}"]
        return " ".join(words) + (f" data_type={self.data_type:#x}" if self.data_type else "")


def split(data: bytes | bytearray, start: int = 0) -> tuple[list[Response], int]:
    """The whole packets from an offset on, and where they end; what is no packet stays."""
    packets: list[Response] = []
    while len(data) - start >= HEADER.size:
        magic, opcode, keys, extras, data_type, status, body, opaque, cas = HEADER.unpack_from(data, start)
        if magic != RESPONSE_MAGIC or keys + extras > body or len(data) - start < HEADER.size + body:
            break
        begin = start + HEADER.size
        value, end = begin + extras + keys, begin + body
        packets.append(
            Response(
                opcode,
                status,
                bytes(data[begin + extras : value]),
                bytes(data[begin : begin + extras]),
                bytes(data[value:end]),
                opaque,
                cas,
                data_type,
            )
        )
        start = end
    return packets, start


def opcode_name(opcode: int) -> str:
    """Its name, or its number."""
    return Opcode(opcode).name if opcode in set(Opcode) else f"opcode {opcode:#04x}"


def shown(data: bytes) -> str:
    """Bytes in one short line."""
    text = re.sub(r"(.)\1{40,}", lambda match: f"{match[1]}…×{len(match[0])}…", repr(data[:20_000])[2:-1])
    if len(text) > 300:
        text = text[:200] + " … " + text[-80:]
    return f"'{text}'" + (f"({len(data)})" if len(data) > 20_000 else "")


def _parts(packet: Request | Response) -> tuple[tuple[str, bytes], ...]:
    return (("key", packet.key), ("extras", packet.extras), ("value", packet.value))


# Requests of the usual shapes.


def ask(opcode: int, key: bytes = b"", **fields: int | Token | None) -> Request:
    """Any packet of a key alone, or of nothing: get, delete, noop, version, stat, quit."""
    return Request(opcode, key, **fields)  # type: ignore[arg-type]


def store(
    opcode: int, key: bytes, value: bytes, flags: int = 0, expiry: int = 0, cas: int | Token = 0, opaque: int | None = None
) -> Request:
    """set, add or replace."""
    return Request(opcode, key, struct.pack(">II", flags, expiry), value, cas, opaque)


def join(opcode: int, key: bytes, value: bytes, cas: int | Token = 0) -> Request:
    """append or prepend."""
    return Request(opcode, key, b"", value, cas)


def count(opcode: int, key: bytes, delta: int, initial: int = 0, expiry: int = NEVER, cas: int | Token = 0) -> Request:
    """increment or decrement."""
    return Request(opcode, key, struct.pack(">QQI", delta, initial, expiry), b"", cas)


def touch(opcode: int, key: bytes, expiry: int) -> Request:
    """touch, or get and touch."""
    return Request(opcode, key, struct.pack(">I", expiry))


def flush(opcode: int, expiry: int | None = None) -> Request:
    """flush, with or without a time."""
    return Request(opcode, b"", b"" if expiry is None else struct.pack(">I", expiry))
