"""A long log: written, and read page by page, in bounded time and memory. Checks only.

Memory is what Python's own allocator gives out: `tracemalloc` counts it exactly, on every system, whatever else the process holds.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from playhead.core.names import Position, StreamName, Version
from playhead.ports.store import StoreBackend
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import appended, new_append, new_stream
from playhead.testing.stores.suite import STORE_CHECKS

EVENTS: Final = 100_000
QUICK_EVENTS: Final = 20_000  # still three times what may be held
APPEND_EVENTS: Final = 50
BATCH_APPENDS: Final = 20
STREAMS: Final = 10
PAGE_EVENTS: Final = 500
LETTERS: Final = 500  # of an event's text
MOST_BYTES: Final = 8_000_000  # while pages are read and thrown away: some pages' worth, and less than a fifth of what QUICK_EVENTS hold
LIMIT_SECONDS: Final = 180.0


@STORE_CHECKS.long_check(LIMIT_SECONDS)
async def a_long_log_is_read_page_by_page(place: Place) -> None:
    """100,000 events: each is there, and neither all of them nor a stream is ever in memory at once."""
    events = QUICK_EVENTS if place.quick else EVENTS
    async with place() as store:
        start = await store.head()
        streams = [new_stream() for _ in range(STREAMS)]
        await _write(store, streams, events, place)
        with _bounded("the log"):
            await _read_all(store, start, events, place)
        with _bounded("a stream"):
            await _read_stream(store, streams[0], events // STREAMS)


async def _write(store: StoreBackend, streams: list[StreamName], events: int, place: Place) -> None:
    data = {"text": "x" * LETTERS}
    for done in range(0, events, APPEND_EVENTS * BATCH_APPENDS):
        batch = [new_append(streams[n % STREAMS], APPEND_EVENTS, data=data) for n in range(BATCH_APPENDS)]
        for outcome in await store.commit(batch):
            appended(outcome, "an append to a long log")
        place.progressed(done, 2 * events)


async def _read_all(store: StoreBackend, start: Position, events: int, place: Place) -> None:
    count, after = 0, start
    while True:
        page = await store.read_all(after=after, limit=PAGE_EVENTS)
        for event in page.events:
            expect(event.position > after, f"behind position {after} comes {event.position}")
            after = event.position
        count += len(page.events)
        place.progressed(events + count, 2 * events)
        if not page.events:
            break
    expect(count == events, f"{events:,} events are read as {count:,}")


async def _read_stream(store: StoreBackend, stream: StreamName, events: int) -> None:
    version = Version(0)
    while found := await store.read_stream(stream, after=version, limit=PAGE_EVENTS):
        for event in found:
            expect(event.version == version + 1, f"behind version {version} comes {event.version}")
            version = event.version
    expect(version == events, f"a stream of {events:,} events is read as {version:,}")


@contextmanager
def _bounded(what: str) -> Generator[None]:
    """Whatever is done inside holds no more than MOST_BYTES more than before."""
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not traced:
            tracemalloc.stop()
    grown = peak - before
    expect(grown <= MOST_BYTES, f"reading {what} in pages of {PAGE_EVENTS} events held {grown:,} bytes at once")
