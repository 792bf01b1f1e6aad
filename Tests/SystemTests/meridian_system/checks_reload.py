"""SIGHUP: the site file is read anew under load, all of it or nothing, and no client notices what does not concern it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from meridian_system import verified_load
from meridian_system.checks_server_faults import OneSite, look_around, one_site, write_static
from meridian_system.client import Client, ConnectionLost, Endpoint
from meridian_system.crowd import Crowd
from meridian_system.federation import Proxy
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.processes import wait_until
from meridian_system.report import require
from meridian_system.verified_load import SHARED_KEYS, Board, Tally, shared_key, shared_value
from meridian_system.workers import Crew
from meridian_system.world import World

_SECONDS = 10.0
_PLACES = 30
_IDLE_SECONDS = 3.5
_DONE = "reload done"
_REFUSED = "nothing has changed, the old configuration stays in use"
_REQUESTS_MIN = 1_000


def _hang_up(proxy: Proxy, words: str) -> str:
    """SIGHUP to one proxy; returns what it logged about it, up to the line with these words."""
    since = proxy.log_size
    assert proxy.process is not None
    proxy.process.signal(signal.SIGHUP)

    def said() -> bool:
        return any("reload" in line and words in line for line in proxy.log_text(since).splitlines())

    try:
        wait_until(said, f"{proxy.name} to log '{words}'", _SECONDS)
    except TimeoutError:
        raise TimeoutError(f"{proxy.name} did not log '{words}', but: {proxy.log_text(since)[-600:]}") from None
    return proxy.log_text(since)


class _Editor:
    """The north's site file, as somebody writes it anew again and again."""

    def __init__(self, world: World, federation: OneSite) -> None:
        self._world = world
        self.path: Path = federation.north.config
        self._whole = self.path.read_text()
        self._namespace = world.wire.north if world.wire is not None else None

    def port(self) -> Endpoint:
        """An address for a listener."""
        return Endpoint("127.0.0.1", self._world.ports.take(self._namespace), self._namespace)

    def write(self, *, listeners: tuple[str, ...] = (), settings: str = "") -> None:
        """The file that the site began with, with further listeners for n1 and further lines."""
        text = self._whole
        if listeners:
            text = text.replace("clients: [", f"clients: [{', '.join(listeners)}, ", 1)
        self.path.write_text(f"{text}{settings}\n")

    def replace(self, old: str, new: str) -> None:
        """Another text, for good."""
        require(old in self._whole, f"the site file has no {old}")
        self._whole = self._whole.replace(old, new)
        self.write()


def _answers(client: Client) -> bool:
    return client.set(b"reload:probe", b"x") == b"STORED"


def _is_let_in(endpoint: Endpoint) -> bool:
    try:
        with Client(endpoint, timeout=2.0) as client:
            return _answers(client)
    except ConnectionLost:
        return False


def _is_free(endpoint: Endpoint) -> bool:
    """Whether nobody listens there."""
    try:
        endpoint.connect(2.0).close()
        return False
    except ConnectionLost:
        return True


def _finish(crew: Crew[Tally]) -> Tally:
    tally = Tally()
    for result in crew.finish():
        tally.add(result)
    return tally


def _require_right(federation: OneSite, tally: Tally) -> None:
    found = [*tally.hangs, *tally.misses, *tally.stale, *tally.wrong]
    (federation.folder / "complaints.txt").write_text("\n".join(found) + "\n")
    require(
        not found,
        f"{len(tally.hangs)} hangs, {len(tally.misses)} misses, {len(tally.stale)} stale, {len(tally.wrong)} wrong: "
        f"{'; '.join(found[:3])}; all in {federation.folder / 'complaints.txt'}",
    )
    require(tally.during >= _REQUESTS_MIN, f"only {tally.during} requests were answered from the first reload on")


def check_reload(world: World) -> str:
    """Listeners come, change and go, limits change, and files with mistakes change nothing, while a load sees no error at all."""
    with one_site(world, "reload") as federation:
        write_static(federation)
        board = Board()
        crew = verified_load.start(federation.north.clients, board, world.seed)
        time.sleep(1.0)
        board.fault_begun.value = time.monotonic()
        editor = _Editor(world, federation)
        proxy = federation.north.proxies["n1"]
        _listeners(editor, proxy)
        _limits(editor, proxy)
        refused = _refusals(editor, proxy, federation.north.backups["backup1"].endpoint)
        # As somebody who is impatient does it: the last file is what counts in the end.
        for _ in range(20):
            assert proxy.process is not None
            proxy.process.signal(signal.SIGHUP)
        editor.write()
        _hang_up(proxy, _DONE)
        time.sleep(1.0)
        tally = _finish(crew)
        look_around(federation, board, tally, gone=False)
        _require_right(federation, tally)
        require(not tally.errors, f"clients saw errors: {tally.errors.most_common(3)}")
        return (
            f"{tally.during} requests from the first SIGHUP on, none with an error, the slowest {tally.longest * 1000:.0f} ms; "
            f"listeners added, changed and removed, limits changed; refused: {', '.join(refused)}"
        )


def _listeners(editor: _Editor, proxy: Proxy) -> None:
    """A listener is added, closed to a network, and removed; who is in stays in."""
    added = editor.port()
    path = editor.path.parent / "added.sock"
    editor.write(listeners=(f'"{added}"', f'"unix:{path}"'))
    log = _hang_up(proxy, _DONE)
    require(f"listener {added} from=none to=open" in log, f"the new listener is not in the log: {log}")
    require(path.is_socket(), "the new unix socket is not there")
    with Client(added, timeout=5.0) as inside:
        require(_answers(inside), "the new listener does not serve")
        editor.write(listeners=(f'{{address: "{added}", allow: [10.99.0.0/16]}}',))
        log = _hang_up(proxy, _DONE)
        require(f"listener {added} from=open to=allow 10.99.0.0/16" in log, f"the change is not in the log: {log}")
        wait_until(lambda: not path.exists(), "the unix socket to be gone", _SECONDS)
        wait_until(lambda: not _is_let_in(added), "strangers to be kept out", _SECONDS)
        require(_answers(inside), "who was in was thrown out by another allow")
        editor.write()
        log = _hang_up(proxy, _DONE)
        require(f"listener {added} from=allow 10.99.0.0/16 to=none" in log, f"the removal is not in the log: {log}")
        wait_until(lambda: _is_free(added), "the listener to be closed", _SECONDS)
        require(_answers(inside), "who was in was thrown out with the listener")


def _limits(editor: _Editor, proxy: Proxy) -> None:
    """Fewer clients, an idle limit, and back."""
    with Client(proxy.clients, timeout=5.0) as lazy:
        require(_answers(lazy), "a client is not served")
        editor.write(settings=f"connections-max: {_PLACES}\ntimes: {{client-idle: 1s}}")
        log = _hang_up(proxy, _DONE)
        require(f"connections-max from=4096 to={_PLACES}" in log and "client-idle from=off to=1s" in log, f"the log says {log}")
        with Crowd(proxy.clients, 2 * _PLACES) as crowd:
            require(crowd.run(lambda: len(crowd.ended) >= _PLACES, 5.0), "the new connections-max does not hold")
            require(any(b"Too many open" in member.input for member in crowd.members), "those too many are not told so")
        time.sleep(_IDLE_SECONDS)
        require(_is_closed(lazy), f"a client that was idle for {_IDLE_SECONDS} s is still there")
    editor.write()
    _hang_up(proxy, _DONE)
    with Crowd(proxy.clients, 2 * _PLACES) as crowd:
        require(crowd.ask(b"mn\r\n", b"MN\r\n") == 2 * _PLACES, "the old connections-max is not back")


def _is_closed(client: Client) -> bool:
    try:
        client.set(b"reload:idle", b"x")
        return False
    except ConnectionLost:
        return True


def _refusals(editor: _Editor, proxy: Proxy, busy: Endpoint) -> list[str]:
    """Whatever is wrong with one thing, nothing else of the same file is taken."""
    wanted = editor.port()
    listener = f'"{wanted}"'
    cases = {
        "a mistake": ((listener,), "flush: nevr", f"{editor.path}:"),
        "what takes a restart": ((listener,), "times: {heartbeat: 90ms}\nmemory-max: 1GiB", "times: heartbeat from=100ms to=90ms"),
        "a busy port": ((listener, f'"{busy}"'), "memory-max: 1GiB", "another process listens there"),
        "its own port at all addresses": ((listener, f'"0.0.0.0:{proxy.clients.port}"'), "", f"{proxy.clients} is this proxy's own"),
        "an address twice": ((listener, f'"{proxy.admin}"'), "", "is taken on line"),
    }
    for name, (listeners, settings, words) in cases.items():
        editor.write(listeners=listeners, settings=settings)
        log = _hang_up(proxy, _REFUSED)
        require(words in log, f"{name}: the log does not say '{words}', but: {log}")
        require(_is_free(wanted), f"{name}: a listener was opened all the same")
        require(_is_let_in(proxy.clients), f"{name}: the old listener does not serve")
    editor.path.unlink()
    log = _hang_up(proxy, _REFUSED)
    require(str(editor.path) in log, f"a file that is gone is not named: {log}")
    editor.write()
    return [*cases, "a file that is gone"]


def check_moved_server(world: World) -> str:
    """A primary moves to another machine: its address changes under load, and what lay around at the new one is never read."""
    with one_site(world, "reload-moves") as federation:
        static = write_static(federation)
        board = Board()
        crew = verified_load.start(federation.north.clients, board, world.seed)
        time.sleep(2.0)
        editor = _Editor(world, federation)
        old, new = federation.victim, _second_hand(world, federation, editor, static)
        board.fault_begun.value = begun = time.monotonic()
        # As the handbook says: first the old one is stopped, so that no proxy goes on with it when another has left.
        old.kill()
        federation.north.primaries["cache1"] = new
        editor.replace(f'"{old.endpoint}"', f'"{new.endpoint}"')
        for proxy in federation.north.proxies.values():
            log = _hang_up(proxy, _DONE)
            require(f"server cache1 from={old.endpoint} to={new.endpoint}" in log, f"the move is not in {proxy.name}'s log: {log}")
        moved = time.monotonic()
        for proxy in federation.north.proxies.values():
            wait_until(lambda proxy=proxy: _uses(proxy, new.endpoint), f"{proxy.name} to use {new.endpoint}", _SECONDS)  # type: ignore[misc]
        time.sleep(5.0)
        held = new.stat("cmd_set")
        tally = _finish(crew)
        time.sleep(0.5)  # What the backup is sent behind the answer.
        look_around(federation, board, tally, gone=False)
        _require_right(federation, tally)
        foreign = [text for text in tally.errors if "cache1" not in text]
        require(not foreign, f"the move cost errors that have nothing to do with it: {foreign}")
        require(not tally.errors or tally.last_error < moved + 2.0, "errors went on when the server had moved")
        require(held > 100, f"the new server was sent only {held} values")
        return (
            f"{tally.during} requests meanwhile, {tally.errors.total()} errors within {max(0.0, tally.last_error - begun):.2f} s of stopping "
            f"the old one, none stale, wrong or lost; nothing that lay on the new one was read"
        )


def _second_hand(world: World, federation: OneSite, editor: _Editor, static: list[bytes]) -> Memcached:
    """A memcached that is not empty: old and invented values under the keys that are read."""
    user = unprivileged_user(world.wire is not None and world.wire.mapped)
    server = Memcached(federation.supervisor, "north-cache1-moved", editor.port(), federation.folder, user=user)
    server.start()
    with server.client() as client:
        for key in static:
            client.set(key, b"invented")
        for index in range(SHARED_KEYS):
            client.set(shared_key(index), shared_value(index, 1))
    return server


def _uses(proxy: Proxy, endpoint: Endpoint) -> bool:
    """Whether every lane of a proxy is connected to a server at this address."""
    log = proxy.log_text()
    since = log.find(f"to={endpoint}")
    return since >= 0 and log.count("memcached connected server=cache1", since) >= 2
