"""The command line of the benchmarks; `Tests/Benchmarks/run` calls it when everything is installed and built."""

from __future__ import annotations

import argparse
import resource
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from meridian_bench import delays, journal, machine, memory
from meridian_bench.cases import EXTRAS, Case, all_cases, chosen
from meridian_bench.lag import LagFailed
from meridian_bench.loader import Loader, LoadFailed
from meridian_bench.rounds import Plan, run_case, say
from meridian_bench.subjects import Stage, Theatre
from meridian_bench.tables import Findings, write_markdown
from meridian_system.processes import Interrupted, ProcessDied, Supervisor, watch_signals

_REPOSITORY = Path(__file__).resolve().parents[3]
_WORLDLY = (LoadFailed, LagFailed, ProcessDied, TimeoutError, OSError, RuntimeError)
"""What may go wrong with one case and must not end the others."""
_LOADER_CORE = 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="Tests/Benchmarks/run", add_help=False)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--loader", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--warm-up", type=float)
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--idle-connections", type=int)
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--no-ceiling", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    usual = (2, 1.0, 0.3, 1_000) if arguments.quick else (3, 4.0, 1.0, 10_000)
    for name, value in zip(("rounds", "seconds", "warm_up", "idle_connections"), usual, strict=True):
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.rounds < 1 or arguments.seconds <= 0 or arguments.warm_up < 0 or arguments.loops < 1:
        parser.error("--rounds and --loops are at least 1, --seconds more than 0, --warm-up not less than 0")
    return arguments


class Session:
    """One run of the benchmarks."""

    def __init__(self, theatre: Theatre, plan: Plan, idle_connections: int) -> None:
        self.findings = Findings()
        self._theatre = theatre
        self._plan = plan
        self._idle_connections = idle_connections

    def run(self, cases: list[Case], extras: list[str]) -> None:
        """Measures, stage by stage."""
        self._loads("alone", 1, [case for case in cases if not case.replicated])
        self._loads("replicated", 2, [case for case in cases if case.replicated])
        steps: dict[str, tuple[int, Callable[[Stage], None]]] = {
            "lag": (2, self._lag),
            "memory": (1, self._memory),
            "log": (2, self._log),
        }
        for extra in extras:
            sites, step = steps[extra]
            self._on_stage(extra, sites, step)

    def _on_stage(self, name: str, sites: int, body: Callable[[Stage], None]) -> None:
        try:
            with self._theatre.stage(name, sites) as stage:
                body(stage)
        except _WORLDLY as error:
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        say("")
        text = f"{name}: {str(error) or type(error).__name__}"
        print(f"FAILED {text}", file=sys.stderr, flush=True)
        self.findings.failures.append(text.splitlines()[0])

    def _loads(self, name: str, sites: int, cases: list[Case]) -> None:
        def body(stage: Stage) -> None:
            for case in cases:
                try:
                    self.findings.results.append(run_case(case, stage, self._plan))
                except _WORLDLY as error:
                    self._failed(case.name, error)

        if cases:
            self._on_stage(name, sites, body)

    def _lag(self, stage: Stage) -> None:
        self.findings.lags += delays.measure(stage, self._plan)

    def _memory(self, stage: Stage) -> None:
        self.findings.memory += memory.measure(stage, self._plan.loader, self._idle_connections)

    def _log(self, stage: Stage) -> None:
        appends, recoveries = journal.measure(stage, self._plan)
        self.findings.appends += appends
        self.findings.recoveries += recoveries


def main() -> int:
    """Runs what was chosen; returns the exit code."""
    arguments = _arguments()
    if arguments.list:
        print("\n".join([*(case.name for case in all_cases()), *EXTRAS]))
        return 0
    try:
        cases, extras = chosen(arguments.cases, arguments.quick)
    except ValueError as mistake:
        print(f"Tests/Benchmarks/run: {mistake}", file=sys.stderr)
        return 64
    # Children inherit it: thousands of connections need as many open files.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    supervisor = Supervisor()
    watch_signals(supervisor)
    folder: Path = arguments.folder or Path(tempfile.mkdtemp(prefix="meridian-benchmarks."))
    folder.mkdir(parents=True, exist_ok=True)
    loader = Loader(arguments.loader or arguments.binaries / "meridian-load", _LOADER_CORE if arguments.pin else None)
    plan = Plan(loader, arguments.rounds, arguments.seconds, arguments.warm_up)
    theatre = Theatre(
        arguments.binaries, folder, supervisor, loops=arguments.loops, pinned=arguments.pin, ceiling=not arguments.no_ceiling
    )
    session = Session(theatre, plan, arguments.idle_connections)
    print(f"{machine.hardware()}; {machine.system()}; load average {machine.load_average()}")
    programs = machine.programs(_REPOSITORY, arguments.binaries)
    print(f"{programs}; logs: {folder}", flush=True)
    try:
        session.run(cases, extras)
    except Interrupted:
        print("\ninterrupted; what was measured so far:", file=sys.stderr)
        session.findings.failures.append("interrupted")
    finally:
        supervisor.kill_all()
    # First what is kept, then what is shown.
    if arguments.markdown is not None:
        command = shlex.join(["Tests/Benchmarks/run", *_told()])
        write_markdown(arguments.markdown, session.findings, command, programs)
    for table in session.findings.tables():
        print("\n" + table.aligned())
    if arguments.markdown is not None:
        print(f"\nwritten: {arguments.markdown}")
    return 1 if session.findings.failures else 0


def _told() -> list[str]:
    """The arguments that change what is measured: a reader repeats it with them."""
    told: list[str] = []
    words = iter(sys.argv[1:])
    for word in words:
        if word in ("--binaries", "--loader", "--folder", "--markdown"):
            next(words, None)
        elif not word.startswith(("--binaries=", "--loader=", "--folder=", "--markdown=")):
            told.append(word)
    return told


if __name__ == "__main__":
    sys.exit(main())
