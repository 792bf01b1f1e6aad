"""Runs a case round by round, A B A B, so that what the machine does besides hits all subjects alike, and sums the rounds up.

A subject's figure is the median over the rounds. A ratio is taken within each round first, and then the median: two runs that
are neighbours in time compare better than two medians do.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from meridian_bench.cases import Case
from meridian_bench.lag import LagProbe
from meridian_bench.loader import Account, Figures, Loader
from meridian_bench.subjects import MERIDIAN, TWEMPROXY, Stage, Subject

_LOAD_SHARE = 0.5
"""A paced load is this share of what the slower proxy can do."""
QUIET_SECONDS = 120.0
"""How long what is on its way to the other site may take."""


@dataclass
class Result:
    """One case, measured."""

    case: Case
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    """Each subject's rounds."""
    lags: list[float] = field(default_factory=list)
    """Seconds from a write to its being read at the other site."""
    rate: float | None = None
    """Requests per second of a paced case."""

    def median(self, subject: str, of: Callable[[Figures], float]) -> float:
        """The median of a figure over a subject's rounds."""
        return statistics.median(of(figures) for figures in self.runs[subject])

    def cpu(self, subject: str, process: str | None = None) -> Account:
        """Microseconds of CPU for each request, by a subject's process."""
        accounts = [figures.per_request(process or subject) for figures in self.runs[subject]]
        return Account(
            statistics.median(account.user for account in accounts),
            statistics.median(account.system for account in accounts),
            statistics.median(account.total for account in accounts),
        )

    def ratio(self, of: Callable[[str, Figures], float]) -> float | None:
        """Meridian's figure by twemproxy's, the median of the rounds' ratios."""
        pairs = zip(self.runs[MERIDIAN], self.runs[TWEMPROXY], strict=True)
        ratios = [of(MERIDIAN, one) / of(TWEMPROXY, other) for one, other in pairs if of(TWEMPROXY, other) > 0]
        return statistics.median(ratios) if ratios else None

    @property
    def cpu_ratio(self) -> float | None:
        """CPU per request."""
        return self.ratio(lambda name, figures: figures.per_request(name).total)

    @property
    def p99_ratio(self) -> float | None:
        """The latency's 99th percentile."""
        return self.ratio(lambda name, figures: figures.p99)


@dataclass(frozen=True)
class Plan:
    """How long, how often."""

    loader: Loader
    rounds: int
    seconds: float
    warm_up: float


def run_case(case: Case, stage: Stage, plan: Plan) -> Result:
    """Measures a case on a stage."""
    result = Result(case, {subject.name: [] for subject in stage.subjects})
    for subject in stage.subjects:
        plan.loader.fill(subject.endpoint, case.fill)
    if case.paced:
        result.rate = _calibrate(case, stage, plan)
    for number in range(plan.rounds):
        for subject in stage.subjects:
            say(f"{case.name}: round {number + 1} of {plan.rounds}, {subject.name}")
            result.runs[subject.name].append(_run(case, stage, subject, plan, result))
    say("")
    return result


def _calibrate(case: Case, stage: Stage, plan: Plan) -> float:
    """The rate that all subjects get."""
    proxies = [subject for subject in stage.subjects if subject.name in (MERIDIAN, TWEMPROXY)]
    reached = [_load(case, subject, plan, None).per_second for subject in proxies]
    return min(reached) * _LOAD_SHARE


def _run(case: Case, stage: Stage, subject: Subject, plan: Plan, result: Result) -> Figures:
    if case.replicated:
        # What the fill and the round before left over is not this round's.
        stage.federation.wait_quiet(QUIET_SECONDS)
    if not case.replicated or subject.name != MERIDIAN:
        return _load(case, subject, plan, result.rate)
    with LagProbe.across(stage.federation) as probe:
        figures = _load(case, subject, plan, None)
    result.lags += probe.collected()
    return figures


def _load(case: Case, subject: Subject, plan: Plan, rate: float | None) -> Figures:
    return plan.loader.run(
        subject.endpoint, case.load, seconds=plan.seconds, warm_up=plan.warm_up, pids=subject.pids, rate=rate
    )


def say(text: str) -> None:
    """Tells what is going on, on a terminal: one line that is overwritten."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
