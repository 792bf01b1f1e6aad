"""Checks 3 to 6 and 9: what breaks, and what clients and data see of it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from meridian_system import ledger, load
from meridian_system.admin import Destination
from meridian_system.client import Client, ConnectionLost, Roaming, retrieve, store
from meridian_system.compare import compare, read_server
from meridian_system.federation import Federation, Proxy, Site
from meridian_system.ledger import LedgerResult
from meridian_system.memcached import Memcached
from meridian_system.processes import wait_until
from meridian_system.report import Failed, require
from meridian_system.workers import Crew
from meridian_system.world import World

BACKEND_TIMEOUT_SECONDS = 1.0
"""The site files' default `backend-timeout`."""
MARGIN_SECONDS = 0.75
"""What a loaded machine may add before a wait counts as a hang."""
STATUS_SECONDS = 0.5
"""A status is a picture taken every now and then; this old it may be."""
CUT_SECONDS = 30.0
KILLS = 10
ORDERLY_EXIT_SECONDS = 5.0
_DELETES_UNDER_WAY_MAX = 2
"""Deletes that one death of a proxy may leave to be asked again."""


def start_ledgers(federation: Federation, seed: int, *, clients: int = 10, pace: float = 0.004) -> list[Crew[LedgerResult]]:
    """Clients with a ledger at both sites."""
    return [
        ledger.start_ledger(site.clients, clients=clients, seed=seed + site.number, pace=pace, label=f"ledger:{site.name}")
        for site in federation.sites
    ]


def finish_ledgers(crews: Sequence[Crew[LedgerResult]]) -> LedgerResult:
    """Ends the clients and sums up what they were told."""
    for crew in crews:
        crew.stop.set()
    return ledger.merged([result for crew in crews for result in crew.results()])


def require_ledger_holds(
    federation: Federation, told: LedgerResult, further: Sequence[bytes] = (), *, deaths: int = 0
) -> str:
    """Lag comes to zero, nothing acknowledged is missing at either site, the sites are equal.

    At each death of a proxy, deletes under way may be asked again of another, which no longer finds the key.
    """
    quiet = federation.wait_quiet()
    complaints: list[str] = []
    wrong = ledger.missing(told, federation.sites)
    if wrong:
        complaints.append(f"{len(wrong)} keys do not hold what was acknowledged: {'; '.join(wrong[:4])}")
    comparison = compare(federation.north, federation.south, [*told.allowed, *further])
    if not comparison.equal:
        complaints.append(comparison.summary())
    if len(told.deleted_already) > deaths * _DELETES_UNDER_WAY_MAX:
        complaints.append(f"{len(told.deleted_already)} deletes found nothing: {'; '.join(told.deleted_already[:3])}")
    if told.wrong:
        complaints.append(f"{len(told.wrong)} answers contradict what was acknowledged before: {'; '.join(told.wrong[:3])}")
    if complaints:
        (federation.folder / "complaints.txt").write_text("\n".join([*wrong, *comparison.differences, *told.wrong]) + "\n")
        raise Failed(f"{'; '.join(complaints)} (all: {federation.folder / 'complaints.txt'})")
    return (
        f"{told.acknowledged} acknowledged writes, none missing at either site, {told.reads} reads as acknowledged; "
        f"lag zero after {quiet:.1f} s; {comparison.summary()}"
    )


def no_errors(told: LedgerResult, when: str) -> None:
    """No client saw an error."""
    seen = told.errors + told.losses
    require(not seen, f"{when}: clients saw {sum(seen.values())} errors: {dict(seen.most_common(3))}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


# 3


def check_primary_killed(world: World) -> str:
    """3: a primary dies; its backup answers; it comes back empty and fills up again."""
    with world.federation("check-3") as federation:
        north = federation.north
        values = {b"static:%d" % index: b"value %d" % index for index in range(2_000)}
        with federation.client(north) as client:
            for key, value in values.items():
                require(client.set(key, value, flags=3) == b"STORED", f"set {key.decode()} failed")
        federation.wait_quiet()
        victim = north.primaries["cache1"]
        there = set(read_server(victim, list(values)))
        require(len(there) > 100, f"only {len(there)} of {len(values)} keys are on cache1")
        crews = start_ledgers(federation, world.seed)
        time.sleep(1.5)
        victim.kill()
        killed = time.monotonic()
        slowest = _read_all(north, values, "with the primary killed")
        down = time.monotonic() - killed
        with federation.client(north) as client:
            for key in sorted(there)[:200]:
                values[key] = b"while down"
                answer = client.set(key, b"while down", flags=3)
                require(answer == b"STORED", f"set {key.decode()} with its primary killed was answered {answer!r}")
        time.sleep(2.0)
        victim.start()
        returned = time.monotonic()
        slowest = max(slowest, _read_all(north, values, "with the primary back and empty"))
        time.sleep(1.0)
        told = finish_ledgers(crews)
        require(
            max(slowest, told.longest) < BACKEND_TIMEOUT_SECONDS + MARGIN_SECONDS,
            f"a client waited {max(slowest, told.longest):.2f} s, longer than the backend time-out: {told.slowest[:2]}",
        )
        lost = sum(told.losses.values())
        require(lost == 0, f"clients lost {lost} connections: {dict(told.losses.most_common(3))}")
        filled = _fill_up(north, victim, there)
        held = read_server(victim, sorted(there))
        stale = [key.decode() for key in there if held[key].value != values[key]]
        require(not stale, f"{len(stale)} keys came back with an old value, such as {stale[0] if stale else ''}")
        _read_all(north, {key: b"" for key in told.allowed}, "to fill up", values_known=False)
        federation.wait_quiet()
        time.sleep(0.5)
        text = require_ledger_holds(federation, told, sorted(values))
        unanswered = (
            f"{told.unanswered} writes in flight at the kill got an error ({dict(told.errors.most_common(1))})"
            if told.unanswered
            else "no error"
        )
        return (
            f"{len(there)} keys read from the backup within {down:.1f} s of the kill, longest wait of any client {_ms(max(slowest, told.longest))}, "
            f"{unanswered}; back and empty after {returned - killed:.1f} s, all {len(there)} keys on it again {filled:.1f} s later; {text}"
        )


def _fill_up(site: Site, server: Memcached, keys: set[bytes]) -> float:
    """Clients go on reading what a returned server lacks, until it has it; returns the seconds that took.

    Nothing is filled in for a read that came before the proxies had connected to the server again.
    """
    lacks = set(keys)

    def full() -> bool:
        lacks.difference_update(read_server(server, sorted(lacks)))
        if lacks:
            _read_all(site, dict.fromkeys(lacks, b""), "to fill up", values_known=False)
        return not lacks

    try:
        return wait_until(full, f"{server.name} to hold again all that is read", 20.0)
    except TimeoutError as error:
        raise Failed(f"{error}; it lacks {len(lacks)} of {len(keys)} keys, such as {min(lacks).decode()}") from error


def _read_all(site: Site, values: dict[bytes, bytes], when: str, *, values_known: bool = True) -> float:
    """Reads every key through every proxy of a site; returns the longest wait."""
    slowest = 0.0
    keys = list(values)
    for proxy in site.proxies.values():
        with Client(proxy.clients, timeout=10.0) as client:
            for start in range(0, len(keys), 20):
                batch = keys[start : start + 20]
                begun = time.monotonic()
                replies = client.ask([retrieve(b"get " + key) for key in batch])
                slowest = max(slowest, time.monotonic() - begun)
                for key, reply in zip(batch, replies):
                    require(reply.line == b"END", f"{when}, get {key.decode()} through {proxy.name} was answered {reply.line!r}")
                    found = reply.values[0].data if reply.values else None
                    if values_known:
                        require(
                            found == values[key], f"{when}, {key.decode()} through {proxy.name} is {found!r}, not {values[key]!r}"
                        )
    return slowest


# 4


def check_link_cut(world: World) -> str:
    """4: the wire is cut for 30 s, both ways, under load at both sites."""
    if world.wire is None:
        raise Failed(f"cannot be run here: cutting a link takes network namespaces ({world.without_wire}); run it as root")
    with world.federation("check-4") as federation:
        endpoints = [endpoint for pair in zip(federation.north.clients, federation.south.clients) for endpoint in pair]
        mixed = load.start_mixed(endpoints, clients=10, writes=None, seed=world.seed, depth=4, processes=2, pace=0.02)
        crews = start_ledgers(federation, world.seed, clients=5, pace=0.01)
        time.sleep(2.0)
        world.wire.cut()
        begun = time.monotonic()
        grown: dict[str, list[Destination]] = {site.name: [] for site in federation.sites}
        said: dict[str, str] = {}
        for moment in (5.0, 15.0, CUT_SECONDS - 2.0):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            for site in federation.sites:
                grown[site.name].append(worst(federation, site))
                said[site.name] = federation.meridian(site, "lag", "--config", str(site.config)).text
        time.sleep(max(0.0, begun + CUT_SECONDS - time.monotonic()))
        world.wire.heal()
        healed = time.monotonic()
        time.sleep(2.0)
        mixed.stop.set()
        told = finish_ledgers(crews)
        result = load.total(mixed.results())
        no_errors(told, "the link was cut")
        require(not result.losses, f"clients lost connections while the link was cut: {dict(result.losses.most_common(3))}")
        require(not result.unexpected, f"clients saw unexpected replies: {dict(result.unexpected.most_common(3))}")
        longest = max(told.longest, result.longest)
        require(longest < BACKEND_TIMEOUT_SECONDS, f"a client waited {longest:.2f} s: {told.slowest[:2]}")
        for name, samples in grown.items():
            seconds = [sample.seconds for sample in samples]
            require(
                seconds == sorted(seconds) and seconds[-1] > CUT_SECONDS - 6,
                f"lag at {name} was {seconds} s; it should have grown to nearly {CUT_SECONDS:.0f}",
            )
            require(
                samples[0].records < samples[-1].records,
                f"records behind at {name} did not grow: {[sample.records for sample in samples]}",
            )
            heard = samples[-1].last_heard
            require(heard is not None and heard > CUT_SECONDS - 6, f"last heard at {name} was {heard} s ago according to status")
            require(
                re.search(r"not heard", said[name]) is not None,
                f"`meridian lag` at {name} does not say 'not heard': {said[name]!r}",
            )
        keys = [load.key_name(index) for index in range(load.KEYS)]
        text = require_ledger_holds(federation, told, keys)
        zero = time.monotonic() - healed
        behind = ", ".join(
            f"{name} {samples[-1].seconds:.0f} s and {samples[-1].records} records" for name, samples in grown.items()
        )
        return (
            f"{result.writes + told.acknowledged} writes around a cut of {CUT_SECONDS:.0f} s, no error, longest wait {_ms(longest)}; "
            f"lag of one lane grew to {behind}, 'not heard'; all done {zero:.1f} s after healing; {text}"
        )


def worst(federation: Federation, site: Site) -> Destination:
    """The lane of a site that is furthest behind."""
    entries = [entry for proxy in site.proxies.values() for entry in proxy.status().destinations]
    return max(entries, key=lambda entry: entry.seconds)


# 5


def check_proxies_killed(world: World) -> str:
    """5: kill -9 of a proxy under load, ten times over."""
    source = world.random(5)
    with world.federation("check-5") as federation:
        crews = start_ledgers(federation, world.seed)
        kills: list[str] = []
        back = 0.0
        for _ in range(KILLS):
            time.sleep(source.uniform(0.3, 1.5))
            proxy = source.choice(federation.proxies)
            assert proxy.process is not None
            proxy.process.kill()
            kills.append(proxy.name)
            time.sleep(source.uniform(0.2, 2.5))
            federation.expect_alive_but(proxy)
            begun = time.monotonic()
            federation.start_proxy(proxy)
            back = max(back, time.monotonic() - begun)
            _require_slots_back(federation, proxy)
        time.sleep(1.0)
        told = finish_ledgers(crews)
        try:
            text = require_ledger_holds(federation, told, deaths=len(kills))
        except (Failed, TimeoutError) as error:
            raise Failed(f"after kill -9 of {' '.join(kills)}: {error}") from error
        require(told.reconnections > 0, "no client ever lost its connection: the kills hit nobody")
        errors = f", {sum(told.errors.values())} error replies ({dict(told.errors.most_common(2))})" if told.errors else ""
        return (
            f"kill -9 of {' '.join(kills)}; {told.reconnections} reconnections, {told.unanswered} requests unanswered{errors}, longest wait "
            f"{_ms(told.longest)}; each served again within {back:.1f} s; {text}"
        )


def _require_slots_back(federation: Federation, proxy: Proxy) -> None:
    """A returned proxy serves, and its siblings say so as well."""

    def known() -> bool:
        others = [other for other in federation.site_of(proxy).proxies.values() if other is not proxy]
        prefix = f"s{federation.site_of(proxy).number}p{proxy.number}"
        states = [entry["state"] for other in others for entry in other.status().siblings if entry["lane"].startswith(prefix)]
        return bool(states) and all(state == "serving" for state in states)

    wait_until(known, f"the siblings of {proxy.name} to see it serve", 10.0)


# 6


def check_site_down(world: World) -> str:
    """6: a site is gone altogether; its clients go to the other one."""
    with world.federation("check-6") as federation:
        north, south = federation.north, federation.south
        client = Roaming([*south.clients, *north.clients], timeout=5.0)
        values = {b"customer:%d" % index: b"basket %d" % index for index in range(1_000)}
        for key, value in values.items():
            require(
                client.ask([store("set", key, value, flags=1, expiry=3_000)])[0].line == b"STORED", f"set {key.decode()} failed"
            )
        federation.wait_quiet()
        for proxy in south.proxies.values():
            if proxy.process is not None:
                proxy.process.kill()
        for server in south.memcacheds:
            server.kill()
        begun = time.monotonic()
        lost = 0
        for key, value in values.items():
            while True:
                try:
                    reply = client.ask([retrieve(b"get " + key)])[0]
                    break
                except ConnectionLost:
                    lost += 1
                    require(lost < 10, "the client finds no proxy")
            found = reply.values[0].data if reply.values else None
            require(found == value, f"{key.decode()} is {found!r} at the north, not {value!r}")
        switched = time.monotonic() - begun
        for index in range(500):
            key = b"since:%d" % index
            require(
                client.ask([store("set", key, b"%d" % index)])[0].line == b"STORED", f"set {key.decode()} in the north failed"
            )
        time.sleep(STATUS_SECONDS)
        behind = sum(entry.records for proxy in north.proxies.values() for entry in proxy.status().destinations)
        require(behind >= 500, f"lag towards the dead south counts {behind} records, not the 500 that were written")
        for server in south.memcacheds:
            server.start()
        for proxy in south.proxies.values():
            federation.start_proxy(proxy)
        caught = federation.wait_quiet()
        comparison = compare(north, south, [b"since:%d" % index for index in range(500)])
        require(comparison.equal and comparison.held == 500, comparison.summary())
        client.close()
        return (
            f"south killed whole; its client switched and found all {len(values)} items in the north within {switched:.2f} s; {behind} records "
            f"waited for the south, which had them {caught:.1f} s after its return; {comparison.summary()}"
        )


# 9


def check_orderly_leave(world: World) -> str:
    """9: SIGTERM under load loses and delays nothing."""
    with world.federation("check-9") as federation:
        crews = start_ledgers(federation, world.seed)
        exits: list[str] = []
        for name in ("n1", "s2", "n2", "s1"):
            time.sleep(1.5)
            proxy = next(proxy for proxy in federation.proxies if proxy.name == name)
            assert proxy.process is not None
            seconds = proxy.process.terminate(timeout=ORDERLY_EXIT_SECONDS)
            require(proxy.process.exit_code == 0, f"{name} ended with {proxy.process.exit_code}: {proxy.process.last_words(3)}")
            exits.append(f"{name} {seconds:.2f} s")
            time.sleep(1.0)
            federation.start_proxy(proxy)
        time.sleep(1.0)
        told = finish_ledgers(crews)
        require(not told.errors, f"clients saw {sum(told.errors.values())} error replies: {dict(told.errors.most_common(3))}")
        require(
            told.longest < BACKEND_TIMEOUT_SECONDS,
            f"a request took {told.longest:.2f} s: {[(f'{took:.2f} s', what) for took, _, what in told.slowest[:3]]}",
        )
        text = require_ledger_holds(federation, told)
        return (
            f"SIGTERM ended {', '.join(exits)}; no error reply, longest wait {_ms(told.longest)}, reconnection included; {text}"
        )
