"""The system tests that `Tests/run` runs besides `Sites/demo --check`: a line for each, `N passed, N failed` at the end.

python3 -m meridian_system.suite --binaries .build/release                      everything, with fixed seeds and small budgets
python3 -m meridian_system.suite --binaries … --only fuzz --budget 3600         open-ended fuzzing, with new seeds
python3 -m meridian_system.suite --binaries … --only differential --seed 7 --pieces 10000
python3 -m meridian_system.suite --binaries … --only soak --soak-seconds 3600
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from meridian_system import load
from meridian_system.checks_authentication import check_binary_authentication, check_text_authentication
from meridian_system.checks_binary import binary_tools_can_fail, check_binary
from meridian_system.checks_bytes import bad_memcached, damaged_log, fuzz_admin, fuzz_clients, fuzz_peers, slow_reader
from meridian_system.checks_catching_up import check_catching_up
from meridian_system.checks_client_tls import check_client_tls
from meridian_system.checks_configuration import check_command_line, check_mistakes
from meridian_system.checks_crowds import check_crowd, check_memory, check_turns
from meridian_system.checks_durability import check_disk
from meridian_system.checks_flush import check_flush
from meridian_system.checks_goodbye import check_last_replies, check_unwritable_log
from meridian_system.checks_half_closed import check_half_closed
from meridian_system.checks_large_values import check_large_values
from meridian_system.checks_limits import check_admin_crowd, check_connections_max, check_doors, check_idle, check_open_files, check_privileges
from meridian_system.checks_magent import check_backup, check_placement, check_start
from meridian_system.checks_names import check_names
from meridian_system.checks_php import check_php
from meridian_system.checks_reads import check_reads
from meridian_system.checks_refill import check_refill
from meridian_system.checks_reload import check_moved_server, check_reload
from meridian_system.checks_ring_change import check_ring_change
from meridian_system.checks_server_faults import check_server_faults
from meridian_system.checks_soak import check_soak
from meridian_system.checks_suites import SUITES, check_suite, suites_can_fail
from meridian_system.client import Endpoint
from meridian_system.client_packages import Packages, installed
from meridian_system.compare import compare
from meridian_system.differential import Differential
from meridian_system.federation import Options, Site
from meridian_system.php import MEMCACHE, MEMCACHED_BINARY, MEMCACHED_TEXT
from meridian_system.processes import Interrupted, Supervisor, watch_signals
from meridian_system.report import Failed, Report, require
from meridian_system.world import World

_SEEDS = (1, 2, 3, 4, 5, 6)
_CAPABLE_SECONDS = 120.0


# The tools themselves: a test that cannot fail shows nothing.


def tools_can_fail(world: World) -> str:
    """The comparisons find nothing between equals, and do find what is wrong."""
    one, two = world.memcached("one"), world.memcached("two")
    without_cas = world.memcached("without-cas", "-C")
    try:
        equal = Differential(one.endpoint, two.endpoint)
        equal.random(1, 60)
        equal.close()
        require(
            not equal.result.differences,
            f"two memcacheds differ: {equal.result.differences[0] if equal.result.differences else ''}",
        )
        different = Differential(one.endpoint, without_cas.endpoint)
        different.random(2, 60)
        different.close()
        require(bool(different.result.differences), "a memcached without CAS was not told from one with it")
        crew = load.start_mixed([one.endpoint], clients=4, writes=4_000, keys=500, processes=2)
        done = load.total(crew.results())
        require(not done.unexpected and not done.losses, f"memcached itself gives unexpected replies: {done.unexpected}")
        keys = [load.key_name(index) for index in range(500)]
        site = Site("north", 1, None, "", Path())
        site.primaries = {"cache1": one}
        other = Site("south", 2, None, "", Path())
        other.primaries = {"cache1": two}
        require(compare(site, site, keys).equal, "a site is not equal to itself")
        with one.client() as client:
            client.set(keys[0], b"value", flags=1, expiry=100)
        with two.client() as client:
            client.set(keys[0], b"value", flags=2, expiry=100)
        found = [text for text in compare(site, other, keys[:1]).differences if "flags" in text]
        require(len(found) == 1, "other flags are not seen as a difference")
        with two.client() as client:
            client.set(keys[0], b"value", flags=1, expiry=90)
        require(not compare(site, other, keys[:1]).equal, "another life is not seen as a difference")
        return f"{len(different.result.differences)} differences found where there are some, none where there are none"
    finally:
        for server in (one, two, without_cas):
            server.kill()


# Check 12


def differential_script(world: World) -> str:
    """The scripted situations, to a memcached and to a proxy in front of two."""
    return _differential(world, "differential-script", lambda run: run.script())


def differential_random(world: World, seeds: tuple[int, ...], pieces: int) -> str:
    """Random commands from seeds."""

    def drive(run: Differential) -> None:
        for seed in seeds:
            run.random(seed, pieces)

    return _differential(world, "differential-random", drive)


def _differential(world: World, name: str, drive: Callable[[Differential], None]) -> str:
    reference = world.memcached(f"{name}-reference")
    try:
        with world.federation(name, Options(loops=world.loops)) as federation:
            run = Differential(reference.endpoint, federation.north.proxies["n1"].clients)
            try:
                drive(run)
            finally:
                run.close()
            result = run.result
            (federation.folder / "differences.txt").write_text("\n\n".join(difference.whole for difference in result.differences))
            if result.differences:
                shown = "\n".join(str(difference) for difference in result.differences[:6])
                raise Failed(
                    f"{len(result.differences)} differences in {result.pieces} pieces; all: {federation.folder / 'differences.txt'}\n{shown}"
                )
            return f"{result.pieces} pieces ({result.explained} answered otherwise by intention), {result.bytes_sent / 1e6:.1f} MB sent, {result.bytes_compared / 1e6:.1f} MB of replies equal"
    finally:
        reference.kill()


def memccapable(world: World) -> str:
    """Debian's memccapable, text and binary, against a proxy; whatever memcached itself passes must pass."""
    reference = world.memcached("memccapable-reference")
    try:
        with world.federation("memccapable") as federation:
            expected = _capable(reference.endpoint)
            found = _capable(federation.north.proxies["n1"].clients)
            require(len(expected) > 40, f"memccapable ran only {len(expected)} cases against memcached")
            worse = [name for name, passed in expected.items() if passed and not found.get(name, False)]
            require(not worse, f"memcached passes, a proxy does not: {', '.join(worse)}")
            neither = [name for name, passed in expected.items() if not passed]
            return f"{sum(found.values())} of {len(expected)} cases pass" + (
                f"; memcached itself fails {', '.join(neither)}" if neither else ""
            )
    finally:
        reference.kill()


def _capable(endpoint: Endpoint) -> dict[str, bool]:
    namespace = endpoint.namespace
    try:
        done = subprocess.run(
            ["memccapable", "-h", endpoint.host, "-p", str(endpoint.port), "-t", "10"],
            capture_output=True, text=True, timeout=_CAPABLE_SECONDS, stdin=subprocess.DEVNULL,
            preexec_fn=None if namespace is None else namespace.enter,
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        raise Failed(f"memccapable did not end within {_CAPABLE_SECONDS:.0f} s: {(expired.stdout or b'')[-300:]!r}") from None
    cases: dict[str, bool] = {}
    for text in (done.stdout + done.stderr).splitlines():
        match = re.match(r"^((?:ascii|binary) [a-z_ ]+?)\s*\[(pass|FAIL)\]", text)
        if match:
            cases[match[1]] = match[2] == "pass"
    return cases


def _not_installed() -> Packages:
    raise Failed("the client libraries were not installed")


def _prepared() -> Callable[[], Packages]:
    """Installs the client libraries; what went wrong is the outcome of each check that needs them."""
    try:
        found = installed(lambda text: print(text, flush=True))
        return lambda: found
    except (Failed, OSError) as error:
        text = str(error)

        def fail() -> Packages:
            raise Failed(text)

        return fail


def main() -> int:
    """Runs the suite; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m meridian_system.suite")
    parser.add_argument("--binaries", type=Path, required=True, help="folder of meridiand and meridian")
    parser.add_argument("--only", default="", help="only tests whose name contains this")
    parser.add_argument("--list", action="store_true", help="print the tests' names")
    parser.add_argument("--seed", type=int, help="instead of the fixed seeds")
    parser.add_argument("--pieces", type=int, default=400, help="random pieces for each seed of the differential test")
    parser.add_argument("--budget", type=float, default=6.0, help="seconds for each fuzz")
    parser.add_argument("--soak-seconds", type=float, default=60.0, help="length of the soak")
    parser.add_argument("--loops", type=int, default=2, help="event loops of each proxy")
    parser.add_argument("--folder", type=Path, help="for logs and site files (default: a new one under /tmp)")
    parser.add_argument("--keep", action="store_true", help="keep the write logs too")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else 1
    seeds = _SEEDS if arguments.seed is None else (seed,)

    packages: Callable[[], Packages] = _not_installed
    tests: dict[str, Callable[[World], str]] = {
        "the tools can fail": tools_can_fail,
        "the binary tools can fail": binary_tools_can_fail,
        "differential script": differential_script,
        "differential random": lambda world: differential_random(world, seeds, arguments.pieces),
        "differential binary": lambda world: check_binary(world, seeds, arguments.pieces),
        "client authentication text": lambda world: check_text_authentication(world, seeds),
        "client authentication binary": lambda world: check_binary_authentication(world, seeds),
        "client tls": check_client_tls,
        "memccapable": memccapable,
        "mistakes in site files": check_mistakes,
        "the command line": check_command_line,
        "durability disk": check_disk,
        "flush everywhere": check_flush,
        "server faults": check_server_faults,
        "refill": check_refill,
        "names": check_names,
        "reload under load": check_reload,
        "reload moves a server": check_moved_server,
        "ring change": check_ring_change,
        "server faults, reads in turn": lambda world: check_server_faults(world, "reads: in-turn"),
        "magent placement": check_placement,
        "magent backup": check_backup,
        "magent start": check_start,
        "php memcached text": lambda world: check_php(world, MEMCACHED_TEXT),
        "php memcached binary": lambda world: check_php(world, MEMCACHED_BINARY),
        "php memcache text": lambda world: check_php(world, MEMCACHE),
        "client suites can fail": lambda world: suites_can_fail(world, packages()),
        **{
            f"client suite {name}": lambda world, suite=suite: check_suite(world, packages(), suite)  # type: ignore[misc]
            for name, suite in SUITES.items()
        },
        "fuzz clients": lambda world: fuzz_clients(world, seed, arguments.budget),
        "fuzz peers": lambda world: fuzz_peers(world, seed, arguments.budget),
        "fuzz admin": lambda world: fuzz_admin(world, seed),
        "slow reader": slow_reader,
        "half-closed": check_half_closed,
        "last replies": check_last_replies,
        "unwritable log": check_unwritable_log,
        "crowds": check_crowd,
        "clients' memory": check_memory,
        "fair turns": check_turns,
        "large values": check_large_values,
        "catching up": check_catching_up,
        "reads": check_reads,
        "connections-max": check_connections_max,
        "open files": check_open_files,
        "idle at the admin endpoint": check_admin_crowd,
        "idle clients": check_idle,
        "doors": check_doors,
        "privileges": check_privileges,
        "soak": lambda world: check_soak(world, arguments.soak_seconds),
        "bad memcached": lambda world: bad_memcached(world, seed),
        "damaged log": lambda world: damaged_log(world, seed),
    }
    chosen = {name: body for name, body in tests.items() if arguments.only in name}
    if arguments.list:
        print("\n".join(chosen))
        return 0
    if any(name.startswith("client suite") for name in chosen):
        packages = _prepared()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="meridian-system.", dir="/tmp"))
    supervisor = Supervisor()
    watch_signals(supervisor)
    try:
        world = World.make(arguments.binaries, folder.resolve(), supervisor, seed, loops=arguments.loops, keep=arguments.keep)
        report = Report()
        report.say(f"logs and site files: {folder}")
        for name, body in chosen.items():
            report.check(name, lambda body=body: body(world))  # type: ignore[misc]
        return report.finish()
    except Interrupted as interrupted:
        print(f"\n{interrupted}: taking everything down", flush=True)
        return 130
    finally:
        supervisor.stop_all()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
