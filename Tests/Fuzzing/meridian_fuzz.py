"""Runs the fuzzer's program on one target after the other, keeps what breaks a promise, and sums up. Tests/Fuzzing/run calls it."""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_SECONDS_FOR_AN_INPUT = 5
_MEGABYTES_FOR_A_PROCESS = 2_048
_SECONDS_TO_MINIMISE = 15
_SECONDS_TO_END = 60
"""How long a process may go on after its time: it first replays what is known."""
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 10.0
_NO_LEAKS = "detect_leaks=0"
"""Where the program ends in the middle of a function, whose values are then not freed."""
_STATUS_LINE = re.compile(r"^#(\d+)\s.*\bcov: (\d+) ft: (\d+) corp: (\d+)/(\S+).*exec/s: (\d+)")


@dataclass(frozen=True)
class Target:
    """A parser, as the program lists it."""

    name: str
    bytes_max: int
    about: str


@dataclass
class Result:
    """What came of a target."""

    target: Target
    seconds: float = 0.0
    executions: int = 0
    coverage: int = 0
    inputs: int = 0
    broken: Path | None = None
    trouble: str = ""


class Fuzzing:
    """One run over some targets."""

    def __init__(self, program: Path, inputs: Path, corpus: Path, seconds: int, seed: int) -> None:
        self._program = program
        self._inputs = inputs
        self._corpus = corpus
        self._seconds = seconds
        self._seed = seed
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.interrupted = False

    def targets(self) -> list[Target]:
        """All that the program knows."""
        done = subprocess.run([self._program], env=_environment(ASAN_OPTIONS=_NO_LEAKS, MERIDIAN_FUZZ_LIST="1"), capture_output=True, text=True, check=True)
        words = [line.split("\t") for line in done.stdout.splitlines()]
        return [Target(name, int(bytes_max), about) for name, bytes_max, about in words]

    def stop(self) -> None:
        """Ends every process of this run."""
        self.interrupted = True
        with self._lock:
            for process in self._running:
                process.kill()

    def run(self, target: Target) -> Result:
        """Fuzzes one target for the time that it has."""
        result = Result(target)
        if self.interrupted:
            result.trouble = "not run"
            return result
        folder = self._inputs / target.name
        learnt, found = folder / "learnt", folder / "found"
        for path in (learnt, found):
            path.mkdir(parents=True, exist_ok=True)
        for old in found.iterdir():
            old.unlink()
        prepared = _environment(target, ASAN_OPTIONS=_NO_LEAKS, MERIDIAN_FUZZ_PREPARE=str(folder))
        subprocess.run([self._program], env=prepared, check=True)
        known = [learnt, folder / "seeds", *([kept] if (kept := self._corpus / target.name).is_dir() else [])]
        command = [
            str(self._program), *map(str, known), f"-max_total_time={self._seconds}", f"-max_len={target.bytes_max}",
            f"-timeout={_SECONDS_FOR_AN_INPUT}", f"-rss_limit_mb={_MEGABYTES_FOR_A_PROCESS}",
            f"-artifact_prefix={found}/", f"-seed={self._seed}",
        ]  # fmt: skip
        words = folder / "words"
        if words.stat().st_size > 0:
            command.append(f"-dict={words}")
        print(f"{target.name:18} {target.about}", flush=True)
        begun = time.monotonic()
        log = folder / "log"
        code = self._follow(command, target, log, result)
        result.seconds = time.monotonic() - begun
        artifacts = sorted(found.iterdir())
        if artifacts:
            result.broken = self._keep(target, artifacts[0])
            print(f"{target.name:18} BROKEN: {result.broken}\n{_last_words(log)}", flush=True)
        elif code != 0 and not self.interrupted:
            result.trouble = f"ended with {code}; see {log}"
            print(f"{target.name:18} {result.trouble}\n{_last_words(log)}", flush=True)
        elif self.interrupted:
            result.trouble = "interrupted"
        return result

    def _follow(self, command: list[str], target: Target, log: Path, result: Result) -> int:
        """Runs libFuzzer, notes what it tells and shows now and then that it lives; returns its exit code."""
        with log.open("w") as output:
            process = subprocess.Popen(
                command, env=_environment(target), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, errors="replace",
            )  # fmt: skip
            with self._lock:
                self._running.add(process)
                if self.interrupted:
                    process.kill()
            guard = threading.Timer(self._seconds + _SECONDS_TO_END, process.kill)
            guard.start()
            shown = time.monotonic()
            assert process.stderr is not None
            for line in process.stderr:
                output.write(line)
                match = _STATUS_LINE.match(line)
                if match is None:
                    continue
                result.executions, result.coverage, result.inputs = int(match[1]), int(match[2]), int(match[4])
                if time.monotonic() - shown > _SECONDS_BETWEEN_SIGNS_OF_LIFE:
                    shown = time.monotonic()
                    print(f"{target.name:18} … {result.executions:,} executions, {result.coverage} places reached", flush=True)
            code = process.wait()
            guard.cancel()
            with self._lock:
                self._running.discard(process)
            return code

    def _keep(self, target: Target, artifact: Path) -> Path:
        """Makes an input that breaks a promise as small as it goes and puts it where the unit tests find it."""
        small = artifact.with_suffix(".small")
        if artifact.name.startswith("crash-"):
            command = [
                str(self._program), "-minimize_crash=1", f"-max_total_time={_SECONDS_TO_MINIMISE}",
                f"-exact_artifact_path={small}", str(artifact),
            ]  # fmt: skip
            subprocess.run(command, env=_environment(target), capture_output=True, check=False)
        content = (small if small.exists() else artifact).read_bytes()
        kept = self._corpus / target.name / hashlib.sha256(content).hexdigest()[:12]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        return kept


def _environment(target: Target | None = None, **more: str) -> dict[str, str]:
    """Swift's own backtraces would take the place of libFuzzer's report, and of the input that it keeps."""
    environment = {**os.environ, "SWIFT_BACKTRACE": "enable=no", **more}
    if target is not None:
        environment["MERIDIAN_FUZZ_TARGET"] = target.name
    return environment


def _last_words(log: Path) -> str:
    """What a program said about its end."""
    lines = log.read_text(errors="replace").splitlines()
    telling = [line for line in lines if re.search(r"Fatal error|ERROR: |SUMMARY: |^\s+#\d+ .* in .*(Fuzzing|Promise)", line)]
    return "\n".join("    " + line for line in (telling or lines)[:12])


def _table(results: list[Result], seconds: float) -> str:
    head = f"{'target':18} {'executions':>12} {'exec/s':>9} {'places':>7} {'corpus':>7} {'crashes':>8}"
    rows = [
        f"{result.target.name:18} {result.executions:12,} {result.executions / max(result.seconds, 0.1):9,.0f} {result.coverage:7} "
        f"{result.inputs:7} {int(result.broken is not None):8}" + (f"  {result.trouble}" if result.trouble else "")
        for result in results
    ]
    return "\n".join([head, *rows, f"{sum(result.executions for result in results):,} executions in {seconds:.0f} s"])


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="Tests/Fuzzing/run")
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.seconds < 1 or arguments.jobs < 1:
        parser.error("--seconds and --jobs count from 1")
    seed = arguments.seed if arguments.seed is not None else random.randrange(1, 2**31)
    fuzzing = Fuzzing(arguments.program, arguments.inputs, arguments.corpus, arguments.seconds, seed)
    targets = fuzzing.targets()
    if arguments.list:
        print("\n".join(f"{target.name:18} {target.about}" for target in targets))
        return 0
    unknown = [name for name in arguments.target if name not in {target.name for target in targets}]
    if unknown:
        parser.error(f"there is no target {', '.join(unknown)}; see --list")
    chosen = [target for target in targets if not arguments.target or target.name in arguments.target]

    def interrupt(number: int, _: object) -> None:
        print(f"\n{signal.Signals(number).name}: taking the fuzzers down", flush=True)
        fuzzing.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    print(f"{len(chosen)} targets, {arguments.seconds} s each, seed {seed}", flush=True)
    begun = time.monotonic()
    # What promises make in the file system goes with the folder.
    with tempfile.TemporaryDirectory(prefix="meridian-fuzz.") as scratch:
        os.environ["TMPDIR"] = scratch
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            results = list(pool.map(fuzzing.run, chosen))
    print("\n" + _table(results, time.monotonic() - begun), flush=True)
    broken = [result.target.name for result in results if result.broken is not None]
    trouble = [result.target.name for result in results if result.trouble]
    print(f"{len(results) - len(broken) - len(trouble)} passed, {len(broken) + len(trouble)} failed", flush=True)
    if fuzzing.interrupted:
        return 130
    return 1 if broken else 2 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
