"""What is measured: proxies in front of the same two memcached servers, and a memcached by itself as the ceiling.

                        ┌──▶ meridiand  n1 ──┐
    meridian-load ──────┼──▶ nutcracker    ──┼──▶ cache1, cache2
                        └──▶ memcached "bare"

One subject at a time has load; the others idle meanwhile.

twemproxy and Meridian are told the same servers by the same names, so both place every key alike.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meridian_system.client import Endpoint
from meridian_system.federation import Federation, Options, Ports, Site
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.processes import Process, Supervisor, wait_until

_START_SECONDS = 10.0
_MEMCACHED_MEGABYTES = 512
_CONNECTIONS_MAX = 12_000
"""Clients that a proxy takes."""

MERIDIAN, TWEMPROXY, MEMCACHED = "meridian", "twemproxy", "memcached"


@dataclass(frozen=True)
class Subject:
    """One thing that a load goes to."""

    name: str
    endpoint: Endpoint
    pid: int
    others: Mapping[str, int] = field(default_factory=dict)
    """Further processes whose CPU is told beside it, such as the remote site's proxy."""

    @property
    def pids(self) -> dict[str, int]:
        """All processes whose CPU is accounted."""
        return {self.name: self.pid, **self.others}


class BenchFederation(Federation):
    """One site or two, each with one proxy of one loop and two memcached servers, without backups: what twemproxy has."""

    def __init__(self, folder: Path, binaries: Path, supervisor: Supervisor, ports: Ports, site_count: int, loops: int) -> None:
        settings = f"connections-max: {_CONNECTIONS_MAX}"
        options = Options(loops=loops, megabytes=_MEMCACHED_MEGABYTES, backup=False, settings=settings)
        self._site_count = site_count
        super().__init__(folder, binaries, supervisor, options=options, ports=ports)
        for site in (self.north, self.south):
            site.proxies = dict(list(site.proxies.items())[:1])

    def site_yaml(self, site: Site, *, federation_file: str = "federation.yaml") -> str:
        """The file of one site, with segments of the usual size: the tests' small ones are for trying their ends."""
        lines = super().site_yaml(site, federation_file=federation_file).splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("log-segment:"))

    @property
    def sites(self) -> list[Site]:
        """North, and south if there are two."""
        return [self.north, self.south][: self._site_count]

    def pid(self, site: Site) -> int:
        """The process id of a site's proxy."""
        process = next(iter(site.proxies.values())).process
        assert process is not None
        return process.pid


def _twemproxy_configuration(listen: Endpoint, servers: Mapping[str, Memcached]) -> str:
    lines = [
        "bench:",
        f"  listen: {listen}",
        "  hash: md5",
        "  distribution: ketama",
        "  preconnect: true",
        "  auto_eject_hosts: false",
        "  backlog: 1024",
        "  server_connections: 1",
        "  servers:",
    ]
    lines += [f"    - {server.endpoint}:1 {name}" for name, server in servers.items()]
    return "\n".join(lines) + "\n"


def _start_twemproxy(folder: Path, supervisor: Supervisor, ports: Ports, servers: Mapping[str, Memcached]) -> Subject:
    program = shutil.which("nutcracker", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise FileNotFoundError("there is no nutcracker; Debian's package of that name has it")
    endpoint = Endpoint("127.0.0.1", ports.take(None))
    configuration = folder / "nutcracker.yml"
    configuration.write_text(_twemproxy_configuration(endpoint, servers))
    # Its statistics need a port too; asked for rarely, they cost nothing.
    arguments = [
        program, "-c", str(configuration), "-p", str(folder / "nutcracker.pid"), "-o", str(folder / "nutcracker.log"), "-v", "2",
        "-a", "127.0.0.1", "-s", str(ports.take(None)), "-i", "600000",
    ]  # fmt: skip
    process = supervisor.start(TWEMPROXY, arguments, folder / "nutcracker.out")
    _wait_open(process, endpoint)
    return Subject(TWEMPROXY, endpoint, process.pid)


def _wait_open(process: Process, endpoint: Endpoint) -> None:
    def answers() -> bool:
        process.expect_alive()
        return endpoint.open

    wait_until(answers, f"{process.name} to listen on {endpoint}", _START_SECONDS)


def _start_bare(folder: Path, supervisor: Supervisor, ports: Ports) -> Subject:
    endpoint = Endpoint("127.0.0.1", ports.take(None))
    options = ("-c", str(_CONNECTIONS_MAX))
    server = Memcached(
        supervisor, "bare", endpoint, folder, megabytes=_MEMCACHED_MEGABYTES, user=unprivileged_user(), options=options
    )
    server.start()
    assert server.process is not None
    return Subject(MEMCACHED, endpoint, server.process.pid)


@dataclass
class Stage:
    """Everything that runs while a group of cases is measured."""

    federation: BenchFederation
    subjects: list[Subject]


def _pin(pid: int, core: int) -> None:
    """Puts a process with all its threads on one core."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {core})


@dataclass
class Theatre:
    """Where stages are set up."""

    binaries: Path
    folder: Path
    supervisor: Supervisor
    loops: int = 1
    pinned: bool = False
    ceiling: bool = True
    ports: Ports = field(default_factory=Ports)

    @contextmanager
    def stage(self, name: str, sites: int) -> Iterator[Stage]:
        """Fresh processes for the length of a `with`: a federation of one or two sites, and its peers."""
        folder = self.folder / name
        federation = BenchFederation(folder, self.binaries, self.supervisor, self.ports, sites, self.loops)
        try:
            federation.start()
            yield Stage(federation, self._subjects(federation, folder))
            federation.expect_alive()
            federation.stop()
        finally:
            self.supervisor.kill_all()
            for proxy in federation.proxies:
                shutil.rmtree(proxy.folder, ignore_errors=True)

    def _subjects(self, federation: BenchFederation, folder: Path) -> list[Subject]:
        north = federation.north
        others = {f"meridian at {site.name}": federation.pid(site) for site in federation.sites[1:]}
        subjects = [
            Subject(MERIDIAN, north.clients[0], federation.pid(north), others),
            _start_twemproxy(folder, self.supervisor, self.ports, north.primaries),
        ]
        if self.ceiling:
            subjects.append(_start_bare(folder, self.supervisor, self.ports))
        if self.pinned:
            self._pin_all(federation, subjects)
        return subjects

    @staticmethod
    def _pin_all(federation: BenchFederation, subjects: list[Subject]) -> None:
        """Proxies on core 0; the rest, with the load generator, on core 1."""
        for subject in subjects:
            _pin(subject.pid, 1 if subject.name == MEMCACHED else 0)
            for pid in subject.others.values():
                _pin(pid, 1)
        for site in federation.sites:
            for server in site.memcacheds:
                assert server.process is not None
                _pin(server.process.pid, 1)
