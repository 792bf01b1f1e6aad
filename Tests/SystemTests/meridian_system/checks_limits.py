"""How many clients, as whom, and through which door: connections-max, open files, idle clients, unix sockets, IPv6, privileges."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import stat
import time
from pathlib import Path

from meridian_system.checks_bytes import require_healthy
from meridian_system.client import Client, ConnectionLost, Endpoint
from meridian_system.crowd import Crowd, allow_files
from meridian_system.federation import Federation, Options, Proxy
from meridian_system.processes import Process, wait_until
from meridian_system.report import Failed, require
from meridian_system.world import World

_TOO_MANY = b"SERVER_ERROR Too many open connections\r\n"
_PLACES = 30


def check_connections_max(world: World) -> str:
    """Past connections-max a client is told so and closed, or waits, as configured; in memcached's words."""
    reference = world.memcached("connections-max-reference", "-c", "40", "-o", "maxconns_fast")
    try:
        with Crowd(reference.endpoint, 80) as crowd:
            crowd.run(lambda: any(member.input for member in crowd.members), 5.0)
            told = {bytes(member.input) for member in crowd.members if member.input}
        require(len(told) == 1, f"memcached says {told} to one client too many")
        words = told.pop().split(b" ", 1)[1]
        require(_TOO_MANY.endswith(words), f"memcached's words are {words!r}")
    finally:
        reference.kill()
    return f"{_refused(world)}; {_waiting(world)}"


def _refused(world: World) -> str:
    with world.federation("refused", Options(loops=world.loops, settings=f"connections-max: {_PLACES}")) as federation:
        endpoint = federation.north.proxies["n1"].clients
        with Crowd(endpoint, _PLACES) as within:
            require(within.ask(b"mn\r\n", b"MN\r\n") == _PLACES, "not all of connections-max are served")
            with Crowd(endpoint, 20) as beyond:
                beyond.run(lambda: len(beyond.ended) == 20, 5.0)
                told = sum(bytes(member.input) == _TOO_MANY for member in beyond.members)
                require(told == 20 and len(beyond.ended) == 20, f"{told} of 20 clients too many were told so")
            within.members.pop().socket.close()
            _served_soon(endpoint)
            require(within.ask(b"mn\r\n", b"MN\r\n") == _PLACES - 1, "those who were there first were disturbed")
            wait_until(lambda: int(_stats(endpoint)["rejected_connections"]) >= 20, "rejected_connections to be 20", 3.0)
            shown = _stats(endpoint)["max_connections"]
            require(shown == str(_PLACES), f"max_connections is {shown}")
        return f"{_PLACES} clients served, 20 more told {_TOO_MANY.decode().strip()!r}"


def _waiting(world: World) -> str:
    settings = f"connections-max: {_PLACES}\nconnections-over: wait"
    with world.federation("waiting", Options(loops=world.loops, settings=settings)) as federation:
        endpoint = federation.north.proxies["n1"].clients
        with Crowd(endpoint, _PLACES) as within:
            # Each has its place before the next come: the loops' queues know nothing of each other.
            require(within.ask(b"mn\r\n", b"MN\r\n") == _PLACES, "not all of connections-max are served")
            beyond = Crowd(endpoint, 10)
            for member in beyond.members:
                member.send(b"mn\r\n")
            beyond.run(lambda: False, 1.0)
            early = sum(bool(member.input or member.ended) for member in beyond.members)
            require(early == 0, f"{early} of 10 clients too many did not have to wait")
            for _ in range(10):
                within.members.pop().socket.close()
            done = beyond.run(lambda: all(bytes(member.input) == b"MN\r\n" for member in beyond.members), 5.0)
            require(done, "clients that waited were not served when others had left")
            require(within.ask(b"mn\r\n", b"MN\r\n") == _PLACES - 10, "those who were there first were disturbed")
            beyond.close()
        return "or 10 waited until others had left"


def _served_soon(endpoint: Endpoint) -> None:
    wait_until(lambda: _stored(endpoint), "a new client to be served", 5.0)


def _stats(endpoint: Endpoint) -> dict[str, str]:
    found: dict[str, str] = {}

    def asked() -> bool:
        try:
            with Client(endpoint, timeout=2.0) as client:
                found.update({str(name): str(value) for name, value in client.stats().items()})
                return "pid" in found
        except ConnectionLost:
            return False

    wait_until(asked, "stats to be answered", 5.0)
    return found


# Open files


_FILES = 440


def check_open_files(world: World) -> str:
    """With few open files allowed, clients never take those with which memcached is reached again, and the log says what to do."""
    allow_files(2_000)
    with world.federation("open-files", Options(loops=2)) as federation:
        proxy = federation.north.proxies["n1"]
        # Nobody may not raise the limit again, as root could.
        process = _restart_as_nobody(federation, proxy, ["prlimit", f"--nofile={_FILES}:{_FILES}"])
        line = next((text for text in proxy.log_text().splitlines() if "clients at a time" in text), "")
        require(f"the limit on open files is {_FILES}" in line and "LimitNOFILE=" in line, f"the log says {line!r}")
        places = int(line.split("only ")[1].split(" ")[0])
        require(0 < places < _FILES - 200, f"{places} clients of {_FILES} open files leave no reserve")
        with Crowd(proxy.clients, places + 200) as crowd:
            crowd.run(lambda: len(crowd.ended) >= 200, 5.0)
            told = sum(bytes(member.input) == _TOO_MANY for member in crowd.members)
            require(told == 200, f"{told} of 200 clients too many were told so")
            crowd.members = [member for member in crowd.members if not member.ended]
            require(crowd.ask(b"mn\r\n", b"MN\r\n") == places, "not all who have a place are served")
            for server in federation.north.memcacheds:
                server.kill()
                server.start()
            member = crowd.members[0]

            def stored() -> bool:
                member.input.clear()
                member.send(b"set back 0 0 1\r\nx\r\n")
                crowd.run(lambda: member.input.endswith(b"\r\n"), 2.0)
                return bytes(member.input) == b"STORED\r\n"

            wait_until(stored, "memcached to be reached again while every place is taken", 10.0)
        process.expect_alive()
        return f"{_FILES} open files: {places} clients served, 200 told that there are too many, memcached reached again meanwhile"


_ADMIN_FILES = 700
_ADMIN_IDLE = 900
_ADMIN_LOG_BYTES_MAX = 4_000
"""What may be logged meanwhile: that memcached went and came back."""


def check_admin_crowd(world: World) -> str:
    """More idle connections to the admin endpoint than there are open files: clients and memcached are served, and so is who asks there."""
    allow_files(2_000)
    with world.federation("admin-crowd", Options(loops=2)) as federation:
        proxy = federation.north.proxies["n1"]
        process = _restart_as_nobody(federation, proxy, ["prlimit", f"--nofile={_ADMIN_FILES}:{_ADMIN_FILES}"])
        since = proxy.log_size
        with Crowd(proxy.admin, _ADMIN_IDLE) as crowd:
            begun = time.monotonic()
            require(proxy.status().serving, "the admin endpoint says that the proxy does not serve")
            waited = time.monotonic() - begun
            for server in federation.north.memcacheds:
                server.kill()
                server.start()
            wait_until(lambda: _stored(proxy.clients), "memcached to be reached again", 10.0)
            crowd.run(lambda: False, 0.5)
            taken = len(os.listdir(f"/proc/{process.pid}/fd"))
            stayed = _ADMIN_IDLE - len(crowd.ended)
            require(0 < stayed < 64, f"{stayed} of {_ADMIN_IDLE} idle connections to the admin endpoint have stayed")
            require(taken < 200, f"the proxy has {taken} open files")
            require(proxy.status().serving, "the admin endpoint does not answer any more")
        process.expect_alive()
        written = proxy.log_size - since
        require(written < _ADMIN_LOG_BYTES_MAX, f"{written} bytes were logged: {proxy.log_text(since)[:800]}")
        return (
            f"{_ADMIN_FILES} open files, {_ADMIN_IDLE} idle connections to the admin endpoint: {stayed} stay, who asks waits {waited * 1000:.0f} ms, "
            f"memcached is reached again, {taken} files are open, {written} bytes logged"
        )


def _stored(endpoint: Endpoint) -> bool:
    try:
        with Client(endpoint, timeout=2.0) as client:
            return client.set(b"back", b"x") == b"STORED"
    except ConnectionLost:
        return False


def _restart_as_nobody(federation: Federation, proxy: Proxy, prefix: list[str]) -> Process:
    """The proxy anew, behind a command; as nobody where this script is root, so that it cannot raise limits."""
    assert proxy.process is not None
    proxy.process.terminate()
    site = federation.site_of(proxy)
    user = "nobody" if _may_become(federation) else None
    if user is not None:
        _give_to(federation, proxy, user)
    proxy.process = federation.supervisor.start(
        proxy.name,
        [*prefix, str(_reachable(federation)), "--config", str(site.config), "--proxy", proxy.name],
        proxy.log, namespace=site.namespace, user=user,
    )  # fmt: skip
    federation.wait_serving(proxy)
    return proxy.process


def _may_become(federation: Federation) -> bool:
    """Whether this script is root, and not only within a namespace of its own."""
    return os.geteuid() == 0 and not (federation.wire is not None and federation.wire.mapped)


def _give_to(federation: Federation, proxy: Proxy, user: str) -> None:
    """What a proxy needs of the file system belongs to a user."""
    entry = pwd.getpwnam(user)
    for folder in [federation.folder, *federation.folder.parents]:
        if folder.stat().st_uid == os.geteuid() and str(folder) != "/":
            folder.chmod(folder.stat().st_mode | 0o011)
    for top in (proxy.folder, federation.certificates):
        os.chown(top, entry.pw_uid, entry.pw_gid)
        for path in top.rglob("*"):
            os.chown(path, entry.pw_uid, entry.pw_gid)
    for path in federation.folder.glob("*.yaml"):
        path.chmod(0o644)


def _reachable(federation: Federation) -> Path:
    """The daemon where another user can run it: a copy."""
    copy = federation.folder / "meridiand"
    if not copy.exists():
        shutil.copy(federation.binaries / "meridiand", copy)
        copy.chmod(0o755)
    return copy


# Idle clients


def check_idle(world: World) -> str:
    """Idle clients stay for good by default; with client-idle they are closed, and those that ask something are not."""
    with world.federation("idle", Options(loops=world.loops, settings="times: {client-idle: 2s}")) as federation:
        endpoint = federation.north.proxies["n1"].clients
        with Crowd(endpoint, 20) as idle, Client(endpoint) as busy:
            begun = time.monotonic()
            while len(idle.ended) < 20 and time.monotonic() - begun < 8.0:
                idle.run(lambda: len(idle.ended) == 20, 0.5)
                require(busy.set(b"busy", b"x") == b"STORED", "a busy client was closed")
            lasted = [(member.ended or 0.0) - member.began for member in idle.members]
            require(len(idle.ended) == 20 and min(lasted) > 1.5, f"{len(idle.ended)} of 20 idle clients closed, the first after {min(lasted):.1f} s")
            # The other loops' counts are known a moment later.
            wait_until(lambda: int(_stats(endpoint)["idle_kicks"]) == 20, "idle_kicks to be 20", 3.0)
        return f"20 idle clients closed after {min(lasted):.1f} to {max(lasted):.1f} s, a busy one stayed"


# Doors


def check_doors(world: World) -> str:
    """Many listeners: IPv4, IPv6, unix sockets with a mode and a group; a dead socket's file is replaced, a live one's is not."""
    group = grp.getgrgid(os.getegid()).gr_name
    settings = f'unix-mode: "0620"\nunix-group: {group}'
    with world.federation("doors", Options(loops=world.loops, settings=settings)) as federation:
        proxy = federation.north.proxies["n1"]
        home = proxy.clients.namespace
        paths = [federation.folder / f"clients{number}.sock" for number in (1, 2)]
        doors = [proxy.clients] + [Endpoint("127.0.0.1", world.ports.take(home), home) for _ in range(3)]
        six = Endpoint("::1", world.ports.take(home), home)
        doors_text = [str(door) for door in doors] + [f"unix:{path}" for path in paths]
        if _has_ipv6(six):
            doors_text.append(f"[::1]:{six.port}")
        old = f'clients: ["{proxy.clients}"]'
        text = federation.north.config.read_text()
        require(old in text, "the site file has no such listener")
        listed = ", ".join(f'"{door}"' for door in doors_text)
        federation.north.config.write_text(text.replace(old, f"clients: [{listed}]"))
        assert proxy.process is not None
        proxy.process.terminate()
        # What a killed process leaves: a socket's file without anybody behind it.
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(paths[0]))
        dead.close()
        federation.start_proxy(proxy)
        for door in [*doors, *(Endpoint("", 0, None, str(path)) for path in paths)]:
            with Client(door) as client:
                require(client.set(b"door", b"x") == b"STORED", f"nobody is served at {door}")
        if _has_ipv6(six):
            with Crowd(six, 3) as crowd:
                require(crowd.ask(b"mn\r\n", b"MN\r\n") == 3, "nobody is served over IPv6")
        for path in paths:
            found = path.stat()
            require(stat.S_IMODE(found.st_mode) == 0o620, f"the mode of {path} is {stat.S_IMODE(found.st_mode):o}")
            require(found.st_gid == os.getegid(), f"{path} belongs to group {found.st_gid}")
        proxy.process.terminate()
        require(not any(path.exists() for path in paths), "an orderly end leaves sockets behind")
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            _left_alone(federation, proxy, kind, paths)
        federation.start_proxy(proxy)
        return f"{len(doors_text)} listeners of one proxy" + ("" if _has_ipv6(six) else " (this machine has no IPv6)")


def _left_alone(federation: Federation, proxy: Proxy, kind: socket.SocketKind, paths: list[Path]) -> None:
    """Somebody else listens at the last of the paths: the proxy ends, and leaves that, and nothing of its own."""
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(paths[-1]))
        if kind == socket.SOCK_STREAM:
            other.listen()
        federation.start_proxy(proxy, wait=False)
        assert proxy.process is not None
        process = proxy.process
        wait_until(lambda: not process.alive, "a proxy whose socket is taken to end", 5.0)
        require(process.exit_code == 71 and "another process listens there" in process.last_words(), process.last_words())
        require(paths[-1].exists(), "the other's socket was removed")
        require(not any(path.exists() for path in paths[:-1]), "a start that failed leaves sockets behind")
    paths[-1].unlink()


def _has_ipv6(endpoint: Endpoint) -> bool:
    def bound() -> bool:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            return True

    try:
        if endpoint.namespace is None:
            return bound()
        with endpoint.namespace.inside():
            return bound()
    except OSError:
        return False


# Privileges


def check_privileges(world: World) -> str:
    """Started as root, a proxy with `user:` is that user once it has bound its addresses, for good."""
    with world.federation("privileges", Options(loops=world.loops)) as federation:
        proxy = federation.north.proxies["n1"]
        config = federation.folder / "as-nobody.yaml"
        config.write_text(federation.north.config.read_text() + "\nuser: nobody\n")
        assert proxy.process is not None
        proxy.process.terminate()
        if not _may_become(federation):
            federation.start_proxy(proxy, wait=False, config=config)
            refused = proxy.process
            wait_until(lambda: not refused.alive, "a proxy that cannot become nobody to end", 5.0)
            require(refused.exit_code == 78 and "cannot run as nobody" in refused.last_words(), refused.last_words())
            federation.start_proxy(proxy)
            return "refused to become another user without being root; becoming one takes root, and this is not"
        _give_to(federation, proxy, "nobody")
        # The key is read before: it may stay root's.
        for path in federation.certificates.iterdir():
            os.chown(path, 0, 0)
        federation.start_proxy(proxy, config=config)
        process = proxy.process
        status = _status(process.pid)
        entry = pwd.getpwnam("nobody")
        require(status["Uid"].split() == [str(entry.pw_uid)] * 4, f"its users are {status['Uid']}")
        require(status["Gid"].split() == [str(entry.pw_gid)] * 4, f"its groups are {status['Gid']}")
        require(set(status["Groups"].split()) <= {str(entry.pw_gid)}, f"its further groups are {status['Groups']}")
        for name in ("CapEff", "CapPrm", "CapAmb"):
            require(int(status[name], 16) == 0, f"{name} is {status[name]}")
        require(status["NoNewPrivs"] == "1", "it could gain privileges again")
        threads = {_status(process.pid, thread.name)["Uid"] for thread in Path(f"/proc/{process.pid}/task").iterdir()}
        require(threads == {status["Uid"]}, f"its threads are {threads}")
        require_healthy(federation, proxy, b"nobody")
        owners = {path.stat().st_uid for path in proxy.folder.rglob("*")}
        require(owners == {entry.pw_uid}, f"what it writes belongs to {owners}")
        process.terminate()
        for words, line in (("there is no user 'no-such-user'", "user: no-such-user"), ("that is root", "user: root")):
            config.write_text(federation.north.config.read_text() + f"\n{line}\n")
            federation.start_proxy(proxy, wait=False, config=config)
            refused = proxy.process
            wait_until(lambda refused=refused: not refused.alive, f"a proxy with {line} to end", 5.0)  # type: ignore[misc]
            require(refused.exit_code == 78 and words in refused.last_words(), refused.last_words())
        for path in proxy.folder.rglob("*"):
            os.chown(path, 0, 0)
        os.chown(proxy.folder, 0, 0)
        federation.start_proxy(proxy)
        return "nobody's user, groups and no capabilities, in every thread; its log is nobody's; unknown users and root are refused"


def _status(pid: int, thread: str | None = None) -> dict[str, str]:
    path = Path(f"/proc/{pid}/status" if thread is None else f"/proc/{pid}/task/{thread}/status")
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise Failed(f"process {pid} is gone: {error}") from error
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
