"""Who leads the servers on one log. Owns the counting of terms, and the watch over another's; does none of a leader's work.

To lead is thrift, not safety: what a leader does may be done twice, and by two at once, without harm. The leader counts its term
up; who has seen no change for a while on its own clock takes over. A leader that could not count for that long, because it was
stopped or cut off, knows by its own clock that it leads no more, before anybody else may have taken over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio

from playhead.errors import LogError
from playhead.ports.clock import Clock
from playhead.ports.store import Leading, SharedBackend
from playhead.service.settings import ServiceSettings

NOBODY: Final = ""  # leads when the leader has ended in good order: the next need not wait
FORGOTTEN: Final = Leading(
    "?", 0
)  # nobody knows who led, if anybody did: that one may believe in itself for a while yet
RESIGN_SECONDS: Final = 1.0  # for saying so: what fails here costs the others their wait, and nothing else

_log = logging.getLogger(__name__)


class Leadership:
    """`shared` is None where this server is alone on its log: then it leads, always. `gained` is called each time when it begins to
    lead beside others, before anything is done for that."""

    def __init__(
        self, shared: SharedBackend | None, clock: Clock, settings: ServiceSettings, gained: Callable[[], None]
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._settings = settings
        self._gained = gained
        self._server = clock.new_id() if shared is not None else NOBODY
        self._begins = asyncio.Event()
        self._term: int | None = None  # while it leads, as far as it knows
        self._until = 0.0  # on the monotonic clock: it leads until then, unless it counts on
        self._newest: Leading | None = None  # as it was when it changed last
        self._changed = 0.0
        self._rests_until = 0.0
        self._asking = (
            asyncio.Lock()
        )  # to leave it to another while a count is on its way would be undone by its answer

    @property
    def leads(self) -> bool:
        return self._shared is None or (self._term is not None and self._clock.monotonic() < self._until)

    async def begins(self) -> None:
        """Return when this server leads."""
        while not self.leads:
            self._begins.clear()
            await self._begins.wait()

    async def run(self) -> None:
        """Count the own term up, or watch another's. Ends never where there may be others; raises the log's errors."""
        while self._shared is not None:
            async with self._asking:
                await self._look(self._shared)
            await self._clock.sleep(self._settings.lead_seconds)

    async def resign(self) -> None:
        """Another may lead at once."""
        term, self._term = self._term, None  # before it is said: who hears it may be faster than the answer
        if self._shared is None or term is None:
            return
        with suppress(LogError), anyio.move_on_after(RESIGN_SECONDS, shield=True):
            await self._shared.lead(NOBODY, after=term)

    async def hand_over(self) -> None:
        """Another may lead at once; and this one not before another has had the time to."""
        _log.warning("this server cannot follow the log, and leaves it to another to lead")
        async with self._asking:
            self._rests_until = self._clock.monotonic() + self._settings.takeover_seconds
            await self.resign()

    async def _look(self, shared: SharedBackend) -> None:
        if self._term is not None and self.leads and await self._count_up(shared, self._term):
            return
        if self._clock.monotonic() < self._rests_until:
            return
        asked = self._clock.monotonic()
        newest = await shared.leading() or FORGOTTEN
        ours = newest.server == self._server  # a count of which the answer was lost: whoever leads by it goes on
        if not ours:
            self._lose()
        if (
            ours
            or newest.server == NOBODY
            or self._is_silent(newest, asked)
            or (newest == FORGOTTEN and await shared.head() == 0)  # a new log: nobody did
        ) and not await self._count_up(shared, newest.term):
            self._lose()

    async def _count_up(self, shared: SharedBackend, after: int) -> bool:
        asked = self._clock.monotonic()  # whoever sees this term sees it later, and waits from then on
        term = await shared.lead(self._server, after=after)
        if term is None:
            return False
        led = self.leads
        self._term, self._until = term, asked + self._settings.takeover_seconds
        if self.leads and not led:  # the answer may have taken longer than the term
            _log.info("this server leads those on its log")
            self._gained()
            self._begins.set()
        return True

    def _lose(self) -> None:
        if self._term is not None:
            _log.info("this server no longer leads those on its log")
        self._term = None

    def _is_silent(self, newest: Leading, asked: float) -> bool:
        """Whether the leader's term was the same for long enough."""
        if newest != self._newest:
            self._newest, self._changed = newest, self._clock.monotonic()
        return asked - self._changed >= self._settings.takeover_seconds
