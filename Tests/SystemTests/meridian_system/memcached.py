"""memcached processes, the real thing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from meridian_system.client import Client, Endpoint
from meridian_system.namespaces import Namespace
from meridian_system.processes import Process, Supervisor, wait_until

_START_SECONDS = 5.0


class Memcached:
    """One memcached server: its process comes and goes, its address stays."""

    def __init__(
        self,
        supervisor: Supervisor,
        name: str,
        endpoint: Endpoint,
        folder: Path,
        *,
        megabytes: int = 256,
        user: str | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self._supervisor = supervisor
        self._log = folder / f"{name}.log"
        self._user = user
        self._arguments = [
            memcached_program(), "-l", endpoint.host, "-p", str(endpoint.port), "-U", "0", "-m", str(megabytes), "-t", "2", *options
        ]  # fmt: skip
        self.process: Process | None = None

    def start(self) -> None:
        """Starts the process, empty, and waits until it answers."""
        namespace: Namespace | None = self.endpoint.namespace
        process = self._supervisor.start(self.name, self._arguments, self._log, namespace=namespace, user=self._user)
        self.process = process

        def answers() -> bool:
            process.expect_alive()
            return self.endpoint.open

        wait_until(answers, f"memcached {self.name} to listen on {self.endpoint}", _START_SECONDS)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()

    def client(self) -> Client:
        """A connection that goes around the proxies."""
        return Client(self.endpoint)

    def stat(self, name: str) -> int:
        """One number of `stats`."""
        with self.client() as client:
            return int(client.stats()[name])


def memcached_program() -> str:
    """The path of memcached; Debian's package puts it in /usr/bin."""
    found = shutil.which("memcached", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin")
    if found is None:
        raise FileNotFoundError("there is no memcached; Sites/demo-install installs it")
    return found


def unprivileged_user(mapped: bool = False) -> str | None:
    """The user that memcached runs as: `nobody` when we are root (it refuses to run as root), ourselves otherwise."""
    return "nobody" if os.geteuid() == 0 and not mapped else None
