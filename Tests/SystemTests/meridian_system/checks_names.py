"""A memcached that is known by name moves: the name means another address, while somebody still answers at the old one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from meridian_system.checks_server_faults import OneSite
from meridian_system.client import Endpoint
from meridian_system.federation import Proxy, Site
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.processes import wait_until
from meridian_system.report import require
from meridian_system.world import World

_NAME = "cache1.meridian.test"
_ELSEWHERE = "127.0.0.2"
_KEYS = [b"named:%d" % index for index in range(300)]
_SECONDS = 45.0
"""Names are looked up every 30 s."""


class _Named(OneSite):
    """The north, whose cache1 has a name; what it means stands in a hosts file that only the proxies see."""

    @property
    def hosts(self) -> Path:
        """Their /etc/hosts."""
        return self.folder / "hosts"

    def point(self, host: str) -> None:
        """The name means this address from now on."""
        # In place: the proxies see this very file.
        with self.hosts.open("w") as file:
            file.write(f"127.0.0.1 localhost\n{host} {_NAME}\n")

    def site_yaml(self, site: Site, *, federation_file: str = "federation.yaml") -> str:
        """With the name instead of the address."""
        text = super().site_yaml(site, federation_file=federation_file)
        endpoint = self.victim.endpoint
        return text.replace(f'"{endpoint}"', f'"{_NAME}:{endpoint.port}"', 1)

    def start_proxy(self, proxy: Proxy, *, wait: bool = True, config: Path | None = None) -> None:
        """In a mount namespace of its own."""
        proxy.folder.mkdir(exist_ok=True)
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        program = [str(self.binaries / "meridiand"), "--config", str(config or self.north.config), "--proxy", proxy.name]
        arguments = ["unshare", "-m", "sh", "-c", script, "sh", str(self.hosts), *program]
        proxy.process = self.supervisor.start(proxy.name, arguments, proxy.log)
        if wait:
            self.wait_serving(proxy)


def check_names(world: World) -> str:
    """Every lane leaves the old memcached, and flushes the new one, which is full of old values, before it asks it anything."""
    if os.geteuid() != 0:
        return "not run: a hosts file of the proxies' own takes root"
    federation = _Named(world.folder / "names", world.binaries, world.supervisor, ports=world.ports)
    old = federation.victim
    endpoint = Endpoint(_ELSEWHERE, old.endpoint.port)
    new = Memcached(world.supervisor, "north-cache1-new", endpoint, federation.folder, user=unprivileged_user())
    federation.point(old.endpoint.host)
    federation.start()
    try:
        with federation.client(federation.north) as client:
            for key in _KEYS:
                require(client.set(key, b"right") == b"STORED", f"set {key.decode()} failed")
        held = [key for key in _KEYS if _has(old, key)]
        require(len(held) > 50, f"cache1 holds only {len(held)} of {len(_KEYS)} keys")
        new.start()
        with new.client() as client:
            for key in _KEYS:
                client.set(key, b"planted")
        begun = time.monotonic()
        federation.point(_ELSEWHERE)
        for proxy in federation.north.proxies.values():
            wait_until(lambda proxy=proxy: _moved(proxy), f"every lane of {proxy.name} to use {_ELSEWHERE}", _SECONDS)  # type: ignore[misc]
        took = time.monotonic() - begun
        time.sleep(1.0)
        for proxy in federation.north.proxies.values():
            with federation.client(federation.north, proxy.name) as client:
                for key in _KEYS:
                    found = client.get(key)
                    require(found is not None and found.data == b"right", f"{key.decode()} through {proxy.name} is {found}")
        before = old.stat("cmd_set")
        with federation.client(federation.north) as client:
            for key in held:
                client.set(key, b"newer")
        require(old.stat("cmd_set") == before, "the old memcached is still written to")
        federation.expect_alive()
        federation.stop()
        return f"{len(federation.north.proxies)} proxies followed {_NAME} to {_ELSEWHERE} within {took:.0f} s; of the {len(_KEYS)} values planted there none was read"
    finally:
        world.supervisor.kill_all()


def _has(server: Memcached, key: bytes) -> bool:
    with server.client() as client:
        return client.get(key) is not None


def _moved(proxy: Proxy) -> bool:
    log = proxy.log_text()
    since = log.find("means another address now")
    lanes = len(proxy.status().lanes)
    return log.count("means another address now") >= lanes and log.count("memcached connected server=cache1", since) >= lanes
