"""Group commit: how many commits for how many appends, and what each appender is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
import pytest

from playhead.core.names import Position, Version
from playhead.errors import AppendMismatch, LogUnusable, OutcomeUnknown, UsageError, WrongVersion
from playhead.log import Log, commits
from playhead.log.memory import MemoryBackend
from playhead.ports.store import Ack, Append, Expect, Outcome
from tests.log.backends import AlwaysUnknown, Around, Failing
from tests.log.samples import new


async def queued(log: Log, backend: Around, appends: Sequence[Append]) -> list[asyncio.Task[Ack]]:
    """The appends as tasks, the first under commit at the closed gate and the others in the queue."""
    backend.gate.clear()
    backend.held.clear()
    first = asyncio.create_task(log.append(appends[0]))
    await backend.held.wait()
    rest = [asyncio.create_task(log.append(append)) for append in appends[1:]]
    await asyncio.sleep(0)  # each of them runs once, up to its place in the queue
    return [first, *rest]


async def test_appends_that_arrive_during_a_commit_share_the_next_one() -> None:
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        tasks = await queued(log, backend, [new(f"default/run/{i}") for i in range(101)])
        backend.gate.set()
        acks = await asyncio.gather(*tasks)
    assert backend.batches == [1, 100]
    assert sorted(ack.last for ack in acks) == list(range(1, 102))


async def test_a_hundred_appenders_pay_for_a_hundredth_of_the_commits() -> None:
    backend = Around(MemoryBackend())

    async def appender(log: Log, number: int) -> None:
        for _ in range(20):
            await log.append(new(f"default/run/{number}"))

    async with Log.open(backend) as log:
        await asyncio.gather(*(appender(log, number) for number in range(100)))
    assert sum(backend.batches) == 2000
    assert len(backend.batches) <= 40, backend.batches


async def test_a_batch_is_bounded_by_appends() -> None:
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        tasks = await queued(log, backend, [new() for _ in range(commits.BATCH_APPENDS + 5)])
        backend.gate.set()
        await asyncio.gather(*tasks)
    assert backend.batches == [1, commits.BATCH_APPENDS, 4]


async def test_a_batch_is_bounded_by_events_and_takes_one_large_append() -> None:
    backend = Around(MemoryBackend())
    half, more = commits.BATCH_EVENTS // 2, commits.BATCH_EVENTS + 1
    async with Log.open(backend) as log:
        tasks = await queued(log, backend, [new(), new(count=half), new(count=half), new(), new(count=more), new()])
        backend.gate.set()
        await asyncio.gather(*tasks)
    assert backend.batches == [1, 2, 1, 1, 1]


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "QUEUE_APPENDS", 3)
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        tasks = await queued(log, backend, [new() for _ in range(12)])
        backend.gate.set()
        await asyncio.gather(*tasks)
    assert sum(backend.batches) == 12
    assert max(backend.batches) == 3


async def test_each_append_has_its_own_outcome() -> None:
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        known = new("default/run/a")
        await log.append(known)
        appends = [
            new("default/run/b", 2),
            new("default/run/a", expected=Version(7)),
            known,
            new("default/run/a", append_id=known.append_id, data={"other": True}),
            new("default/run/a", expected=Expect.NO_STREAM),
            new("default/run/a", expected=Version(1)),
        ]
        tasks = await queued(log, backend, [new("default/run/z"), *appends])
        backend.gate.set()
        results = (await asyncio.gather(*tasks, return_exceptions=True))[1:]
    assert backend.batches == [1, 1, 6]
    assert results[0] == Ack(Position(3), Position(4), Version(2))
    assert isinstance(results[1], WrongVersion)
    assert results[1].actual == 1
    assert results[2] == Ack(Position(1), Position(1), Version(1), duplicate=True)
    assert isinstance(results[3], AppendMismatch)
    assert isinstance(results[4], WrongVersion)
    assert "no stream" in str(results[4])
    assert results[5] == Ack(Position(5), Position(5), Version(2))


async def test_an_unknown_outcome_that_happened_is_settled_by_the_same_ids() -> None:
    backend = Failing(MemoryBackend(), [OutcomeUnknown("lost the connection")], after_commit=True)
    async with Log.open(backend) as log:
        ack = await log.append(new(count=2))
        assert (ack.first, ack.last, ack.version) == (1, 2, 2)
        assert await log.head() == 2
    assert backend.batches == [1, 1]


async def test_an_unknown_outcome_that_did_not_happen_is_settled_too() -> None:
    backend = Failing(MemoryBackend(), [OutcomeUnknown("one"), OutcomeUnknown("two")])
    async with Log.open(backend) as log:
        assert await log.append(new()) == Ack(Position(1), Position(1), Version(1))
    assert backend.batches == [1, 1, 1]


async def test_a_store_that_cannot_be_used_settles_nothing() -> None:
    """The connection is lost under a commit that took place, and the database is still starting when it is asked again."""
    backend = Failing(MemoryBackend(), [OutcomeUnknown("lost"), LogUnusable("it is starting")], after_commit=True)
    async with Log.open(backend) as log:
        assert (await log.append(new())).duplicate


async def test_what_is_unknown_to_the_end_is_not_told_as_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "SETTLE_DELAYS_SECONDS", (0.0,))
    backend = Failing(MemoryBackend(), [OutcomeUnknown("lost"), LogUnusable("it is starting")], after_commit=True)
    async with Log.open(backend) as log:
        with pytest.raises(OutcomeUnknown, match="lost; and then it is starting"):
            await log.append(new())


async def test_settling_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "SETTLE_DELAYS_SECONDS", (0.0, 0.0, 0.0))
    backend = AlwaysUnknown(MemoryBackend())
    async with Log.open(backend) as log:
        with pytest.raises(OutcomeUnknown):
            await log.append(new())
    assert backend.batches == [1] * 4


async def test_data_that_is_not_json_fails_its_append_alone() -> None:
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        bad = new("default/run/bad", data={"when": object()})
        tasks = await queued(log, backend, [new(), new(), bad, new()])
        backend.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[2], UsageError)
        assert bad.append_id in str(results[2])
        assert [isinstance(result, Ack) for result in results] == [True, True, False, True]
        assert await log.head() == 3


async def test_a_log_that_cannot_be_written_fails_the_batch_and_recovers() -> None:
    backend = Failing(MemoryBackend(), [LogUnusable("the disk is full")])
    async with Log.open(backend) as log:
        with pytest.raises(LogUnusable, match="full"):
            await log.append(new())
        assert (await log.append(new())).last == 1


async def test_an_append_without_events_is_refused() -> None:
    async with Log.open("memory:") as log:
        with pytest.raises(UsageError, match="no event"):
            await log.append(new(count=0))


async def test_a_store_that_answers_too_little_is_named() -> None:
    class Mute(Around):
        async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
            return []

    async with Log.open(Mute(MemoryBackend())) as log:
        with pytest.raises(LogUnusable, match="0 outcomes"):
            await log.append(new())


async def test_cancelling_an_append_does_not_undo_it() -> None:
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        under_way, waiting, last = await queued(log, backend, [new(), new(), new()])
        under_way.cancel()
        waiting.cancel()
        await asyncio.wait({under_way, waiting})
        backend.gate.set()
        await last
        assert await log.head() == 3


async def test_closing_drains_what_waits() -> None:
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        tasks = await queued(log, backend, [new() for _ in range(10)])
        asyncio.get_running_loop().call_soon(backend.gate.set)
    acks = await asyncio.gather(*tasks)
    assert [ack.last for ack in acks] == list(range(1, 11))
    assert backend.closed == 1


async def test_a_store_that_hangs_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.log.engine.DRAIN_SECONDS", 0.0)
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        tasks = await queued(log, backend, [new(), new()])
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [OutcomeUnknown, OutcomeUnknown]


async def test_a_closed_log_takes_nothing() -> None:
    async with Log.open("memory:") as log:
        await log.close()
        await log.close()
        with pytest.raises(LogUnusable, match="closed"):
            await log.append(new())


async def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    backend = Around(MemoryBackend())
    with pytest.raises(KeyError):
        async with Log.open(backend) as log:
            await log.append(new())
            raise KeyError("mine")
    assert backend.closed == 1


async def test_cancelling_the_scope_around_drains_and_closes() -> None:
    backend = Around(MemoryBackend())
    tasks: list[asyncio.Task[Ack]] = []
    with anyio.CancelScope() as scope:
        async with Log.open(backend) as log:
            tasks = await queued(log, backend, [new(), new(), new()])
            asyncio.get_running_loop().call_soon(backend.gate.set)
            scope.cancel()
            await asyncio.get_running_loop().create_future()
    assert [ack.last for ack in await asyncio.gather(*tasks)] == [1, 2, 3]
    assert backend.closed == 1


async def test_cancelling_the_body_drains_and_closes() -> None:
    backend = Around(MemoryBackend())
    tasks: list[asyncio.Task[Ack]] = []

    async def program() -> None:
        async with Log.open(backend) as log:
            tasks.extend(await queued(log, backend, [new(), new(), new()]))
            await asyncio.get_running_loop().create_future()

    running = asyncio.create_task(program())
    while len(tasks) < 3:
        await asyncio.sleep(0)
    running.cancel()
    backend.gate.set()
    await asyncio.wait({running})
    assert running.cancelled()
    assert [ack.last for ack in await asyncio.gather(*tasks)] == [1, 2, 3]
    assert backend.closed == 1
