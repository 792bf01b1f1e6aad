"""What clients see while a memcached is killed, comes back empty, stands still, or is cut off: under load, answer by answer."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meridian_system import verified_load, workers
from meridian_system.checks_faults import BACKEND_TIMEOUT_SECONDS
from meridian_system.client import Client, Endpoint, retrieve, store
from meridian_system.compare import read_server
from meridian_system.federation import Federation, Options, Site
from meridian_system.memcached import Memcached, unprivileged_user
from meridian_system.namespaces import SOUTH_ADDRESS
from meridian_system.processes import wait_until
from meridian_system.report import Failed, require
from meridian_system.verified_load import SHARED_KEYS, Board, Tally, shared_key, shared_number, shared_value, shown
from meridian_system.world import World

LONGEST_WAIT_SECONDS = 3 * BACKEND_TIMEOUT_SECONDS + 1.0
"""A request may wait for its primary, then its backup, and for its turn behind another; a loaded machine adds to that."""
_BEFORE_SECONDS = 2.0
_FAULT_SECONDS = 4.0
_AFTER_SECONDS = 5.0
_RETURN_SECONDS = 20.0
"""A primary that came back must hold all that is read by then."""
_REQUESTS_MIN = 1_000
_KINDS = ("get", "get of 20", "set", "delete", "incr", "append", "gets", "cas", "touch")


class OneSite(Federation):
    """The north by itself: two proxies, two primaries, a backup. cache1 is at the other end of the wire, where there is one."""

    @property
    def sites(self) -> list[Site]:
        """The north."""
        return [self.north]

    def move_victim(self, world: World) -> None:
        """Puts cache1 behind the wire, to be cut off from everybody else's servers by itself."""
        if world.wire is None:
            return
        endpoint = Endpoint(SOUTH_ADDRESS, world.ports.take(world.wire.south, SOUTH_ADDRESS), world.wire.south)
        user = unprivileged_user(world.wire.mapped)
        self.north.primaries["cache1"] = Memcached(self.supervisor, "north-cache1", endpoint, self.folder, user=user)

    @property
    def victim(self) -> Memcached:
        """The primary that fails."""
        return self.north.primaries["cache1"]

    @property
    def backup(self) -> Memcached:
        """Its backup, and that of the other primary."""
        (backup,) = self.north.backups.values()
        return backup


@dataclass(frozen=True)
class _Fault:
    """What happens to cache1, perhaps to its backup too, and what ends it."""

    name: str
    begin: Callable[[World, OneSite], None]
    end: Callable[[World, OneSite], None] | None
    """None: it stays."""
    silent: bool = False
    """The server's silence must cost somebody a wait: else nothing was shown."""
    loses: bool = False
    """Nobody holds any more what the server held: it is missed, and writes meanwhile fail."""


@dataclass
class _Row:
    """What came of one fault."""

    name: str
    seconds: float | None
    tally: Tally
    last_error: float | None
    """From the fault's beginning to the last error that a client saw; None when nobody saw any."""
    whole: float | None
    """From the fault's end until the primary held again what is read, and no old value; where that is lost, until it took writes."""

    def cells(self) -> list[str]:
        """The table's columns."""
        tally = self.tally
        return [
            self.name,
            "stays" if self.seconds is None else f"{self.seconds:.1f} s",
            str(tally.requests.total()),
            str(tally.errors.total()),
            str(len(tally.misses)),
            str(len(tally.stale)),
            str(len(tally.wrong)),
            f"{tally.longest * 1000:.0f} ms",
            "none" if self.last_error is None else f"{self.last_error:.2f} s",
            "-" if self.whole is None else f"{self.whole:.2f} s",
        ]


_HEAD = ["fault", "lasted", "requests", "errors", "misses", "stale", "wrong", "longest wait", "last error at", "whole after"]


def _cut(world: World, _: OneSite) -> None:
    assert world.wire is not None
    world.wire.cut()


def _heal(world: World, _: OneSite) -> None:
    assert world.wire is not None
    world.wire.heal()


def _pause(_: World, federation: OneSite) -> None:
    assert federation.victim.process is not None
    federation.victim.process.pause()


def _resume(_: World, federation: OneSite) -> None:
    assert federation.victim.process is not None
    federation.victim.process.resume()


def _kill(_: World, federation: OneSite) -> None:
    federation.victim.kill()


def _start(_: World, federation: OneSite) -> None:
    federation.victim.start()


def _kill_both(_: World, federation: OneSite) -> None:
    federation.victim.kill()
    federation.backup.kill()


def _start_both(_: World, federation: OneSite) -> None:
    federation.victim.start()
    federation.backup.start()


_FAULTS = [
    _Fault("kill -9, stays down", _kill, None),
    _Fault("kill -9, back and empty", _kill, _start),
    _Fault("SIGSTOP, SIGCONT", _pause, _resume, silent=True),
    _Fault("both killed, back and empty", _kill_both, _start_both, loses=True),
]
_CUT = _Fault("network cut", _cut, _heal, silent=True)


def check_server_faults(world: World, settings: str = "") -> str:
    """No stale value, no wrong value, no miss of what a server still holds, no hang, whatever happens to one primary.

    What clients may see, and why (the sections are those of the federation's design):

    - An error reply, after which the write may have been carried out, or not, or may yet be (4: a backend that does not answer in
      time leaves the outcome unknown; the client gets an error). Both values may be read from then on, until a later write of the
      key is acknowledged: one lane writes a key, in order, so what is unanswered can never come back after it.
    - A refused cas (EXISTS) from the fault on: tokens carry the server's incarnation, and one from the primary matches nothing on
      the backup (8). The item must be as it was.
    - A wait of up to a few backend time-outs: silence is only known by waiting (4). Nothing hangs (8).
    - Misses, with both the primary and its backup down (8), and of what they held when both are back and empty. With one of them
      left, a miss of a key that must be there is never right: reads go to the backup while the primary is down, or came back empty
      (3), and a primary that was merely cut off is not read before what it missed has been written there (8).

    The table's "last error at" counts from the fault's beginning; "whole after" from its end, until the primary itself holds all
    that is read of it, and nothing old.

    Afterwards every key is read through every proxy, and every server is read around them: what is left there, primary or
    backup, may only be what may be read. First it is shown that planted values and a planted loss are found.

    `settings` are further lines for the site file: what spreads reads over both servers must change nothing of this.
    """
    planted = _planted(world)
    rows: list[_Row] = []
    complaints: list[str] = []
    faults = [*_FAULTS, _CUT] if world.wire is not None else _FAULTS
    for number, fault in enumerate(faults):
        with one_site(world, f"server-faults-{settings.replace(': ', '-')}{number + 1}", settings) as federation:
            row = _run(world, federation, fault)
            found = _complaints(row, fault)
            if found:
                detail = [*row.tally.hangs, *row.tally.misses, *row.tally.stale, *row.tally.wrong]
                (federation.folder / "complaints.txt").write_text("\n".join(detail) + "\n")
                found.append(f"{fault.name}: proxies' logs and complaints.txt: {federation.folder}")
        rows.append(row)
        complaints += found
    if world.wire is None:
        complaints.append(f"'{_CUT.name}' cannot be run here: it takes network namespaces ({world.without_wire}); run it as root")
    text = f"{planted}\n{_table([_HEAD, *(row.cells() for row in rows)])}"
    errors = [f"{row.name}: {count} × {error}" for row in rows for error, count in row.tally.errors.most_common(2)]
    text += "\n" + "\n".join(errors)
    if complaints:
        raise Failed(f"{len(complaints)} complaints\n" + "\n".join(complaints) + "\n" + text)
    return text


@contextlib.contextmanager
def one_site(world: World, name: str, settings: str = "") -> Iterator[OneSite]:
    """A fresh site, and a whole wire before and after."""
    if world.wire is not None:
        world.wire.heal()
    options = Options(settings=settings)
    federation = OneSite(
        world.folder / name, world.binaries, world.supervisor, wire=world.wire, options=options, ports=world.ports
    )
    federation.move_victim(world)
    try:
        federation.start()
        yield federation
        federation.expect_alive()
        federation.stop()
    finally:
        workers.abandon_all()
        if world.wire is not None:
            world.wire.heal()
        world.supervisor.kill_all()
        if not world.keep:
            for proxy in federation.proxies:
                shutil.rmtree(proxy.folder, ignore_errors=True)


def write_static(federation: OneSite) -> list[bytes]:
    """Writes what stays; returns those of its keys that are on the victim."""
    values = verified_load.static_values()
    with federation.client(federation.north) as client:
        for key, value in values.items():
            require(client.set(key, value) == b"STORED", f"set {key.decode()} failed before any fault")
    there = list(read_server(federation.victim, list(values)))
    require(5 < len(there) < len(values) - 5, f"{len(there)} of {len(values)} keys are on cache1")
    return there


def _run(world: World, federation: OneSite, fault: _Fault) -> _Row:
    """One fault under load."""
    static = write_static(federation)
    board = Board()
    crew = verified_load.start(federation.north.clients, board, world.seed)
    time.sleep(_BEFORE_SECONDS)
    shared = [index for index in range(SHARED_KEYS) if shared_key(index) in read_server(federation.victim, [shared_key(index)])]
    require(len(shared) > 2, f"only {len(shared)} shared keys are on cache1")
    board.fault_begun.value = begun = time.monotonic()
    fault.begin(world, federation)
    time.sleep(_FAULT_SECONDS)
    ended, seconds, whole = begun, None, None
    if fault.end is not None:
        fault.end(world, federation)
        ended = time.monotonic()
        seconds = ended - begun
        if fault.loses:
            whole = _wait_writable(federation, static[0])
        else:
            whole = _wait_whole(federation.victim, board, static, shared)
        time.sleep(max(0.0, ended + _AFTER_SECONDS - time.monotonic()))
    tally = Tally()
    for result in crew.finish():
        tally.add(result)
    time.sleep(0.5)  # What the backup is sent behind the answer.
    look_around(federation, board, tally, gone=fault.end is None)
    return _Row(fault.name, seconds, tally, tally.last_error - begun if tally.errors else None, whole)


def _wait_whole(victim: Memcached, board: Board, static: list[bytes], shared: list[int]) -> float:
    """Waits until a primary that is back holds what is read of it, nothing of it old; returns the seconds that took."""

    def whole() -> bool:
        floors = {index: board.acknowledged[index] for index in shared}
        held = read_server(victim, [*static, *map(shared_key, shared)])
        if any(key not in held for key in static):
            return False
        items = {index: held.get(shared_key(index)) for index in shared}
        return all(item is not None and (shared_number(index, item.value) or 0) >= floors[index] for index, item in items.items())

    return wait_until(whole, f"{victim.name} to hold again what is read", _RETURN_SECONDS)


def _wait_writable(federation: OneSite, key: bytes) -> float:
    """Waits until every proxy writes a key at a server that is back; returns the seconds that took."""
    value = verified_load.static_values()[key]

    def writable() -> bool:
        for proxy in federation.north.proxies.values():
            with Client(proxy.clients) as client:
                if client.set(key, value) != b"STORED":
                    return False
        return True

    return wait_until(writable, f"{federation.victim.name} to be written to again", _RETURN_SECONDS)


def look_around(federation: OneSite, board: Board, tally: Tally, *, gone: bool) -> None:
    """Reads every key through the proxies, where it must be, and at the servers, where nothing else may be."""
    may: dict[bytes, frozenset[bytes | None]] = dict(tally.allowed)
    may.update({key: frozenset((value,)) for key, value in verified_load.static_values().items()})
    for index in range(SHARED_KEYS):
        numbers = range(board.acknowledged[index], board.sent[index] + 1)
        may[shared_key(index)] = frozenset(shared_value(index, number) if number else None for number in numbers)
    for proxy in federation.north.proxies.values():
        with Client(proxy.clients) as client:
            for key, values in may.items():
                reply = client.one(retrieve(b"get " + key))
                found = reply.values[0].data if reply.values else None
                if reply.line != b"END":
                    tally.wrong.append(f"in the end, get {key.decode()} through {proxy.name} was answered {reply.line!r}")
                elif found is None and None not in values:
                    tally.misses.append(f"in the end, {key.decode()} is missing through {proxy.name}")
                elif found not in values:
                    tally.stale.append(f"in the end, {key.decode()} through {proxy.name} is {shown(found)}")
    for server in federation.north.memcacheds:
        if gone and server is federation.victim:
            continue
        for key, item in read_server(server, list(may)).items():
            if item.value not in may[key]:
                allowed = " or ".join(sorted(map(shown, may[key])))
                tally.stale.append(f"in the end, {key.decode()} on {server.name} is {shown(item.value)} instead of {allowed}")


def _complaints(row: _Row, fault: _Fault) -> list[str]:
    """What must not be, and what must be for the rest to mean anything."""
    tally, found = row.tally, []
    misses = [] if fault.loses else tally.misses
    for what, lines in (("hangs", tally.hangs), ("misses", misses), ("stale", tally.stale), ("wrong", tally.wrong)):
        if lines:
            found.append(f"{row.name}: {len(lines)} {what}: {'; '.join(lines[:3])}")
    if tally.longest > LONGEST_WAIT_SECONDS:
        found.append(f"{row.name}: a client waited {tally.longest:.2f} s, longer than {LONGEST_WAIT_SECONDS:.0f} s: {tally.slowest}")
    if tally.during < _REQUESTS_MIN:
        found.append(f"{row.name}: only {tally.during} requests were answered from the fault on")
    idle = [kind for kind in _KINDS if not tally.requests[kind]]
    if idle:
        found.append(f"{row.name}: the load had no {', '.join(idle)}")
    if fault.loses and not (tally.misses and any("is unreachable" in error for error in tally.errors)):
        found.append(f"{row.name}: nobody missed anything, or no write failed: {tally.errors.most_common(2)}")
    if fault.silent and tally.longest < BACKEND_TIMEOUT_SECONDS / 4 and not tally.errors:
        found.append(f"{row.name}: nobody noticed the fault; the longest wait was {tally.longest * 1000:.0f} ms")
    return found


def _planted(world: World) -> str:
    """Old, invented and lost values, planted around the proxies, are seen by the very load that the faults are judged by."""
    with one_site(world, "server-faults-planted") as federation:
        static = write_static(federation)
        board = Board()
        crew = verified_load.start(federation.north.clients, board, world.seed)
        time.sleep(1.0)
        shared = [index for index in range(SHARED_KEYS) if board.acknowledged[index] > 1]
        with federation.victim.client() as client:
            client.delete(static[0])
            client.set(static[1], b"invented")
            there = [index for index in shared if client.get(shared_key(index)) is not None]
            for _ in range(100):
                for index in there:
                    client.one(store("replace", shared_key(index), shared_value(index, 1)))
                time.sleep(0.01)
        tally = Tally()
        for result in crew.finish():
            tally.add(result)
    for what, lines, word in (("a loss", tally.misses, static[0]), ("an invented value", tally.wrong, static[1])):
        require(any(word.decode() in text for text in lines), f"{what}, planted as {word.decode()}, was not seen")
    require(any("shared:" in text for text in tally.stale), "old values were planted, and not seen")
    return f"planted around the proxies and found: {len(tally.misses)} misses, {len(tally.stale)} stale, {len(tally.wrong)} wrong"


def _table(rows: list[list[str]]) -> str:
    """Columns of one width, the first to the left, figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:]))]
        lines.append("  ".join(cells))
    return "\n".join(lines)
