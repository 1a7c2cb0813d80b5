"""What outlives a closing, a cancelled call and a killed process. Checks only."""

from __future__ import annotations

import asyncio

from playhead.core.names import Version
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, all_pages, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def reopening_keeps_everything(place: Place) -> None:
    async with place() as store:
        start, log_id = await store.head(), store.log_id
        stream = new_stream()
        await store.commit([new_append(stream, 3), new_append(new_stream()), new_append(stream)])
        before = await all_pages(store, start, EVERYTHING)
    async with place() as store:
        expect(store.log_id == log_id, f"the log's id was {log_id} and is {store.log_id}")
        after = await all_pages(store, start, EVERYTHING)
        expect(after == before, f"of {len(before)} events {len(after)} are the same after reopening")
        outcome = await write(store, stream, expected=Version(4))
        expect(outcome.first > before[-1].position, f"after position {before[-1].position} came {outcome}")


@STORE_CHECKS.check
async def cancelling_leaves_nothing_half_done(place: Place) -> None:
    """Commits are cancelled at random moments; each is there whole or not at all, and the next one works."""
    async with place() as store:
        rng = place.draw()
        stream = new_stream()
        appends = [new_append(stream, 3) for _ in range(30)]
        for append in appends:
            commit = asyncio.create_task(store.commit([append]))
            for _ in range(rng.randint(0, 6)):
                await asyncio.sleep(0)
            commit.cancel()
            await asyncio.wait({commit})
        await write(store, stream)
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(
            [e.version for e in found] == list(range(1, len(found) + 1)), "versions are not contiguous after cancelling"
        )
        whole = {append.append_id: 3 for append in appends}
        for append_id in {event.append_id for event in found[:-1]}:
            count = sum(event.append_id == append_id for event in found)
            expect(count == whole[append_id], f"of a cancelled append of 3 events {count} are there")
        for append in appends:  # and again, under the same ids: what is there is known, what is not is written
            await store.commit([append])
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(len(found) == 91, f"30 appends of 3 events, each settled, and one more are {len(found)} events")
