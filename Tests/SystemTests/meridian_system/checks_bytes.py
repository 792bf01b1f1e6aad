"""Bad bytes on every side: from clients, from memcacheds, from peers, in the log, at the admin endpoint.

Whatever comes, a proxy answers or closes, lives, keeps its memory, and serves the others meanwhile. Each fuzz has a budget in
seconds and a seed; `python3 -m meridian_system.suite --only fuzz --budget 3600 --seed N` goes on for an hour.
"""

from __future__ import annotations

import random
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path

from meridian_system.binary_packets import NEVER, Request
from meridian_system.client import Client, ConnectionLost, Endpoint, retrieve, store
from meridian_system.checks_strangers import PREAMBLE
from meridian_system.commands import RandomCommands
from meridian_system.federation import Federation, Proxy
from meridian_system.processes import wait_until
from meridian_system.report import Failed, require
from meridian_system.workers import Crew, Stop
from meridian_system.world import World

_GROWTH_MEGABYTES_MAX = 256
"""What a proxy may grow by under a fuzz: its buffers are bounded."""


def resident_megabytes(proxy: Proxy) -> float:
    """Memory that a proxy's process holds."""
    assert proxy.process is not None
    for line in Path(f"/proc/{proxy.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise Failed(f"{proxy.name} has no memory: it is gone")


def require_healthy(federation: Federation, proxy: Proxy, marker: bytes) -> None:
    """The proxy lives, and serves a new client at once."""
    assert proxy.process is not None
    proxy.process.expect_alive()
    with Client(proxy.clients, timeout=3.0) as client:
        begun = time.monotonic()
        require(client.set(b"healthy", marker) == b"STORED", f"{proxy.name} does not store after the fuzz")
        value = client.get(b"healthy")
        require(value is not None and value.data == marker, f"{proxy.name} does not serve what was stored after the fuzz")
        require(time.monotonic() - begun < 1.0, f"{proxy.name} is slow after the fuzz")


# From clients


def _mutated(source: random.Random, text: bytes) -> bytes:
    data = bytearray(text)
    for _ in range(source.randint(1, 6)):
        where = source.randrange(len(data) + 1)
        kind = source.randrange(5)
        if kind == 0 and data:
            data[where % len(data)] = source.randrange(256)
        elif kind == 1:
            data[where:where] = source.randbytes(source.choice((1, 3, 200)))
        elif kind == 2:
            del data[where : where + source.randint(1, 20)]
        elif kind == 3:
            data[where:where] = source.choice(
                (b"\r\n", b"\x00", b" ", b"noreply", b"99999999999999999999", b"-1", b"\x80" + bytes(23))
            )
        else:
            data[where:where] = data[: source.randint(0, 200)]
    return bytes(data)


def _conversation(source: random.Random, commands: RandomCommands) -> list[bytes]:
    """What one client sends, in pieces: text, or packets, most of them spoiled."""
    if source.random() < 0.5:
        pieces = [commands.piece() for _ in range(source.randint(1, 8))]
    else:
        pieces = [_packet(source) for _ in range(source.randint(1, 12))]
    pieces = [piece if source.random() < 0.9 else source.randbytes(source.choice((1, 100, 5_000))) for piece in pieces]
    # A first byte that was spoiled decides the protocol of all that follows: that is wanted too, though not always.
    return [piece if source.random() < 0.3 else _mutated(source, piece) for piece in pieces]


def _packet(source: random.Random) -> bytes:
    """A binary packet: of any opcode and shape, its lengths and CAS value right or not."""
    key = source.choice((b"k", b"a b", b"k" * 250, b"k" * 251, b"", b"\r\n", source.randbytes(20)))
    shapes = (b"", struct.pack(">I", 60), struct.pack(">II", 5, 60), struct.pack(">QQI", 1, 7, source.choice((0, NEVER))))
    value = b"v" * source.choice((0, 0, 1, 100, 5_000))
    lies = source.random() < 0.3
    lengths = (0, 1, 24, 250, 251, 65_535)
    packet = Request(
        source.randrange(0x28) if source.random() < 0.9 else source.randrange(256),
        key,
        source.choice(shapes),
        value,
        cas=source.choice((0, 0, 0, 1, 2**64 - 1)),
        vbucket=source.choice((0, 0, 0, 7)),
        data_type=source.choice((0, 0, 0, 1)),
        key_length=source.choice(lengths) if lies else None,
        extras_length=source.choice((0, 4, 8, 20, 255)) if lies and source.random() < 0.5 else None,
        body_length=source.choice((0, 3, 100, 2_000_000, 2**31, 2**32 - 1)) if lies and source.random() < 0.5 else None,
    )
    return packet.encode(source.randrange(2**32), 0)


def fuzz_clients(world: World, seed: int, budget: float) -> str:
    """Mutated and random text and packets from many connections."""
    with world.federation(f"fuzz-clients-{seed}") as federation:
        proxy = federation.north.proxies["n1"]
        before = resident_megabytes(proxy)
        source = random.Random(seed)
        commands = RandomCommands(seed)
        deadline = time.monotonic() + budget
        connections, sent, packets = 0, 0, 0
        while time.monotonic() < deadline:
            connections += 1
            client = proxy.clients.connect(3.0)
            with client:
                client.settimeout(0.02)
                try:
                    for piece in _conversation(source, commands):
                        packets += piece[:1] == b"\x80"
                        client.sendall(piece)
                        sent += len(piece)
                        if source.random() < 0.5:
                            client.recv(1 << 16)
                    if source.random() < 0.3:
                        client.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            if connections % 50 == 0:
                require_healthy(federation, proxy, b"%d" % connections)
        require_healthy(federation, proxy, b"end")
        federation.wait_quiet()
        grown = resident_megabytes(proxy) - before
        require(grown < _GROWTH_MEGABYTES_MAX, f"{proxy.name} grew by {grown:.0f} MB over {connections} bad connections")
        require(packets * 4 > connections, f"only {packets} packets among {connections} connections")
        return f"{connections} connections, {sent / 1e6:.1f} MB of mutated commands and {packets} packets, seed {seed}; the proxy lives, serves, grew by {grown:.0f} MB"


def slow_reader(world: World) -> str:
    """A client that asks for much and reads nothing is paused and closed; nobody else notices."""
    with world.federation("slow-reader") as federation:
        proxy = federation.north.proxies["n1"]
        with federation.client(federation.north) as client:
            require(client.set(b"large", b"L" * 1_000_000) == b"STORED", "storing 1 MB failed")
        before = resident_megabytes(proxy)
        greedy = [proxy.clients.connect(3.0) for _ in range(8)]
        longest = 0.0
        peak = before
        for reader in greedy:
            reader.setblocking(False)
        deadline = time.monotonic() + 6.0
        with federation.client(federation.north) as client:
            while time.monotonic() < deadline:
                for reader in greedy:
                    try:
                        reader.send(b"get large\r\n" * 50)
                    except OSError:
                        pass
                begun = time.monotonic()
                require(client.set(b"other", b"x") == b"STORED", "another client's set failed")
                longest = max(longest, time.monotonic() - begun)
                peak = max(peak, resident_megabytes(proxy))
                time.sleep(0.05)
        for reader in greedy:
            reader.close()
        require(peak - before < _GROWTH_MEGABYTES_MAX, f"the proxy grew by {peak - before:.0f} MB for clients that do not read")
        require(longest < 1.0, f"another client waited {longest:.2f} s")
        require_healthy(federation, proxy, b"after")
        return f"8 clients asked for 1 MB again and again and read nothing: the proxy grew by {peak - before:.0f} MB, others waited {longest * 1000:.0f} ms at most"


# From memcacheds


def _fake_memcached(endpoint: Endpoint, seed: int, mode: str) -> Callable[[Stop], int]:
    """A memcached that answers nonsense; the result is how often it was asked."""

    def job(stop: Stop) -> int:
        source = random.Random(seed)
        if endpoint.namespace is not None:
            with endpoint.namespace.inside():
                listener = socket.socket()
        else:
            listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((endpoint.host, endpoint.port))
        listener.listen(64)
        listener.setblocking(False)
        peers: list[socket.socket] = []
        asked = 0
        while not stop:
            try:
                peer, _ = listener.accept()
                peer.setblocking(False)
                peers.append(peer)
            except OSError:
                pass
            for peer in list(peers):
                try:
                    data = peer.recv(1 << 16)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                answer = None if not data else _nonsense(source, mode, data)
                asked += 1
                try:
                    if answer is None:
                        raise OSError
                    if answer:
                        peer.send(answer)
                except OSError:
                    peer.close()
                    peers.remove(peer)
            time.sleep(0.002)
        for peer in [listener, *peers]:
            peer.close()
        return asked

    return job


def _nonsense(source: random.Random, mode: str, asked: bytes) -> bytes | None:
    """What a bad memcached answers; None closes the connection, nothing keeps silent."""
    if mode == "silence":
        return b""
    if mode == "closing":
        return None
    if mode == "random bytes":
        return source.randbytes(source.randint(1, 400))
    if mode == "an endless line":
        return b"x" * 60_000
    if mode == "a huge item":
        return b"VALUE k 0 4294967295\r\n" + b"x" * 1_000
    # Replies that exist, to questions that were not asked.
    replies = (b"STORED\r\n", b"END\r\n", b"HD\r\n", b"EN\r\n", b"VA 3 t5\r\nabc\r\n", b"VALUE other 0 1\r\nx\r\nEND\r\n", b"17\r\n", b"ERROR\r\n", b"STAT pid 1\r\n",
               b"VALUE k 0 -1\r\n", b"VA 99999999999999999999\r\n", b"MN\r\n", b"SERVER_ERROR out of memory\r\n", b"\r\n")  # fmt: skip
    return b"".join(source.choice(replies) for _ in range(1 + asked.count(b"\r\n")))


FAKE_MODES = ("silence", "closing", "random bytes", "an endless line", "a huge item", "wrong replies")


def bad_memcached(world: World, seed: int) -> str:
    """A primary that answers nonsense: its keys fail or come from the backup, in time; the rest is not disturbed."""
    with world.federation("bad-memcached") as federation:
        north = federation.north
        proxy = north.proxies["n1"]
        keys = [b"key:%d" % index for index in range(60)]
        with Client(proxy.clients) as client:
            for key in keys:
                require(client.set(key, b"good") == b"STORED", f"set {key.decode()} failed")
        federation.wait_quiet()
        victim = north.primaries["cache1"]
        with victim.client() as direct:
            on_victim = [key for key in keys if direct.get(key) is not None]
        elsewhere = [key for key in keys if key not in on_victim]
        shown: list[str] = []
        for mode in FAKE_MODES:
            victim.kill()
            crew = Crew([_fake_memcached(victim.endpoint, seed, mode)], 1)
            wait_until(lambda: victim.endpoint.open, "the fake memcached to listen", 5.0)
            longest, errors, asked = 0.0, 0, 0
            deadline = time.monotonic() + 4.0
            while time.monotonic() < deadline:
                for key in (random.choice(on_victim), random.choice(elsewhere)):
                    for request in (retrieve(b"get " + key), store("set", key, b"good")):
                        begun = time.monotonic()
                        try:
                            with Client(proxy.clients, timeout=8.0) as client:
                                reply = client.one(request)
                        except ConnectionLost as lost:
                            raise Failed(f"a memcached of {mode}: a client of {key.decode()} was left alone: {lost}") from None
                        longest = max(longest, time.monotonic() - begun)
                        asked += 1
                        errors += reply.is_error
                        require(
                            key in on_victim or not reply.is_error,
                            f"a memcached of {mode} disturbs {key.decode()}, which is elsewhere: {reply.line!r}",
                        )
                        require(
                            all(value.key == key and value.data == b"good" for value in reply.values),
                            f"a memcached of {mode}: get {key.decode()} gave {reply.values}",
                        )
            crew.finish()
            require(longest < 3.5, f"a memcached of {mode} made a client wait {longest:.1f} s")
            shown.append(f"{mode}: {asked} requests, {errors} errors, longest {longest * 1000:.0f} ms")
            victim.start()
            assert proxy.process is not None
            proxy.process.expect_alive()

            def good() -> bool:
                with Client(proxy.clients) as client:
                    replies = client.ask([store("set", key, b"good") for key in keys])
                    return all(reply.line == b"STORED" for reply in replies)

            wait_until(good, f"every key to be stored again after a memcached of {mode}", 15.0)
        return "; ".join(shown)


# From peers


def fuzz_peers(world: World, seed: int, budget: float) -> str:
    """A peer with good papers that sends frames of nonsense, and strangers that send anything."""
    with world.federation(f"fuzz-peers-{seed}") as federation:
        proxy = federation.north.proxies["n1"]
        source = random.Random(seed)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(federation.certificates / "s2.pem", federation.certificates / "s2.key")
        before = resident_megabytes(proxy)
        deadline = time.monotonic() + budget
        connections = 0
        while time.monotonic() < deadline:
            connections += 1
            plain = _peer_socket(federation, proxy)
            with plain:
                try:
                    if source.random() < 0.3:
                        plain.sendall(source.randbytes(source.randint(1, 3_000)))
                        plain.settimeout(0.1)
                        plain.recv(4096)
                        continue
                    plain.sendall(PREAMBLE)
                    with context.wrap_socket(plain) as peer:
                        peer.settimeout(0.2)
                        greeting = b""
                        try:
                            greeting = peer.recv(1 << 16)
                        except OSError:
                            pass
                        # What a proxy says first, said back to it with a few bytes changed, is closer to right than noise.
                        for _ in range(source.randint(1, 5)):
                            peer.sendall(_mutated(source, greeting) if greeting and source.random() < 0.7 else _frame(source))
                        peer.settimeout(0.1)
                        peer.recv(4096)
                except (OSError, ssl.SSLError):
                    pass
            if connections % 20 == 0:
                require_healthy(federation, proxy, b"%d" % connections)
        require_healthy(federation, proxy, b"end")
        grown = resident_megabytes(proxy) - before
        require(grown < _GROWTH_MEGABYTES_MAX, f"{proxy.name} grew by {grown:.0f} MB")
        federation.wait_streaming()
        federation.wait_quiet()
        return f"{connections} connections to a replication port, seed {seed}; the proxy lives, streams, grew by {grown:.0f} MB"


def _frame(source: random.Random) -> bytes:
    length = source.choice((0, 1, 7, 100, 2**16, 2**24, 2**31 - 1, 2**32 - 1))
    head = length.to_bytes(4, "little") if source.random() < 0.5 else length.to_bytes(4, "big")
    return head + source.randbytes(min(length, 4_000))


def _peer_socket(federation: Federation, proxy: Proxy) -> socket.socket:
    endpoint = Endpoint(proxy.replication.host, proxy.replication.port, federation.south.namespace)
    return endpoint.connect(3.0)


def fuzz_admin(world: World, seed: int) -> str:
    """Bad HTTP at the admin endpoint."""
    with world.federation("fuzz-admin") as federation:
        proxy = federation.north.proxies["n1"]
        source = random.Random(seed)
        requests = 0
        for _ in range(150):
            text = source.choice((b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /status HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"GET /../../etc/passwd HTTP/1.0\r\n\r\n",
                                  b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", source.randbytes(500)))  # fmt: skip
            connection = proxy.admin.connect(3.0)
            with connection:
                connection.settimeout(0.05)
                try:
                    connection.sendall(_mutated(source, text) if source.random() < 0.7 else text)
                    answer = connection.recv(1 << 16)
                    require(b"root:" not in answer, "the admin endpoint serves files")
                except OSError:
                    pass
            requests += 1
        require_healthy(federation, proxy, b"admin")
        require(proxy.status().serving, "the admin endpoint does not answer afterwards")
        return f"{requests} bad requests, seed {seed}; the endpoint answers, the proxy serves"


# In the log


DAMAGED_LOG_EXIT = 65


def _segments(proxy: Proxy) -> list[Path]:
    """The write log's files that hold anything, the fullest first."""
    files = [path for path in proxy.folder.rglob("*") if path.is_file() and path.stat().st_size > 4_096]
    return sorted(files, key=_filled, reverse=True)


def _filled(path: Path) -> int:
    """Bytes up to the last that is not zero (segments are made at full length)."""
    return len(path.read_bytes().rstrip(b"\0"))


def damaged_log(world: World, seed: int) -> str:
    """A torn tail is cut off; damage before it is an error that names the file, and is never taken for a tail."""
    with world.federation("damaged-log") as federation:
        if world.wire is not None:
            world.wire.cut()  # So that the log keeps what it holds.
        proxy = federation.north.proxies["n1"]
        with Client(proxy.clients) as client:
            for index in range(3_000):
                require(client.set(b"log:%d" % index, b"v" * 300) == b"STORED", "set failed")
            # Damage is told from a torn tail by what later records know to be on the disk: give it time to get there.
            time.sleep(1.5)
            for index in range(20):
                client.set(b"late:%d" % index, b"v")
            time.sleep(0.5)
        assert proxy.process is not None
        proxy.process.kill()
        segment = _segments(proxy)[0]
        whole = segment.read_bytes()
        filled = _filled(segment)
        require(filled > 60_000, f"the fullest segment {segment} holds only {filled} bytes")
        source = random.Random(seed)
        refused = 0
        for where in (200, filled // 3, source.randrange(4_096, filled - 20_000)):
            damaged = bytearray(whole)
            damaged[where] ^= 0x40
            segment.write_bytes(damaged)
            since = proxy.log_size
            federation.start_proxy(proxy, wait=False)
            process = proxy.process
            wait_until(lambda: not process.alive or proxy.serving, "n1 to refuse a damaged log", 10.0)
            require(not process.alive, f"n1 serves from a log with a bit flipped at {where} of {filled} bytes of {segment.name}")
            require(
                process.exit_code == DAMAGED_LOG_EXIT,
                f"n1 ended with {process.exit_code} over a damaged log, not {DAMAGED_LOG_EXIT}",
            )
            text = proxy.log_text(since)
            named = re.search(rf"segment {int(segment.stem.split('-')[1])}\b", text) is not None and "lane-" in text
            require(named, f"over damage at {where}, the log does not name the segment of {segment}: {text[-400:]!r}")
            refused += 1
        torn = bytearray(whole)
        torn[filled - 7 :] = bytes(len(torn) - filled + 7)
        segment.write_bytes(torn)
        if world.wire is not None:
            world.wire.heal()
        federation.start_proxy(proxy)
        require_healthy(federation, proxy, b"torn")
        federation.wait_quiet()
        return f"{refused} flipped bits refused, each naming {segment.name}; a torn tail cut off, and the proxy serves"
