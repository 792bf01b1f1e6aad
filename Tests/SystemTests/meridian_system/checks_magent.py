"""`meridian magent`: magent's flags and placement on real memcacheds, against what the real magent chose.

The vectors (Tests/RingTests/Vectors) were recorded from the running magent with servers at the addresses below, so the memcacheds
here listen at the very same ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meridian_system import admin
from meridian_system.client import Client, ConnectionLost, Endpoint, retrieve, store
from meridian_system.federation import REPOSITORY
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.namespaces import Namespace
from meridian_system.processes import Process, wait_until
from meridian_system.report import require
from meridian_system.world import World

VECTORS = REPOSITORY / "Tests" / "RingTests" / "Vectors"
ADDRESSES = (("127.0.0.2", 11211), ("127.0.0.3", 11211), ("127.0.0.4", 11212))
"""magent's servers when the vectors were recorded."""

USAGE_EXIT = 64
SYSTEM_EXIT = 71
CONFIGURATION_EXIT = 78
_KEYS_PER_PIPELINE = 50
"""Fewer than the copies that a lane makes at a time: a key whose copy is put off is copied after a pause of ten seconds."""
_SECONDS = 20.0


def vector(name: str) -> list[tuple[bytes, int]]:
    """Each key, once, with the index of the server that the real program sent it to."""
    lines = (VECTORS / name).read_bytes().splitlines()
    placed = {key: int(index) for key, _, index in (line.rpartition(b"\t") for line in lines)}
    require(len(lines) == 2_511 and len(placed) == 2_510, f"{name} has {len(placed)} keys on {len(lines)} lines")
    return list(placed.items())


@dataclass
class Farm:
    """Three memcacheds where magent's were, and one at another address."""

    world: World
    folder: Path
    namespace: Namespace | None
    three: list[Memcached]
    other: Memcached

    @property
    def all(self) -> list[Memcached]:
        """All four."""
        return [*self.three, self.other]

    def empty(self) -> None:
        """Throws away what they hold."""
        for server in self.all:
            with server.client() as client:
                client.send(b"flush_all\r\n")
                require(client.read_line() == b"OK", f"{server.name} is not flushed")

    def wait_held_twice(self, keys: list[bytes]) -> None:
        """Waits until there are two items for each key."""
        wait_until(
            lambda: sum(len(_held(server, keys)) for server in self.all) == 2 * len(keys), "two servers to hold each key", _SECONDS
        )

    def start(self, name: str, *flags: str) -> Magent:
        """`meridian magent -D` until it serves."""
        clients = Endpoint("127.0.0.1", self.world.ports.take(self.namespace), self.namespace)
        folder = self.folder / name
        arguments = [str(self.world.binaries / "meridian"), "magent", "-D", "-v", "-l", clients.host, "-p", str(clients.port)]
        process = self.world.supervisor.start(
            name, [*arguments, "--folder", str(folder), *flags], self.folder / f"{name}.log", namespace=self.namespace
        )
        magent = Magent(process, clients, folder)
        magent.wait_serving()
        return magent


@dataclass
class Magent:
    """One `meridian magent`."""

    process: Process
    clients: Endpoint
    folder: Path

    def wait_serving(self) -> None:
        """Waits until it answers."""

        def serves() -> bool:
            self.process.expect_alive()
            return self.clients.open

        wait_until(serves, "meridian magent to serve", _SECONDS)

    def states(self) -> dict[str, str]:
        """Each server's state, as the admin endpoint tells it."""
        status = admin.Status.of(Endpoint("", 0, path=str(self.folder / "admin.sock")))
        return {server["address"]: server["state"] for lane in status.lanes for server in lane["backends"]}

    def set_all(self, keys: list[bytes], prefix: bytes = b"value of ") -> None:
        """Writes every key, its value made of its name."""
        with Client(self.clients) as client:
            for part in _parts(keys):
                for key, reply in zip(part, client.ask([store("set", key, prefix + key) for key in part]), strict=True):
                    require(reply.line == b"STORED", f"set {key!r} was answered {reply.line!r}")

    def missing(self, keys: list[bytes], prefix: bytes = b"value of ") -> int:
        """How many keys cannot be read, or with another value."""
        return _missing(self.clients, keys, prefix)


def _parts(keys: list[bytes]) -> list[list[bytes]]:
    return [keys[at : at + _KEYS_PER_PIPELINE] for at in range(0, len(keys), _KEYS_PER_PIPELINE)]


def _missing(endpoint: Endpoint, keys: list[bytes], prefix: bytes) -> int:
    missing = 0
    with Client(endpoint) as client:
        for part in _parts(keys):
            for key, reply in zip(part, client.ask([retrieve(b"get " + key) for key in part]), strict=True):
                require(reply.line == b"END", f"get {key!r} was answered {reply.line!r}")
                missing += not (reply.values and reply.values[0].data == prefix + key)
    return missing


def _held(server: Memcached, keys: list[bytes]) -> set[bytes]:
    """Which of the keys a memcached holds, asked around the proxy."""
    found: set[bytes] = set()
    with server.client() as client:
        for part in _parts(keys):
            for key, reply in zip(part, client.ask([retrieve(b"get " + key) for key in part]), strict=True):
                if reply.values:
                    found.add(key)
    return found


@contextlib.contextmanager
def _farm(world: World) -> Iterator[Farm]:
    folder = world.folder / "magent"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    namespace = world.wire.north if world.wire is not None else None
    user = unprivileged_user(world.wire is not None and world.wire.mapped)

    def memcached(name: str, host: str, port: int) -> Memcached:
        return Memcached(world.supervisor, name, Endpoint(host, port, namespace), folder, user=user)

    three = [memcached(f"magent-{index}", host, port) for index, (host, port) in enumerate(ADDRESSES)]
    farm = Farm(world, folder, namespace, three, memcached("magent-other", "127.0.0.1", world.ports.take(namespace)))
    try:
        for server in farm.all:
            require(not server.endpoint.open, f"{server.endpoint} is in use; the vectors were recorded with servers there")
            server.start()
        yield farm
    finally:
        world.supervisor.kill_all()


def check_placement(world: World) -> str:
    """Every key of magent's vectors goes to the memcached that magent chose: primaries and backups, ketama and modulo."""
    three = [f"{host}:{port}" for host, port in ADDRESSES]
    checked = 0
    with _farm(world) as farm:
        other = str(farm.other.endpoint)
        # As in the vectors, the port 11211 is left to the default.
        as_primaries = ["-s", "127.0.0.2", "-s", three[1], "-s", three[2], "-b", other]
        as_backups = ["-s", other, "-b", "127.0.0.2", "-b", three[1], "-b", three[2]]
        for name, flags in (("ketama", ["-k"]), ("modulo", [])):
            expected = vector(f"magent_{name}.tsv")
            keys = [key for key, _ in expected]
            for role, servers in (("primaries", as_primaries), ("backups", as_backups)):
                farm.empty()
                magent = farm.start(f"{name}-{role}", *flags, *servers)
                magent.set_all(keys)
                # The backup is written beside the primary, and the client does not wait for it.
                farm.wait_held_twice(keys)
                for index, server in enumerate(farm.three):
                    right = {key for key, chosen in expected if chosen == index}
                    held = _held(server, keys)
                    require(
                        held == right,
                        f"{name}, {role}: {server.endpoint} lacks {len(right - held)} keys and has {len(held - right)} of others'",
                    )
                require(len(_held(farm.other, keys)) == len(keys), f"{name}, {role}: the lone server does not hold every key")
                checked += len(keys)
                magent.process.terminate()
                require(magent.process.exit_code == 0, f"magent ended with {magent.process.exit_code}")
    return f"{checked} keys, each on the primary and the backup that the real magent chose"


def check_backup(world: World) -> str:
    """A primary dies: its keys are read from the backup, and written. It returns empty: reads hit, and fill it again."""
    expected = vector("magent_ketama.tsv")
    keys = [key for key, _ in expected]
    lost = [key for key, chosen in expected if chosen == 1]
    with _farm(world) as farm:
        three = [word for host, port in ADDRESSES for word in ("-s", f"{host}:{port}")]
        magent = farm.start("backup", "-k", *three, "-b", str(farm.other.endpoint))
        magent.set_all(keys)
        farm.wait_held_twice(keys)
        dead = farm.three[1]
        dead.kill()
        require(magent.missing(keys) == 0, "keys of a dead primary are not all read from the backup")
        rewritten, untouched = lost[::2], lost[1::2]
        magent.set_all(rewritten, b"written meanwhile ")
        require(magent.missing(rewritten, b"written meanwhile ") == 0, "what was written while a primary was dead is not read")
        dead.start()
        wait_until(
            lambda: magent.states()[str(dead.endpoint)] in ("up", "recovering", "repairing"), "the primary to be back", _SECONDS
        )
        require(magent.missing(untouched) == 0, "a primary that came back empty hides what its backup holds")
        require(magent.missing(rewritten, b"written meanwhile ") == 0, "a primary that came back hides younger writes")

        def refilled() -> bool:
            magent.missing(untouched)
            return len(_held(dead, untouched)) == len(untouched)

        wait_until(refilled, "the primary to be filled again by reads", _SECONDS)
        # Both gone: no answer takes long, none is wrong, and exporters see nothing fall.
        with Client(magent.clients, timeout=5.0) as client:
            before = client.stats()
            farm.other.kill()
            dead.kill()
            after = client.stats()
            require(before.keys() == after.keys(), f"stats lack {before.keys() - after.keys()} while servers are down")
            for name in ("total_items", "limit_maxbytes", "evictions"):
                require(int(after[name]) >= int(before[name]), f"{name} fell from {before[name]} to {after[name]}")
            require(client.get(lost[0]) is None, "a key whose servers are both dead is found")
            reply = client.set(lost[0], b"x")
            require(reply.startswith(b"SERVER_ERROR"), f"a set with both servers dead was answered {reply!r}")
            alive = next(key for key, chosen in expected if chosen == 0)
            require(client.get(alive) is not None, "a healthy primary does not answer any more")
        # Killed, it recovers from its log.
        magent.process.kill()
        process = world.supervisor.start(
            "backup-again", magent.process.arguments, farm.folder / "backup-again.log", namespace=farm.namespace
        )
        magent = Magent(process, magent.clients, magent.folder)
        magent.wait_serving()
        others = [key for key, chosen in expected if chosen != 1]
        require(magent.missing(others) == 0, "after kill -9 and a restart keys are missing")
        magent.process.terminate()
        return f"{len(keys)} keys read with a primary dead, {len(untouched)} filled into the empty one again"


def check_start(world: World) -> str:
    """Into the background and back out of the world, without root's rights; wrong flags and a busy port."""
    with _farm(world) as farm:
        program, folder = world.binaries / "meridian", farm.folder
        port = str(world.ports.take(farm.namespace))
        socket = folder / "magent.sock"
        server = ["-s", str(farm.other.endpoint)]
        common = ["magent", "-l", "127.0.0.1", "-p", port, *server]
        # Relative, for the background is elsewhere.
        relative = os.path.relpath(socket)

        for flags, code, words in (
            (["magent"], USAGE_EXIT, "-s ip:port"),
            (["magent", "-s", "nowhere:0"], USAGE_EXIT, "-s nowhere:0"),
            (["magent", "-s", "::1"], USAGE_EXIT, "[::1]"),
            (["magent", "-D", "--folder", "/etc/passwd", *server], CONFIGURATION_EXIT, "/etc/passwd is a file"),
            (["magent", "-p", "0", *server], USAGE_EXIT, "nobody could connect"),
            (["magent", "-D", "-x", *server], USAGE_EXIT, "-x"),
            (["magent", *server, "-b", str(farm.other.endpoint)], USAGE_EXIT, "is a primary, too"),
            (["magent", "-u", "nobody-knows-me", *server], USAGE_EXIT, "nobody-knows-me"),
            (["magent", "-l", "192.0.2.77", "-p", port, *server], SYSTEM_EXIT, "192.0.2.77"),
            (["magent", "-h"], 0, "Keep-alive"),
        ):
            ran = admin.run(program, flags, farm.namespace)
            require(ran.code == code and words in ran.text, f"{' '.join(flags)} ended with {ran.code}: {ran.text[:300]}")

        can_drop = os.geteuid() == 0 and not (world.wire is not None and world.wire.mapped)
        account = ["-u", "nobody"] if can_drop else []
        ran = admin.run(program, [*common, "-f", relative, *account], farm.namespace)
        pid = 0
        try:
            require(ran.code == 0, f"it did not go to the background: {ran.code}: {ran.text[:300]}")
            place = ran.text.partition("--admin unix:")[2].split()[0]
            status = json.loads(admin.fetch(Endpoint("", 0, path=place), "/status"))
            pid = int(status["pid"])
            # At once: it served before the shell had its prompt back.
            with Client(Endpoint("127.0.0.1", int(port), farm.namespace)) as client:
                require(client.set(b"k", b"over TCP") == b"STORED", "set over TCP failed")
            with Client(Endpoint("", 0, path=str(socket))) as client:
                value = client.get(b"k")
                require(value is not None and value.data == b"over TCP", "get over the unix socket failed")
            about = Path(f"/proc/{pid}/status").read_text()
            require(os.getsid(pid) == pid, "it still belongs to the shell's session")
            if can_drop:
                for line in ("Uid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"):
                    require(line in about, f"{line!r} is not in {about}")
                group = about.partition("Gid:\t")[2].split()[0]
                groups = about.partition("Groups:\t")[2].splitlines()[0].split()
                require(groups == [group] and group != "0", f"it kept the groups {groups} besides {group}")
                require(socket.stat().st_uid == 65534, f"its socket belongs to user {socket.stat().st_uid}")
            busy = admin.run(program, common, farm.namespace)
            require(
                busy.code == SYSTEM_EXIT and "already in use" in busy.text, f"a busy port ended with {busy.code}: {busy.text[:300]}"
            )
            require(Path(place).parent.is_dir(), "the private folder is gone too early")
        finally:
            if pid:
                os.kill(pid, signal.SIGTERM)
                wait_until(lambda: not _alive(pid), "the background process to end", 6.0)
        require(not Path(place).parent.exists(), f"{Path(place).parent} is left")
        with contextlib.suppress(ConnectionLost):
            Client(Endpoint("127.0.0.1", int(port), farm.namespace)).close()
            require(False, "somebody still listens")
        return "flags, both sockets, the background" + (", no way back to root" if can_drop else "; dropping rights takes root")


def _alive(pid: int) -> bool:
    """Whether a process that is no child of ours runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
