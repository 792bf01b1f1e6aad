"""Real `php` processes with one of the two session extensions, sent to the sites' proxies.

    Cell       an extension with a protocol: how to start its `php`, and where its sessions and locks are in memcached
    Visitor    sends requests with it, and looks up around the proxies what came of them

The scripts that are run are in Tests/SystemTests/php; each tells what it saw in lines of JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meridian_system.checks_faults import BACKEND_TIMEOUT_SECONDS, MARGIN_SECONDS
from meridian_system.compare import Item, compare, read_server
from meridian_system.federation import Federation, Proxy, Site
from meridian_system.processes import Process, wait_until
from meridian_system.report import Failed, require

SCRIPTS = Path(__file__).resolve().parents[1] / "php"

LOCK_SECONDS = 4
"""After this a lock that nobody released expires, by both extensions' settings."""
ANSWER_SECONDS_MAX = BACKEND_TIMEOUT_SECONDS + MARGIN_SECONDS
"""The longest that a request may take; only behind a lock that a failed one left may it be longer, by the lock's life."""
ARRIVAL_SECONDS = 10.0
"""How long a write may take to the other site, on a loaded machine."""
HANG_SECONDS = 30.0
"""Whoever has not ended after this hangs."""
LIFE_SECONDS = 600
_LIFE_ROUNDED_SECONDS = 5
"""Whole seconds, rounded at each server, and the time between the write and the look."""


@dataclass(frozen=True)
class Cell:
    """One extension with one protocol."""

    name: str
    extensions: tuple[str, ...]
    handler: str
    path: str
    """session.save_path, with the proxy's address for {}."""
    key: str
    """A session's key, with its id for {}."""
    lock: str
    settings: tuple[str, ...] = ()
    binary: bool = False
    strict: bool = True
    """Whether the extension looks an unknown id up; one that does not accepts it even in strict mode."""

    def keys(self, *ids: str) -> list[bytes]:
        """Where sessions are."""
        return [self.key.format(id).encode() for id in ids]

    def locks(self, *ids: str) -> list[bytes]:
        """Where their locks are."""
        return [self.lock.format(id).encode() for id in ids]

    def command(self, script: str, *arguments: str, settings: Sequence[str] = ()) -> list[str]:
        """A `php` that has this extension and no other configuration."""
        words = [php_program(), "-n"]
        for setting in (*(f"extension={name}" for name in self.extensions), *_SETTINGS, *self.settings, *settings):
            words += ["-d", setting]
        return [*words, str(SCRIPTS / script), *arguments]


_SETTINGS = (
    "display_errors=stderr",
    "session.use_cookies=0",
    "session.cache_limiter=",
    "session.gc_probability=0",
    "session.lazy_write=1",
)


def _memcached(protocol: str, *, binary: bool) -> Cell:
    return Cell(
        name=f"php-memcached-{protocol}",
        extensions=("igbinary", "msgpack", "memcached"),
        handler="memcached",
        path="{}",
        key="memc.sess.key.{}",
        lock="memc.sess.key.lock.{}",
        settings=(
            f"memcached.sess_binary_protocol={int(binary)}",
            f"memcached.sess_lock_expire={LOCK_SECONDS}",
            "memcached.sess_lock_wait_min=5",
            "memcached.sess_lock_wait_max=150",
            "memcached.sess_lock_retries=200",
        ),
        binary=binary,
    )


MEMCACHED_BINARY = _memcached("binary", binary=True)
MEMCACHED_TEXT = _memcached("text", binary=False)
MEMCACHE = Cell(
    name="php-memcache",
    extensions=("memcache",),
    handler="memcache",
    path="tcp://{}",
    key="{}",
    lock="{}.lock",
    settings=(f"memcache.lock_timeout={LOCK_SECONDS}",),
    strict=False,
)


def php_program() -> str:
    """The path of PHP's command line."""
    found = shutil.which("php")
    if found is None:
        raise Failed("there is no php; Sites/demo-install --tests installs it")
    return found


@dataclass(frozen=True)
class Answer:
    """What a request tells."""

    what: str
    opened_id: str
    found: dict[str, Any]
    id: str


@dataclass
class Visitor:
    """Sends requests to the sites' proxies, all with one extension."""

    cell: Cell
    federation: Federation
    requests: int = 0
    longest: float = 0.0
    _serial: int = 0

    def new_id(self, purpose: str) -> str:
        """A session id that nobody has."""
        self._serial += 1
        return f"{purpose}-{self._serial:03}"

    def proxy(self, name: str) -> Proxy:
        """A proxy of either site."""
        return next(proxy for proxy in self.federation.proxies if proxy.name == name)

    def settings(self, proxy: Proxy, life: int = LIFE_SECONDS, *, strict: bool = False) -> list[str]:
        """PHP's settings for sessions behind one proxy."""
        return [
            f"session.save_handler={self.cell.handler}",
            f'session.save_path="{self.cell.path.format(proxy.clients)}"',
            f"session.gc_maxlifetime={life}",
            f"session.use_strict_mode={int(strict)}",
        ]

    def request(self, proxy: str, id: str, *actions: str, life: int = LIFE_SECONDS, strict: bool = False) -> Answer:
        """One request in a process of its own; nothing may fail, warn or take long."""
        chosen = self.proxy(proxy)
        told = self.run(chosen, "request.php", id, *actions, settings=self.settings(chosen, life, strict=strict))
        what = f"{self.cell.name}: session {id} at {proxy}{''.join(f', {action[:40]}' for action in actions)}"
        wrong = [name for name in ("opened", "closed", "regenerated", "destroyed") if told.get(name) is False]
        require(not wrong and not told["warnings"], f"{what}: not {' or '.join(wrong) or 'in peace'}: {told['warnings']}")
        require(told["seconds"] < ANSWER_SECONDS_MAX, f"{what}: took {told['seconds']:.2f} s")
        self.requests += 1
        self.longest = max(self.longest, told["seconds"])
        return Answer(what, told["opened_id"], dict(told["found"] or {}), told["id"])

    def run(self, proxy: Proxy, script: str, *arguments: str, settings: Sequence[str] = ()) -> dict[str, Any]:
        """Runs a script at a proxy's site and returns what it tells."""
        namespace = proxy.clients.namespace
        command = self.cell.command(script, *arguments, settings=settings)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=HANG_SECONDS, stdin=subprocess.DEVNULL,
                preexec_fn=None if namespace is None else namespace.enter,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.cell.name}: {script} {' '.join(arguments)[:80]} at {proxy.name} hangs") from None
        return told_by(script, done.stdout, done.stderr)

    def start(self, proxy: Proxy, label: str, script: str, *arguments: str) -> Process:
        """Starts a script that runs for a while; what it tells is in its log."""
        return self.federation.supervisor.start(
            label,
            self.cell.command(script, *arguments, settings=self.settings(proxy)),
            self.federation.folder / f"{label}.log",
            namespace=proxy.clients.namespace,
        )

    # Around the proxies

    def held(self, site: Site, keys: Sequence[bytes]) -> dict[str, dict[bytes, Item]]:
        """What each memcached of a site holds of the keys."""
        return {server.name: read_server(server, keys) for server in site.memcacheds}

    def gone(self, *ids: str) -> str:
        """Why sessions, or their locks, are not gone from both sites; empty when they are."""
        keys = [*self.cell.keys(*ids), *self.cell.locks(*ids)]
        left = [
            f"{name} holds {key.decode()}"
            for site in self.federation.sites
            for name, items in self.held(site, keys).items()
            for key in items
        ]
        return "; ".join(left)

    def equal(self, *ids: str) -> str:
        """Why sessions are not the same at both sites; empty when they are."""
        return self.equal_keys(self.cell.keys(*ids))

    def equal_keys(self, keys: Sequence[bytes]) -> str:
        """The same for any keys."""
        found = compare(self.federation.north, self.federation.south, keys)
        return "" if found.equal and found.held == len(keys) else found.summary()

    def lives(self, id: str, life: int) -> str:
        """Why a session does not have this long to live at both sites, backups included; empty when it does."""
        [key] = self.cell.keys(id)
        wrong: list[str] = []
        for site in self.federation.sites:
            lives = [items[key].life for items in self.held(site, [key]).values() if key in items]
            if len(lives) != 2 or not all(life - _LIFE_ROUNDED_SECONDS <= found <= life + 1 for found in lives):
                wrong.append(f"at {site.name} its copies have {lives or 'no'} seconds to live, not two of about {life}")
        return "; ".join(wrong)


def told_by(script: str, output: str, errors: str = "") -> dict[str, Any]:
    """The line of JSON that a script told."""
    try:
        told = json.loads(output)
    except ValueError:
        raise Failed(f"{script} told {output[-200:]!r}; its errors: {errors[-400:]!r}") from None
    require(isinstance(told, dict), f"{script} told {output[-200:]!r}")
    return dict(told)


def soon(complaint: Callable[[], str], what: str, timeout: float = ARRIVAL_SECONDS) -> float:
    """Waits until there is no complaint; returns the seconds that took, or raises Failed with the last one."""
    last = ""

    def content() -> bool:
        nonlocal last
        last = complaint()
        return not last

    try:
        return wait_until(content, what, timeout)
    except TimeoutError:
        raise Failed(f"{what}: not within {timeout:.0f} s: {last}") from None
