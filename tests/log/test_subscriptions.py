"""Subscriptions: nothing missed, nothing twice, from any position, from memory while it lasts and from the store behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace

from playhead.core.names import Position, StreamName, Version
from playhead.errors import CursorRefused, OutcomeUnknown
from playhead.log import Log, engine, tail
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.log.sqlite import url_for
from playhead.ports.store import Append, Appended, EventStore, Outcome, Page, Recorded
from tests.log.backends import Around, Failing
from tests.log.samples import new


async def follow(log: EventStore, *, after: int, until: int) -> list[Recorded]:
    """What a subscriber gets behind `after`, up to the position `until`."""
    events: list[Recorded] = []
    async with log.subscribe(after=Position(after)) as pages:
        async for page in pages:
            assert all(event.position <= page.scanned for event in page.events)
            events += page.events
            if page.scanned >= until:
                return events
    raise AssertionError(f"the log was closed after {len(events)} events")


async def whole(log: EventStore) -> list[Recorded]:
    return list((await log.read_all(after=Position(0), limit=1_000_000)).events)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "popo", "bridge"])
async def test_concurrent_writers_nothing_missed_nothing_twice(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    url = {
        "memory": "memory:",
        "sqlite": url_for(folder / "log.db"),
        "popo": "eventsourcing:eventsourcing.popo",
        "bridge": f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={folder}/bridge.db",
    }[kind]

    async def writer(log: Log, number: int) -> None:
        for count in (1, 2, 3, 1, 2):
            await log.append(new(f"default/run/{number}", count))

    async with Log.open(url) as log:
        until = await log.head() + 20 * 9  # the bridge has an event of its own
        followers = [asyncio.create_task(follow(log, after=0, until=until)) for _ in range(5)]
        await asyncio.gather(*(writer(log, number) for number in range(20)))
        late = await follow(log, after=0, until=until)
        expected = await whole(log)
        assert len(expected) == 20 * 9
        for events in [*await asyncio.gather(*followers), late]:
            assert events == expected


async def test_resuming_at_any_position() -> None:
    async with Log.open("memory:") as log:
        for count in (1, 3, 2, 1, 4):
            await log.append(new(count=count))
        expected = await whole(log)
        await log.append(new("default/run/last"))
        for position in range(11):
            events = await follow(log, after=position, until=11)
            assert events[:-1] == expected[position:]


async def test_a_live_subscriber_is_served_from_memory() -> None:
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        following = asyncio.create_task(follow(log, after=0, until=100))
        await asyncio.sleep(0)
        for _ in range(100):
            await log.append(new())
        assert len(await following) == 100
    assert backend.reads == 0


async def test_a_slow_subscriber_is_served_from_the_store_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "TAIL_EVENTS", 10)
    monkeypatch.setattr(engine, "PAGE_EVENTS", 7)
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        async with log.subscribe(after=Position(0)) as pages:
            slow = aiter(pages)
            await log.append(new())
            events = list((await anext(slow)).events)
            for _ in range(100):  # while it does something else
                await log.append(new(count=3))
            assert backend.reads == 0
            while len(events) < 301:
                events += (await anext(slow)).events
        assert events == await whole(log)
    assert backend.reads > 0


async def test_what_is_kept_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "TAIL_EVENTS", 10)
    store, kept = MemoryBackend(), tail.Tail(Position(0))
    sizes: list[int] = []
    with kept.subscriber(Position(0)):
        for _ in range(100):
            append = new(count=3)
            kept.add_committed([append], await store.commit([append]))
            page = kept.page(kept.start, 1_000)
            assert page is not None
            assert [event.position for event in page.events] == list(range(kept.start + 1, kept.scanned + 1))
            sizes.append(len(page.events))
    assert kept.scanned == 300
    assert 10 <= sizes[-1] <= max(sizes) < 20 + 3


@pytest.mark.parametrize("order", ["page, whole", "commits, page", "page, commits", "whole, commits"])
async def test_pages_that_overlap_are_taken_once(order: str) -> None:
    """The poll may read what a commit of our own brings meanwhile, and the other way round."""
    store, kept = MemoryBackend(), tail.Tail(Position(0))
    appends = [new(count=4), new(count=2)]
    outcomes = await store.commit(appends)
    pages = {"page": 3, "whole": 10}
    with kept.subscriber(Position(0)):
        for step in order.split(", "):
            if step == "commits":
                kept.add_committed(appends, outcomes)
            else:
                page = await store.read_all(after=Position(0), limit=pages[step])
                kept.extend(page.events, page.scanned)
        assert kept.scanned == 6
        held = kept.page(kept.start, 10)
        assert held is not None
        assert [event.position for event in held.events] == list(range(kept.start + 1, 7))


async def test_what_others_wrote_before_anyone_looked_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PAGE_EVENTS", 10)
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.001)
    records = MemoryRecords()
    backend, other = Around(MemoryBackend(records)), MemoryBackend(records)
    async with Log.open(backend) as log:
        await other.commit([new(count=500)])
        following = asyncio.create_task(follow(log, after=500, until=501))
        await asyncio.sleep(0)
        await other.commit([new()])
        assert len(await following) == 1
    assert backend.events_read == 1


async def test_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PAGE_EVENTS", 4)
    async with Log.open("memory:") as log:
        await log.append(new(count=10))
        sizes: list[int] = []
        async with log.subscribe(after=Position(0)) as pages:
            async for page in pages:
                sizes.append(len(page.events))
                if page.scanned == 10:
                    break
        assert sizes == [4, 4, 2]


async def test_an_unknown_outcome_that_happened_reaches_subscribers_once() -> None:
    backend = Failing(MemoryBackend(), [OutcomeUnknown("lost")], after_commit=True)
    async with Log.open(backend) as log:
        following = asyncio.create_task(follow(log, after=0, until=3))
        await asyncio.sleep(0)
        await log.append(new(count=2))
        await log.append(new())
        assert await following == await whole(log)


async def test_events_of_another_writer_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two logs on one store: each subscriber gets what both wrote, in order, by the store's news or by the poll."""
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.001)
    records = MemoryRecords()
    async with Log.open(MemoryBackend(records)) as one, Log.open(MemoryBackend(records)) as other:
        followers = [asyncio.create_task(follow(log, after=0, until=60)) for log in (one, other)]
        for _ in range(20):
            await one.append(new("default/run/one"))
            await other.append(new("default/run/other", 2))
        expected = await whole(one)
        assert len(expected) == 60
        for events in await asyncio.gather(*followers):
            assert events == expected


async def test_what_others_wrote_between_our_commits_is_read_once_for_all_subscribers() -> None:
    records = MemoryRecords()
    backend, other = Around(MemoryBackend(records)), MemoryBackend(records)
    async with Log.open(backend) as log:
        followers = [asyncio.create_task(follow(log, after=0, until=4)) for _ in range(10)]
        await asyncio.sleep(0)
        await log.append(new())
        await other.commit([new("default/run/other", 2)])  # which tells nobody here
        await log.append(new())
        expected = await whole(log)
        before = backend.reads
        for events in await asyncio.gather(*followers):
            assert events == expected
    assert backend.reads - before < len(followers)


class Asked(MemoryBackend):
    """Counts how often it is asked for news. Pages are held back until they `may_be_read`."""

    def __init__(self, records: MemoryRecords) -> None:
        super().__init__(records)
        self.asked = 0
        self.is_read, self.may_be_read = asyncio.Event(), asyncio.Event()

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        self.asked += 1
        await super().wait_for_news(after, timeout_seconds)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        self.is_read.set()
        await self.may_be_read.wait()
        return await super().read_all(after=after, limit=limit)


async def test_nobody_asks_for_news_again_and_again_while_a_hole_is_being_read() -> None:
    """They are there at once until it is: to ask would take all of a core, for as long as a store is slow or away."""
    records = MemoryRecords()
    backend, other = Asked(records), MemoryBackend(records)
    async with Log.open(backend) as log:
        following = asyncio.create_task(follow(log, after=0, until=4))
        await asyncio.sleep(0)
        await other.commit([new("default/run/other", 2)])
        await log.append(new())
        await backend.is_read.wait()
        asked = backend.asked
        for _ in range(50):
            await asyncio.sleep(0)
        assert backend.asked - asked <= 1
        await other.commit([new("default/run/other")])
        backend.may_be_read.set()
        assert await following == await whole(log)


async def test_three_writers_at_once_lose_nothing() -> None:
    """Each has holes in what it commits, all the time, while its own commits and what it reads overlap."""
    records = MemoryRecords()

    async def write(log: Log, name: str) -> None:
        for number in range(40):
            await log.append(new(f"default/run/{name}", 1 + number % 3))
            await asyncio.sleep(0)

    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(Log.open(MemoryBackend(records))) for _ in range(3)]
        followers = [asyncio.create_task(follow(log, after=0, until=3 * 79)) for log in logs for _ in range(2)]
        await asyncio.gather(*(write(log, str(number)) for number, log in enumerate(logs)))
        followed = await asyncio.gather(*followers)
        expected = await whole(logs[0])
    assert [event.position for event in expected] == list(range(1, 3 * 79 + 1))
    assert all(events == expected for events in followed)


class Gaps(MemoryBackend):
    """Gives every tenth position."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        return [Appended(_far(o.first), _far(o.last), o.version) if isinstance(o, Appended) else o for o in outcomes]

    async def read_all(self, *, after: Position, limit: int) -> Page:
        page = await super().read_all(after=Position(after // 10), limit=limit)
        return Page(tuple(replace(event, position=_far(event.position)) for event in page.events), _far(page.scanned))

    async def head(self) -> Position:
        return _far(await super().head())


def _far(position: Position) -> Position:
    return Position(position * 10)


async def test_positions_with_gaps() -> None:
    """A store whose numbers have holes cannot be followed by counting; the store is read, and nothing is lost."""

    async with Log.open(Gaps()) as log:
        following = asyncio.create_task(follow(log, after=0, until=500))
        await asyncio.sleep(0)
        for _ in range(25):
            await log.append(new(count=2))
        assert [event.position for event in await following] == [n * 10 for n in range(1, 51)]


async def test_subscriptions_end_when_the_log_is_closed() -> None:
    async with Log.open("memory:") as log:
        await log.append(new())

        async def positions() -> list[int]:
            async with log.subscribe(after=Position(0)) as pages:
                return [event.position async for page in pages for event in page.events]

        reading = asyncio.create_task(positions())
        await log.append(new())
        await log.close()
        assert await reading == [1, 2]


async def test_a_position_beyond_the_head_is_refused() -> None:
    async with Log.open("memory:") as log:
        await log.append(new())
        with pytest.raises(CursorRefused, match="ends at position 1"):
            async with log.subscribe(after=Position(2)):
                pass


async def test_reading_a_stream_between_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PAGE_EVENTS", 3)
    async with Log.open("memory:") as log:
        await log.append(new(count=10))
        stream = StreamName("default/run/a")
        assert [e.version async for page in log.read_stream(stream) for e in page] == list(range(1, 11))
        assert [
            e.version async for page in log.read_stream(stream, after=Version(2), upto=Version(9)) for e in page
        ] == list(range(3, 10))
        assert [
            e.version async for page in log.read_stream(stream, after=Version(9), upto=Version(9)) for e in page
        ] == []
