"""Real processes: started, paused, killed and taken down, with the promise that none outlives the script.

Three things keep that promise. Every child asks the kernel to be killed when its parent dies (PR_SET_PDEATHSIG), so even
`kill -9` of the script leaves nothing. Every child leads a process group of its own, so a Ctrl-C in the terminal reaches the
script alone, which then takes the children down in order. And a second Ctrl-C kills what is left at once.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TypedDict, Unpack

from meridian_system.namespaces import Namespace

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Interrupted(BaseException):
    """Somebody wants the script to end: Ctrl-C, SIGTERM, or the terminal went away."""


class ProcessDied(Exception):
    """A process ended that should not have; says which, how, and what it logged last."""


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent (whose id is given) dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # The parent died before the kernel was told.
        os._exit(1)


class Where(TypedDict, total=False):
    """What a process may have of its own: a network namespace, a user, more environment."""

    namespace: Namespace | None
    user: str | None
    environment: dict[str, str] | None


class Process:
    """One child process, with its standard output and error going to a log file."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, **where: Unpack[Where]) -> None:
        namespace, user, environment = where.get("namespace"), where.get("user"), where.get("environment")
        self.name = name
        self.arguments = list(arguments)
        self.log = log
        self.paused = False
        parent = os.getpid()
        account = pwd.getpwnam(user) if user is not None else None

        def prepare() -> None:
            if namespace is not None:
                namespace.enter()
            # Before prctl: a change of user clears the wish to die with the parent.
            if account is not None:
                os.setgroups([])
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            die_with_parent(parent)

        with open(log, "ab") as output:
            self._popen = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=prepare,
                env=None if environment is None else {**os.environ, **environment},
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (or is paused)."""
        return self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal, or None while the process runs."""
        return self._popen.poll()

    def last_words(self, lines: int = 8) -> str:
        """The end of the log, for a message."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def expect_alive(self) -> None:
        """Raises ProcessDied when the process has ended."""
        if not self.alive:
            raise ProcessDied(f"{self.name} ended with {self.exit_code}; the end of {self.log}:\n{self.last_words()}")

    def signal(self, number: int) -> None:
        """Sends a signal to the process and whatever it started; none if it has ended."""
        if self.alive:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass

    def pause(self) -> None:
        """SIGSTOP."""
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)
        self.paused = False

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        self._popen.wait()

    def terminate(self, timeout: float = 6.0) -> float:
        """SIGTERM; waits, and returns the seconds that the end took. Kills, and raises ProcessDied, past the timeout."""
        begun = time.monotonic()
        self.signal(signal.SIGTERM)
        if self.paused:
            self.resume()
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessDied(f"{self.name} had not ended {timeout:.1f} s after SIGTERM and was killed") from None
        return time.monotonic() - begun


class Supervisor:
    """Knows every process that was started through it, and takes them down in reverse order."""

    def __init__(self) -> None:
        self._processes: list[Process] = []

    def start(self, name: str, arguments: Sequence[str], log: Path, **where: Unpack[Where]) -> Process:
        """Starts a process; see Process."""
        process = Process(name, arguments, log, **where)
        self._processes = [known for known in self._processes if known.alive]
        self._processes.append(process)
        return process

    def stop_all(self, timeout: float = 6.0) -> None:
        """SIGTERM to all, the youngest first, SIGKILL to those that remain after the timeout."""
        for process in reversed(self._processes):
            process.signal(signal.SIGTERM)
            process.signal(signal.SIGCONT)
        deadline = time.monotonic() + timeout
        while any(process.alive for process in self._processes) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.kill_all()

    def kill_all(self) -> None:
        """SIGKILL to all, at once."""
        for process in self._processes:
            process.signal(signal.SIGKILL)
        for process in self._processes:
            process._popen.wait()
        self._processes = []


def watch_signals(supervisor: Supervisor) -> None:
    """The first Ctrl-C, SIGTERM or SIGHUP raises Interrupted in the main thread; the second kills every child and exits."""
    seen = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise Interrupted(signal.Signals(number).name)
        supervisor.kill_all()
        os._exit(130)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)


def wait_until(condition: Callable[[], bool], what: str, timeout: float, interval: float = 0.05) -> float:
    """Waits until the condition holds and returns the seconds it took; raises TimeoutError that says what was waited for."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > timeout:
            raise TimeoutError(f"waited {timeout:.0f} s in vain: {what}")
        time.sleep(interval)
    return time.monotonic() - begun
