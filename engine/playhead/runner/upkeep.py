"""Upkeep: the runner's one thread for what is due later. Commits when asked, flushes what waits, fires timers.

It owns no rule: it calls what it was given, in its own thread. A simulation puts a virtual one in its place.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from playhead.core.events import MAX_MOMENT
from playhead.core.names import Micros

# How old a record that nobody waits for may get before it is written: what makes progress live
FLUSH_SECONDS: Final = 0.05


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
    """The real one: a daemon thread. `commit` writes of what waits in the journal, and says whether there is more: between its
    turns timers fire, however much there is to write. `flush` is called a few times a second. `fail` is told what any of
    them raises, and then nothing is due any more: without this thread a run would wait for ever.
    """

    def __init__(
        self, commit: Callable[[], bool], flush: Callable[[], None], fail: Callable[[BaseException], None]
    ) -> None:
        self._commit = commit
        self._flush = flush
        self._fail = fail
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
        try:
            while not self._stopping:
                self._turn()
        except Exception as error:  # noqa: BLE001  # ours or a storage's: whatever it is, the run must hear of it
            self._fail(error)

    def _turn(self) -> None:
        with self._changed:
            if not (self._kicked or self._stopping):
                self._changed.wait(self._pause())
            if self._stopping:
                return
            self._kicked = False
            due = self._take_due()
        for fn in due:
            fn()
        if self._commit():
            self._kicked = True
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


def moment_after(start: int, delay: timedelta) -> Micros:
    """The moment so long after `start`; the last one that an event can hold, where it would be later still."""
    return Micros(max(start, min(start + round(delay.total_seconds() * 1e6), MAX_MOMENT)))
