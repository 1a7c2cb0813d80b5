"""Several backends open on one log, in this process and in others: what a store offers by SHARED and WAKES. Checks only.

Each backend has a task of its own. Which commit overtakes which is up to the store; batches of all sizes make that they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Final

from playhead.core.names import Position, StreamName, Version
from playhead.ports.store import (
    Appended,
    Capability,
    Conflict,
    Duplicate,
    Expect,
    Leading,
    Recorded,
    SharedBackend,
    StoreBackend,
)
from playhead.testing.checks import expect
from playhead.testing.stores.declared import chained, require, shared
from playhead.testing.stores.numbering import expect_chain
from playhead.testing.stores.place import Place
from playhead.testing.stores.processes import Acked, writers
from playhead.testing.stores.samples import (
    EVERYTHING,
    all_pages,
    commit_one,
    new_append,
    new_id,
    new_stream,
    whole_stream,
    write,
)
from playhead.testing.stores.suite import STORE_CHECKS

BACKENDS: Final = 3
COMMITS: Final = 40  # of each backend, where their order matters
NEVER_SECONDS: Final = 3600.0
PROCESSES: Final = 3
PROCESSES_SECONDS: Final = 120.0


@STORE_CHECKS.long_check(60)
async def nothing_appears_below_what_was_read_from_others(place: Place) -> None:
    """Several write, one follows: in the end it has all that the log holds. Positions drawn before the commit would make it lose some."""
    await require(place, Capability.SHARED)
    async with AsyncExitStack() as stack, place() as reader:
        stores = [await stack.enter_async_context(place()) for _ in range(BACKENDS)]
        start, rng = await reader.head(), place.draw()
        writing = asyncio.gather(*(_write_sizes(store, Random(rng.getrandbits(32)), COMMITS) for store in stores))
        followed = await _followed(reader, start, writing)
        whole = await all_pages(reader, start, EVERYTHING)
        _expect_all(followed, whole, place)
        if {Capability.CHAINED, Capability.RESTORES} <= reader.capabilities:
            async with chained(place) as store:
                await expect_chain(store, after=start, appends=len({event.append_id for event in whole}))


@STORE_CHECKS.check
async def writers_side_by_side_lose_nothing(place: Place) -> None:
    """All of them append to one stream, each on the version it knows: one wins each version, and the others are told."""
    await require(place, Capability.SHARED)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(place()) for _ in range(BACKENDS)]
        stream, rounds = new_stream(), 15
        won: list[tuple[int, str]] = []

        async def write_some(store: StoreBackend) -> None:
            version = Version(0)
            for _ in range(rounds):
                while isinstance(
                    outcome := await commit_one(store, append := new_append(stream, expected=version)), Conflict
                ):
                    expect(outcome.actual > version, f"a conflict at {outcome.actual} met who expected {version}")
                    version = outcome.actual
                expect(
                    isinstance(outcome, Appended) and outcome.version == version + 1,
                    f"an append that expected version {version} gave {outcome}",
                )
                version = Version(version + 1)
                won.append((version, append.append_id))

        await asyncio.gather(*map(write_some, stores))
        for store in stores:
            found = [(event.version, event.append_id) for event in await whole_stream(store, stream)]
            expect(
                found == sorted(won),
                f"{len(won)} appends were acknowledged, and the stream holds {len(found)}, or others",
            )


@STORE_CHECKS.check
async def the_same_append_from_two_sides_is_written_once(place: Place) -> None:
    await require(place, Capability.SHARED)
    async with place() as one, place() as other:
        for _ in range(10):
            append = new_append(new_stream(), 2)
            outcomes = await asyncio.gather(commit_one(one, append), commit_one(other, append))
            kinds = sorted(type(outcome).__name__ for outcome in outcomes)
            expect(kinds == ["Appended", "Duplicate"], f"the same append from two sides gave {outcomes}")
            again = next(outcome for outcome in outcomes if isinstance(outcome, Duplicate))
            expect(again.same, f"the same append from two sides gave {outcomes}")
            found = await one.read_stream(append.stream, after=Version(0), limit=EVERYTHING)
            expect(len(found) == 2, f"two events, sent from two sides, are {len(found)}")


@STORE_CHECKS.check
async def what_was_acknowledged_to_one_is_seen_by_all(place: Place) -> None:
    """At once: a client that was answered by one server asks another."""
    await require(place, Capability.SHARED)
    async with place() as one, place() as other:
        stream = new_stream()
        for _ in range(10):
            outcome = await write(one, stream, 2)
            head = await other.head()
            expect(head >= outcome.last, f"one was told of position {outcome.last}, and the other's head is {head}")
            found = await other.read_stream(stream, after=Version(outcome.version - 2), limit=2)
            expect(len(found) == 2, f"2 events acknowledged to one are {len(found)} to the other")
            page = await other.read_all(after=Position(outcome.first - 1), limit=1)
            expect([e.position for e in page.events] == [outcome.first], f"at {outcome.first} the other reads {page}")
            conflict = await commit_one(other, new_append(stream, expected=Expect.NO_STREAM))
            expect(conflict == Conflict(outcome.version), f"expecting no stream where one wrote gave {conflict}")


@STORE_CHECKS.long_check(PROCESSES_SECONDS)
async def other_processes_write_the_same_log(place: Place) -> None:
    """Processes of their own write, this one follows: it has all, in order, and all that they were told is there."""
    await require(place, Capability.SHARED)
    url, rng, stream = place.url, place.draw(), new_stream()
    async with place() as reader:
        start = await reader.head()
        async with writers(url, "together", [rng.getrandbits(32) for _ in range(PROCESSES)], stream=stream) as others:
            for other in others:
                other.go()
            writing = asyncio.gather(*(other.ended() for other in others))
            followed = await _followed(reader, start, writing)
            acked = [ack for other in others for ack in other.acked]
        whole = await all_pages(reader, start, EVERYTHING)
        _expect_all(followed, whole, place)
        _expect_acked(whole, acked)
        versions = [event.version for event in whole if event.stream == stream]
        expect(versions == list(range(1, len(versions) + 1)), f"the stream of all of them has the versions {versions}")


@STORE_CHECKS.check
async def news_of_others_come_at_once(place: Place) -> None:
    """Those that come during a wait, and those that came before it."""
    await require(place, Capability.SHARED, Capability.WAKES)
    async with place() as one, place() as other:
        for _ in range(3):
            start = await one.head()
            waiting = asyncio.create_task(one.wait_for_news(start, NEVER_SECONDS))
            await asyncio.sleep(0)
            await write(other, new_stream())
            await asyncio.wait({waiting}, timeout=place.patience_seconds)
            told = waiting.done()
            waiting.cancel()
            expect(told, f"another's commit was no news within {place.patience_seconds:g} s")
            await asyncio.wait_for(one.wait_for_news(start, NEVER_SECONDS), place.patience_seconds)


# --- who leads, and who lives -----------------------------------------------------------------------------------------


@STORE_CHECKS.check
async def one_leads_at_a_time(place: Place) -> None:
    """Of those that ask with the same term one is taken, and everybody sees who."""
    async with shared(place) as one, shared(place) as other:
        before = await _term(one)
        servers = [f"server-{new_id()}" for _ in range(6)]
        asked = [(one, other)[n % 2].lead(server, after=before) for n, server in enumerate(servers)]
        terms = zip(servers, await asyncio.gather(*asked), strict=True)
        taken = [(server, term) for server, term in terms if term is not None]
        expect(len(taken) == 1, f"of {len(servers)} that asked to lead after term {before}, {len(taken)} were taken")
        leader, term = taken[0]
        expect(term > before, f"term {term} came after term {before}")
        for store in (one, other):
            leading = await store.leading()
            expect(leading == Leading(leader, term), f"{leader} leads by term {term}, and is seen as {leading}")
        expect(await other.lead(servers[0], after=before) is None, f"term {before} is over, and one led after it")
        expect(await one.lead(leader, after=term) == term + 1, f"who leads by term {term} may not go on by the next")
        expect(await other.leading() == Leading(leader, term + 1), f"going on leaves {await other.leading()}")
        expect(
            await other.lead(servers[1], after=term + 1) == term + 2, "whoever knows the term takes over, and may not"
        )


@STORE_CHECKS.check
async def signs_of_life_are_counted(place: Place) -> None:
    async with shared(place) as one, shared(place) as other:
        quick, slow, never = keys = [f"check/{new_id()}" for _ in range(3)]
        start = (await one.heard(after=0)).upto
        await one.hear([quick, slow])
        for store in (one, other):
            for after in (0, start):
                heard = set(keys) & (await store.heard(after=after)).keys
                expect(
                    heard == {quick, slow}, f"two of three keys were counted, and after {after} it tells {len(heard)}"
                )
        start = (await other.heard(after=start)).upto
        expect((await one.heard(after=start)).upto == start, "nothing was counted, and the counting went on")
        await other.hear([])
        await other.hear([slow])
        expect(slow in (await one.heard(after=start)).keys, "a key that was counted again is not told again")
        expect(never not in (await one.heard(after=0)).keys, "a key is told that nobody counted")


@STORE_CHECKS.check
async def no_sign_of_life_is_missed(place: Place) -> None:
    """Several count, one reads on from what it was told last: in the end it was told of every sign."""
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(shared(place))
        stores = [await stack.enter_async_context(shared(place)) for _ in range(BACKENDS)]
        start = (await reader.heard(after=0)).upto
        signs = [[f"check/{new_id()}" for _ in range(COMMITS)] for _ in stores]

        async def count(store: SharedBackend, keys: Sequence[str]) -> None:
            for key in keys:
                await store.hear([key])

        counting, told = asyncio.gather(*map(count, stores, signs)), set[str]()
        try:
            while True:
                ended = counting.done()
                heard = await reader.heard(after=start)
                expect(heard.upto >= start, f"the counting went back from {start} to {heard.upto}")
                told, start = told | heard.keys, heard.upto
                if ended:
                    break
                await asyncio.sleep(0)
        finally:
            await counting
        missed = {key for keys in signs for key in keys} - told
        expect(not missed, f"{BACKENDS * COMMITS} signs were counted, and {len(missed)} were never told")


# --- helpers ----------------------------------------------------------------------------------------------------------


async def _write_sizes(store: StoreBackend, rng: Random, commits: int) -> None:
    """Short commits and long ones, so that one that began later ends sooner."""
    for _ in range(commits):
        count, text = rng.choice(((1, "x"), (2, "x"), (20, "x" * 500), (60, "x" * 2_000)))
        await store.commit([new_append(new_stream(), count, data={"text": text}) for _ in range(rng.randint(1, 3))])


async def _followed(store: StoreBackend, start: Position, writing: asyncio.Future[list[None]]) -> list[Recorded]:
    """What a reader finds that reads on and on until the writing is done, and then to the end."""
    followed: list[Recorded] = []
    after = start
    try:
        while True:
            ended = writing.done()
            page = await store.read_all(after=after, limit=200)
            followed += page.events
            if ended and page.scanned == after:
                return followed
            after = page.scanned
            await asyncio.sleep(0)
    finally:
        await writing


def _expect_all(followed: Sequence[Recorded], whole: Sequence[Recorded], place: Place) -> None:
    """Who followed has what there is."""
    had = {event.position for event in followed}
    missed = [event.position for event in whole if event.position not in had]
    expect(not missed, f"a reader that followed missed {len(missed)} events, {missed[:5]} and on (seed {place.seed})")
    expect(followed == whole, f"a reader that followed has the events in another order, or others (seed {place.seed})")


def _expect_acked(whole: Sequence[Recorded], acked: Sequence[Acked]) -> None:
    """Exactly what was acknowledged is there, where it was said to be."""
    kept: dict[tuple[StreamName, str], list[Recorded]] = {}
    for event in whole:
        kept.setdefault((event.stream, event.append_id), []).append(event)
    for one in acked:
        events = kept.pop((StreamName(one.stream), one.append_id), [])
        where = (len(events), *((events[0].position, events[-1].position, events[-1].version) if events else ()))
        told = (one.count, one.first, one.last, one.version)
        expect(where == told, f"an append was acknowledged as (events, first, last, version) {told}, and is {where}")
    expect(not kept, f"{len(kept)} appends are there that nobody was told of")


async def _term(store: SharedBackend) -> int:
    leading = await store.leading()
    return leading.term if leading is not None else 0
