"""A flow's timers: recorded when they are set and when they fire, and delivered in the journal's order like every outcome."""

from __future__ import annotations

import asyncio

from playhead.core import events as ev
from playhead.core.names import Micros, TaskKey
from playhead.journal.format import Record
from playhead.runner.means import Means
from playhead.runner.pump import Inbox


class Timer:
    """Due at `due`. `fired` is completed when its firing is delivered."""

    def __init__(self, key: TaskKey, due: int, fired: asyncio.Future[None], means: Means, inbox: Inbox) -> None:
        self.key = key
        self.fired = fired
        self._due = due
        self._means = means
        self._inbox = inbox
        self.counts = False  # whether its firing does
        self._dropped = False
        self._armed = False
        self._waits = False

    @property
    def awaited(self) -> bool:
        return not self._dropped

    def arm(self, *, waits: bool) -> None:
        """Fire when due; while the flow catches up with what is recorded, not before that is over."""
        self._armed = True
        self._waits = waits
        if not waits:
            self._means.upkeep.call_at(Micros(self._due), self._fire)

    def go(self) -> None:
        """The flow has caught up."""
        if self._armed and self._waits:
            self._waits = False
            self._means.upkeep.call_at(Micros(self._due), self._fire)

    def drop(self) -> None:
        """Nobody waits for it any more."""
        self._dropped = True

    def deliver(self) -> None:
        if not self.fired.done():
            self.fired.set_result(None)

    def _fire(self) -> None:
        """In the upkeep's thread, which commits right after."""
        if self._dropped:
            return
        event = ev.TimerFired(at=self._means.upkeep.now(), key=self.key)
        self._means.journal.append(Record(event.TYPE, event.SCHEMA, ev.encode(event), then=self._counts))

    def _counts(self, _: Record) -> None:
        self.counts = True
        self._inbox.put(self)
