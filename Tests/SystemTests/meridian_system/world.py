"""Where checks happen: the binaries, a folder, a network, and a fresh federation for whoever asks.

Each check gets a federation of its own, so that none can spoil the next one's; its files and logs stay in a folder named after
it. Where the machine allows it, the sites have networks of their own and the wire between them can be cut.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meridian_system import workers
from meridian_system.client import Endpoint
from meridian_system.federation import Federation, Options, Ports
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.namespaces import NoNamespaces, Wire
from meridian_system.processes import Supervisor


@dataclass
class World:
    """What every check needs."""

    binaries: Path
    folder: Path
    supervisor: Supervisor
    seed: int
    loops: int = 2
    keep: bool = False
    wire: Wire | None = None
    without_wire: str = ""
    """Why there is no wire, if there is none."""
    ports: Ports = field(default_factory=Ports)

    @classmethod
    def make(
        cls, binaries: Path, folder: Path, supervisor: Supervisor, seed: int, *, loops: int = 2, keep: bool = False
    ) -> World:
        """A world with networks of its own if that can be; to be made before there are threads or children."""
        folder.mkdir(parents=True, exist_ok=True)
        # memcached runs as nobody and logs through a file that is open already; the folder itself may stay private.
        world = cls(binaries, folder, supervisor, seed, loops, keep)
        try:
            world.wire = Wire()
        except (NoNamespaces, OSError) as error:
            world.without_wire = str(error)
        return world

    def random(self, salt: int) -> random.Random:
        """Randomness for one check, from the run's seed."""
        return random.Random(self.seed * 101 + salt)

    def memcached(self, name: str, *options: str) -> Memcached:
        """A memcached by itself, where the north's clients are; it is started, and whoever asked kills it."""
        folder = self.folder / "memcached"
        folder.mkdir(exist_ok=True)
        namespace = self.wire.north if self.wire is not None else None
        endpoint = Endpoint("127.0.0.1", self.ports.take(namespace), namespace)
        user = unprivileged_user(self.wire is not None and self.wire.mapped)
        server = Memcached(self.supervisor, name, endpoint, folder, user=user, options=options)
        server.start()
        return server

    @contextlib.contextmanager
    def federation(self, name: str, options: Options | None = None) -> Iterator[Federation]:
        """Two fresh sites for the length of a `with`; every process must be alive and end in an orderly way at its end."""
        if self.wire is not None:
            self.wire.heal()
        folder = self.folder / name
        federation = Federation(
            folder, self.binaries, self.supervisor, wire=self.wire, options=options or Options(loops=self.loops), ports=self.ports
        )
        try:
            federation.start()
            yield federation
            federation.expect_alive()
            federation.stop()
        finally:
            workers.abandon_all()
            self.supervisor.kill_all()
            if not self.keep:
                for proxy in federation.proxies:
                    shutil.rmtree(proxy.folder, ignore_errors=True)
