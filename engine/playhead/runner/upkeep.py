"""Upkeep: the runner's one thread for what is due later. Commits when asked, flushes what waits, fires timers.

It owns no rule: it calls what it was given, in its own thread. A simulation puts a virtual one in its place.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from playhead.core.names import Micros

FLUSH_SECONDS: Final = (
    0.05  # how old a record that nobody waits for may get before it is written: what makes progress live
)


class Upkeep(Protocol):
    """What a runner asks of it."""

    def now(self) -> Micros:
        """The wall clock."""
        ...

    def kick(self) -> None:
        """Commit the journal soon, in another thread. Returns at once."""
        ...

    def call_at(self, moment: Micros, fn: Callable[[], None]) -> None:
        """Call `fn` at that moment or soon after; at once if it has passed."""
        ...


class UpkeepThread:
    """The real one: a daemon thread. `commit` writes what waits in the journal; `flush` is called a few times a second."""

    def __init__(self, commit: Callable[[], None], flush: Callable[[], None]) -> None:
        self._commit = commit
        self._flush = flush
        self._due: list[tuple[Micros, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._kicked = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="playhead-upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; timers that are not due are dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def now(self) -> Micros:
        return Micros(time.time_ns() // 1000)

    def kick(self) -> None:
        with self._changed:
            self._kicked = True
            self._changed.notify()

    def call_at(self, moment: Micros, fn: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._order), fn))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not (self._kicked or self._stopping):
                    self._changed.wait(self._pause())
                if self._stopping:
                    return
                self._kicked = False
                due = self._take_due()
            for fn in due:
                fn()
            self._commit()
            self._flush()

    def _pause(self) -> float:
        if not self._due:
            return FLUSH_SECONDS
        return max(0.0, min(FLUSH_SECONDS, (self._due[0][0] - self.now()) / 1e6))

    def _take_due(self) -> list[Callable[[], None]]:
        now = self.now()
        due: list[Callable[[], None]] = []
        while self._due and self._due[0][0] <= now:
            due.append(heapq.heappop(self._due)[2])
        return due
