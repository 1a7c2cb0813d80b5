"""A log that is read while it is written: its order, its news, and subscriptions from any cursor. Checks only."""

from __future__ import annotations

import asyncio

from playhead.ports.store import Recorded
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, all_pages, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS


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
async def waiting_for_news_returns(place: Place) -> None:
    """At once when there is something already, when something comes, and at the timeout when nothing does."""
    async with place() as store:
        start = await store.head()
        waiting = asyncio.create_task(store.wait_for_news(start, 20.0))
        await asyncio.sleep(0)
        await write(store, new_stream())
        await asyncio.wait_for(waiting, 10.0)
        await asyncio.wait_for(store.wait_for_news(start, 20.0), 10.0)
        await asyncio.wait_for(store.wait_for_news(await store.head(), 0.01), 10.0)
