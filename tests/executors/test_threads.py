"""What the thread and local executors do beyond the port: how many threads there are, and what they keep alive."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta

import pytest

from playhead.errors import TaskTimedOut
from playhead.executors import LocalExecutor, ThreadExecutor, crew, deadlines
from playhead.executors.calls import Call
from playhead.executors.deadlines import Deadlines
from playhead.testing.gates import Gate, wait_at, wait_at_async

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=20)
VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


class Result:
    """Something that can be seen to go."""


async def test_threads_start_when_they_are_needed_and_are_used_again() -> None:
    before = threading.active_count()
    async with ThreadExecutor(workers=4).open() as executor:
        assert threading.active_count() == before
        threads = {await executor.submit(threading.get_ident) for _ in range(20)}
        assert 1 <= len(threads) <= 4
        async with Gate() as gate:
            calls = [executor.submit(wait_at, gate.port, f"call {n}") for n in range(9)]
            await gate.arrivals(4)
            assert threading.active_count() == before + 4
            for number in range(9):
                await gate.arrivals(number + 1)
                gate.let_through(gate.arrived[number])
            await asyncio.gather(*calls)
        assert threading.active_count() == before + 4
    assert threading.active_count() == before


async def test_all_coroutines_share_one_thread_and_one_loop() -> None:
    before = threading.active_count()

    async def where() -> tuple[int, int]:
        await asyncio.sleep(0)
        return threading.get_ident(), id(asyncio.get_running_loop())

    async with ThreadExecutor(workers=4).open() as executor:
        assert len(set(await asyncio.gather(*[executor.submit(where) for _ in range(40)]))) == 1
        assert threading.active_count() == before + 1


async def test_the_local_executor_computes_beside_the_callers_loop() -> None:
    async with LocalExecutor().open() as executor:
        assert executor.width == 1
        assert await executor.submit(threading.get_ident) != threading.get_ident()


async def test_a_call_sees_no_context_of_another() -> None:
    def set_and_get(value: str) -> str:
        seen = VARIABLE.get()
        VARIABLE.set(value)
        return seen

    async def set_and_get_async(value: str) -> str:
        return set_and_get(value)

    VARIABLE.set("the caller's")
    async with LocalExecutor().open() as executor:
        for fn in (set_and_get, set_and_get_async):
            assert [await executor.submit(fn, value) for value in "ab"] == ["unset", "unset"]


@pytest.mark.parametrize("timeout", [None, HOUR])
async def test_an_idle_executor_keeps_no_result(timeout: timedelta | None) -> None:
    async def make() -> Result:
        return Result()

    async with LocalExecutor().open() as executor:
        for fn in (Result, make):
            future = executor.submit(fn, _timeout=timeout)
            result = weakref.ref(await future)
            del future
            await executor.submit(int)  # the thread has let go of the call before by the time it takes the next
            gc.collect()
            assert result() is None


async def test_an_exception_keeps_neither_call_nor_arguments() -> None:
    def fail(argument: Result) -> None:
        del argument
        raise ValueError("no")

    argument = Result()
    seen = weakref.ref(argument)
    async with LocalExecutor().open() as executor:
        future = executor.submit(fail, argument)
        del argument
        with pytest.raises(ValueError, match="no") as caught:
            await future
        assert caught.value.__traceback__ is not None
        await executor.submit(int)
        assert future.done()
        assert seen() is None  # by reference counts alone: there is no cycle to collect


async def test_a_blocked_loop_does_not_hold_up_timeouts() -> None:
    release = threading.Event()

    async def block() -> None:
        release.wait(20)

    async with ThreadExecutor(workers=2).open() as executor:
        try:
            with pytest.raises(TaskTimedOut, match=r"block ran longer than its timeout of 0:00:00\.02"):
                await executor.submit(block, _timeout=SOON)
            assert await executor.submit(max, 1, 2) == 2
        finally:
            release.set()


async def test_calls_left_behind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "MAX_ABANDONED", 3)
    async with Gate() as gate, LocalExecutor().open() as executor:
        for number in range(3):
            call = executor.submit(wait_at, gate.port, f"stuck {number}")
            await gate.arrivals(number + 1)
            call.cancel()
        blocked = executor.submit(max, 1, 2)
        assert not blocked.running()
        gate.let_through("stuck 1")
        assert await blocked == 2


async def test_calls_begin_again_when_no_thread_could_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Gate() as gate, ThreadExecutor(workers=3).open() as executor:
        first = executor.submit(wait_at, gate.port, "first")
        await gate.arrivals(1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_more_threads)
            second = executor.submit(max, 1, 2)
            assert not second.running()
        gate.let_through("first")
        assert await first == "first"
        assert await second == 2


async def test_without_any_thread_submit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ThreadExecutor(workers=3).open() as executor:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_more_threads)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                executor.submit(max, 1, 2)
        assert await executor.submit(max, 1, 2) == 2


async def test_closing_does_not_wait_for_a_stuck_call() -> None:
    async with Gate() as gate:
        async with ThreadExecutor(workers=2).open() as executor:
            stuck = executor.submit(wait_at, gate.port, "stuck")
            coroutine = executor.submit(wait_at_async, gate.port, "coroutine")
            await gate.arrivals(2)
        assert stuck.cancelled()
        assert "stuck" not in gate.left
        await gate.departure("coroutine")
    assert coroutine.cancelled()


class TestDeadlines:
    @pytest.fixture
    def watch(self) -> Iterator[Deadlines]:
        watch = Deadlines("test")
        yield watch
        watch.close()

    def test_the_earliest_expires_first_whatever_the_order_of_watching(self, watch: Deadlines) -> None:
        ended: list[Call] = []
        calls = [_call(timedelta(milliseconds=ms)) for ms in (30, 10, 20)]
        for call in calls:
            call.add_done_callback(lambda future: ended.append(future))  # type: ignore[arg-type]  # it is a Call
            watch.watch(call)
        for call in calls:
            with pytest.raises(TaskTimedOut):
                call.result(20)
        assert ended == [calls[1], calls[2], calls[0]]

    def test_calls_that_have_ended_are_forgotten(self, watch: Deadlines, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deadlines, "PRUNE_AT_LEAST", 16)
        watch._prune_at = 16  # pyright: ignore[reportPrivateUsage] — a small one, to see it work
        kept = [_call(HOUR) for _ in range(10)]
        for call in kept:
            watch.watch(call)
        for _ in range(500):
            call = _call(HOUR)
            watch.watch(call)
            call.succeed(None)
        assert len(watch._entries) <= 2 * len(kept) + 1  # pyright: ignore[reportPrivateUsage] — memory is what is tested

    def test_a_call_without_a_timeout_starts_no_thread(self, watch: Deadlines) -> None:
        before = threading.active_count()
        watch.watch(_call(None))
        assert threading.active_count() == before


def test_of_many_hands_one_ends_a_call() -> None:
    for _ in range(50):
        owner = _Owner()
        call = Call(owner, int, (), {}, HOUR)
        told: list[object] = []
        call.add_done_callback(told.append)
        start = threading.Barrier(4)
        won: list[bool] = []
        hands = [call.cancel, call.expire, lambda c=call: c.succeed(1), lambda c=call: c.fail(ValueError())]  # type: ignore[misc]  # a lambda's default is not inferred

        def end(hand: object, start: threading.Barrier = start, won: list[bool] = won) -> None:
            assert callable(hand)
            start.wait(20)
            won.append(bool(hand()))

        threads = [threading.Thread(target=end, args=(hand,)) for hand in hands]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert won.count(True) == 1
        assert told == [call]
        assert owner.stops == int(call.cancelled() or isinstance(call.exception(), TaskTimedOut))


def test_a_call_costs_little() -> None:
    """Guarded by counting, not by the clock: what the hot path allocates and which locks it takes show in its calls."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    async def run() -> None:
        async with LocalExecutor().open() as executor:
            await executor.submit(int)
            sys.setprofile(count)
            try:
                for _ in range(100):
                    executor.submit(int)
            finally:
                sys.setprofile(None)

    asyncio.run(run())
    assert calls / 100 < 32  # calls and returns, of Python and C; 21 when this was written


class _Owner:
    def __init__(self) -> None:
        self.stops = 0

    def stop(self, call: Call) -> None:
        self.stops += 1


def _call(timeout: timedelta | None) -> Call:
    return Call(_Owner(), time.monotonic, (), {}, timeout)


def _no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
