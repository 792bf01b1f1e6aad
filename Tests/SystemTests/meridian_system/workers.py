"""Many clients at once: a few forked processes with a few threads each, since one Python process is one core.

A crew is forked from a script without threads, runs jobs until they end by themselves or are told to, and hands back what each
returned. Its processes die with the script, like every other.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from meridian_system.processes import die_with_parent

Result = TypeVar("Result")

_context = multiprocessing.get_context("fork")


_crews: list[Crew[Any]] = []


def abandon_all() -> None:
    """Ends every crew that is still there; for a check that failed while its load was running."""
    for crew in _crews:
        crew.abandon()
    _crews.clear()


class WorkerFailed(Exception):
    """A job raised; carries its traceback."""


class Stop:
    """Tells jobs to end, across processes."""

    def __init__(self) -> None:
        self._event = _context.Event()

    def set(self) -> None:
        """Ends the jobs."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


class Crew(Generic[Result]):
    """Runs one job in each thread of a few processes."""

    def __init__(self, jobs: Sequence[Callable[[Stop], Result]], processes: int = 4) -> None:
        self.stop = Stop()
        parent = os.getpid()
        self._members: list[tuple[multiprocessing.process.BaseProcess, multiprocessing.connection.Connection]] = []
        for index in range(min(processes, len(jobs))):
            share = jobs[index::processes]
            receiver, sender = _context.Pipe(duplex=False)
            process = _context.Process(target=_member, args=(parent, share, self.stop, sender), daemon=True)
            process.start()
            sender.close()
            self._members.append((process, receiver))
        _crews.append(self)

    @property
    def running(self) -> bool:
        """Whether any job still runs."""
        return any(process.is_alive() and not receiver.poll() for process, receiver in self._members)

    def results(self, timeout: float = 300.0) -> list[Result]:
        """Waits for the jobs to end; raises WorkerFailed when one raised or died."""
        results: list[Result] = []
        failures: list[str] = []
        for process, receiver in self._members:
            try:
                if not receiver.poll(timeout):
                    failures.append(f"worker {process.pid} did not end within {timeout:.0f} s")
                    process.kill()
                    continue
                done, failed = receiver.recv()
                results += done
                failures += failed
            except EOFError:
                failures.append(f"worker {process.pid} died")
            process.join()
        if failures:
            raise WorkerFailed("\n".join(failures))
        return results

    def finish(self, timeout: float = 60.0) -> list[Result]:
        """Tells the jobs to end and waits for them."""
        self.stop.set()
        return self.results(timeout)

    def abandon(self) -> None:
        """Ends the processes without asking; none is left of a crew whose results were taken."""
        for process, _ in self._members:
            if process.is_alive():
                process.kill()
                process.join()


def _member(
    parent: int, jobs: Sequence[Callable[[Stop], Result]], stop: Stop, sender: multiprocessing.connection.Connection
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent)
    done: list[Result] = []
    failed: list[str] = []

    def work(job: Callable[[Stop], Result]) -> None:
        try:
            done.append(job(stop))
        except BaseException:
            failed.append(traceback.format_exc())

    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sender.send((done, failed))
    sender.close()
    os._exit(0)
