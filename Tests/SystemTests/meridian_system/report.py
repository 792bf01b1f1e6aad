"""Checks, a line for each, and at the end `N passed, N failed`."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import TextIO


class Failed(Exception):
    """A check did not hold; the text says what was expected and what was found."""


def require(condition: bool, otherwise: str) -> None:
    """Raises Failed unless the condition holds."""
    if not condition:
        raise Failed(otherwise)


class Report:
    """Runs checks and prints what came of them."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self._output = output
        self.passed = 0
        self.failed = 0

    def say(self, text: str) -> None:
        """A line that is no result."""
        print(text, file=self._output, flush=True)

    def check(self, name: str, body: Callable[[], str]) -> bool:
        """Runs a check, which returns its figures or raises, and prints one line for it."""
        begun = time.monotonic()
        try:
            figures = body()
            self.passed += 1
            self._result("ok    ", name, figures, begun)
            return True
        except Exception as error:
            self.failed += 1
            text = str(error) or type(error).__name__
            if not isinstance(error, (Failed, TimeoutError)):
                text = f"{type(error).__name__}: {text}"
            self._result("FAILED", name, text, begun)
            if not isinstance(error, (Failed, TimeoutError)):
                frames = traceback.extract_tb(error.__traceback__)
                self.say("        at " + " ← ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:])))
            return False

    def _result(self, word: str, name: str, text: str, begun: float) -> None:
        first, *rest = text.splitlines() or [""]
        self.say(f"{word} {name}: {first} ({time.monotonic() - begun:.1f} s)")
        for more in rest:
            self.say("        " + more)

    def finish(self) -> int:
        """Prints the sum, and returns the exit code."""
        self.say(f"{self.passed} passed, {self.failed} failed")
        return 0 if self.failed == 0 and self.passed > 0 else 1
