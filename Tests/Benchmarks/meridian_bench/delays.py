"""Lag by load: how long writes take to the other site when nothing else is going on, and at half of what can be written.

Capacity is measured first, as sets in a closed loop; then the lag at half of that, once the streams have caught up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from meridian_bench.cases import Case
from meridian_bench.lag import LagProbe
from meridian_bench.loader import Figures
from meridian_bench.rounds import QUIET_SECONDS, Plan, say
from meridian_bench.subjects import MERIDIAN, Stage, Subject

_CASE = Case("lag", 1, 0, 16, 1024, 50)


@dataclass(frozen=True)
class Lag:
    """Lags under one load, in seconds."""

    load: str
    lags: list[float]


def measure(stage: Stage, plan: Plan) -> list[Lag]:
    """Measures on a stage of two sites."""
    federation = stage.federation
    subject = next(subject for subject in stage.subjects if subject.name == MERIDIAN)
    plan.loader.fill(subject.endpoint, _CASE.fill)
    federation.wait_quiet(QUIET_SECONDS)
    say("lag: idle")
    with LagProbe.across(federation) as probe:
        time.sleep(plan.seconds * plan.rounds)
    found = [Lag("idle", probe.collected())]
    say("lag: capacity")
    capacity = _load(subject, plan, plan.seconds, None).per_second
    federation.wait_quiet(QUIET_SECONDS)
    rate = capacity / 2
    say("lag: half of capacity")
    with LagProbe.across(federation) as probe:
        _load(subject, plan, plan.seconds * plan.rounds, rate)
    say("")
    found.append(Lag(f"sets of 1 KiB, {rate:,.0f}/s, half of capacity", probe.collected()))
    return found


def _load(subject: Subject, plan: Plan, seconds: float, rate: float | None) -> Figures:
    return plan.loader.run(subject.endpoint, _CASE.load, seconds=seconds, warm_up=plan.warm_up, pids=subject.pids, rate=rate)
