"""What outlives a closing, a cancelled call and a killed process. Checks only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from playhead.core.names import Position, StreamName, Version
from playhead.ports.store import Recorded, StoreBackend
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.processes import Acked, writers
from playhead.testing.stores.samples import EVERYTHING, all_pages, new_append, new_stream, whole_stream, write
from playhead.testing.stores.suite import STORE_CHECKS

KILLS: Final = 6
QUICK_KILLS: Final = 2
KILLS_SECONDS: Final = 180.0  # each kill needs an interpreter that starts, and on some machines that takes its time


@STORE_CHECKS.check
async def reopening_keeps_everything(place: Place) -> None:
    async with place() as store:
        start, log_id = await store.head(), store.log_id
        expect(store.restored is None, f"the store says that its log was put back, from position {store.restored}")
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
        stream, rng, took_seconds = new_stream(), place.draw(), await _seconds_of_a_commit(store)
        appends = [new_append(stream, 3) for _ in range(30)]
        for append in appends:
            await _cancelled(asyncio.create_task(store.commit([append])), rng, took_seconds, place)
        await write(store, stream)
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        versions = [event.version for event in found]
        expect(
            versions == list(range(1, len(found) + 1)), f"versions are {versions} after cancelling (seed {place.seed})"
        )
        for append_id in {event.append_id for event in found[:-1]}:
            count = sum(event.append_id == append_id for event in found)
            expect(count == 3, f"of a cancelled append of 3 events {count} are there (seed {place.seed})")
        for append in appends:  # and again, under the same ids: what is there is known, what is not is written
            await store.commit([append])
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(
            len(found) == 91,
            f"30 appends of 3 events, each settled, and one more are {len(found)} events (seed {place.seed})",
        )


@STORE_CHECKS.check
async def cancelled_reads_leave_nothing_behind(place: Place) -> None:
    """Whoever reads may leave at any moment: no connection, lock or wait of theirs is missed afterwards."""
    async with place() as store:
        stream, rng = new_stream(), place.draw()
        took_seconds = await _seconds_of_a_commit(store)
        await write(store, stream, 50)
        for _ in range(30):
            head = await store.head()
            await _cancelled(
                asyncio.create_task(store.read_stream(stream, after=Version(0), limit=50)), rng, took_seconds, place
            )
            await _cancelled(asyncio.create_task(store.read_all(after=Position(0), limit=50)), rng, took_seconds, place)
            await _cancelled(asyncio.create_task(store.wait_for_news(head, 3600.0)), rng, took_seconds, place)
        reads = [asyncio.create_task(store.read_stream(stream, after=Version(0), limit=50)) for _ in range(10)]
        _, hanging = await asyncio.wait(reads, timeout=place.patience_seconds)
        for read in hanging:
            read.cancel()
        expect(not hanging, f"after cancelled reads, {len(hanging)} of 10 reads do not end (seed {place.seed})")
        counts = [len(read.result()) for read in reads]
        expect(counts == [50] * 10, f"after cancelled reads, 10 reads of 50 events gave {counts} (seed {place.seed})")
        await write(store, stream)


async def _seconds_of_a_commit(store: StoreBackend) -> float:
    began = time.monotonic()
    await write(store, new_stream())
    return time.monotonic() - began


async def _cancelled(call: asyncio.Task[Any], rng: Random, took_seconds: float, place: Place) -> None:
    """Cancel the call after some turns of the loop, or somewhere in the time that a commit takes; and see it end."""
    if rng.random() < 0.5:
        for _ in range(rng.randint(0, 6)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(rng.uniform(0, 1.5 * took_seconds))
    call.cancel()
    await asyncio.wait({call}, timeout=place.patience_seconds)
    expect(
        call.done(), f"a call that was cancelled did not end within {place.patience_seconds:g} s (seed {place.seed})"
    )
    problem = None if call.cancelled() else call.exception()
    expect(problem is None, f"a call that was cancelled raised {problem!r} (seed {place.seed})")


# --- a process that is killed -----------------------------------------------------------------------------------------


@STORE_CHECKS.long_check(KILLS_SECONDS)
async def what_was_acknowledged_outlives_a_kill(place: Place) -> None:
    """A process that writes is killed (SIGKILL) again and again, in mid-commit as often as not: what it was told is durable is there,
    whole, where it was told; and of what it was not told, each append is whole or absent."""
    url, rng = place.url, place.draw()
    async with place():
        """The log is made."""
    rounds = QUICK_KILLS if place.quick else KILLS
    for done in range(rounds):
        async with writers(url, "alone", [rng.getrandbits(32)]) as (writer,):
            writer.go()
            await writer.wrote(rng.randint(1, 60))
            await writer.kill()
            acked = writer.acked
        async with place() as store:
            await _all_there(store, acked, f"kill {done + 1} of {rounds}, seed {place.seed}")
            await write(store, new_stream())
        place.progressed(done + 1, rounds)


async def _all_there(store: StoreBackend, acked: Sequence[Acked], when: str) -> None:
    for stream in {one.stream for one in acked}:
        found = await whole_stream(store, StreamName(stream))
        versions = [event.version for event in found]
        expect(versions == list(range(1, len(found) + 1)), f"a stream's versions are {versions} ({when})")
        of: dict[str, list[Recorded]] = {}
        for event in found:
            of.setdefault(event.append_id, []).append(event)
        for events in of.values():
            told = events[0].data["of"]
            expect(len(events) == told, f"of an append of {told} events {len(events)} are there ({when})")
        for one in acked:
            if one.stream == stream:
                expect(one.append_id in of, f"{one} was acknowledged, and is not there ({when})")
                kept = of[one.append_id]
                where = (kept[0].position, kept[-1].position, kept[-1].version)
                expect(
                    where == (one.first, one.last, one.version), f"{one} was acknowledged, and is at {where} ({when})"
                )
