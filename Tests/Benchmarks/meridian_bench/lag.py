"""How long a write takes to be read at the other site: a probe writes one key at one site and reads it at the other until it is
there. That is what a user sees of replication, and no clock of ours is trusted but one: the probe's own.

    north proxy   set ──▶ STORED                 set ──▶ …
    south proxy            └─ get get get ──▶ value      lag: from STORED to the value
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from meridian_system.client import Client, ConnectionLost, Endpoint
from meridian_system.federation import Federation

_KEY = b"lag:probe"
_PAUSE_SECONDS = 0.01
_GIVEN_UP_SECONDS = 10.0


class LagFailed(Exception):
    """A write did not reach the other site, or a proxy did not answer."""


class LagProbe:
    """Probes for the length of a `with`, on a thread of its own; `lags` are in seconds."""

    def __init__(self, near: Endpoint, far: Endpoint) -> None:
        self.lags: list[float] = []
        self._failure = ""
        self._near = near
        self._far = far
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @classmethod
    def across(cls, federation: Federation) -> LagProbe:
        """From north to south, from client to client."""
        return cls(federation.north.clients[0], federation.south.clients[0])

    def collected(self) -> list[float]:
        """What was measured; raises LagFailed when the probe could not go on."""
        if self._failure:
            raise LagFailed(self._failure)
        return self.lags

    def __enter__(self) -> LagProbe:
        self._thread.start()
        return self

    def __exit__(self, *arguments: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with Client(self._near) as near, Client(self._far) as far:
                number = 0
                while not self._ended.wait(_PAUSE_SECONDS):
                    number += 1
                    self.lags.append(self._once(near, far, b"%d" % number))
        except (ConnectionLost, TimeoutError) as failed:
            self._failure = str(failed)

    @staticmethod
    def _once(near: Client, far: Client, value: bytes) -> float:
        answer = near.set(_KEY, value)
        if answer != b"STORED":
            raise ConnectionLost(f"the lag probe's set was answered {answer!r}")
        begun = time.monotonic()
        while True:
            found = far.get(_KEY)
            waited = time.monotonic() - begun
            if found is not None and found.data == value:
                return waited
            if waited > _GIVEN_UP_SECONDS:
                raise TimeoutError(f"a write had not reached the other site after {_GIVEN_UP_SECONDS:.0f} s")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share (0…1) of the values does not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
