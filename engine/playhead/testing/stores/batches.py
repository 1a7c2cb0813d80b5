"""A batch: an outcome for each append, none at another's cost, and each whole or absent. Checks only."""

from __future__ import annotations

import asyncio

from playhead.core.names import Version
from playhead.ports.store import Appended, Conflict
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, all_pages, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def later_appends_of_a_batch_see_earlier_ones(place: Place) -> None:
    async with place() as store:
        stream = new_stream()
        batch = [
            new_append(stream, 2, expected=Version(0)),
            new_append(stream, expected=Version(2)),
            new_append(stream, expected=Version(2)),
        ]
        first, second, third = await store.commit(batch)
        expect(isinstance(first, Appended) and first.version == 2, f"the first gave {first}")
        expect(isinstance(second, Appended) and second.version == 3, f"the second, on top of it, gave {second}")
        expect(
            third == Conflict(Version(3)), f"the third, which expected what was there before the second, gave {third}"
        )


@STORE_CHECKS.check
async def each_outcome_tells_where_its_events_are(place: Place) -> None:
    async with place() as store:
        start, streams = await store.head(), sorted((new_stream() for _ in range(5)), reverse=True)
        batch = [new_append(streams[n % 5], 1 + n % 3) for n in range(12)]
        outcomes = await store.commit(batch)
        whole = await all_pages(store, start, EVERYTHING)
        for append, outcome in zip(batch, outcomes, strict=True):
            events = [event for event in whole if event.append_id == append.append_id]
            expect(len(events) == len(append.events), f"of {len(append.events)} events {len(events)} are there")
            where = Appended(events[0].position, events[-1].position, events[-1].version)
            expect(outcome == where, f"an append of a batch was told {outcome}, and lies at {where}")


@STORE_CHECKS.check
async def a_conflict_loses_nothing_else(place: Place) -> None:
    async with place() as store:
        before, refused, behind = new_stream(), new_stream(), new_stream()
        await write(store, refused)
        batch = [new_append(before), new_append(refused, 2, expected=Version(0)), new_append(behind)]
        outcomes = await store.commit(batch)
        expect(isinstance(outcomes[0], Appended), f"the append before a conflict gave {outcomes[0]}")
        expect(outcomes[1] == Conflict(Version(1)), f"the conflict gave {outcomes[1]}")
        expect(isinstance(outcomes[2], Appended), f"the append behind a conflict gave {outcomes[2]}")
        for stream, count in ((before, 1), (refused, 1), (behind, 1)):
            found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
            expect(len(found) == count, f"a stream that should hold {count} event holds {len(found)}")


@STORE_CHECKS.check
async def what_is_acknowledged_is_there(place: Place) -> None:
    """Many writers on one stream: as many events as acknowledgements, each by the writer that got it."""
    async with place() as store:
        stream = new_stream()
        acknowledged: dict[int, str] = {}
        for version in range(10):
            rivals = [new_append(stream, expected=Version(version)) for _ in range(3)]
            for rival, outcome in zip(rivals, await store.commit(rivals), strict=True):
                if isinstance(outcome, Appended):
                    taken = acknowledged.setdefault(outcome.version, rival.append_id)
                    expect(taken == rival.append_id, f"version {outcome.version} was acknowledged to two writers")
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect({e.version: e.append_id for e in found} == acknowledged, "the stream is not what was acknowledged")
        expect(len(acknowledged) == 10, f"of 10 rounds {len(acknowledged)} had a winner")


@STORE_CHECKS.check
async def an_append_is_whole_or_absent(place: Place) -> None:
    """Readers that look all the time see an append's events together."""
    async with place() as store:
        stream, sizes, done = new_stream(), set[int](), asyncio.Event()

        async def look() -> None:
            while not done.is_set():
                sizes.add(len(await store.read_stream(stream, after=Version(0), limit=EVERYTHING)))
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        try:
            for _ in range(10):
                await write(store, stream, 5)
        finally:
            done.set()
            await looking
        torn = sorted(size for size in sizes if size % 5)
        expect(not torn, f"appends of 5 events were seen in part: {torn} events in the stream")
