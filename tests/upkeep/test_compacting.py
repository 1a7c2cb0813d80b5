"""Retention removes whole ended runs and nothing else, in an order that may be interrupted anywhere; what is left is a sound log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from playhead.core import events as ev
from playhead.core.names import Micros, Position, StreamName, Version
from playhead.core.replay import replay, to_append
from playhead.errors import LogUnusable, OutcomeUnknown, UsageError
from playhead.log import Log
from playhead.log.cursor import check_cursor, cursor_at
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.log.sqlite import url_for
from playhead.ports.store import Append, Outcome, Recorded, StoreBackend, Subscription
from playhead.service import Service
from playhead.upkeep import (
    Compacted,
    Leaving,
    Retention,
    archive,
    compact,
    copy,
    opened_to_read,
    plan,
    take_inventory,
    verify,
)
from tests.upkeep.places import Plain, sqlite_log
from tests.upkeep.samples import DAY, commit, events_in, fill, run_appends, run_id, stream_of

NOW = Micros(100 * DAY)
ALL = Retention(ended_before=NOW)


def numbers(leaving: Sequence[Leaving]) -> list[int]:
    return [int(each.stream.rpartition("/")[2], 16) for each in leaving]


async def stream(backend: StoreBackend, number: int) -> list[Recorded]:
    return await backend.read_stream(stream_of(number), after=Version(0), limit=1000)


async def test_what_goes_is_what_ended_before_of_those_flows_but_for_the_newest() -> None:
    backend = MemoryBackend()
    await fill(backend)  # run n ended on day n; run 5 is at work
    for number, day in ((20, 0), (21, 1)):
        await commit(backend, run_appends(number, flow="other", day=day))

    async def goes(before: int, *flows: str, keep_last: int = 0) -> list[int]:
        retention = Retention(ended_before=Micros(before), flows=frozenset(flows) or None, keep_last=keep_last)
        return numbers(await plan(backend, retention))

    assert await goes(100 * DAY, "census") == [0, 1, 2, 3, 4], "and not what is at work"
    assert await goes(3 * DAY, "census") == [0, 1, 2], "before, and not at"
    assert sorted(await goes(100 * DAY)) == [0, 1, 2, 3, 4, 20, 21]
    assert sorted(await goes(100 * DAY, keep_last=1)) == [0, 1, 2, 3, 20], "the newest of each flow"
    assert await goes(2 * DAY, "census", keep_last=4) == [0], "both hold"
    assert await goes(100 * DAY, "unknown") == []


async def test_what_went_is_gone_and_what_is_left_is_sound(tmp_path: Path) -> None:
    async with sqlite_log(tmp_path / "log.db") as backend:
        await fill(backend)
        before, head = {number: await stream(backend, number) for number in range(6)}, await backend.head()
        retention = Retention(ended_before=Micros(3 * DAY))
        leaving = await plan(backend, retention)
        done = await compact(backend, leaving, now=NOW)
        assert done == Compacted(runs=3, events=sum(len(before[number]) for number in range(3)), skipped=0)
        for number in range(6):
            left = await stream(backend, number)
            if number >= 3:
                assert left == before[number]
                continue
            (stone,) = left
            assert (stone.type, stone.version, stone.recorded_at) == ("run.forgotten", len(before[number]) + 1, NOW)
            ended, alone = replay(before[number]), replay(left)
            assert ended is not None
            assert alone is not None
            assert (alone.version, alone.status, alone.head.flow) == (stone.version, ended.status, ended.head.flow)
        assert await backend.head() == head + 3
        assert (await verify(backend)).sound
        assert (await take_inventory(backend)).runs == {"running": 1, "succeeded": 1, "failed": 1, "forgotten": 3}
        assert await plan(backend, retention) == [], "it was done"


async def test_cursors_that_stood_on_it_go_on() -> None:
    records = MemoryRecords()
    await fill(MemoryBackend(records))
    async with Log.open(MemoryBackend(records)) as log:
        head = await log.head()
        cursors = [await cursor_at(log, Position(position)) for position in range(head + 1)]
    backend = MemoryBackend(records)
    await compact(backend, await plan(backend, ALL), now=NOW)
    async with Log.open(MemoryBackend(records)) as log:
        for cursor in cursors:
            assert await check_cursor(log, cursor) == cursor.position
            async with log.subscribe(after=cursor.position) as pages:
                seen = [event async for event in _until(pages, await log.head())]
            everything = await log.read_all(after=cursor.position, limit=10_000)
            assert seen == list(everything.events)


async def _until(pages: Subscription, head: Position) -> AsyncIterator[Recorded]:
    async for page in pages:
        for event in page.events:
            yield event
        if page.scanned >= head:
            return


class Dying(MemoryBackend):
    """The process ends before the removal number `left`."""

    left = 0

    async def forget(self, stream: StreamName, *, upto: Version) -> int:
        if self.left == 0:
            raise LogUnusable("killed here")
        self.left -= 1
        return await super().forget(stream, upto=upto)


@pytest.mark.parametrize("removed", range(5))
async def test_an_interrupted_removal_is_taken_up(removed: int) -> None:
    records = MemoryRecords()
    dying = Dying(records)
    await fill(dying)
    dying.left = removed
    with pytest.raises(LogUnusable, match="killed here"):
        await compact(dying, await plan(dying, ALL), now=NOW)
    again = MemoryBackend(records)
    assert (await verify(again)).sound, "in between, too"
    nothing_more = Retention(ended_before=Micros(0))
    (begun,) = await plan(again, nothing_more)
    assert begun.begun
    assert (await compact(again, [begun], now=NOW)).runs == 1
    assert len(await plan(again, ALL)) == 4 - removed
    await compact(again, await plan(again, ALL), now=NOW)
    assert [len(await stream(again, number)) for number in range(5)] == [1] * 5
    assert (await verify(again)).sound


async def test_a_run_that_went_on_meanwhile_is_left() -> None:
    backend = MemoryBackend()
    await fill(backend)
    leaving = await plan(backend, ALL)
    late = Append(
        stream=stream_of(0),
        events=(to_append(ev.RunLate(epoch=1, outcome="run.failed")),),
        expected=leaving[0].version,
        append_id="late",
        actor="server",
        recorded_at=NOW,
    )
    await commit(backend, [late])
    done = await compact(backend, leaving, now=NOW)
    assert (done.runs, done.skipped) == (4, 1)
    assert len(await stream(backend, 0)) == leaving[0].version + 1
    assert numbers(await plan(backend, ALL)) == [0]


async def test_a_tombstone_whose_outcome_is_unknown_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.upkeep.compacting.SETTLE_DELAYS_SECONDS", (0.0, 0.0))

    class Unsure(MemoryBackend):
        unsure = False

        async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
            outcomes = await super().commit(batch)
            self.unsure = not self.unsure
            if self.unsure and batch[0].append_id.startswith("forgotten."):
                raise OutcomeUnknown("the answer was lost")
            return outcomes

    backend = Unsure()
    await fill(backend)
    done = await compact(backend, await plan(backend, ALL), now=NOW)
    assert (done.runs, done.skipped) == (5, 0)
    assert [len(await stream(backend, number)) for number in range(5)] == [1] * 5


async def test_an_archive_is_written_first_and_holds_what_went(tmp_path: Path) -> None:
    backend, file = MemoryBackend(), tmp_path / "archive.db"
    await fill(backend)
    before, link = {number: await stream(backend, number) for number in range(6)}, (await verify(backend)).link
    await compact(backend, await plan(backend, ALL), now=NOW, archive_to=file)
    async with opened_to_read(url_for(file)) as archived:
        result = await verify(archived)
        assert (result.sound, result.link, result.events) == (
            True,
            link,
            sum(len(before[number]) for number in range(5)),
        )
        for number in range(5):
            assert await stream(archived, number) == before[number]
        assert await stream(archived, 5) == []
    async with Log.open(url_for(file)) as log, Service(log) as service:
        view = await service.run(run_id(1))
        assert (view.state, view.forgotten_at, len(view.tasks)) == ("failed", None, 3)


async def test_without_its_archive_nothing_goes(tmp_path: Path) -> None:
    backend, file = MemoryBackend(), tmp_path / "archive.db"
    await fill(backend)
    head = await backend.head()
    file.write_text("somebody's")
    with pytest.raises(UsageError, match="is there already"):
        await compact(backend, await plan(backend, ALL), now=NOW, archive_to=file)
    assert (await backend.head(), file.read_text()) == (head, "somebody's")
    with pytest.raises(UsageError, match="gives no copies"):
        await archive(Plain(backend), [], tmp_path / "other.db")


async def test_a_store_that_removes_nothing_says_so() -> None:
    backend = Plain()
    await fill(backend)
    with pytest.raises(UsageError, match="cannot remove events"):
        await compact(backend, await plan(backend, ALL), now=NOW)


async def test_a_log_that_was_put_back_is_served_first(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with sqlite_log(path) as backend:
        await fill(backend)
        await backend.set_aside()
    async with sqlite_log(path) as backend:
        with pytest.raises(LogUnusable, match="was put back"):
            await compact(backend, await plan(backend, ALL), now=NOW)


async def test_a_compacted_log_is_copied_whole_and_refused_by_a_store_that_cannot_hold_it() -> None:
    source, target = MemoryBackend(), MemoryBackend()
    await fill(source)
    await compact(source, await plan(source, ALL), now=NOW)
    await copy(source, target)
    assert (await verify(target)).link == (await verify(source)).link
    with pytest.raises(UsageError, match="begins at version"):
        await copy(source, Plain())


async def test_many_runs_that_were_written_among_one_another_go(tmp_path: Path) -> None:
    async with sqlite_log(tmp_path / "log.db") as backend:
        await fill(backend, runs=2)
        stories = [run_appends(number) for number in range(100, 150)]
        while any(stories):
            await commit(backend, [story.pop(0) for story in stories if story])
        done = await compact(backend, await plan(backend, ALL), now=NOW)
        assert done.events == events_in([append for number in range(51) for append in run_appends(number)])
        assert len(await backend.forgotten()) == 5, "what touches is one range; run 1 and the flow lie between"
        assert (await verify(backend)).sound
