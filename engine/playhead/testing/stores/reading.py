"""What is read: every field, within its bounds, by stream and by position. Checks only."""

from __future__ import annotations

import asyncio

from playhead.core.names import Epoch, Micros, Seq, Version
from playhead.ports.store import Append, Expect, NewEvent
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, all_pages, appended, commit_one, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def every_field_is_read_as_it_was_written(place: Place) -> None:
    async with place() as store:
        start = await store.head()
        stream = new_stream()
        first, second = NewEvent(type="one", schema=1, data={"n": 1}), NewEvent(type="two", schema=7, data={})
        append = Append(
            stream=stream,
            events=(first, second),
            expected=Expect.ANY,
            append_id="an id: with/anything ü",
            actor="agent/x",
            recorded_at=Micros(1_700_000_000_123_456),
            epoch=Epoch(4),
            first_seq=Seq(11),
        )
        outcome = appended(await commit_one(store, append), "an append with every field")
        by_stream = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        by_position = list((await store.read_all(after=start, limit=EVERYTHING)).events)
        expect(by_stream == by_position, f"read by stream: {by_stream}; by position: {by_position}")
        for index, (event, new) in enumerate(zip(by_stream, append.events, strict=True)):
            expect((event.type, event.schema, dict(event.data)) == (new.type, new.schema, dict(new.data)), f"{event}")
            expect((event.stream, event.version, event.index) == (stream, index + 1, index), f"place {index}: {event}")
            expect((event.actor, event.append_id) == (append.actor, append.append_id), f"by whom: {event}")
            expect((event.epoch, event.seq) == (4, 11 + index), f"its record in the journal: {event}")
            expect(event.recorded_at == append.recorded_at, f"when: {event}")
        expect((by_stream[0].position, by_stream[-1].position) == (outcome.first, outcome.last), f"where: {outcome}")


@STORE_CHECKS.check
async def reading_a_stream_keeps_its_bounds(place: Place) -> None:
    """`after` is outside, `limit` is kept, also where a page begins or ends inside an append."""
    async with place() as store:
        stream, neighbour = new_stream(), new_stream()
        for count in (3, 1, 4):
            await write(store, stream, count)
            await write(store, neighbour, 2)
        for after in range(9):
            for limit in (1, 2, 5, 8, 100):
                found = [e.version for e in await store.read_stream(stream, after=Version(after), limit=limit)]
                wanted = list(range(after + 1, 9))[:limit]
                expect(found == wanted, f"after={after}, limit={limit} gave the versions {found}, not {wanted}")


@STORE_CHECKS.check
async def a_limit_counts_the_events_of_the_stream(place: Place) -> None:
    """A backend that cuts the log at the limit, and filters then, finds nothing behind a busy neighbour."""
    async with place() as store:
        stream = new_stream()
        await write(store, stream)
        for _ in range(30):
            await write(store, new_stream())
        await write(store, stream)
        found = await store.read_stream(stream, after=Version(0), limit=10)
        expect(len(found) == 2, f"a stream of 2 events, read up to 10, gave {len(found)}")


@STORE_CHECKS.check
async def reading_all_keeps_its_bounds(place: Place) -> None:
    async with place() as store:
        start = await store.head()
        for count in (2, 1, 3, 1):
            await write(store, new_stream(), count)
        everything = [event.position for event in (await store.read_all(after=start, limit=EVERYTHING)).events]
        expect(len(everything) == 7, f"7 events behind position {start} are read as {len(everything)}")
        for index, after in enumerate([start, *everything]):
            for limit in (1, 3, 7):
                page = await store.read_all(after=after, limit=limit)
                found, wanted = [event.position for event in page.events], everything[index : index + limit]
                expect(found == wanted, f"after={after}, limit={limit} gave the positions {found}, not {wanted}")
                scanned = wanted[-1] if wanted else after
                expect(
                    page.scanned >= scanned,
                    f"after={after}, limit={limit} claims to have scanned to {page.scanned} only",
                )
                expect(
                    len(found) < limit or page.scanned == scanned, f"a full page up to {scanned} scanned {page.scanned}"
                )


@STORE_CHECKS.check
async def pages_put_together_are_the_log(place: Place) -> None:
    async with place() as store:
        start = await store.head()
        streams = [new_stream() for _ in range(4)]
        rng = place.draw()
        for _ in range(40):
            await store.commit([new_append(rng.choice(streams), rng.randint(1, 6)) for _ in range(rng.randint(1, 4))])
        whole = await all_pages(store, start, EVERYTHING)
        for limit in (1, 2, 7, 50):
            expect(await all_pages(store, start, limit) == whole, f"pages of {limit} are not the log")
        for stream in streams:
            expected = [event for event in whole if event.stream == stream]
            found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
            expect(found == expected, "a stream is not what the log holds of it")


@STORE_CHECKS.check
async def positions_increase_and_the_head_is_the_last(place: Place) -> None:
    async with place() as store:
        positions = [await store.head()]
        stream, refused = new_stream(), new_stream()
        positions.append((await write(store, refused)).last)
        for _ in range(5):
            outcomes = await store.commit(
                [new_append(stream, 2), new_append(new_stream()), new_append(refused, expected=Version(0))]
            )
            for outcome in (appended(one, "an append of the batch") for one in outcomes[:2]):
                expect(outcome.last >= outcome.first > positions[-1], f"{outcome} came after position {positions[-1]}")
                positions.append(outcome.last)
            head = await store.head()
            expect(head == positions[-1], f"the head is {head}, the newest event is at {positions[-1]}")


@STORE_CHECKS.check
async def unknown_streams_and_the_end_are_empty(place: Place) -> None:
    async with place() as store:
        await write(store, new_stream())
        found = await store.read_stream(new_stream(), after=Version(0), limit=10)
        expect(not found, f"a stream that nobody wrote to holds {found}")
        page = await store.read_all(after=await store.head(), limit=10)
        expect(not page.events, f"behind the head there is {page.events}")


@STORE_CHECKS.check
async def reads_side_by_side_do_not_mix(place: Place) -> None:
    """Many at once, each with bounds of its own, beside commits."""
    async with place() as store:
        start, streams = await store.head(), [new_stream() for _ in range(5)]
        for stream in streams:
            await write(store, stream, 6)
        whole = [event for event in await all_pages(store, start, EVERYTHING) if event.stream in streams]
        for _ in range(5):
            committing = asyncio.create_task(store.commit([new_append(new_stream(), 3)]))
            reads = [store.read_stream(stream, after=Version(n), limit=6 - n) for n, stream in enumerate(streams)]
            pages = [store.read_all(after=event.position, limit=2) for event in whole[::4]]
            found = await asyncio.gather(*reads)
            read = await asyncio.gather(*pages)
            await committing
            for n, (stream, events) in enumerate(zip(streams, found, strict=True)):
                wanted = [event for event in whole if event.stream == stream][n:]
                expect(events == wanted, f"a stream's read beside others gave {events}, not {wanted}")
            for event, page in zip(whole[::4], read, strict=True):
                wanted = whole[whole.index(event) + 1 :][:2]
                got = list(page.events)[: len(wanted)]
                expect(got == wanted, f"behind position {event.position} a read beside others gave {got}, not {wanted}")
