"""What `Sites/demo` runs once everything is built: two sites to look at, or with --check the nine things that they must show."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from meridian_system.checks_crossing import check_crossing, check_large_load
from meridian_system.checks_faults import (
    check_link_cut,
    check_orderly_leave,
    check_primary_killed,
    check_proxies_killed,
    check_site_down,
)
from meridian_system.checks_lag import check_lag
from meridian_system.checks_strangers import check_strangers
from meridian_system.federation import FIRST_PORT, Federation, Options, Ports
from meridian_system.processes import Interrupted, ProcessDied, Supervisor, watch_signals
from meridian_system.report import Report
from meridian_system.world import World

_REFRESH_SECONDS = 1.0
_REFRESH_WITHOUT_TERMINAL_SECONDS = 10.0

CHECKS: dict[int, tuple[str, Callable[[World], str]]] = {
    1: ("set here, get there", check_crossing),
    2: ("a large mixed load", check_large_load),
    3: ("a primary is killed", check_primary_killed),
    4: ("the link is cut", check_link_cut),
    5: ("kill -9 of proxies", check_proxies_killed),
    6: ("a site is down", check_site_down),
    7: ("strangers are refused", check_strangers),
    8: ("lag tells the truth", check_lag),
    9: ("SIGTERM under load", check_orderly_leave),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="Sites/demo")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", type=lambda text: [int(word) for word in text.split(",")], default=list(CHECKS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--loops", type=int, default=2)
    parser.add_argument("--port-base", type=int, default=FIRST_PORT)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--binaries", type=Path, required=True)
    return parser.parse_args()


def _folder(chosen: Path | None, check: bool) -> Path:
    """The run's folder, new or empty enough."""
    if chosen is None:
        return Path(tempfile.mkdtemp(prefix="meridian-check." if check else "meridian-demo.", dir="/tmp"))
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen.resolve()


def check(arguments: argparse.Namespace, folder: Path, supervisor: Supervisor) -> int:
    """Runs the checks."""
    report = Report()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1, 1_000_000)
    world = World.make(arguments.binaries, folder, supervisor, seed, loops=arguments.loops, keep=arguments.keep)
    report.say(f"logs and site files: {folder}")
    report.say(f"seed: {seed}    (again: Sites/demo --check --seed {seed})")
    if world.wire is None:
        report.say(f"the sites share one network: {world.without_wire}")
    for number in arguments.only:
        name, body = CHECKS[number]
        report.check(f"{number} {name}", lambda body=body: body(world))  # type: ignore[misc]
    return report.finish()


def show(arguments: argparse.Namespace, folder: Path, supervisor: Supervisor) -> int:
    """Runs two sites until somebody presses Ctrl-C."""
    federation = Federation(
        folder, arguments.binaries, supervisor, options=Options(loops=arguments.loops), ports=Ports(arguments.port_base)
    )
    print(f"starting two sites; logs, site files and certificates: {folder}", flush=True)
    federation.start()
    _introduce(federation)
    terminal = sys.stdout.isatty()
    lines = 0
    while True:
        federation.expect_alive()
        configs = [str(site.config) for site in federation.sites]
        text = federation.meridian(federation.north, "lag", "--by-proxy", "--config", *configs).text.rstrip("\n") + "\n"
        if terminal and lines:
            sys.stdout.write(f"\x1b[{lines}A\x1b[J")
        sys.stdout.write(text)
        sys.stdout.flush()
        lines = _lines_on_terminal(text) if terminal else 0
        time.sleep(_REFRESH_SECONDS if terminal else _REFRESH_WITHOUT_TERMINAL_SECONDS)


def _lines_on_terminal(text: str) -> int:
    """How many lines of the terminal a text takes, wrapped ones included."""
    width = max(shutil.get_terminal_size().columns, 1)
    return sum(max(1, -(-len(line) // width)) for line in text.splitlines())


def _introduce(federation: Federation) -> None:
    """Where clients connect, and what to try."""
    print()
    for site in federation.sites:
        clients = "  ".join(f"{name} {proxy.clients}" for name, proxy in site.proxies.items())
        servers = "  ".join(f"{server.name.split('-', 1)[1]} {server.endpoint}" for server in site.memcacheds)
        print(f"{site.name}: clients connect to   {clients}")
        print(f"       its memcacheds are   {servers}")
    north, south = next(iter(federation.north.proxies.values())).clients, next(iter(federation.south.proxies.values())).clients
    print(
        f"\ntry, in another terminal (a write in the north, a read in the south):\n\n"
        f"  exec 3<>/dev/tcp/{north.host}/{north.port}; printf 'set greeting 0 0 5\\r\\nhello\\r\\nquit\\r\\n' >&3; cat <&3\n"
        f"  exec 3<>/dev/tcp/{south.host}/{south.port}; printf 'get greeting\\r\\nquit\\r\\n' >&3; cat <&3\n\n"
        f"  {_shown(federation.binaries / 'meridian')} status --config {federation.north.config}\n"
        f"  {_shown(federation.binaries / 'meridian')} ring greeting --config {federation.north.config}\n\n"
        f"Ctrl-C takes everything down. Lag, live:\n",
        flush=True,
    )


def _shown(path: Path) -> str:
    """A path as it is typed from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def main() -> int:
    """Runs the demo or the checks; returns the exit code."""
    arguments = _arguments()
    folder = _folder(arguments.folder, arguments.check)
    supervisor = Supervisor()
    watch_signals(supervisor)
    code = 1
    try:
        code = check(arguments, folder, supervisor) if arguments.check else show(arguments, folder, supervisor)
    except Interrupted as interrupted:
        print(f"\n{interrupted}: taking everything down (once more: at once)", flush=True)
        code = 130 if arguments.check else 0
    except (ProcessDied, TimeoutError, OSError) as error:
        print(f"\nthe demo cannot go on: {error}", file=sys.stderr, flush=True)
    finally:
        supervisor.stop_all()
        if not arguments.keep:
            for lane_folder in [*folder.glob("[ns][12]"), *folder.glob("check-*/[ns][12]")]:
                shutil.rmtree(lane_folder, ignore_errors=True)
        if not arguments.check:  # The checks named the folder at the start, and end with their sum.
            print(f"logs stay in {folder}", flush=True)
    return code


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    code = main()
    sys.stdout.flush()
    os._exit(code)
