"""The test suites of client libraries, as their authors wrote them: what passes against a memcached must pass against a proxy.

    suite ──▶ memcached 1.6.18                   ─┐
    suite ──▶ n1 ──▶ the site's memcacheds        ─┴─▶ the same outcome of every test, or a reason

The suites name their server themselves, 127.0.0.1:11211, and one of them port 5000 and /tmp/memcached.sock too. So both subjects
listen there, one after the other, in the network of the north; and the suite runs in a mount namespace where a folder of the
check's own is /tmp.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as XML
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meridian_system.client import Endpoint
from meridian_system.client_packages import BMEMCACHED, PYLIBMC, Packages
from meridian_system.federation import Options
from meridian_system.memcached import Memcached, memcached_program, unprivileged_user
from meridian_system.namespaces import Namespace
from meridian_system.processes import die_with_parent, wait_until
from meridian_system.report import Failed, require
from meridian_system.world import World

_HOST = "127.0.0.1"
_PORTS = (11_211, 5_000)
_SOCKET = "memcached.sock"
_SECONDS_MAX = 600.0
_TRIES_MAX = 5
"""How often a test is asked again that depends on when the clock ticks."""
_CLONE_NEWNS = 0x0002_0000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x4_0000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Suite:
    """A library's own tests."""

    package: str
    folder: str
    passing_min: int
    """So many tests pass against a memcached; if fewer do, the suite has not really run."""
    explained: Mapping[str, str] = field(default_factory=dict)
    """Tests that a proxy fails by intention, and why."""
    timed: Mapping[str, str] = field(default_factory=dict)
    """Tests that fail against anything now and then, and why: they are asked again."""


_DISCOVERY = (
    "the key AmazonElastiCache:cluster is no item here: a proxy answers it with the site's proxies, and with a newline behind "
    "the list, as Amazon does, which pylibmc does not expect"
)

SUITES = {
    PYLIBMC: Suite(
        PYLIBMC, "tests", 41,
        {
            f"tests.test_autoconf.AutoConfTests.{name}": _DISCOVERY
            for name in ("test_autoconf", "test_autoconf_only_cname", "test_no_autoconf")
        },
        {"tests.test_client.ClientTests.test_touch": "stores for one second, which ends when memcached's clock ticks next"},
    ),
    BMEMCACHED: Suite(BMEMCACHED, "test", 240),
}


def check_suite(world: World, packages: Packages, suite: Suite) -> str:
    """Runs a suite against a memcached and against a proxy, and compares test by test."""
    folder = world.folder / f"suite-{suite.package}"
    expected = _against_memcached(world, packages, suite, folder / "memcached")
    found = _against_proxy(world, packages, suite, folder / "proxy")
    differences = compare_outcomes(expected, found, suite.explained)
    require(not differences, "\n".join([f"{len(differences)} tests that memcached passes and a proxy does not", *differences]))
    passed = [test for test, outcome in expected.items() if outcome == "passed"]
    require(len(passed) >= suite.passing_min, f"only {len(passed)} tests pass against memcached itself; see {folder}")
    neither = len(expected) - len(passed)
    return (
        f"{len(passed) - len(suite.explained)} of the {len(passed)} tests that memcached passes pass"
        + "".join(f"; {number} otherwise, as {why}" for why, number in Counter(suite.explained.values()).items())
        + (f"; {neither} more cannot run against memcached either" if neither else "")
    )


def suites_can_fail(world: World, packages: Packages) -> str:
    """The comparison finds what a server lacks: a memcached without CAS values fails pylibmc's tests of them."""
    suite = SUITES[PYLIBMC]
    folder = world.folder / "suites-can-fail"
    expected = _against_memcached(world, packages, suite, folder / "with")
    found = _against_memcached(world, packages, suite, folder / "without", "-C")
    differences = compare_outcomes(expected, found, {})
    require(any("cas" in text for text in differences), f"a memcached without CAS values was not told from one with them: {differences}")
    return f"{len(differences)} tests fail against a memcached without CAS values"


def compare_outcomes(expected: Mapping[str, str], found: Mapping[str, str], explained: Mapping[str, str]) -> list[str]:
    """What is wrong: tests that pass here and not there, save the explained ones, which must differ as long as they are listed."""
    wrong: list[str] = []
    for test, outcome in sorted(expected.items()):
        there = found.get(test, "not run")
        if outcome == "passed" and there != "passed" and test not in explained:
            wrong.append(f"{test}: {there}")
        if test in explained and there == "passed":
            wrong.append(f"{test} passes, although it is listed as one that cannot: {explained[test]}")
    wrong += [f"{test} is explained, and there is no such test" for test in explained if test not in expected]
    return wrong


def _against_memcached(world: World, packages: Packages, suite: Suite, folder: Path, *options: str) -> dict[str, str]:
    folder.mkdir(parents=True)
    user = unprivileged_user(world.wire is not None and world.wire.mapped)
    namespace = world.wire.north if world.wire is not None else None
    servers = [
        Memcached(world.supervisor, f"memcached-{port}", Endpoint(_HOST, port, namespace), folder, user=user, options=options)
        for port in _PORTS
    ]
    with _as_tmp() as seen, contextlib.ExitStack() as started:
        for server in servers:
            server.start()
            started.callback(server.kill)
        by_path = world.supervisor.start(
            "memcached-socket", [memcached_program(), "-s", str(seen / _SOCKET), "-a", "777", *options],
            folder / "memcached-socket.log", user=user,
        )  # fmt: skip
        started.callback(by_path.kill)
        wait_until(lambda: Endpoint("", 0, path=str(seen / _SOCKET)).open, "memcached to listen on a unix socket", 5.0)
        return _run(packages, suite, folder, seen, namespace)


def _against_proxy(world: World, packages: Packages, suite: Suite, folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True)
    with _as_tmp() as seen:
        also = (*(f"{_HOST}:{port}" for port in _PORTS), f"unix:{seen / _SOCKET}")
        with world.federation(f"suite-{suite.package}/sites", Options(loops=world.loops, also={"n1": also})) as federation:
            outcomes = _run(packages, suite, folder, seen, federation.north.namespace)
            federation.wait_quiet()
            return outcomes


@contextlib.contextmanager
def _as_tmp() -> Iterator[Path]:
    """A folder that the suite sees as /tmp, for the length of a `with`; not in the check's own, which may be nobody else's."""
    with tempfile.TemporaryDirectory(prefix="meridian-suite.", dir="/tmp") as name:
        seen = Path(name)
        seen.chmod(0o777)
        yield seen


def _run(packages: Packages, suite: Suite, folder: Path, seen: Path, namespace: Namespace | None) -> dict[str, str]:
    """Runs the suite; returns each test's outcome: passed, failed or skipped, with the reason."""
    outcomes = _pytest(packages, suite, folder, seen, namespace)
    for test in suite.timed:
        for _ in range(_TRIES_MAX):
            if outcomes.get(test) == "passed":
                break
            group, name = test.split(".")[-2:]
            outcomes.update(_pytest(packages, suite, folder, seen, namespace, "-k", f"{group} and {name}"))
    return outcomes


def _pytest(
    packages: Packages, suite: Suite, folder: Path, seen: Path, namespace: Namespace | None, *options: str
) -> dict[str, str]:
    parent = os.getpid()
    place = str(seen).encode()

    def prepare() -> None:
        if namespace is not None:
            namespace.enter()
        private = _libc.unshare(_CLONE_NEWNS) == 0 and _libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
        if not private or _libc.mount(place, b"/tmp", None, _MS_BIND, None) != 0:
            raise OSError(ctypes.get_errno(), "making a mount namespace (it takes root, or user namespaces)")
        die_with_parent(parent)

    command = [
        str(packages.python), "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", "-q", "-ra",
        "--junitxml=/tmp/outcomes.xml", *options, suite.folder,
    ]  # fmt: skip
    environment = {**os.environ, "MEMCACHED_HOST": _HOST, "MEMCACHED_PORT": str(_PORTS[0]), "PYTHONDONTWRITEBYTECODE": "1"}
    report = seen / "outcomes.xml"
    report.unlink(missing_ok=True)
    with (folder / "pytest.log").open("ab") as log:
        try:
            done = subprocess.run(
                command, cwd=packages.tests(suite.package), env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, timeout=_SECONDS_MAX, preexec_fn=prepare,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"the tests of {suite.package} did not end within {_SECONDS_MAX:.0f} s; see {log.name}") from None
    require(report.exists(), f"the tests of {suite.package} ended with {done.returncode} and no outcomes; see {log.name}")
    shutil.copy(report, folder)
    return {f"{case.get('classname')}.{case.get('name')}": _outcome(case) for case in XML.parse(report).iter("testcase")}


def _outcome(case: XML.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            words = (found.get("message") or "").splitlines()
            return f"{kind}: {words[0][:200] if words else ''}"
    return "passed"
