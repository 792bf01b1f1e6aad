"""The write log of a real proxy: how fast it is appended to, and how long a restart takes with it.

    south is down, so the log keeps everything     sets ──▶ n1 ──▶ segments: 1 2 3 4 …
    kill -9, start again                           n1 reads them all ──▶ "log recovered records=…" ──▶ serving

What a start takes with an empty log is taken first, for comparison.
"""

from __future__ import annotations

import datetime
import re
import time
from dataclasses import dataclass

from meridian_bench.cases import Case
from meridian_bench.rounds import Plan, say
from meridian_bench.subjects import MERIDIAN, BenchFederation, Stage
from meridian_system.federation import Proxy
from meridian_system.processes import wait_until

_CASES = {"32 B": Case("log-32B", 1, 0, 16, 32, 50), "1 KiB": Case("log-1KiB", 1, 0, 16, 1024, 50)}
_RECOVERED = re.compile(r"^(\S+Z) .* log recovered path=\S+ records=(\d+)", re.MULTILINE)
_SERVING_SECONDS = 120.0


@dataclass(frozen=True)
class Append:
    """Sets that went into the log."""

    values: str
    sets_per_second: float
    bytes_per_set: float
    cpu: float
    """Microseconds of the proxy's CPU for each set."""

    @property
    def megabytes_per_second(self) -> float:
        """How fast the log grew."""
        return self.sets_per_second * self.bytes_per_set / 1e6


@dataclass(frozen=True)
class Recovery:
    """One start after kill -9."""

    records: int
    megabytes: float
    recovered: float
    """Seconds from the start to the log being read."""
    serving: float
    """Seconds from the start to serving."""


def measure(stage: Stage, plan: Plan) -> tuple[list[Append], list[Recovery]]:
    """Measures on a stage of two sites; the other site is down from here on."""
    federation = stage.federation
    north = next(iter(federation.north.proxies.values()))
    _put_down(next(iter(federation.south.proxies.values())))
    recoveries = [_restart(federation, north)]
    appends: list[Append] = []
    for values, case in _CASES.items():
        say(f"log: sets of {values}")
        appends.append(_append(stage, plan, values, case))
        say("log: recovery")
        recoveries.append(_restart(federation, north))
    say("")
    return appends, recoveries


def _put_down(proxy: Proxy) -> None:
    assert proxy.process is not None
    proxy.process.kill()
    proxy.process = None


def _appended(proxy: Proxy) -> tuple[int, int]:
    """Bytes and committed records of a proxy's logs."""
    status = proxy.status()
    return sum(int(lane["log"]["tailBytes"]) for lane in status.lanes), sum(status.committed.values())


def _append(stage: Stage, plan: Plan, values: str, case: Case) -> Append:
    proxy = next(iter(stage.federation.north.proxies.values()))
    pid = stage.federation.pid(stage.federation.north)
    before = _appended(proxy)
    figures = plan.loader.run(proxy.clients, case.load, seconds=plan.seconds, warm_up=plan.warm_up, pids={MERIDIAN: pid})
    after = _appended(proxy)
    each = (after[0] - before[0]) / max(1, after[1] - before[1])
    return Append(values, figures.per_second, each, figures.per_request(MERIDIAN).total)


def _restart(federation: BenchFederation, proxy: Proxy) -> Recovery:
    _put_down(proxy)
    megabytes = sum(path.stat().st_blocks * 512 for path in proxy.folder.rglob("*") if path.is_file()) / 1e6
    read_to = proxy.log_size
    begun, begun_wall = time.monotonic(), time.time()
    federation.start_proxy(proxy, wait=False)
    wait_until(lambda: proxy.serving, f"{proxy.name} to serve (see {proxy.log})", _SERVING_SECONDS, interval=0.005)
    serving = time.monotonic() - begun
    lines = _RECOVERED.findall(proxy.log_text(read_to))
    if not lines:
        raise RuntimeError(f"{proxy.name} did not log that its log is recovered; see {proxy.log}")
    last = max(datetime.datetime.fromisoformat(stamp).timestamp() for stamp, _ in lines)
    return Recovery(sum(int(records) for _, records in lines), megabytes, max(0.0, last - begun_wall), serving)
