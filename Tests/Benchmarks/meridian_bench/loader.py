"""Runs the load generator, and has its figures as values."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meridian_system.client import Endpoint
from meridian_system.processes import die_with_parent

_GRACE_SECONDS = 60.0


class LoadFailed(Exception):
    """The load generator could not do its work, or was answered wrong."""


@dataclass(frozen=True)
class Account:
    """CPU time of one process, in microseconds."""

    user: float
    system: float
    total: float


@dataclass(frozen=True)
class Figures:
    """What one run of a load came to. Latencies are in microseconds."""

    requests: int
    seconds: float
    per_second: float
    p50: float
    p90: float
    p99: float
    p999: float
    accounts: Mapping[str, Account]

    @classmethod
    def of(cls, text: str) -> Figures:
        """Reads the load generator's JSON; raises LoadFailed when replies were wrong or keys missing."""
        raw: dict[str, Any] = json.loads(text)
        if raw["wrong"] or raw["misses"]:
            raise LoadFailed(f"{raw['wrong']} wrong replies and {raw['misses']} misses, such as {raw['examples'][:3]}")
        if not raw["requests"]:
            raise LoadFailed("no request was answered")
        latency = raw["latency"]
        accounts = {name: Account(entry["user"], entry["system"], entry["total"]) for name, entry in raw["processes"].items()}
        return cls(
            raw["requests"], raw["seconds"], raw["requestsPerSecond"], latency["p50"], latency["p90"], latency["p99"],
            latency["p999"], accounts,
        )  # fmt: skip

    def per_request(self, name: str) -> Account:
        """A process's CPU for each request."""
        used = self.accounts[name]
        return Account(used.user / self.requests, used.system / self.requests, used.total / self.requests)


@dataclass(frozen=True)
class Loader:
    """The program, and the core it may be pinned to."""

    program: Path
    core: int | None = None

    def fill(self, endpoint: Endpoint, options: Sequence[str]) -> None:
        """Stores every key once."""
        self._ask("fill", endpoint, options, _GRACE_SECONDS)

    def run(
        self, endpoint: Endpoint, options: Sequence[str], *, seconds: float, warm_up: float, pids: Mapping[str, int],
        rate: float | None = None,
    ) -> Figures:  # fmt: skip
        """Runs a load, and accounts the CPU of processes meanwhile."""
        more = [*options, "--seconds", f"{seconds:.3f}", "--warm-up", f"{warm_up:.3f}"]
        for name, pid in pids.items():
            more += ["--account", f"{name}={pid}"]
        if rate is not None:
            more += ["--rate", f"{rate:.1f}"]
        return Figures.of(self._ask("run", endpoint, more, seconds + warm_up + _GRACE_SECONDS))

    @contextmanager
    def idle(self, endpoint: Endpoint, connections: int) -> Iterator[None]:
        """Keeps connections open, each used once, for the length of a `with`."""
        arguments = [str(self.program), "idle", "--address", str(endpoint), "--connections", str(connections)]
        with subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=self._prepare(),
        ) as process:
            try:
                assert process.stdout is not None and process.stderr is not None
                if process.stdout.readline().strip() != "idle":
                    raise LoadFailed(f"{connections} idle connections to {endpoint}: {process.stderr.read().strip()}")
                yield
            finally:
                process.kill()

    def _prepare(self) -> Any:
        parent, core = os.getpid(), self.core

        def prepare() -> None:
            die_with_parent(parent)
            if core is not None:
                os.sched_setaffinity(0, {core})

        return prepare

    def _ask(self, command: str, endpoint: Endpoint, options: Sequence[str], timeout: float) -> str:
        arguments = [str(self.program), command, "--address", str(endpoint), *options]
        try:
            done = subprocess.run(
                arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, preexec_fn=self._prepare()
            )
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"meridian-load {command} at {endpoint} was not done after {timeout:.0f} s") from None
        if done.returncode != 0:
            raise LoadFailed(f"meridian-load {command} at {endpoint}: {(done.stderr or done.stdout).strip()}")
        return done.stdout
