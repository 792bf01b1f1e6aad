"""Two complete sites of real processes: memcacheds, proxies, certificates, site files.

    folder/
        federation.yaml north.yaml south.yaml      what an operator writes
        certificates/                              authority, one certificate for each proxy
        n1.log n2.log s1.log s2.log                what the proxies say
        north-cache1.log …                         what the memcacheds say
        n1/ n2/ s1/ s2/                            the proxies' write logs

Each site has two primaries (cache1, cache2), one backup and two proxies. Everything listens on loopback; where each site has
a network of its own (Wire), the replication endpoints are on the wire instead.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meridian_system.admin import Ran, Status, run
from meridian_system.client import Client, ConnectionLost, Endpoint
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.namespaces import NORTH_ADDRESS, SOUTH_ADDRESS, Namespace, Wire
from meridian_system.processes import Process, ProcessDied, Supervisor, wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
CERTIFICATES = REPOSITORY / "Sites" / "certificates"

READY_SECONDS = 20.0
"""How long a proxy may take from start to serving, on a loaded machine."""

FIRST_PORT = 21_000
_LAST_PORT = 32_000
_LOOPBACK = "127.0.0.1"


class Ports:
    """Hands out ports that are free, upwards from a first one; below the range that the kernel uses for clients."""

    def __init__(self, first: int = FIRST_PORT) -> None:
        self._next = first

    def take(self, namespace: Namespace | None, host: str = _LOOPBACK) -> int:
        """The next free port in a network."""
        while self._next < _LAST_PORT:
            port = self._next
            self._next += 1
            if namespace is None:
                probe = socket.socket()
            else:
                with namespace.inside():
                    probe = socket.socket()
            with probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                    return port
                except OSError:
                    continue
        raise OSError(f"no free port below {_LAST_PORT}")


@dataclass
class Proxy:
    """One proxy: its process comes and goes, its name, addresses and folder stay."""

    name: str
    number: int
    clients: Endpoint
    admin: Endpoint
    replication: Endpoint
    folder: Path
    certificate: Path
    key: Path
    log: Path
    process: Process | None = None

    def status(self) -> Status:
        """/status, or ConnectionLost."""
        return Status.of(self.admin)

    @property
    def serving(self) -> bool:
        """Whether the proxy answers and owns its slots."""
        try:
            return self.status().serving
        except ConnectionLost:
            return False

    def log_text(self, since: int = 0) -> str:
        """What the proxy has logged, from a byte offset on."""
        with open(self.log, "rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    @property
    def log_size(self) -> int:
        """Bytes logged so far, to read on from later."""
        return self.log.stat().st_size if self.log.exists() else 0


@dataclass
class Site:
    """One site."""

    name: str
    number: int
    namespace: Namespace | None
    address: str
    config: Path
    primaries: dict[str, Memcached] = field(default_factory=dict)
    backups: dict[str, Memcached] = field(default_factory=dict)
    proxies: dict[str, Proxy] = field(default_factory=dict)

    @property
    def clients(self) -> list[Endpoint]:
        """Where the site's clients may connect."""
        return [proxy.clients for proxy in self.proxies.values()]

    @property
    def memcacheds(self) -> list[Memcached]:
        """All memcached servers of the site."""
        return [*self.primaries.values(), *self.backups.values()]


@dataclass(frozen=True)
class Options:
    """What can be different from one federation to another."""

    loops: int = 2
    megabytes: int = 256
    durability: str = "memory"
    weights: tuple[int, int] = (1, 1)
    backup: bool = True
    settings: str = ""
    """Further lines for both site files."""
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further listeners for clients, by the proxy's name: addresses, or mappings as the site file writes them."""


class Federation:
    """Two sites; make one, `start()` it, use it, `stop()` it."""

    def __init__(
        self,
        folder: Path,
        binaries: Path,
        supervisor: Supervisor,
        *,
        wire: Wire | None = None,
        options: Options = Options(),
        ports: Ports | None = None,
    ) -> None:
        self.folder = folder
        self.binaries = binaries
        self.supervisor = supervisor
        self.wire = wire
        self.options = options
        self.name = "demo"
        self.certificates = folder / "certificates"
        folder.mkdir(parents=True, exist_ok=True)
        ports = ports or Ports()
        # Client ports first: those that people type are the first ones.
        listeners = {
            number: [Endpoint(_LOOPBACK, ports.take(space), space) for _ in (1, 2)] for number, space in self._networks()
        }
        self.north = self._site("north", 1, ports, listeners[1])
        self.south = self._site("south", 2, ports, listeners[2])

    # Layout

    def _networks(self) -> list[tuple[int, Namespace | None]]:
        """Each site's number and network."""
        return [(1, None), (2, None)] if self.wire is None else [(1, self.wire.north), (2, self.wire.south)]

    def _site(self, name: str, number: int, ports: Ports, clients: list[Endpoint]) -> Site:
        namespace = dict(self._networks())[number]
        address = _LOOPBACK
        if self.wire is not None:
            address = NORTH_ADDRESS if number == 1 else SOUTH_ADDRESS
        site = Site(name, number, namespace, address, self.folder / f"{name}.yaml")

        def local() -> Endpoint:
            return Endpoint(_LOOPBACK, ports.take(namespace), namespace)

        for index in (1, 2):
            proxy = f"{name[0]}{index}"
            site.proxies[proxy] = Proxy(
                name=proxy,
                number=index,
                clients=clients[index - 1],
                admin=local(),
                replication=Endpoint(address, ports.take(namespace, address), namespace),
                folder=self.folder / proxy,
                certificate=self.certificates / f"{proxy}.pem",
                key=self.certificates / f"{proxy}.key",
                log=self.folder / f"{proxy}.log",
            )
        user = unprivileged_user(self.wire is not None and self.wire.mapped)

        def memcached(label: str) -> Memcached:
            return Memcached(
                self.supervisor, f"{name}-{label}", local(), self.folder, megabytes=self.options.megabytes, user=user
            )

        site.primaries = {label: memcached(label) for label in ("cache1", "cache2")}
        if self.options.backup:
            site.backups = {"backup1": memcached("backup1")}
        return site

    @property
    def sites(self) -> list[Site]:
        """Both sites."""
        return [self.north, self.south]

    @property
    def proxies(self) -> list[Proxy]:
        """All proxies."""
        return [proxy for site in self.sites for proxy in site.proxies.values()]

    def other(self, site: Site) -> Site:
        """The site that this one is not."""
        return self.south if site is self.north else self.north

    def site_of(self, proxy: Proxy) -> Site:
        """The site that a proxy belongs to."""
        return self.north if proxy.name in self.north.proxies else self.south

    # Files

    def write_files(self) -> None:
        """Site files and certificates."""
        (self.folder / "federation.yaml").write_text(self.federation_yaml())
        for site in self.sites:
            site.config.write_text(self.site_yaml(site))
        if not self.certificates.exists():
            self.certify("authority", str(self.certificates))
            for site in self.sites:
                for proxy in site.proxies:
                    self.certify("proxy", str(self.certificates), self.name, site.name, proxy)

    def certify(self, *arguments: str) -> None:
        """Runs Sites/certificates."""
        subprocess.run([str(CERTIFICATES), *arguments], check=True, stdin=subprocess.DEVNULL)

    def federation_yaml(self, weights: tuple[int, int] | None = None) -> str:
        """The file that all sites share."""
        first, second = weights or self.options.weights
        lines = [
            "# What every site must agree on. The same file, byte for byte, at every site.",
            f"federation: {self.name}",
            "ring:",
            "  hash: ketama",
            "  servers:",
            f"    - {{name: cache1, weight: {first}}}",
            f"    - {{name: cache2, weight: {second}}}",
            "sites:",
        ]
        for site in self.sites:
            lines += [f"  - id: {site.number}", f"    name: {site.name}", "    proxies:"]
            for proxy in site.proxies.values():
                lines.append(
                    f"      - {{id: {proxy.number}, name: {proxy.name}, replication: {_quoted(str(proxy.replication))}}}"
                )
        return "\n".join(lines) + "\n"

    def site_yaml(self, site: Site, *, federation_file: str = "federation.yaml") -> str:
        """The file of one site."""
        lines = [
            f"# What is local to the site {site.name}.",
            f"site: {site.name}",
            f"federation: {federation_file}",
            "servers:",
        ]
        lines += [f"  {label}: {_quoted(str(server.endpoint))}" for label, server in site.primaries.items()]
        if site.backups:
            lines.append("backups:")
            lines += [
                f"  - {{name: {label}, address: {_quoted(str(server.endpoint))}}}" for label, server in site.backups.items()
            ]
        lines.append("proxies:")
        for proxy in site.proxies.values():
            further = self.options.also.get(proxy.name, ())
            lines += [
                f"  - name: {proxy.name}",
                f"    clients: [{', '.join([_quoted(str(proxy.clients)), *map(_listener, further)])}]",
                f"    admin: {_quoted(str(proxy.admin))}",
                f"    folder: {_quoted(str(proxy.folder))}",
                f"    certificate: {_quoted(str(proxy.certificate))}",
                f"    key: {_quoted(str(proxy.key))}",
            ]
        lines += [
            f"authority: {_quoted(str(self.certificates / 'authority.pem'))}",
            f"loops: {self.options.loops}",
            f"durability: {self.options.durability}",
        ]
        lines.append("log-segment: 16MiB")
        if self.options.settings:
            lines.append(self.options.settings)
        return "\n".join(lines) + "\n"

    # Processes

    def start(self) -> None:
        """Writes the files, starts everything, and waits until every proxy serves and every stream streams."""
        self.write_files()
        for site in self.sites:
            for server in site.memcacheds:
                server.start()
        for proxy in self.proxies:
            self.start_proxy(proxy, wait=False)
        for proxy in self.proxies:
            self.wait_serving(proxy)
        self.wait_streaming()

    def start_proxy(self, proxy: Proxy, *, wait: bool = True, config: Path | None = None) -> None:
        """Starts one proxy's process, in its site's network."""
        site = self.site_of(proxy)
        proxy.folder.mkdir(exist_ok=True)
        proxy.process = self.supervisor.start(
            proxy.name,
            [str(self.binaries / "meridiand"), "--config", str(config or site.config), "--proxy", proxy.name],
            proxy.log,
            namespace=site.namespace,
        )
        if wait:
            self.wait_serving(proxy)

    def wait_serving(self, proxy: Proxy, timeout: float = READY_SECONDS) -> float:
        """Waits until a proxy owns its slots; raises ProcessDied when it ends instead."""

        def serves() -> bool:
            if proxy.process is not None:
                proxy.process.expect_alive()
            return proxy.serving

        return wait_until(serves, f"{proxy.name} to serve (see {proxy.log})", timeout)

    def wait_streaming(self, timeout: float = READY_SECONDS) -> float:
        """Waits until every lane streams to every other site."""

        def streams() -> bool:
            try:
                return all(entry.state == "streaming" for proxy in self.proxies for entry in proxy.status().destinations)
            except ConnectionLost:
                return False

        return wait_until(streams, "every stream to stream", timeout)

    def wait_quiet(self, timeout: float = 60.0) -> float:
        """Waits until nothing is on its way from any site to any other; returns the seconds it took.

        Lag zero, on every lane, twice, with no commit in between: what a client sent with noreply may still be on its way
        to its owner when the first look finds nothing.
        """
        begun = time.monotonic()
        before: dict[str, int] | None = None
        found = ""
        while time.monotonic() - begun < timeout:
            try:
                statuses = [proxy.status() for proxy in self.proxies]
            except ConnectionLost as lost:
                found, before = str(lost), None
                time.sleep(0.1)
                continue
            unclear = [entry for status in statuses for entry in status.destinations if not entry.clear]
            committed = {lane: position for status in statuses for lane, position in status.committed.items()}
            if not unclear and committed == before:
                return time.monotonic() - begun
            before = committed if not unclear else None
            found = "; ".join(
                f"{entry.lane}→{entry.site} {entry.state} {entry.records} records {entry.message}" for entry in unclear[:4]
            )
            time.sleep(0.25)
        raise TimeoutError(f"lag did not come to zero within {timeout:.0f} s: {found}")

    def expect_alive(self) -> None:
        """Raises ProcessDied when a proxy or memcached that should run has ended."""
        for proxy in self.proxies:
            if proxy.process is not None:
                proxy.process.expect_alive()

    def expect_alive_but(self, dead: Proxy) -> None:
        """As expect_alive, for all but one."""
        for proxy in self.proxies:
            if proxy is not dead and proxy.process is not None:
                proxy.process.expect_alive()

    def stop(self) -> None:
        """Takes everything down; raises ProcessDied when a proxy did not end in an orderly way."""
        unclean: list[str] = []
        for proxy in self.proxies:
            if proxy.process is not None and proxy.process.alive:
                proxy.process.signal(15)
        for proxy in self.proxies:
            if proxy.process is None:
                continue
            try:
                proxy.process.terminate()
            except ProcessDied as died:
                unclean.append(str(died))
                continue
            if proxy.process.exit_code not in (0, -9):
                unclean.append(f"{proxy.name} ended with {proxy.process.exit_code}:\n{proxy.process.last_words()}")
        for site in self.sites:
            for server in site.memcacheds:
                server.kill()
        if unclean:
            raise ProcessDied("\n".join(unclean))

    # The command line

    def meridian(self, site: Site, *arguments: str, timeout: float = 20.0) -> Ran:
        """Runs `meridian` at a site."""
        return run(self.binaries / "meridian", arguments, site.namespace, timeout)

    def lag(self, site: Site) -> object:
        """`meridian lag --json` at a site."""
        ran = self.meridian(site, "lag", "--config", str(site.config), "--json")
        return json.loads(ran.output)

    def client(self, site: Site, proxy: str | None = None, timeout: float = 5.0) -> Client:
        """A client of a site's proxy, the first one unless named."""
        chosen = site.proxies[proxy] if proxy is not None else next(iter(site.proxies.values()))
        return Client(chosen.clients, timeout)

    def pairs(self) -> Iterator[tuple[Site, Site]]:
        """(from, to), both ways."""
        yield self.north, self.south
        yield self.south, self.north


def _listener(text: str) -> str:
    return text if text.startswith("{") else _quoted(text)


def _quoted(text: str) -> str:
    """A YAML string, whatever is in it."""
    return json.dumps(text)
