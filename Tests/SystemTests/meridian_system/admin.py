"""What a proxy says about itself: its admin endpoint's JSON and metrics, and the `meridian` command line."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meridian_system.client import ConnectionLost, Endpoint
from meridian_system.namespaces import Namespace

_HTTP_SECONDS = 5.0
_COMMAND_SECONDS = 20.0


class _Connection(http.client.HTTPConnection):
    """HTTP over an endpoint in a site's network."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__("localhost", timeout=_HTTP_SECONDS)
        self._endpoint = endpoint

    def connect(self) -> None:
        self.sock = self._endpoint.connect(_HTTP_SECONDS)


def fetch(endpoint: Endpoint, path: str) -> str:
    """The body of a page of the admin endpoint; ConnectionLost when it cannot be had."""
    connection = _Connection(endpoint)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
        if response.status != 200:
            raise ConnectionLost(f"{endpoint}{path} answered {response.status}: {body.strip()[:200]}")
        return body
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionLost(f"{endpoint}{path}: {error}") from error
    finally:
        connection.close()


@dataclass(frozen=True)
class Destination:
    """What one lane has for one other site, as its proxy reports it."""

    lane: str
    site: str
    state: str
    message: str
    seconds: float
    records: int
    bytes: int
    last_heard: float | None

    @property
    def clear(self) -> bool:
        """Nothing is on its way, and the site was heard from just now."""
        return self.records == 0 and self.state == "streaming" and self.last_heard is not None and self.last_heard < 2.0


class Status:
    """/status of one proxy."""

    def __init__(self, text: str) -> None:
        self.raw: dict[str, Any] = json.loads(text)

    @classmethod
    def of(cls, endpoint: Endpoint) -> Status:
        """Asks a proxy."""
        return cls(fetch(endpoint, "/status"))

    @property
    def lanes(self) -> list[dict[str, Any]]:
        """One entry for each lane."""
        lanes: list[dict[str, Any]] = self.raw["lanes"]
        return lanes

    @property
    def serving(self) -> bool:
        """Every lane owns its slots."""
        return bool(self.lanes) and all(lane["state"] == "serving" for lane in self.lanes)

    @property
    def destinations(self) -> list[Destination]:
        """Every lane's other sites."""
        return [
            Destination(
                lane["lane"],
                entry["site"],
                entry["state"],
                entry["message"],
                float(entry["lagSeconds"]),
                int(entry["lagRecords"]),
                int(entry["lagBytes"]),
                None if entry.get("lastHeardSeconds") is None else float(entry["lastHeardSeconds"]),
            )
            for lane in self.lanes
            for entry in lane["destinations"]
        ]

    @property
    def backends(self) -> list[dict[str, Any]]:
        """Every lane's memcacheds."""
        return [backend for lane in self.lanes for backend in lane["backends"]]

    @property
    def siblings(self) -> list[dict[str, Any]]:
        """Every lane's siblings."""
        return [sibling for lane in self.lanes for sibling in lane["siblings"]]

    @property
    def committed(self) -> dict[str, int]:
        """The last committed position of each lane."""
        return {lane["lane"]: int(lane["log"]["committedPosition"]) for lane in self.lanes}

    def counter(self, name: str) -> int:
        """A counter, summed over the lanes; 0 when there is none of that name."""
        return sum(int(lane["counters"].get(name, 0)) for lane in self.lanes)


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    output: str
    errors: str

    @property
    def text(self) -> str:
        """Both outputs."""
        return self.output + self.errors


def run(program: Path, arguments: Sequence[str], namespace: Namespace | None = None, timeout: float = _COMMAND_SECONDS) -> Ran:
    """Runs a command of ours to its end."""
    done = subprocess.run(
        [str(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        preexec_fn=None if namespace is None else namespace.enter,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
