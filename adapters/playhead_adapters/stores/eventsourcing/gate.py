"""Keeps a recorder open while it is read. Owns the count of the reads under way; reads nothing itself.

A module's connections must not be closed under a read: SQLite's then takes the whole process along. A caller that is cancelled leaves its
read under way, so it is the threads that are counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from playhead.errors import LogUnusable

T = TypeVar("T")


class Gate:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    def through(self, call: Callable[[], T]) -> T:
        """The call's result. LogUnusable: the gate is closed."""
        with self._changed:
            if self._closed:
                raise LogUnusable("the log is closed", hint="use it while it is open")
            self._inside += 1
        try:
            return call()
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def close(self, limit_seconds: float) -> None:
        """Let nobody in any more, and return when nobody is inside. LogUnusable: somebody still is, at the limit."""
        with self._changed:
            self._closed = True
            if not self._changed.wait_for(lambda: self._inside == 0, limit_seconds):
                raise LogUnusable(
                    f"the log is not closed: {self._inside} reads have not ended for {limit_seconds:g} s",
                    hint="look at what its database waits for",
                )
