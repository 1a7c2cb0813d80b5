"""Versions of a stream, and what an append expects of it. Checks only."""

from __future__ import annotations

from playhead.core.names import Version
from playhead.ports.store import Conflict, Expect
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, commit_one, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def versions_are_contiguous_from_1(place: Place) -> None:
    async with place() as store:
        stream = new_stream()
        for count in (1, 3, 2):
            await write(store, stream, count)
        versions = [event.version for event in await store.read_stream(stream, after=Version(0), limit=EVERYTHING)]
        expect(versions == [1, 2, 3, 4, 5, 6], f"six events have the versions {versions}")


@STORE_CHECKS.check
async def an_exact_version_is_checked(place: Place) -> None:
    async with place() as store:
        stream = new_stream()
        await write(store, stream, 2, expected=Version(0))
        for wrong in (0, 1):
            outcome = await commit_one(store, new_append(stream, expected=Version(wrong)))
            expect(outcome == Conflict(Version(2)), f"expecting version {wrong} of a stream at 2 gave {outcome}")
        await write(store, stream, 1, expected=Version(2))


@STORE_CHECKS.check
async def a_gap_in_versions_is_refused(place: Place) -> None:
    """A store that only keeps versions unique takes an append that expects what is not there yet."""
    async with place() as store:
        stream, unknown = new_stream(), new_stream()
        await write(store, stream, 2)
        for ahead in (3, 9):
            outcome = await commit_one(store, new_append(stream, expected=Version(ahead)))
            expect(outcome == Conflict(Version(2)), f"expecting version {ahead} of a stream at 2 gave {outcome}")
        outcome = await commit_one(store, new_append(unknown, expected=Version(1)))
        expect(outcome == Conflict(Version(0)), f"expecting version 1 of a stream that nobody wrote to gave {outcome}")


@STORE_CHECKS.check
async def no_stream_is_checked(place: Place) -> None:
    async with place() as store:
        stream = new_stream()
        await write(store, stream, expected=Expect.NO_STREAM)
        outcome = await commit_one(store, new_append(stream, expected=Expect.NO_STREAM))
        expect(outcome == Conflict(Version(1)), f"expecting no stream where there is one gave {outcome}")


@STORE_CHECKS.check
async def any_version_is_taken(place: Place) -> None:
    async with place() as store:
        stream = new_stream()
        for _ in range(3):
            await write(store, stream, expected=Expect.ANY)
        other = await write(store, new_stream(), expected=Expect.ANY)
        expect(other.version == 1, f"a stream's first event has version {other.version}")
