"""What a call in a worker process costs, counted: threads, frames, bytes, pickles, imports and copies."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import pytest

from playhead.executors import ProcessExecutor, line, switchboard, worker
from playhead.executors.calls import Call
from playhead.executors.crossing import request_of
from playhead.ports.executor import OpenExecutor
from playhead.runner.elsewhere import Errand, performed_of
from playhead.trust.payload import load

from . import sample_tasks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it runs on Linux and macOS")

CALLS: Final = 50
LARGE_BYTES: Final = 20_000_000
ERRAND: Final = Errand(sample_tasks.double, "a-run", "a-flow", datetime(2026, 1, 1, tzinfo=UTC), log_prints=False)


async def test_all_workers_share_one_thread() -> None:
    before = threading.active_count()
    async with ProcessExecutor(workers=4).open() as executor:
        assert threading.active_count() == before
        await asyncio.gather(*[executor.submit(max, 0, number) for number in range(CALLS)])
        assert threading.active_count() == before + 1


async def test_a_small_call_is_one_frame_there_and_one_piece_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, heard = _Counter(worker.send), _Counter(worker.whole)
    monkeypatch.setattr(line, "send", sent)
    monkeypatch.setattr(switchboard, "whole", heard)
    async with ProcessExecutor(workers=1).open() as executor:
        for number in range(CALLS):
            await executor.submit(max, 0, number)
        assert (sent.count, heard.count) == (CALLS, CALLS + 1), "and one from the worker when it has started"


async def test_a_call_that_follows_from_another_s_end_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a run: the end of a call starts the next one, in the thread that tells of it, which sends it itself."""
    rings = _Counter(os.write)
    ended: Future[None] = Future()

    def follow(executor: OpenExecutor, left: int) -> Callable[[object], None]:
        def submit(_: object) -> None:
            if left:
                executor.submit(int).add_done_callback(follow(executor, left - 1))
            else:
                ended.set_result(None)

        return submit

    async with ProcessExecutor(workers=1).open() as executor:
        await executor.submit(int)
        monkeypatch.setattr(os, "write", rings)
        executor.submit(int).add_done_callback(follow(executor, CALLS))
        await asyncio.wrap_future(ended)
        assert rings.count <= 1, "only the first may have found the thread asleep"
        monkeypatch.undo()


async def test_what_plain_pickle_can_send_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    by_value = _Counter(worker._by_value)  # pyright: ignore[reportPrivateUsage] — where the dear way begins
    monkeypatch.setattr(worker, "_by_value", by_value)
    async with ProcessExecutor(workers=1).open() as executor:
        await executor.submit(max, 1, 2)
        assert by_value.count == 0
        assert await executor.submit(lambda: 3) == 3
        assert by_value.count == 1


async def test_a_task_s_call_is_small_and_its_errand_is_unpickled_once() -> None:
    data = ERRAND.to_bytes()
    call = Call(_Nobody(), ERRAND.there, (data, (1,), {}, "double.1", 1), {}, None)
    request = request_of(call)
    assert request is not None
    assert len(request.body) < 320
    async with ProcessExecutor(workers=1).open() as executor:
        answers = [await executor.submit(ERRAND.there, data, (n,), {}, f"double.{n}", 1) for n in range(CALLS)]
        assert [load(answer[0]) for answer in answers] == [2 * n for n in range(CALLS)]
        misses = await executor.submit(eval, "__import__('playhead').runner.elsewhere._errand_of.cache_info().misses")
        assert misses == 1


async def test_workers_import_of_ours_nothing_more_for_a_task() -> None:
    """What it needs of Playhead it has from the nursery, which imported it once, and without the events."""
    async with ProcessExecutor(workers=1, start_method="forkserver").open() as executor:
        await executor.submit(performed_of, (b"", None, b""))
        before: list[str] = await executor.submit(eval, "sorted(__import__('sys').modules)")
        await executor.submit(ERRAND.there, ERRAND.to_bytes(), (1,), {}, "double", 1)
        after: list[str] = await executor.submit(eval, "sorted(__import__('sys').modules)")
    assert sample_tasks.__name__ not in before
    assert not {"playhead.core.events", "playhead.journal", "aiohttp", "sqlite3"} & {*before, *after}
    assert [name for name in set(after) - set(before) if name.startswith(("playhead", "pydantic"))] == []


async def test_a_large_result_is_in_memory_twice_at_most() -> None:
    """As it came, and as it was unpickled."""
    async with ProcessExecutor(workers=1).open() as executor:
        await executor.submit(bytes, 100_000)
        gc.collect()
        tracemalloc.start()
        try:
            result = await executor.submit(bytes, LARGE_BYTES)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(result) == LARGE_BYTES
    assert peak < 2.2 * LARGE_BYTES


def test_of_what_is_large_no_more_than_its_beginning_is_pickled_twice() -> None:
    """Once by plain pickle, and once by cloudpickle."""
    parts = [_Part() for _ in range(100_000)]
    _Part.pickled = 0
    worker.dumps(parts)
    assert _Part.pickled < 1.2 * len(parts)


async def test_a_worker_does_not_keep_a_large_argument_as_it_came() -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        empty = await executor.submit(sample_tasks.resident_bytes, b"")
        used = await executor.submit(sample_tasks.resident_bytes, bytearray(LARGE_BYTES))
    assert used - empty < 1.5 * LARGE_BYTES


class _Part:
    pickled: ClassVar = 0

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        _Part.pickled += 1
        return int, (_Part.pickled,)


class _Counter:
    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self.count = 0

    def __call__(self, *args: Any) -> Any:
        self.count += 1
        return self._fn(*args)


class _Nobody:
    def stop(self, call: object) -> None:
        """It is never run."""
