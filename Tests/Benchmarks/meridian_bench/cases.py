"""What can be measured: each case is a load, and a name that says what is in it.

mix-p16-1KiB-c50       1 set to 10 gets, pipeline 16, values of 1 KiB, 50 connections
get100-32B             multi-gets of 100 keys
paced-mix-p1-1KiB-c50  the same load for all, at half of what the slower proxy can do: for latencies
replicated-mix-p16-…   10% writes, one remote site over TLS; twemproxy beside it replicates nothing
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

_SIZES = {"32B": 32, "1KiB": 1024, "100KiB": 102_400}
_OPERATIONS = {"get": (0, 1), "set": (1, 0), "mix": (1, 10)}

_KEYS_BYTES_MAX = 64 << 20
"""The keys of a case hold no more than this, so that memcached never evicts …"""
_KEYS_MAX = 20_000
"""… and are no more than this."""


@dataclass(frozen=True)
class Case:
    """One load."""

    name: str
    sets: int
    gets: int
    pipeline: int
    value_bytes: int
    connections: int
    keys_per_get: int = 1
    paced: bool = False
    """All at the same rate: half of what the slower proxy reaches in a closed loop."""
    replicated: bool = False
    """With a second site."""

    @property
    def keys(self) -> int:
        """How many keys it is about."""
        return max(100, min(_KEYS_MAX, _KEYS_BYTES_MAX // self.value_bytes))

    @property
    def load(self) -> list[str]:
        """The load generator's options."""
        return [
            "--keys", str(self.keys), "--value-bytes", str(self.value_bytes), "--connections", str(self.connections),
            "--pipeline", str(self.pipeline), "--sets", str(self.sets), "--gets", str(self.gets),
            "--keys-per-get", str(self.keys_per_get),
        ]  # fmt: skip

    @property
    def fill(self) -> list[str]:
        """The options for storing every key once."""
        pipeline = 1 if self.value_bytes > 10_000 else 16
        return [
            "--keys",
            str(self.keys),
            "--value-bytes",
            str(self.value_bytes),
            "--connections",
            "8",
            "--pipeline",
            str(pipeline),
        ]


def _plain(operation: str, pipeline: int, size: str, connections: int) -> Case:
    sets, gets = _OPERATIONS[operation]
    return Case(f"{operation}-p{pipeline}-{size}-c{connections}", sets, gets, pipeline, _SIZES[size], connections)


def all_cases() -> list[Case]:
    """Every load that has a name."""
    cases = [_plain(operation, pipeline, size, 50) for size in _SIZES for operation in _OPERATIONS for pipeline in (1, 16)]
    cases += [_plain(operation, pipeline, "32B", 1000) for operation in _OPERATIONS for pipeline in (1, 16)]
    cases += [Case(f"get100-{size}", 0, 1, 1, _SIZES[size], 50, keys_per_get=100) for size in ("32B", "1KiB")]
    cases += [
        Case(f"paced-mix-p{pipeline}-{size}-c50", 1, 10, pipeline, _SIZES[size], 50, paced=True)
        for size in ("32B", "1KiB")
        for pipeline in (1, 16)
    ]
    cases += [
        Case(f"replicated-mix-p{pipeline}-{size}-c50", 1, 9, pipeline, _SIZES[size], 50, replicated=True)
        for size in ("32B", "1KiB")
        for pipeline in (1, 16)
    ]
    return cases


QUICK = ("mix-p1-32B-c50", "mix-p16-32B-c50", "get100-32B", "paced-mix-p1-32B-c50", "replicated-mix-p16-32B-c50")
"""The cases of --quick."""

EXTRAS = ("lag", "memory", "log")
"""What is measured besides loads."""


def chosen(patterns: Sequence[str], quick: bool) -> tuple[list[Case], list[str]]:
    """The cases and extras that the patterns (fnmatch) name; raises ValueError for a pattern that names none."""
    if not patterns:
        patterns = (*QUICK, *EXTRAS) if quick else ("*",)
    cases = all_cases()
    for pattern in patterns:
        if not fnmatch.filter([*(case.name for case in cases), *EXTRAS], pattern):
            raise ValueError(f"no case is named '{pattern}'; --list names them all")

    def named(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    return [case for case in cases if named(case.name)], [extra for extra in EXTRAS if named(extra)]
