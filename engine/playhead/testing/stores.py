"""The conformance suite of store backends: what `StoreBackend` promises, as checks with names. Needs no pytest.

    def place() -> AbstractAsyncContextManager[StoreBackend]: ...   # opens the same log each time

    failures = [result for result in await check_store(place) if not result.passed]

The checks may run on one log one after another, and on a log that others have written to: each uses streams of its own.
They write a few hundred small events, and one of a megabyte.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Collection, Sequence
from typing import Any, Final

from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version
from playhead.ports.store import (
    Append,
    Appended,
    Conflict,
    Duplicate,
    Expect,
    Expected,
    NewEvent,
    Outcome,
    Recorded,
    StoreBackend,
)
from playhead.testing.checks import CheckFailed, CheckResult, Suite, Watcher, expect
from playhead.testing.places import StoreFactory as StoreFactory

STORE_CHECKS: Final[Suite[StoreFactory]] = Suite("event store")

LARGE_BYTES: Final = 1_000_000
EVERYTHING: Final = 10_000  # a limit that none of the streams here reaches
SEED: Final = 20_240_229  # of the checks that draw; a failure is the same each time


async def check_store(
    factory: StoreFactory, *, only: Collection[str] | None = None, watcher: Watcher | None = None
) -> list[CheckResult]:
    """Try the checks, or those named by `only`. Each call of `factory` opens a backend on the same log.

    UsageError: `only` names a check that does not exist (`STORE_CHECKS.names` has them all).
    """
    return await STORE_CHECKS.run(factory, only=only, watcher=watcher)


# --- versions and what an append expects ------------------------------------------------------------------------------


@STORE_CHECKS.check
async def versions_are_contiguous_from_1(factory: StoreFactory) -> None:
    async with factory() as store:
        stream = _stream()
        for count in (1, 3, 2):
            await _append(store, stream, count)
        versions = [event.version for event in await store.read_stream(stream, after=Version(0), limit=EVERYTHING)]
        expect(versions == [1, 2, 3, 4, 5, 6], f"six events have the versions {versions}")


@STORE_CHECKS.check
async def an_exact_version_is_checked(factory: StoreFactory) -> None:
    async with factory() as store:
        stream = _stream()
        await _append(store, stream, 2, expected=Version(0))
        for wrong in (0, 1, 3):
            outcome = await _commit_one(store, _new(stream, expected=Version(wrong)))
            expect(outcome == Conflict(Version(2)), f"expecting version {wrong} of a stream at 2 gave {outcome}")
        await _append(store, stream, 1, expected=Version(2))


@STORE_CHECKS.check
async def no_stream_is_checked(factory: StoreFactory) -> None:
    async with factory() as store:
        stream = _stream()
        await _append(store, stream, expected=Expect.NO_STREAM)
        outcome = await _commit_one(store, _new(stream, expected=Expect.NO_STREAM))
        expect(outcome == Conflict(Version(1)), f"expecting no stream where there is one gave {outcome}")


@STORE_CHECKS.check
async def any_version_is_taken(factory: StoreFactory) -> None:
    async with factory() as store:
        stream = _stream()
        for _ in range(3):
            await _append(store, stream, expected=Expect.ANY)
        other = await _append(store, _stream(), expected=Expect.ANY)
        expect(other.version == 1, f"a stream's first event has version {other.version}")


# --- a batch ----------------------------------------------------------------------------------------------------------


@STORE_CHECKS.check
async def later_appends_of_a_batch_see_earlier_ones(factory: StoreFactory) -> None:
    async with factory() as store:
        stream = _stream()
        batch = [
            _new(stream, 2, expected=Version(0)),
            _new(stream, expected=Version(2)),
            _new(stream, expected=Version(2)),
        ]
        first, second, third = await store.commit(batch)
        expect(isinstance(first, Appended) and first.version == 2, f"the first gave {first}")
        expect(isinstance(second, Appended) and second.version == 3, f"the second, on top of it, gave {second}")
        expect(
            third == Conflict(Version(3)), f"the third, which expected what was there before the second, gave {third}"
        )


@STORE_CHECKS.check
async def a_conflict_loses_nothing_else(factory: StoreFactory) -> None:
    async with factory() as store:
        before, refused, behind = _stream(), _stream(), _stream()
        await _append(store, refused)
        batch = [_new(before), _new(refused, 2, expected=Version(7)), _new(behind)]
        outcomes = await store.commit(batch)
        expect(isinstance(outcomes[0], Appended), f"the append before a conflict gave {outcomes[0]}")
        expect(outcomes[1] == Conflict(Version(1)), f"the conflict gave {outcomes[1]}")
        expect(isinstance(outcomes[2], Appended), f"the append behind a conflict gave {outcomes[2]}")
        for stream, count in ((before, 1), (refused, 1), (behind, 1)):
            found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
            expect(len(found) == count, f"a stream that should hold {count} event holds {len(found)}")


@STORE_CHECKS.check
async def what_is_acknowledged_is_there(factory: StoreFactory) -> None:
    """Many writers on one stream: as many events as acknowledgements, each by the writer that got it."""
    async with factory() as store:
        stream = _stream()
        acknowledged: dict[int, str] = {}
        for version in range(10):
            rivals = [_new(stream, expected=Version(version)) for _ in range(3)]
            for rival, outcome in zip(rivals, await store.commit(rivals), strict=True):
                if isinstance(outcome, Appended):
                    taken = acknowledged.setdefault(outcome.version, rival.append_id)
                    expect(taken == rival.append_id, f"version {outcome.version} was acknowledged to two writers")
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect({e.version: e.append_id for e in found} == acknowledged, "the stream is not what was acknowledged")
        expect(len(acknowledged) == 10, f"of 10 rounds {len(acknowledged)} had a winner")


@STORE_CHECKS.check
async def an_append_is_whole_or_absent(factory: StoreFactory) -> None:
    """Readers that look all the time see an append's events together."""
    async with factory() as store:
        stream, sizes, done = _stream(), set[int](), asyncio.Event()

        async def look() -> None:
            while not done.is_set():
                sizes.add(len(await store.read_stream(stream, after=Version(0), limit=EVERYTHING)))
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        try:
            for _ in range(10):
                await _append(store, stream, 5)
        finally:
            done.set()
            await looking
        torn = sorted(size for size in sizes if size % 5)
        expect(not torn, f"appends of 5 events were seen in part: {torn} events in the stream")


# --- the same append again --------------------------------------------------------------------------------------------


@STORE_CHECKS.check
async def the_same_append_is_a_duplicate(factory: StoreFactory) -> None:
    async with factory() as store:
        append = _new(_stream(), 2)
        first = await _commit_one(store, append)
        again = await _commit_one(store, append)
        expect(again == _duplicate_of(first), f"after {first} the second gave {again}")
        found = await store.read_stream(append.stream, after=Version(0), limit=EVERYTHING)
        expect(len(found) == 2, f"two events, sent twice, are {len(found)}")


@STORE_CHECKS.check
async def a_duplicate_in_the_same_batch(factory: StoreFactory) -> None:
    async with factory() as store:
        append = _new(_stream())
        first, again = await store.commit([append, append])
        expect(isinstance(first, Appended), f"the first gave {first}")
        expect(isinstance(again, Duplicate) and again.same, f"the second, in the same batch, gave {again}")


@STORE_CHECKS.check
async def another_body_under_the_same_id(factory: StoreFactory) -> None:
    async with factory() as store:
        stream, append_id = _stream(), _id()
        await store.commit([_new(stream, 2, append_id=append_id, epoch=3, data={"a": 1, "b": 2})])
        others = {
            "other data": _new(stream, 2, append_id=append_id, epoch=3, data={"a": 1, "b": 3}),
            "fewer events": _new(stream, 1, append_id=append_id, epoch=3, data={"a": 1, "b": 2}),
            "another epoch": _new(stream, 2, append_id=append_id, epoch=4, data={"a": 1, "b": 2}),
            "no epoch": _new(stream, 2, append_id=append_id, data={"a": 1, "b": 2}),
        }
        for what, other in others.items():
            outcome = await _commit_one(store, other)
            expect(isinstance(outcome, Duplicate) and not outcome.same, f"{what} under the same id gave {outcome}")
        reordered = await _commit_one(store, _new(stream, 2, append_id=append_id, epoch=3, data={"b": 2, "a": 1}))
        expect(isinstance(reordered, Duplicate) and reordered.same, f"the same data in another order gave {reordered}")


@STORE_CHECKS.check
async def actor_and_time_are_outside_the_comparison(factory: StoreFactory) -> None:
    """A successor reports what its predecessor wrote, under its own name, later, expecting something else."""
    async with factory() as store:
        stream, append_id = _stream(), _id()
        await store.commit([_new(stream, append_id=append_id, actor="runner/1")])
        again = _new(stream, append_id=append_id, actor="runner/2", recorded_at=99, expected=Version(5))
        outcome = await _commit_one(store, again)
        expect(isinstance(outcome, Duplicate) and outcome.same, f"the same body by another actor gave {outcome}")
        (kept,) = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(kept.actor == "runner/1", f"the event is now by {kept.actor}")


@STORE_CHECKS.check
async def duplicate_is_decided_before_conflict(factory: StoreFactory) -> None:
    async with factory() as store:
        append = _new(_stream(), expected=Expect.NO_STREAM)
        await store.commit([append, _new(append.stream)])
        outcome = await _commit_one(store, append)
        expect(isinstance(outcome, Duplicate) and outcome.same, f"a known append that no longer fits gave {outcome}")


@STORE_CHECKS.check
async def an_append_id_belongs_to_its_stream(factory: StoreFactory) -> None:
    async with factory() as store:
        append_id = _id()
        for _ in range(2):
            outcome = await _commit_one(store, _new(_stream(), append_id=append_id))
            expect(isinstance(outcome, Appended), f"the same id in another stream gave {outcome}")


@STORE_CHECKS.check
async def duplicates_are_known_after_reopening(factory: StoreFactory) -> None:
    append = _new(_stream(), 3, epoch=1)
    async with factory() as store:
        first = await _commit_one(store, append)
        await _append(store, append.stream)
    async with factory() as store:
        again = await _commit_one(store, append)
        expect(again == _duplicate_of(first), f"after {first} and a reopening it gave {again}")


# --- what is read -----------------------------------------------------------------------------------------------------


@STORE_CHECKS.check
async def every_field_is_read_as_it_was_written(factory: StoreFactory) -> None:
    async with factory() as store:
        start = await store.head()
        stream = _stream()
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
        outcome = _appended(await _commit_one(store, append), "an append with every field")
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
async def reading_a_stream_keeps_its_bounds(factory: StoreFactory) -> None:
    """`after` is outside, `limit` is kept, also where a page begins or ends inside an append."""
    async with factory() as store:
        stream, neighbour = _stream(), _stream()
        for count in (3, 1, 4):
            await _append(store, stream, count)
            await _append(store, neighbour, 2)
        for after in range(9):
            for limit in (1, 2, 5, 8, 100):
                found = [e.version for e in await store.read_stream(stream, after=Version(after), limit=limit)]
                wanted = list(range(after + 1, 9))[:limit]
                expect(found == wanted, f"after={after}, limit={limit} gave the versions {found}, not {wanted}")


@STORE_CHECKS.check
async def a_limit_counts_the_events_of_the_stream(factory: StoreFactory) -> None:
    """A backend that cuts the log at the limit, and filters then, finds nothing behind a busy neighbour."""
    async with factory() as store:
        stream = _stream()
        await _append(store, stream)
        for _ in range(30):
            await _append(store, _stream())
        await _append(store, stream)
        found = await store.read_stream(stream, after=Version(0), limit=10)
        expect(len(found) == 2, f"a stream of 2 events, read up to 10, gave {len(found)}")


@STORE_CHECKS.check
async def reading_all_keeps_its_bounds(factory: StoreFactory) -> None:
    async with factory() as store:
        start = await store.head()
        for count in (2, 1, 3, 1):
            await _append(store, _stream(), count)
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
async def pages_put_together_are_the_log(factory: StoreFactory) -> None:
    async with factory() as store:
        start = await store.head()
        streams = [_stream() for _ in range(4)]
        rng = random.Random(SEED)
        for _ in range(40):
            await store.commit([_new(rng.choice(streams), rng.randint(1, 6)) for _ in range(rng.randint(1, 4))])
        whole = await _pages(store, start, EVERYTHING)
        for limit in (1, 2, 7, 50):
            expect(await _pages(store, start, limit) == whole, f"pages of {limit} are not the log")
        for stream in streams:
            expected = [event for event in whole if event.stream == stream]
            found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
            expect(found == expected, "a stream is not what the log holds of it")


@STORE_CHECKS.check
async def positions_increase_and_the_head_is_the_last(factory: StoreFactory) -> None:
    async with factory() as store:
        positions = [await store.head()]
        stream = _stream()
        for _ in range(5):
            outcomes = await store.commit([_new(stream, 2), _new(_stream()), _new(stream, expected=Version(999))])
            for outcome in (_appended(one, "an append of the batch") for one in outcomes[:2]):
                expect(outcome.last >= outcome.first > positions[-1], f"{outcome} came after position {positions[-1]}")
                positions.append(outcome.last)
            head = await store.head()
            expect(head == positions[-1], f"the head is {head}, the newest event is at {positions[-1]}")


@STORE_CHECKS.check
async def unknown_streams_and_the_end_are_empty(factory: StoreFactory) -> None:
    async with factory() as store:
        await _append(store, _stream())
        found = await store.read_stream(_stream(), after=Version(0), limit=10)
        expect(not found, f"a stream that nobody wrote to holds {found}")
        page = await store.read_all(after=await store.head(), limit=10)
        expect(not page.events, f"behind the head there is {page.events}")


@STORE_CHECKS.check
async def any_json_is_kept(factory: StoreFactory) -> None:
    data: dict[str, Any] = {
        "text": "Zürich 東京 🚀 \u0000 \u2028 \\ \" ' % ; --",
        "Ключ": [None, True, False, 0, -1, 2**53, 0.1, 1e300, [], {}],
        "deep": {"er": [{"and": {"deeper": ["ok"]}}]},
        "": "an empty key",
    }
    async with factory() as store:
        stream = StreamName(f"{_stream()}/ünïcode 東京")
        await store.commit([_new(stream, data=data, actor="agent/ß")])
        (event,) = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(dict(event.data) == data, f"{data} was read as {event.data}")
        expect((event.stream, event.actor) == (stream, "agent/ß"), f"{stream} was read as {event.stream}")


@STORE_CHECKS.check
async def large_events_are_kept(factory: StoreFactory) -> None:
    async with factory() as store:
        stream, text = _stream(), "x" * LARGE_BYTES
        await store.commit([_new(stream, data={"text": text}), _new(stream, 500)])
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(len(found) == 501, f"a large event and 500 small ones are {len(found)}")
        expect(found[0].data["text"] == text, f"{LARGE_BYTES} letters came back as {len(found[0].data['text'])}")


# --- side by side, over time ------------------------------------------------------------------------------------------


@STORE_CHECKS.check
async def nothing_appears_below_what_was_read(factory: StoreFactory) -> None:
    """A reader that follows the log while it is written has, in the end, all of it."""
    async with factory() as store:
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
                await store.commit([_new(_stream(), 2), _new(_stream()), _new(_stream(), 3)])
        finally:
            done.set()
            await asyncio.gather(*following)
        whole = await _pages(store, start, EVERYTHING)
        missed = len(whole) - len(followed)
        expect(followed == whole, f"a reader that followed has not what the log holds: {missed} events missed")


@STORE_CHECKS.check
async def reopening_keeps_everything(factory: StoreFactory) -> None:
    async with factory() as store:
        start, log_id = await store.head(), store.log_id
        stream = _stream()
        await store.commit([_new(stream, 3), _new(_stream()), _new(stream)])
        before = await _pages(store, start, EVERYTHING)
    async with factory() as store:
        expect(store.log_id == log_id, f"the log's id was {log_id} and is {store.log_id}")
        after = await _pages(store, start, EVERYTHING)
        expect(after == before, f"of {len(before)} events {len(after)} are the same after reopening")
        outcome = await _append(store, stream, expected=Version(4))
        expect(outcome.first > before[-1].position, f"after position {before[-1].position} came {outcome}")


@STORE_CHECKS.check
async def cancelling_leaves_nothing_half_done(factory: StoreFactory) -> None:
    """Commits are cancelled at random moments; each is there whole or not at all, and the next one works."""
    async with factory() as store:
        rng = random.Random(SEED)
        stream = _stream()
        appends = [_new(stream, 3) for _ in range(30)]
        for append in appends:
            commit = asyncio.create_task(store.commit([append]))
            for _ in range(rng.randint(0, 6)):
                await asyncio.sleep(0)
            commit.cancel()
            await asyncio.wait({commit})
        await _append(store, stream)
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


@STORE_CHECKS.check
async def waiting_for_news_returns(factory: StoreFactory) -> None:
    """At once when there is something already, when something comes, and at the timeout when nothing does."""
    async with factory() as store:
        start = await store.head()
        waiting = asyncio.create_task(store.wait_for_news(start, 20.0))
        await asyncio.sleep(0)
        await _append(store, _stream())
        await asyncio.wait_for(waiting, 10.0)
        await asyncio.wait_for(store.wait_for_news(start, 20.0), 10.0)
        await asyncio.wait_for(store.wait_for_news(await store.head(), 0.01), 10.0)


# --- helpers ----------------------------------------------------------------------------------------------------------


def _stream() -> StreamName:
    return StreamName(f"default/check/{uuid.uuid4().hex}")


def _id() -> str:
    return uuid.uuid4().hex


def _new(
    stream: StreamName,
    count: int = 1,
    *,
    expected: Expected = Expect.ANY,
    append_id: str | None = None,
    epoch: int | None = None,
    data: dict[str, Any] | None = None,
    actor: str = "server",
    recorded_at: int = 1_700_000_000_000_000,
) -> Append:
    body = data if data is not None else {"key": "extract", "attempt": 1}
    return Append(
        stream=stream,
        events=tuple(NewEvent(type="check.done", schema=1, data=body) for _ in range(count)),
        expected=expected,
        append_id=append_id or _id(),
        actor=actor,
        recorded_at=Micros(recorded_at),
        epoch=None if epoch is None else Epoch(epoch),
        first_seq=None if epoch is None else Seq(0),
    )


async def _commit_one(store: StoreBackend, append: Append) -> Outcome:
    outcomes: Sequence[Outcome] = await store.commit([append])
    expect(len(outcomes) == 1, f"one append has {len(outcomes)} outcomes")
    return outcomes[0]


async def _append(
    store: StoreBackend, stream: StreamName, count: int = 1, *, expected: Expected = Expect.ANY
) -> Appended:
    outcome = await _commit_one(store, _new(stream, count, expected=expected))
    return _appended(outcome, f"an append that expected {expected}")


def _appended(outcome: Outcome, what: str) -> Appended:
    if not isinstance(outcome, Appended):
        raise CheckFailed(f"{what} gave {outcome}")
    return outcome


def _duplicate_of(first: Outcome) -> Duplicate:
    """What the same append, sent again, must give."""
    known = _appended(first, "the first of two")
    return Duplicate(known.first, known.last, known.version, same=True)


async def _pages(store: StoreBackend, after: Position, limit: int) -> list[Recorded]:
    """All events behind `after`, page by page, until a page gets nowhere."""
    events: list[Recorded] = []
    while True:
        page = await store.read_all(after=after, limit=limit)
        expect(len(page.events) <= limit, f"a page of at most {limit} holds {len(page.events)}")
        events += page.events
        if page.scanned <= after:
            return events
        after = page.scanned
