"""A run's events from the first on, and then as they come, until it has ended. Asks a server; folds nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from playhead.core import events as ev
from playhead.core.names import run_stream
from playhead.ports.server import EventFilter, ServerApi
from playhead.ports.store import Recorded

PAGE_EVENTS: Final = 500  # of what is already there, given at a time

_ENDS: Final = frozenset(cls.TYPE for cls in (ev.RunSucceeded, ev.RunFailed, ev.RunCancelled, ev.RunCrashed))


async def run_events(api: ServerApi, run: str) -> AsyncGenerator[list[Recorded]]:
    """Every event of the run once, in order, in small lists. Ends behind the event that ends the run. NotFound: no such run."""
    cursor = (await api.info()).cursor  # taken before the look, so that nothing falls between the two
    seen = 0
    ended = False
    waiting: list[Recorded] = []
    async for event in api.history(run):
        waiting.append(event)
        seen, ended = event.version, ended or event.type in _ENDS
        if len(waiting) == PAGE_EVENTS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
    if ended:
        return
    async with api.events(cursor=cursor, which=EventFilter(streams=(run_stream(run),))) as pages:
        async for page in pages:
            fresh = [event for event in page.events if event.version > seen]
            if fresh:
                yield fresh
                seen = fresh[-1].version
            if any(event.type in _ENDS for event in fresh):
                return


async def all_events(api: ServerApi, *, follow: bool) -> AsyncGenerator[list[Recorded]]:
    """Every event of the log in order: up to where it stands now, or for ever."""
    head = (await api.info()).position
    if head == 0 and not follow:
        return
    async with api.events() as pages:
        async for page in pages:
            events = [event for event in page.events if follow or event.position <= head]
            if events:
                yield events
            if not follow and page.events and page.events[-1].position >= head:
                return
