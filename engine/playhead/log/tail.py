"""The newest events in memory, once for all subscribers. Owns the buffer and who waits for it to move; reads no store.

It holds every event with `start` < position <= `scanned`. A subscriber has nothing here but its position: while that is
within the buffer it is served from memory, and one that fell behind `start` reads the store. So no subscriber can lose
an event, and none can make this grow.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Final

import anyio

from playhead.core.names import Position
from playhead.log.appends import recorded, recorded_alone
from playhead.ports.store import Append, Appended, Conflict, Outcome, Page, Recorded

TAIL_EVENTS: Final = 10_000  # kept for subscribers, about 10 MB; trimmed when there are twice as many

_POSITION = attrgetter("position")


class Tail:
    def __init__(self, head: Position) -> None:
        self.start = head
        self.scanned = head
        self.closed = False
        self._known = head  # the log reaches at least here
        self._events: list[Recorded] = []
        self._subscribers = 0
        self._moved = anyio.Event()
        self._lagging = anyio.Event()  # there is something to be read from the store
        self._watched = anyio.Event()

    def add_committed(self, appends: Sequence[Append], outcomes: Sequence[Outcome]) -> None:
        """Take over what a commit of our own made durable.

        Positions without a hole behind what is here prove that nobody else wrote in between. At a hole this cannot be
        known: what lies there is to be read from the store, once for all subscribers.
        """
        known = max([outcome.last for outcome in outcomes if type(outcome) is not Conflict], default=Position(0))
        if not self._subscribers:
            self.jump(known)
            return
        events: list[Recorded] = []
        scanned = self.scanned
        for append, outcome in zip(appends, outcomes, strict=True):
            if type(outcome) is Conflict or outcome.last <= scanned:
                continue
            whole = outcome.last - outcome.first + 1 == len(append.events)
            if not isinstance(outcome, Appended) or not whole or outcome.first > scanned + 1:
                break
            scanned = outcome.last
            if outcome.first == scanned:  # most bring one event: a list for it takes longer than the event
                events.append(recorded_alone(append, scanned, outcome.version))
            else:
                events += recorded(append, first=outcome.first, version=outcome.version)
        self.extend(events, scanned)
        self.reaches(known)

    def extend(self, events: Sequence[Recorded], scanned: Position) -> None:
        """Add what the log holds up to `scanned`: `events` has all of it from some place at or before our own end."""
        if scanned <= self.scanned:
            return
        self._events += events[bisect_right(events, self.scanned, key=_POSITION) :]
        self.scanned = scanned
        if len(self._events) >= 2 * TAIL_EVENTS:
            del self._events[:-TAIL_EVENTS]
            self.start = Position(self._events[0].position - 1)
        self._wake()

    def jump(self, position: Position) -> None:
        """Forget everything, and go on behind `position`, up to which all is to be had from the store."""
        if position > self.scanned:
            self._events.clear()
            self.start = self.scanned = position
            self._wake()

    def page(self, after: Position, limit: int) -> Page | None:
        """Up to `limit` events behind `after`; None where this does not reach back that far."""
        if after < self.start:
            return None
        first = bisect_right(self._events, after, key=_POSITION)
        events = tuple(self._events[first : first + limit])
        all_of_it = first + len(events) == len(self._events)
        return Page(events, self.scanned if all_of_it else events[-1].position)

    async def moved(self, beyond: Position) -> bool:
        """Return when there is something beyond that position; False when the log is closed and there will be nothing."""
        while self.scanned <= beyond and not self.closed:
            await self._moved.wait()
        return self.scanned > beyond

    def reaches(self, position: Position) -> None:
        """The log is known to reach that far: what is not here of it is to be read."""
        self._known = max(self._known, position)
        if self.lags:
            self._lagging.set()

    @property
    def lags(self) -> bool:
        return self.scanned < self._known

    async def lagging(self) -> bool:
        """Return when there is something to be read from the store; False when the log is closed."""
        while not self.lags and not self.closed:
            self._lagging = anyio.Event()
            await self._lagging.wait()
        return not self.closed

    async def watched(self) -> None:
        """Return when there is at least one subscriber."""
        while not self._subscribers:
            await self._watched.wait()

    @contextmanager
    def subscriber(self, head: Position) -> Generator[None]:
        """Somebody reads along; `head` is the log's. While nobody did, this may have missed what others wrote."""
        if not self._subscribers:
            self.jump(head)
        self._subscribers += 1
        self._watched.set()
        try:
            yield
        finally:
            self._subscribers -= 1
            if not self._subscribers:
                self._watched = anyio.Event()

    def close(self) -> None:
        self.closed = True
        self._lagging.set()
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
