"""Copies of a log, with its id and its positions: what a store offers by RESTORES. Checks only."""

from __future__ import annotations

from typing import cast

from msgspec.structs import replace

from playhead.core.names import LogId, Position, Version
from playhead.errors import PlayheadError
from playhead.ports.store import (
    Append,
    Appended,
    Capability,
    Duplicate,
    Expect,
    ForgettingBackend,
    Kept,
    RestoringBackend,
)
from playhead.testing.checks import expect
from playhead.testing.stores.declared import require, restoring
from playhead.testing.stores.numbering import all_kept
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import (
    EVERYTHING,
    all_pages,
    appended,
    commit_one,
    new_append,
    new_id,
    new_stream,
    write,
)
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def kept_appends_are_those_committed(place: Place) -> None:
    """Each with its fields, where it ended; also where reading begins in the middle of one."""
    async with restoring(place) as store:
        start, stream = await store.head(), new_stream()
        batch = [new_append(stream, 3, epoch=2, actor="runner/2"), new_append(new_stream()), new_append(stream, 2)]
        outcomes = [appended(outcome, "an append") for outcome in await store.commit(batch)]
        for limit in (1, 2, 100):
            kept = await _by(store, start, limit)
            for append, outcome, one in zip(batch, outcomes, kept, strict=True):
                expect(_same(one.append, append), f"{append} is kept as {one.append}")
                where = (one.last, one.version)
                expect(where == (outcome.last, outcome.version), f"{outcome} is kept as one that ends at {where}")
        inside = await store.read_kept(after=outcomes[0].first, limit=1)
        expect([one.last for one in inside] == [outcomes[0].last], f"behind an append's first event is kept {inside}")
        expect(not await store.read_kept(after=outcomes[-1].last, limit=1), "behind the head an append is kept")


@STORE_CHECKS.check
async def a_copy_is_the_same_log(place: Place) -> None:
    """Taken over piece by piece: its id, positions and events, what it knows as duplicates, and how it goes on."""
    await require(place, Capability.RESTORES)
    async with place() as store:
        known = new_append(new_stream(), 2, epoch=3)
        await store.commit([known, new_append(new_stream(), 3)])
        if Capability.FORGETS in store.capabilities:
            gone = new_append(new_stream(), 2)
            await store.commit([gone, new_append(gone.stream)])
            await cast(ForgettingBackend, store).forget(gone.stream, upto=Version(2))
        await write(store, new_stream())
    async with restoring(place) as store, place.second() as empty:
        taking = cast(RestoringBackend, empty)
        await _copied(store, taking)
        await _expect_same_log(store, taking)
    async with restoring(place) as store, place.second() as copy:  # opened again
        expect(copy.log_id == store.log_id, f"the copy of log {store.log_id} is log {copy.log_id} after reopening")
        head = await store.head()
        again = await commit_one(copy, known)
        expect(
            isinstance(again, Duplicate) and again.same, f"an append that the copy took over, sent again, gave {again}"
        )
        outcome = await commit_one(copy, new_append(known.stream, expected=Version(2)))
        expect(isinstance(outcome, Appended), f"the copy goes on with {outcome}")
        expect(isinstance(outcome, Appended) and outcome.first > head, f"{outcome} came behind position {head}")
        await _expect_refusal(cast(RestoringBackend, copy), known)


async def _copied(store: RestoringBackend, copy: RestoringBackend) -> None:
    """In pieces, each with the ranges forgotten before its end."""
    ranges = list(await store.forgotten())
    kept = await all_kept(store, Position(0))
    for piece in range(0, len(kept), 50):
        appends = kept[piece : piece + 50]
        now = [each for each in ranges if each[0] <= appends[-1].last]
        ranges = ranges[len(now) :]
        await copy.restore(store.log_id, appends, now)
    if ranges:
        await copy.restore(store.log_id, (), ranges)


async def _expect_same_log(store: RestoringBackend, copy: RestoringBackend) -> None:
    expect(copy.log_id == store.log_id, f"the copy of log {store.log_id} is log {copy.log_id}")
    expect(await copy.head() == await store.head(), f"the copy's head is {await copy.head()}, not {await store.head()}")
    events = await all_pages(store, Position(0), EVERYTHING)
    found = await all_pages(copy, Position(0), EVERYTHING)
    expect(found == events, f"of {len(events)} events the copy has {len(found)}, or others")
    expect(list(await copy.forgotten()) == list(await store.forgotten()), "what was forgotten differs in the copy")
    chained = Capability.CHAINED in store.capabilities and Capability.CHAINED in copy.capabilities
    links = [one.link for one in await all_kept(store, Position(0))]
    copied = [one.link for one in await all_kept(copy, Position(0))]
    expect(not chained or links == copied, "the chain of the copy has other links")


async def _expect_refusal(copy: RestoringBackend, append: Append) -> None:
    """What is of another log, or lies where this one has gone on by itself, would be mixed into it."""
    head, count = await copy.head(), len(append.events)
    late = replace(append, stream=new_stream())
    kept = Kept(append=late, last=Position(head + count), version=Version(count), link=None)
    of_another = await _refused(copy, LogId(new_id()), kept)
    expect(of_another, "a log took over an append of another log")
    below = await _refused(copy, copy.log_id, replace(kept, last=head))
    expect(below, f"a log that ends at position {head} took over an append that ends there")
    expect(await copy.head() == head, "a restore that was refused has moved the head")


async def _refused(copy: RestoringBackend, log_id: LogId, kept: Kept) -> bool:
    try:
        await copy.restore(log_id, [kept])
    except PlayheadError:
        return True
    return False


async def _by(store: RestoringBackend, after: Position, limit: int) -> list[Kept]:
    kept: list[Kept] = []
    while page := await store.read_kept(after=after, limit=limit):
        expect(len(page) <= limit, f"read_kept of at most {limit} gave {len(page)}")
        kept += page
        after = page[-1].last
    return kept


def _same(one: Append, other: Append) -> bool:
    """But for what was expected, which is over."""
    return replace(one, expected=Expect.ANY) == replace(other, expected=Expect.ANY)
