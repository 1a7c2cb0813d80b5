"""Streams that are removed: what a store offers by FORGETS. Checks only."""

from __future__ import annotations

from collections.abc import Callable

from playhead.core.names import Position, Version
from playhead.ports.store import Append, Conflict, Expect, ForgettingBackend, Recorded
from playhead.testing.checks import expect
from playhead.testing.stores.declared import forgetting
from playhead.testing.stores.following import followed_from
from playhead.testing.stores.lent import log_over
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, all_pages, commit_one, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def what_is_forgotten_is_gone_and_nothing_else(place: Place) -> None:
    async with forgetting(place) as store:
        start = await store.head()
        stream, neighbour = new_stream(), new_stream()
        for count in (2, 3, 1):
            await write(store, stream, count)
            await write(store, neighbour, 2)
        whole = await all_pages(store, start, EVERYTHING)
        removed = await store.forget(stream, upto=Version(5))
        expect(removed == 5, f"5 events were to be forgotten, and {removed} were")
        await _left(store, start, whole, lambda event: event.stream != stream or event.version > 5)
        again = await store.forget(stream, upto=Version(5))
        expect(again == 0, f"what was forgotten was forgotten once more: {again} events")
    async with forgetting(place) as store:
        await _left(store, start, whole, lambda event: event.stream != stream or event.version > 5)


@STORE_CHECKS.check
async def versions_go_on_behind_what_was_forgotten(place: Place) -> None:
    """Also where nothing of the stream is left: it is no new stream."""
    async with forgetting(place) as store:
        stream = new_stream()
        await write(store, stream, 4)
        await store.forget(stream, upto=Version(4))
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(not found, f"a stream that was forgotten whole still holds {found}")
    async with forgetting(place) as store:
        for expected in (Expect.NO_STREAM, Version(0), Version(3)):
            outcome = await commit_one(store, new_append(stream, expected=expected))
            expect(outcome == Conflict(Version(4)), f"expecting {expected} of a forgotten stream at 4 gave {outcome}")
        outcome = await write(store, stream, 2, expected=Version(4))
        expect(outcome.version == 6, f"two events behind a forgotten stream at 4 ended at version {outcome.version}")
        versions = [e.version for e in await store.read_stream(stream, after=Version(0), limit=EVERYTHING)]
        expect(versions == [5, 6], f"behind a forgotten stream at 4 the versions are {versions}")


@STORE_CHECKS.check
async def forgotten_positions_are_never_given_again(place: Place) -> None:
    """Also where they were the last of the log, and it was closed since."""
    async with forgetting(place) as store:
        stream = new_stream()
        outcome = await write(store, stream, 3)
        await store.forget(stream, upto=Version(3))
    async with forgetting(place) as store:
        new = await write(store, new_stream())
        expect(new.first > outcome.last, f"position {new.first} was given after {outcome.last} was forgotten")
        for position in range(outcome.first, outcome.last + 1):
            known = await store.is_forgotten(Position(position))
            expect(known, f"position {position} was forgotten, and is_forgotten denies it")


@STORE_CHECKS.check
async def a_subscription_passes_over_what_was_forgotten(place: Place) -> None:
    """From every cursor, those that stand on a forgotten event included."""
    async with forgetting(place) as store:
        start = await store.head()
        gone = [new_append(new_stream(), 2) for _ in range(3)]
        await store.commit([gone[0], new_append(new_stream()), gone[1], gone[2], new_append(new_stream(), 2)])
        whole = await all_pages(store, start, EVERYTHING)
        await _forget_all(store, gone)
        left = {append.stream for append in gone}
        async with log_over(store) as log:
            for cursor in (start, *(event.position for event in whole[:-1])):
                wanted = [event for event in whole if event.position > cursor and event.stream not in left]
                followed = await followed_from(log, cursor, whole[-1].position, place)
                expect(followed == wanted, f"behind position {cursor} came {followed}, not {wanted}")


async def _forget_all(store: ForgettingBackend, appends: list[Append]) -> None:
    for append in appends:
        await store.forget(append.stream, upto=Version(len(append.events)))


async def _left(
    store: ForgettingBackend, start: Position, whole: list[Recorded], stays: Callable[[Recorded], bool]
) -> None:
    """Of the log behind `start`, exactly what stays is read, by position and by stream; and is_forgotten says so of each."""
    wanted = [event for event in whole if stays(event)]
    for limit in (1, 3, EVERYTHING):
        found = await all_pages(store, start, limit)
        expect(found == wanted, f"after forgetting, pages of {limit} hold {found}, not {wanted}")
    for stream in {event.stream for event in whole}:
        events = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(events == [e for e in wanted if e.stream == stream], f"after forgetting, a stream holds {events}")
    for event in whole:
        known = await store.is_forgotten(event.position)
        expect(known is not stays(event), f"is_forgotten says {known} of position {event.position}")
    beyond = Position(await store.head() + 1)
    expect(not await store.is_forgotten(beyond), f"is_forgotten says that something stood at {beyond}, beyond the head")
