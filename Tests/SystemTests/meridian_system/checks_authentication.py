"""Clients that must say who they are, to a memcached and to a proxy: byte for byte the same.

For text the reference is `memcached -Y`, for binary `memcached -S`, whose passwords are in a database that Cyrus SASL makes. Each
piece goes to a fresh connection to both, in parts; what comes back is compared, and whether the connection lives on.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meridian_system.binary_packets import Opcode, Request
from meridian_system.client import ConnectionLost, Endpoint
from meridian_system.federation import Federation, Options
from meridian_system.report import Failed, require
from meridian_system.world import World

USERS = {"alice": "secret", "bob": "swordfish", "carol": "pass:word"}
RANDOM_PIECES = 150

_QUIET_SECONDS = 0.1
"""A memcached beside us that says nothing for so long waits for more."""
_PATIENCE_SECONDS = 4.0
_PART_SECONDS = 0.002
_WAIT = b""
"""In place of a part: the next one goes out when this much has been answered. Of the answers to what arrives together memcached
gives a text client only the last."""

_Heard = tuple[bytes, bool]
"""What came back, and whether the connection was closed."""


def users_text() -> str:
    """A file of names and passwords."""
    return "".join(f"{name}:{password}\n" for name, password in USERS.items())


def plain(name: str, password: str, authorization: str = "") -> bytes:
    """A message of SASL PLAIN."""
    return b"\0".join(text.encode() for text in (authorization, name, password))


def _converse(endpoint: Endpoint, parts: list[bytes], expected: _Heard | None, quiet: float = _QUIET_SECONDS) -> _Heard:
    """Sends parts; reads until silence, or until what is expected has come."""
    connection = endpoint.connect(_PATIENCE_SECONDS)
    heard = b""
    with connection:
        try:
            for part in parts:
                if part == _WAIT:
                    heard += connection.recv(1 << 16)
                else:
                    connection.sendall(part)
                    time.sleep(_PART_SECONDS)
        except OSError:
            pass  # It has closed already; what it said first may still be there.
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            is_there = expected is None or (len(heard) >= len(expected[0]) and not expected[1])
            connection.settimeout(quiet if is_there else _PATIENCE_SECONDS)
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                break
            except OSError:
                return heard, True
            if not data:
                return heard, True
            heard += data
    return heard, False


def _line(length: int | str, start: str = "set key 0 0 ", end: str = "\r\n") -> bytes:
    return f"{start}{length}{end}".encode()


def _said(pair: str, end: str = "\r\n") -> bytes:
    return _line(len(pair)) + f"{pair}{end}".encode()


_GOOD = _said("alice secret")

TEXT_PIECES: dict[str, list[bytes]] = {
    "right": [_GOOD],
    "right, in the bytes' own time": [bytes([byte]) for byte in _GOOD],
    "right, and then commands": [_GOOD + b"mn\r\nset k 0 0 1\r\nx\r\nget k\r\n"],
    "twice: the second is a value": [_GOOD + _GOOD + b"get key\r\n"],
    "wrong password": [_said("alice secreT")],
    "password too short": [_said("alice secre")],
    "password too long": [_said("alice secret1")],
    "another's password": [_said("alice swordfish")],
    "a colon in the password": [_said("carol pass:word")],
    "nobody": [_said("mallory secret")],
    "wrong, then right": [_said("alice x"), _WAIT, _GOOD + b"mn\r\n"],
    "a command first": [b"get k\r\n"],
    "one command after the other": [b"version\r\n", _WAIT, b"mn\r\n", _WAIT, b"quit\r\n"],
    "commands first": [b"version\r\nstats\r\nmn\r\nquit\r\n"],
    "a set of something": [b"set k 0 0 1\r\nx\r\n"],
    "gets and then right": [b"get k\r\n" + _GOOD + b"mn\r\n"],
    "an empty line": [b"\r\n"],
    "one line feed": [b"\n"],
    "two line feeds": [b"\n\n"],
    "one byte": [b"s"],
    "no carriage return": [b"set k 0 0 12\nalice secret\r\n"],
    "block without carriage return": [_line(12) + b"alice secret\n\n"],
    "block too long": [_line(12) + b"alice secret and more\r\n" + _GOOD],
    "block too short": [_line(12) + b"alice\r\n"],
    "no space": [_said("alicesecret")],
    "many spaces": [_said("  alice    secret  ")],
    "a third word": [_said("alice secret now")],
    "a tab": [_said("alice\tsecret")],
    "a zero byte behind": [_said("alice secret\0x")],
    "a zero byte within": [_said("alice\0 secret")],
    "an empty block": [_line(0) + b"\r\n"],
    "a noreply": [b"set k 0 0 12 noreply\r\nalice secret\r\n"],
    "many words": [b"set k 0 0 12" + b" w" * 40 + b"\r\nalice secret\r\n"],
    "spaces in the line": [b"  set   k  0  0   12  \r\nalice secret\r\n"],
    "capital letters": [b"SET k 0 0 12\r\nalice secret\r\n"],
    "an add": [b"add k 0 0 12\r\nalice secret\r\n"],
    "too few words": [b"set k 0 12\r\nalice secret\r\n"],
    "numbers that are none": [b"set k x y 12\r\nalice secret\r\n"],
    "a zero byte in the line": [b"set k 0 0\0 12\r\nalice secret\r\n"],
    "a meta set": [b"ms k 12\r\nalice secret\r\n"],
    "a long line": [b"set " + b"k" * 1900 + b" 0 0 12\r\nalice secret\r\n"],
    "2048 bytes without a line": [b"x" * 2048],
    "2049 bytes without a line": [b"x" * 2049],
    **{f"length {length!r}": [_line(length) + b"alice secret\r\n"] for length in (
        "+12", "-1", "-0", "012", "12x", "12\t", "\t12", "12\v", "0x12", "1e1", "", "4294967308", "4294967294", "4294967295",
        "18446744073709551615", "18446744073709551616", "-18446744073709551604", "99999999999999999999999",
    )},
}  # fmt: skip


def _random_piece(dice: random.Random) -> list[bytes]:
    """Words, numbers and blocks that are nearly right."""
    data = b""
    count = dice.randint(1, 4)
    for place in range(count):
        # Who is let in is so at the end: what a memcached does with half a command is not the matter here.
        good = ["alice secret", "bob swordfish", " alice  secret", "alice secret x"] * (place == count - 1)
        pair = dice.choice([*good, "alice secre", "alice", "a\0b c", ""])
        length = dice.choice([str(len(pair))] * 6 + ["0", "1", "+12", "12x", "-3", "4294967294", "12\t", "20"])
        words = ["set", dice.choice(["k", "a-key"]), dice.choice(["0", "x"]), "0", length]
        if dice.random() < 0.15:
            words[0] = dice.choice(["get", "Set", "sett", "set\0", "\r", "version"])
        if dice.random() < 0.1:
            words.pop(dice.randrange(len(words)))
        if dice.random() < 0.1:
            words.append(dice.choice(["noreply", "0", "\0"]))
        line = dice.choice([" ", " ", "  "]).join(words) + dice.choice(["\r\n", "\r\n", "\r\n", "\n", " \r\n"])
        block = pair + dice.choice(["\r\n"] * 6 + ["\n", "\n\n", "\r\r"])
        data += line.encode() + (block.encode() if dice.random() < 0.95 else b"")
    return [data]


def _compare(reference: Endpoint, proxy: Endpoint, pieces: dict[str, list[bytes]]) -> int:
    """Sends every piece to both; returns how many bytes were equal."""
    differences: list[str] = []
    compared = 0
    for name, parts in pieces.items():
        expected = _converse(reference, parts, None)
        found = _converse(proxy, parts, expected)
        if found != expected:
            # On a busy machine a memcached may say nothing for so long, and yet be about to answer.
            expected = _converse(reference, parts, None, quiet=10 * _QUIET_SECONDS)
            found = _converse(proxy, parts, expected)
        compared += len(expected[0])
        if found != expected:
            differences.append(f"{name}: {b''.join(parts)[:200]!r}: memcached {expected}, the proxy {found}")
    require(not differences, f"{len(differences)} of {len(pieces)} pieces differ\n" + "\n".join(differences[:6]))
    return compared


@contextmanager
def users_folder() -> Iterator[Path]:
    """A folder that memcached can read as nobody, with a file of users in it."""
    folder = Path(tempfile.mkdtemp(prefix="meridian-users.", dir="/tmp"))
    try:
        folder.chmod(0o755)
        (folder / "users.txt").write_text(users_text())
        (folder / "users.txt").chmod(0o644)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _asking_federation(world: World, name: str, users: Path) -> Iterator[tuple[Federation, Endpoint]]:
    """A federation whose n1 has a second listener, which asks for a name and a password."""
    namespace = world.wire.north if world.wire is not None else None
    endpoint = Endpoint("127.0.0.1", world.ports.take(namespace), namespace)
    listener = f'{{address: "{endpoint}", authentication: "{users}"}}'
    with world.federation(name, Options(loops=world.loops, also={"n1": (listener,)})) as federation:
        yield federation, endpoint


def check_text_authentication(world: World, seeds: tuple[int, ...]) -> str:
    """Scripted and random first words, to `memcached -Y` and to a listener with `authentication`."""
    with users_folder() as folder:
        reference = world.memcached("authentication-reference", "-Y", str(folder / "users.txt"))
        try:
            with _asking_federation(world, "authentication", folder / "users.txt") as (federation, endpoint):
                pieces = dict(TEXT_PIECES)
                for seed in seeds:
                    dice = random.Random(seed)
                    pieces |= {f"random {seed}.{index}": _random_piece(dice) for index in range(RANDOM_PIECES // len(seeds))}
                compared = _compare(reference.endpoint, endpoint, pieces)
                _refuse_quietly(federation)
                _count_attempts(endpoint)
                return f"{len(pieces)} pieces, {compared} bytes of replies equal; the log names no password"
        finally:
            reference.kill()


def _refuse_quietly(federation: Federation) -> None:
    """Failures are in the log, names and passwords are not."""
    log = federation.north.proxies["n1"].log_text()
    require("client authentication failed address=127.0.0.1" in log, "the log says nothing of clients that did not get in")
    shown = [word for pair in USERS.items() for word in pair if word in log]
    require(not shown, f"the log shows {shown}")


def _count_attempts(endpoint: Endpoint) -> None:
    """`stats` counts them."""
    heard, _ = _converse(endpoint, [_GOOD + b"stats\r\n"], None)
    counted = {line.split()[1]: int(line.split()[2]) for line in heard.decode().splitlines() if line.startswith("STAT auth_")}
    require(counted.get("auth_cmds", 0) > counted.get("auth_errors", 0) > 0, f"stats counts {counted}")


# Binary


def _packet(opcode: int, key: bytes = b"", value: bytes = b"", extras: bytes = b"") -> bytes:
    return Request(opcode, key, extras, value).encode(7, 0)


_WORDS = {
    "A": _packet(Opcode.SASL_AUTH, b"PLAIN", plain("alice", "secret")),
    "B": _packet(Opcode.SASL_AUTH, b"PLAIN", plain("alice", "wrong")),
    "E": _packet(Opcode.SASL_AUTH, b"PLAIN"),
    "S": _packet(Opcode.SASL_STEP, b"PLAIN", plain("bob", "swordfish")),
    "W": _packet(Opcode.SASL_STEP, b"PLAIN", plain("bob", "wrong")),
    "Z": _packet(Opcode.SASL_STEP, b"PLAIN"),
    "L": _packet(Opcode.SASL_LIST),
    "M": _packet(Opcode.SASL_AUTH, b"NOPE"),
    "N": _packet(Opcode.SASL_AUTH, b"NOPE", plain("alice", "secret")),
    "V": _packet(Opcode.VERSION),
    "O": _packet(Opcode.NOOP),
}
"""Packets by letter."""


def _binary_pieces(seeds: tuple[int, ...]) -> dict[str, list[bytes]]:
    set_ = _packet(Opcode.SET, b"k", b"v", b"\0" * 8)
    single = {
        "a lower-case mechanism": _packet(Opcode.SASL_AUTH, b"plain", plain("alice", "secret")),
        "for oneself": _packet(Opcode.SASL_AUTH, b"PLAIN", plain("alice", "secret", "alice")),
        "for somebody else": _packet(Opcode.SASL_AUTH, b"PLAIN", plain("alice", "secret", "bob")),
        "one zero byte too many": _packet(Opcode.SASL_AUTH, b"PLAIN", plain("alice", "secret") + b"\0"),
        "one zero byte too few": _packet(Opcode.SASL_AUTH, b"PLAIN", b"alice\0secret"),
        "no password": _packet(Opcode.SASL_AUTH, b"PLAIN", plain("alice", "")),
        "no name": _packet(Opcode.SASL_AUTH, b"PLAIN", plain("", "secret")),
        "another mechanism": _packet(Opcode.SASL_AUTH, b"CRAM-MD5", plain("alice", "secret")),
        "a long mechanism": _packet(Opcode.SASL_AUTH, b"P" * 33, b"abc") + _WORDS["A"] + _WORDS["O"],
        "a long message": _packet(Opcode.SASL_AUTH, b"PLAIN", b"x" * 5000) + _WORDS["A"] + _WORDS["O"],
        "a set": set_,
        "a get": _packet(Opcode.GET, b"k"),
        "a quiet get": _packet(Opcode.GETQ, b"k"),
        "a quit": _packet(Opcode.QUIT),
        "a flush": _packet(Opcode.FLUSH),
        "nonsense": _packet(0x77),
        "a list with a key": _packet(Opcode.SASL_LIST, b"k"),
        "an auth without a key": _packet(Opcode.SASL_AUTH, b"", b"abc"),
        "an auth with extras": _packet(Opcode.SASL_AUTH, b"PLAIN", b"abc", b"\0\0\0\0"),
        "a version with a key": _packet(Opcode.VERSION, b"k"),
        "a body shorter than its key": Request(Opcode.GET, b"key", body_length=1).encode(7, 0),
        "no packet": b"\x80" + b"\0" * 10,
        "a whole conversation": _WORDS["L"] + _WORDS["A"] + _packet(Opcode.GET, b"missing") + _packet(Opcode.QUIT),
    }
    pieces = {name: [data] for name, data in single.items()}
    pieces["in the bytes' own time"] = [bytes([byte]) for byte in _WORDS["A"] + _WORDS["O"]]
    for seed in seeds:
        dice = random.Random(seed)
        for _ in range(RANDOM_PIECES // len(seeds)):
            letters = "".join(dice.choices("AABEEESSWZLMNV", k=dice.randint(1, 6)))
            pieces[letters + "O"] = [_WORDS[letter] for letter in letters + "O"]
    return pieces


def _make_database(folder: Path) -> str:
    """Cyrus SASL's settings and passwords in a folder; why not, if it cannot be."""
    database = folder / "sasldb"
    (folder / "memcached.conf").write_text(
        f"mech_list: plain\npwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\n"
    )
    child = os.fork()
    if child == 0:
        os._exit(_fill_database(folder))
    _, status = os.waitpid(child, 0)
    if status != 0 or not database.exists():
        return "libsasl2 with its database plugin is not installed"
    database.chmod(0o644)
    return ""


def _fill_database(folder: Path) -> int:
    """In a process of its own: the library reads its settings once."""
    try:
        os.environ["SASL_CONF_PATH"] = str(folder)
        os.putenv("SASL_CONF_PATH", str(folder))
        library = ctypes.CDLL("libsasl2.so.2")
        host = socket.gethostname().encode()
        connection = ctypes.c_void_p()
        codes = [library.sasl_server_init(None, b"memcached")]
        codes.append(library.sasl_server_new(b"memcached", host, host, None, None, None, 0, ctypes.byref(connection)))
        for name, password in USERS.items():
            secret = password.encode()
            codes.append(library.sasl_setpass(connection, name.encode(), secret, len(secret), None, 0, 1))
        return 0 if not any(codes) else 1
    except OSError:
        return 1


def check_binary_authentication(world: World, seeds: tuple[int, ...]) -> str:
    """SASL, to `memcached -S` and to a listener with `authentication`."""
    with users_folder() as folder:
        if without := _make_database(folder):
            return f"not run: {without}"
        before = os.environ.get("SASL_CONF_PATH")
        os.environ["SASL_CONF_PATH"] = str(folder)
        try:
            reference = world.memcached("sasl-reference", "-S")
        finally:
            os.environ.pop("SASL_CONF_PATH")
            if before is not None:
                os.environ["SASL_CONF_PATH"] = before
        try:
            with _asking_federation(world, "sasl", folder / "users.txt") as (federation, endpoint):
                pieces = _binary_pieces(seeds)
                compared = _compare(reference.endpoint, endpoint, pieces)
                _refuse_quietly(federation)
                _bounded_strangers(endpoint)
                return f"{len(pieces)} conversations, {compared} bytes of replies equal; the log names no password"
        finally:
            reference.kill()


def _bounded_strangers(endpoint: Endpoint) -> None:
    """Whoever has not said who he is cannot make a proxy wait for more than a key, nor pile replies up unread."""
    heard, closed = _converse(endpoint, [Request(Opcode.SET, key_length=60_000, body_length=70_000).encode(7, 0)], (b"x" * 24, True))
    require(closed and heard[7:8] == b"\x20", f"a stranger with a huge key gets {heard!r}")
    try:
        with endpoint.connect(2.0) as connection:
            sent = 0
            while sent < 64 << 20:
                sent += connection.send(_WORDS["V"] * 10_000)
        raise Failed("a stranger that reads nothing is read from without end")
    except (TimeoutError, ConnectionLost):
        pass
