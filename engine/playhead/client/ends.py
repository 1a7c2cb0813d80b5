"""The ends of runs, for those who wait for them. Owns which event streams are open for that; knows nothing of how a run is shown.

Who waits for a few runs follows each by a stream of its own, so that the server tells nothing that nobody asked for. Those who wait for
many at once follow the ends of all runs by one stream: one of them reads it for the others, until its own run has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from playhead.core import events as ev
from playhead.core.names import run_stream
from playhead.errors import CursorRefused
from playhead.ports.server import EventFilter, ServerApi
from playhead.ports.store import Recorded

STREAMS: Final = 8  # of their own, for those who come first: a client has a hundred connections for all that it asks

_RUNS: Final = run_stream("")  # the beginning of every run's stream
_ENDS: Final = tuple(cls.TYPE for cls in (ev.RunSucceeded, ev.RunFailed, ev.RunCancelled, ev.RunCrashed))


class Ends:
    def __init__(self, api: ServerApi) -> None:
        self._api = api
        self._alone = 0
        self._together: dict[_Waiting, None] = {}
        self._reader: _Waiting | None = None
        self._cursor: str | None = None  # how far all ends were read: none that somebody waits for lies before it

    async def position(self, run: str) -> int | None:
        """Where in the log the run's end is, once it has ended; None if it had ended when this was asked.

        Raises NotFound, and what the server refuses the stream with.
        """
        if self._alone < STREAMS:
            self._alone += 1
            try:
                return await self._by_itself(run)
            finally:
                self._alone -= 1
        with self._among_others(run) as waiting:
            return await self._with_others(waiting)

    async def _by_itself(self, run: str) -> int | None:
        while True:
            with suppress(CursorRefused):  # the log was put back from an older copy: look again, and follow from there
                return await self._once_by_itself(run)

    async def _once_by_itself(self, run: str) -> int | None:
        cursor = (await self._api.info()).cursor  # taken before the look, so that no end falls between the two
        if await self._has_ended(run):
            return None
        which = EventFilter(streams=(run_stream(run),), types=_ENDS)
        async with self._api.events(cursor=cursor, which=which) as pages:
            async for page in pages:
                for event in page.events:
                    return event.position
        raise AssertionError("a stream of events ended by itself")

    async def _with_others(self, waiting: _Waiting) -> int | None:
        """The look comes after joining, and after the cursor is known: what the reader has passed by then is in the log."""
        if self._cursor is None:
            await self._begin()
        if await self._has_ended(waiting.run):
            return None
        while waiting.end is None:
            if self._reader is None:
                await self._read_for_all(waiting)
            else:
                waiting.news.clear()
                await waiting.news.wait()
        return waiting.end

    async def _begin(self) -> None:
        cursor = (await self._api.info()).cursor
        if self._cursor is None:  # others who joined meanwhile may have been quicker, and read from theirs
            self._cursor = cursor

    async def _read_for_all(self, reader: _Waiting) -> None:
        """Until the reader's own run has ended. Whoever is next then reads on."""
        self._reader = reader
        try:
            which = EventFilter(streams=(_RUNS,), types=_ENDS)
            async with self._api.events(cursor=self._cursor, which=which) as pages:
                async for page in pages:
                    for event in page.events:
                        self._tell(event)
                    self._cursor = page.cursor
                    if reader.end is not None:
                        return
        except CursorRefused:
            self._cursor = None  # as above; from the beginning, for the sake of all who wait
        finally:
            self._reader = None

    def _tell(self, event: Recorded) -> None:
        run = event.stream.removeprefix(_RUNS)
        for waiting in self._together:
            if waiting.run == run:
                waiting.end = event.position
                waiting.news.set()

    @contextmanager
    def _among_others(self, run: str) -> Generator[_Waiting]:
        waiting = _Waiting(run)
        self._together[waiting] = None
        try:
            yield waiting
        finally:
            del self._together[waiting]
            if not self._together:
                self._cursor = None
            elif self._reader is None:
                next(reversed(self._together)).news.set()  # the newest, which may go on for longest

    async def _has_ended(self, run: str) -> bool:
        return (await self._api.run(run, tasks=False)).state.terminal


@dataclass(eq=False, slots=True)
class _Waiting:
    """One who waits among others."""

    run: str
    end: int | None = None  # its position
    news: asyncio.Event = field(default_factory=asyncio.Event)  # the end has come, or nobody reads any more
