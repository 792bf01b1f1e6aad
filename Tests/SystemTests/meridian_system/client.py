"""A small memcached text client: blocking, pipelining, with the bytes in plain sight.

A request knows the shape of its reply, so a pipeline of mixed requests can be sent in one piece and its replies be read in order:

    client.ask([set_(b"k", b"v"), get(b"k"), meta(b"mg k v t")])

What went wrong on the way (a reset, an end, a silence) is ConnectionLost: whoever gets it does not know whether the request
was carried out. What the server said is never an exception here; that is for the caller to judge.
"""

from __future__ import annotations

import enum
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from meridian_system.namespaces import Namespace


class ConnectionLost(Exception):
    """The connection could not be made, broke, or fell silent."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens: an address, or a unix socket's path, in a site's network."""

    host: str
    port: int
    namespace: Namespace | None = field(default=None, compare=False, repr=False)
    path: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.path is None else f"unix:{self.path}"

    def connect(self, timeout: float) -> socket.socket:
        """A connected socket, or ConnectionLost."""
        try:
            if self.path is not None:
                unix = socket.socket(socket.AF_UNIX)
                unix.settimeout(timeout)
                unix.connect(self.path)
                return unix
            if self.namespace is None:
                plain = socket.socket()
            else:
                with self.namespace.inside():
                    plain = socket.socket()
            plain.settimeout(timeout)
            plain.connect((self.host, self.port))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return plain
        except OSError as error:
            raise ConnectionLost(f"connecting to {self}: {error}") from error

    @property
    def open(self) -> bool:
        """Whether something listens."""
        try:
            self.connect(1.0).close()
            return True
        except ConnectionLost:
            return False


class Shape(enum.Enum):
    """How a request's reply ends."""

    LINE = enum.auto()
    """One line."""
    VALUES = enum.auto()
    """VALUE blocks and END, or an error line."""
    META = enum.auto()
    """One line, with a data block after it when it begins with VA."""
    STATS = enum.auto()
    """STAT lines and END, or one line."""
    SILENT = enum.auto()
    """Nothing is read."""


@dataclass(frozen=True)
class Request:
    """Bytes to send, and what to expect."""

    data: bytes
    shape: Shape


@dataclass(frozen=True)
class Value:
    """One item of a retrieval."""

    key: bytes
    flags: int
    data: bytes
    cas: int | None = None


@dataclass(frozen=True)
class Reply:
    """A reply: its deciding line (END, STORED, HD …, an error), the items, the lines before the last, the meta block."""

    line: bytes
    values: tuple[Value, ...] = ()
    data: bytes | None = None
    lines: tuple[bytes, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether the server refused or failed."""
        return self.line.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR"))

    def meta_flag(self, letter: str) -> bytes | None:
        """The token of a meta reply's flag, such as b"37" for t37; b"" for a flag without a token; None when it is not there."""
        words = self.line.split(b" ")
        for word in words[2:] if words[0] == b"VA" else words[1:]:
            if word[:1] == letter.encode():
                return word[1:]
        return None


def _key(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key


def store(
    verb: str, key: bytes | str, value: bytes, *, flags: int = 0, expiry: int = 0, cas: int | None = None, noreply: bool = False
) -> Request:
    """set, add, replace, append, prepend or cas."""
    token = b"" if cas is None else b" %d" % cas
    head = b"%s %s %d %d %d%s%s\r\n" % (
        verb.encode(),
        _key(key),
        flags,
        expiry,
        len(value),
        token,
        b" noreply" if noreply else b"",
    )
    return Request(head + value + b"\r\n", Shape.SILENT if noreply else Shape.LINE)


def line(text: bytes | str) -> Request:
    """Any command that is answered by one line."""
    return Request(_key(text) + b"\r\n", Shape.LINE)


def silent(text: bytes | str) -> Request:
    """Any command with noreply."""
    return Request(_key(text) + b" noreply\r\n", Shape.SILENT)


def retrieve(text: bytes | str) -> Request:
    """get, gets, gat or gats, with keys."""
    return Request(_key(text) + b"\r\n", Shape.VALUES)


def meta(text: bytes | str, value: bytes | None = None) -> Request:
    """A meta command that is answered; `ms` with its block, whose length is put after the key."""
    if value is None:
        return Request(_key(text) + b"\r\n", Shape.META)
    verb, key, *flags = _key(text).split(b" ")
    head = b" ".join([verb, key, b"%d" % len(value), *flags])
    return Request(head + b"\r\n" + value + b"\r\n", Shape.META)


class Client:
    """One connection."""

    def __init__(self, endpoint: Endpoint, timeout: float = 5.0) -> None:
        self.endpoint = endpoint
        self._socket = endpoint.connect(timeout)
        self._input = self._socket.makefile("rb", buffering=1 << 16)

    def close(self) -> None:
        """Closes the connection."""
        try:
            self._input.close()
            self._socket.close()
        except OSError:
            pass

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *arguments: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Sends bytes."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ConnectionLost(f"sending to {self.endpoint}: {error}") from error

    def read_line(self) -> bytes:
        """The next line, without its line end."""
        try:
            text = self._input.readline(1 << 20)
        except OSError as error:
            raise ConnectionLost(f"reading from {self.endpoint}: {error}") from error
        if not text.endswith(b"\n"):
            raise ConnectionLost(f"reading from {self.endpoint}: the connection was closed")
        return text.rstrip(b"\r\n")

    def read_exactly(self, count: int) -> bytes:
        """So many bytes."""
        try:
            data = self._input.read(count)
        except OSError as error:
            raise ConnectionLost(f"reading from {self.endpoint}: {error}") from error
        if data is None or len(data) != count:
            raise ConnectionLost(f"reading from {self.endpoint}: the connection was closed within a block")
        return bytes(data)

    def read_reply(self, shape: Shape) -> Reply:
        """The next reply, of the shape that its request had."""
        if shape is Shape.SILENT:
            return Reply(b"")
        text = self.read_line()
        if shape is Shape.META and text.startswith(b"VA "):
            size = int(text.split(b" ", 2)[1])
            return Reply(text, data=self.read_exactly(size + 2)[:-2])
        if shape is Shape.VALUES:
            values: list[Value] = []
            while text.startswith(b"VALUE "):
                words = text.split(b" ")
                size = int(words[3])
                data = self.read_exactly(size + 2)[:-2]
                values.append(Value(words[1], int(words[2]), data, int(words[4]) if len(words) > 4 else None))
                text = self.read_line()
            return Reply(text, tuple(values))
        if shape is Shape.STATS:
            lines: list[bytes] = []
            while text.startswith(b"STAT "):
                lines.append(text)
                text = self.read_line()
            return Reply(text, lines=tuple(lines))
        return Reply(text)

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Sends requests in one piece and reads their replies in order."""
        self.send(b"".join(request.data for request in requests))
        return [self.read_reply(request.shape) for request in requests]

    def one(self, request: Request) -> Reply:
        """Sends a request and reads its reply."""
        return self.ask([request])[0]

    def set(self, key: bytes | str, value: bytes, *, flags: int = 0, expiry: int = 0) -> bytes:
        """Stores; returns the reply's line."""
        return self.one(store("set", key, value, flags=flags, expiry=expiry)).line

    def get(self, key: bytes | str) -> Value | None:
        """The item, or None when there is none. A server's error is a ConnectionLost, as there is no answer."""
        reply = self.one(retrieve(b"gets " + _key(key)))
        if reply.line != b"END":
            raise ConnectionLost(f"get from {self.endpoint}: {reply.line.decode(errors='replace')}")
        return reply.values[0] if reply.values else None

    def delete(self, key: bytes | str) -> bytes:
        """Deletes; returns the reply's line."""
        return self.one(line(b"delete " + _key(key))).line

    def stats(self, what: str = "") -> dict[str, str]:
        """`stats`."""
        reply = self.one(Request(f"stats {what}".strip().encode() + b"\r\n", Shape.STATS))
        words = (entry.decode(errors="replace").split(" ", 2) for entry in reply.lines)
        return {parts[1]: parts[2] if len(parts) > 2 else "" for parts in words}


def first_open(endpoints: Iterable[Endpoint], timeout: float = 5.0) -> Client:
    """A client to the first of several endpoints that can be connected to."""
    failures: list[str] = []
    for endpoint in endpoints:
        try:
            return Client(endpoint, timeout)
        except ConnectionLost as lost:
            failures.append(str(lost))
    raise ConnectionLost("; ".join(failures))


class Roaming:
    """A client of a site: connected to one of its proxies, and to the next one after a loss, as real clients are configured."""

    def __init__(self, endpoints: Sequence[Endpoint], start: int = 0, timeout: float = 5.0) -> None:
        self._endpoints = list(endpoints)
        self._turn = start % len(self._endpoints)
        self._timeout = timeout
        self._client: Client | None = None
        self.reconnections = 0

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """As Client.ask; after a ConnectionLost the next call goes to another proxy."""
        if self._client is None:
            self._client = self._reconnect()
        try:
            return self._client.ask(requests)
        except ConnectionLost:
            self._client.close()
            self._client = None
            self._turn = (self._turn + 1) % len(self._endpoints)
            self.reconnections += 1
            raise

    def _reconnect(self) -> Client:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return Client(self._endpoints[self._turn], self._timeout)
            except ConnectionLost:
                self._turn = (self._turn + 1) % len(self._endpoints)
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
