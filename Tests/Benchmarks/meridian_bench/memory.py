"""Resident memory for each idle client connection: what a process has before and while many clients are connected, each of
which has stored one item and says nothing more."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from meridian_bench.loader import Loader
from meridian_bench.subjects import Stage

_SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Memory:
    """One subject's resident memory, in KiB."""

    subject: str
    connections: int
    before: int
    after: int

    @property
    def each(self) -> float:
        """KiB for each connection."""
        return (self.after - self.before) / self.connections


def _resident(pid: int) -> int:
    found = re.search(r"^VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"process {pid} has no memory any more")
    return int(found[1])


def measure(stage: Stage, loader: Loader, connections: int) -> list[Memory]:
    """Measures every subject of a fresh stage."""
    found: list[Memory] = []
    for subject in stage.subjects:
        before = _resident(subject.pid)
        with loader.idle(subject.endpoint, connections):
            time.sleep(_SETTLE_SECONDS)
            found.append(Memory(subject.name, connections, before, _resident(subject.pid)))
    return found
