"""A log that is read while it is written: its order, its news, and subscriptions from any cursor. Checks only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final

from playhead.core.names import Position
from playhead.errors import CursorRefused
from playhead.log import Cursor, Log, check_cursor
from playhead.ports.store import Recorded
from playhead.testing.checks import CheckFailed, expect
from playhead.testing.stores.lent import log_over
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, all_pages, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS

NEVER_SECONDS: Final = 3600.0  # a wait that only news can end


@STORE_CHECKS.check
async def nothing_appears_below_what_was_read(place: Place) -> None:
    """A reader that follows the log while it is written has, in the end, all of it."""
    async with place() as store:
        start = await store.head()
        done = asyncio.Event()
        followed: list[Recorded] = []

        async def follow() -> None:
            after = start
            while True:
                ended = done.is_set()
                page = await store.read_all(after=after, limit=7)
                followed.extend(page.events)
                if ended and page.scanned == after:
                    return
                after = page.scanned
                await asyncio.sleep(0)

        following = [asyncio.create_task(follow())]
        try:
            for _ in range(30):
                await store.commit([new_append(new_stream(), 2), new_append(new_stream()), new_append(new_stream(), 3)])
        finally:
            done.set()
            await asyncio.gather(*following)
        whole = await all_pages(store, start, EVERYTHING)
        missed = len(whole) - len(followed)
        expect(followed == whole, f"a reader that followed has not what the log holds: {missed} events missed")


@STORE_CHECKS.check
async def waiting_ends_when_something_comes(place: Place) -> None:
    async with place() as store:
        waiting = asyncio.create_task(store.wait_for_news(await store.head(), NEVER_SECONDS))
        await asyncio.sleep(0)
        await write(store, new_stream())
        await _in_time(waiting, place, "a wait for news did not end when there were some")


@STORE_CHECKS.check
async def waiting_ends_at_once_for_what_is_there(place: Place) -> None:
    """News may have come before the question: whoever waits for the next one would wait for what has happened."""
    async with place() as store:
        start = await store.head()
        await write(store, new_stream())
        waiting = store.wait_for_news(start, NEVER_SECONDS)
        await _in_time(
            waiting, place, f"there is an event behind position {start}, and a wait for news behind it did not end"
        )


@STORE_CHECKS.check
async def waiting_ends_at_its_timeout(place: Place) -> None:
    async with place() as store:
        waiting = store.wait_for_news(await store.head(), 0.01)
        await _in_time(waiting, place, "a wait of 0.01 s for news that did not come did not end")


# --- through the log that the engine uses -----------------------------------------------------------------------------


@STORE_CHECKS.check
async def a_subscription_begins_at_any_cursor(place: Place) -> None:
    """Behind each event, also inside an append: all that follows, once, in order."""
    async with place() as store:
        start = await store.head()
        for count in (2, 1, 4, 1, 3):
            await write(store, new_stream(), count)
        whole = await all_pages(store, start, EVERYTHING)
        async with log_over(store) as log:
            for cursor in (start, *(event.position for event in whole[:-1])):
                followed = await followed_from(log, cursor, whole[-1].position, place)
                wanted = [event for event in whole if event.position > cursor]
                expect(followed == wanted, f"behind position {cursor} came {_places(followed)}, not {_places(wanted)}")


@STORE_CHECKS.check
async def a_subscription_follows_what_is_written(place: Place) -> None:
    """Ten writers, and a subscriber from the start on: it gets what the log holds in the end."""
    async with place() as store, log_over(store) as log:
        start, last, followed = await log.head(), new_append(new_stream()), list[Recorded]()

        async def write_some() -> None:
            for count in (1, 2, 3, 1, 2):
                await log.append(new_append(new_stream(), count))

        async def write_all() -> None:
            await asyncio.gather(*(write_some() for _ in range(10)))
            await log.append(last)

        writing = asyncio.create_task(write_all())
        try:
            async with log.subscribe(after=start) as pages:
                async for page in pages:
                    followed += page.events
                    if any(event.append_id == last.append_id for event in page.events):
                        break
        finally:
            await writing
        whole = await all_pages(store, start, EVERYTHING)
        expect(followed == whole, f"a subscriber got {_places(followed)} of {_places(whole)}")


@STORE_CHECKS.check
async def a_cursor_finds_its_place_again(place: Place) -> None:
    """A cursor is text that names the log: its id must fit, and stay."""
    async with place() as store:
        start = await store.head()
        await write(store, new_stream(), 2)
        async with log_over(store) as log:
            for event in await all_pages(store, start, EVERYTHING):
                cursor = str(Cursor.at(log.log_id, event))
                try:
                    position = await check_cursor(log, Cursor.parse(cursor))
                except CursorRefused as refused:
                    raise CheckFailed(
                        f"the cursor {cursor!r} is refused: {refused.message}; the log's id may have 1 to 64 letters of A-Z a-z 0-9 _ . -"
                    ) from refused
                expect(position == event.position, f"the cursor {cursor!r} leads to {position}")


async def followed_from(log: Log, after: Position, until: Position, place: Place) -> list[Recorded]:
    """What a subscription behind `after` gives up to `until`."""
    events: list[Recorded] = []
    try:
        async with asyncio.timeout(place.patience_seconds), log.subscribe(after=after) as pages:
            async for page in pages:
                events += page.events
                if page.scanned >= until:
                    break
    except TimeoutError as error:
        raise CheckFailed(f"a subscription behind {after} came as far as {_places(events)}, not to {until}") from error
    return events


async def _in_time(waiting: Awaitable[None], place: Place, problem: str) -> None:
    try:
        await asyncio.wait_for(waiting, place.patience_seconds)
    except TimeoutError as error:
        raise CheckFailed(f"{problem} within {place.patience_seconds:g} s") from error


def _places(events: Sequence[Recorded]) -> str:
    return f"{len(events)} events ({events[0].position} to {events[-1].position})" if events else "no event"
