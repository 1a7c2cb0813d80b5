"""A log from its beginning up to a position, page by page. Owns the size of a page; keeps nothing of what passed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from playhead.core.names import Position
from playhead.ports.store import Kept, Recorded, RestoringBackend, StoreBackend
from playhead.upkeep.progress import Progress

PAGE_EVENTS: Final = 2_000  # a page takes some milliseconds, and memory for a few thousand events is all that is needed
PAGE_APPENDS: Final = 1_000


async def events_upto(
    backend: StoreBackend, upto: Position, progress: Progress, *, after: Position = Position(0)
) -> AsyncGenerator[Sequence[Recorded]]:
    """Events with `after` < position <= `upto`."""
    while after < upto:
        page = await backend.read_all(after=after, limit=PAGE_EVENTS)
        wanted = [event for event in page.events if event.position <= upto]
        if wanted:
            yield wanted
        after = page.scanned if page.scanned > after else upto  # an empty page: what is left are holes
        progress(min(after, upto), upto)


async def appends_upto(
    backend: RestoringBackend, upto: Position, progress: Progress, *, after: Position = Position(0)
) -> AsyncGenerator[Sequence[Kept]]:
    """Appends that end behind `after`, up to `upto`."""
    while after < upto:
        page = await backend.read_kept(after=after, limit=PAGE_APPENDS)
        wanted = [kept for kept in page if kept.last <= upto]
        if wanted:
            yield wanted
        after = wanted[-1].last if wanted and len(wanted) == len(page) else upto
        progress(min(after, upto), upto)
