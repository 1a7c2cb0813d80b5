"""The conformance suite of executors. Every check opens the spec anew, and holds its executor to the port's docstring.

    from playhead.testing.executors import check_executor

    problems = [result for result in await check_executor(MyExecutor()) if not result.passed]

Needs no test framework. The calls must be able to reach this process over the loopback interface (see `gates`), and to
import `playhead.testing`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from playhead.errors import InfrastructureLost, MisusedCall, TaskTimedOut, UnloadableOutcome
from playhead.ports.executor import ExecutorFuture, ExecutorSpec, OpenExecutor
from playhead.testing.checks import CheckResult, DoesNotApply, Suite, expect
from playhead.testing.gates import Gate, wait_at, wait_at_async
from playhead.testing.sample_calls import (
    AsyncCallable,
    Collapse,
    Trouble,
    Unreadable,
    append_two,
    exit_async,
    exit_now,
    itself,
    kill_own_process,
    pid_async,
    raise_async,
    raise_it,
    raise_unreadable,
    raise_with_a_lock,
    told,
    told_async,
)

EXECUTOR_SUITE: Suite[ExecutorSpec] = Suite("executor")

SOON = timedelta(milliseconds=50)  # the timeout of calls that would never end by themselves
NEVER = timedelta(hours=1)  # one that is not reached


async def check_executor(
    spec: ExecutorSpec, *, only: Collection[str] | None = None, limit_seconds: float | None = None
) -> list[CheckResult]:
    """Try every check that applies to the executor, or those named by `only`; see `Suite.run`."""
    return await EXECUTOR_SUITE.run(spec, only=only, limit_seconds=limit_seconds)


# --- results and exceptions ----------------------------------------------------------------------------------------


@EXECUTOR_SUITE.check
async def a_call_gives_its_result(spec: ExecutorSpec) -> None:
    async with spec.open() as executor:
        expect(await executor.submit(told, 1, b=2) == ((1,), {"b": 2}), "the result is not what the function returned")
        future = executor.submit(told)
        expect(await asyncio.to_thread(future.result) == ((), {}), "result() of the future differs from awaiting it")


@EXECUTOR_SUITE.check
async def keywords_reach_the_function(spec: ExecutorSpec) -> None:
    """None of the names that an executor uses itself may be lost to the function."""
    keywords: dict[str, Any] = {"fn": 1, "self": 2, "timeout": 3, "args": 4, "kwargs": 5}
    async with spec.open() as executor:
        result = await executor.submit(told, **keywords)
        expect(result == ((), keywords), f"{keywords} was passed, and {result[1]} arrived")


@EXECUTOR_SUITE.check
async def an_exception_comes_back_as_raised(spec: ExecutorSpec) -> None:
    error = Trouble("no luck", 7)
    async with spec.open() as executor:
        caught = await _error_of(executor.submit(raise_it, error))
    expect(type(caught) is Trouble, f"Trouble was raised, and {caught!r} came back")
    expect(caught.args == ("no luck", 7), f"the exception came back with the arguments {caught.args}")
    if executor.shares_memory:
        expect(caught is error, "the exception is not the very one that was raised, though memory is shared")


@EXECUTOR_SUITE.check
async def memory_is_shared_as_declared(spec: ExecutorSpec) -> None:
    given = [1]
    async with spec.open() as executor:
        returned = await executor.submit(append_two, given)
        expect(returned == [1, 2], f"[1, 2] was returned, and {returned} came back")
        if executor.shares_memory:
            expect(returned is given, "shares_memory is true, and the call worked on a copy")
        else:
            expect(given == [1], "shares_memory is false, and the call changed the caller's object")


@EXECUTOR_SUITE.check
async def large_values_pass(spec: ExecutorSpec) -> None:
    large = os.urandom(5_000_000)
    async with spec.open() as executor:
        returned = await executor.submit(itself, large)
    expect(returned == large, "5 MB did not come back as they were")


@EXECUTOR_SUITE.check
async def a_coroutine_function_runs_to_its_end(spec: ExecutorSpec) -> None:
    async with spec.open() as executor:
        expect(
            await executor.submit(told_async, 1, b=2) == ((1,), {"b": 2}), "the coroutine's result did not come back"
        )
        caught = await _error_of(executor.submit(raise_async, Trouble("no luck", 7)))
        expect(type(caught) is Trouble, f"the coroutine raised Trouble, and {caught!r} came back")
        result = await executor.submit(AsyncCallable(), 1)
        expect(result == 1, f"an object with an async __call__ was run, and {result!r} came back")


@EXECUTOR_SUITE.check
async def a_stop_iteration_does_not_hang(spec: ExecutorSpec) -> None:
    """asyncio's futures refuse this one, and a task that calls next() on something empty is an everyday mistake."""
    async with spec.open() as executor:
        future = executor.submit(raise_it, StopIteration())
        await _error_of(future)
        expect(isinstance(future.exception(), StopIteration), f"StopIteration became {future.exception()!r}")


@EXECUTOR_SUITE.check
async def a_base_exception_ends_only_its_call(spec: ExecutorSpec) -> None:
    async with spec.open() as executor:
        for error in (SystemExit(3), KeyboardInterrupt(), Collapse("all")):
            for fn in (raise_it, raise_async):
                for _ in range(executor.width):  # enough to take every worker down, if one is taken by each
                    caught = await _error_of(executor.submit(fn, error))
                    expect(type(caught) is type(error), f"{error!r} was raised, and {caught!r} came back")
        caught = await _error_of(executor.submit(sys.exit, 4))
        expect(isinstance(caught, SystemExit) and caught.code == 4, f"sys.exit(4) came back as {caught!r}")
        await _expect_goes_on(executor, "calls that raised BaseException")


# --- order and width -------------------------------------------------------------------------------------------------


@EXECUTOR_SUITE.check
async def calls_begin_in_order(spec: ExecutorSpec) -> None:
    names = [f"call {number}" for number in range(8)]
    async with Gate() as gate, spec.open() as executor:
        held = [executor.submit(wait_at, gate.port, f"held {number}") for number in range(executor.width - 1)]
        await gate.arrivals(len(held))  # one place is left: what passes there passes one after the other
        futures = [executor.submit(wait_at, gate.port, name) for name in names]
        for number, _ in enumerate(names, start=1):
            await gate.arrivals(len(held) + number)
            gate.let_through(gate.arrived[-1])
        await asyncio.gather(*futures)
        order = gate.arrived[len(held) :]
        expect(order == names, f"the calls began in the order {order}")
        gate.let_through(*gate.arrived[: len(held)])
        await asyncio.gather(*held)


@EXECUTOR_SUITE.check
async def the_width_is_reached(spec: ExecutorSpec) -> None:
    await _expect_together(spec, lambda _: wait_at)


@EXECUTOR_SUITE.check
async def the_width_is_reached_by_coroutines(spec: ExecutorSpec) -> None:
    await _expect_together(spec, lambda _: wait_at_async)


@EXECUTOR_SUITE.check
async def the_width_is_respected(spec: ExecutorSpec) -> None:
    await _expect_never_more(spec, lambda _: wait_at)


@EXECUTOR_SUITE.check
async def the_width_is_respected_by_coroutines(spec: ExecutorSpec) -> None:
    await _expect_never_more(spec, lambda number: wait_at_async if number % 2 else wait_at)


@EXECUTOR_SUITE.check
async def calls_come_from_many_threads(spec: ExecutorSpec) -> None:
    async with spec.open() as executor:

        def submit_some(thread: int) -> list[Any]:
            futures = [executor.submit(itself, (thread, number)) for number in range(25)]
            return [future.result() for future in futures]

        for thread, results in enumerate(await asyncio.gather(*[asyncio.to_thread(submit_some, n) for n in range(6)])):
            expect(results == [(thread, number) for number in range(25)], "results of several threads were mixed up")


@EXECUTOR_SUITE.check
async def a_future_is_awaited_on_any_loop(spec: ExecutorSpec) -> None:
    async with Gate() as gate, spec.open() as executor:
        future = executor.submit(wait_at, gate.port, "a")
        here, waits = asyncio.get_running_loop(), asyncio.Event()

        async def elsewhere() -> Any:
            waiter = asyncio.ensure_future(future)
            await asyncio.sleep(0)  # it waits now
            here.call_soon_threadsafe(waits.set)
            return await waiter

        waiting = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
        await gate.arrivals(1)
        await waits.wait()
        gate.let_through("a")
        expect(await waiting == "a", "another loop did not get the result")
        expect(await future == "a", "the future could not be awaited again")


# --- timeouts and cancellation -------------------------------------------------------------------------------------


@EXECUTOR_SUITE.check
async def a_timeout_ends_the_call(spec: ExecutorSpec) -> None:
    await _expect_times_out(spec, wait_at, is_stopped=not await _shares_memory(spec))


@EXECUTOR_SUITE.check
async def a_timeout_ends_a_coroutine(spec: ExecutorSpec) -> None:
    await _expect_times_out(spec, wait_at_async, is_stopped=True)


@EXECUTOR_SUITE.check
async def a_timeout_that_is_not_reached_is_not_seen(spec: ExecutorSpec) -> None:
    async with spec.open() as executor:
        for fn in (told, told_async):
            expect(await executor.submit(fn, 1, _timeout=NEVER) == ((1,), {}), "a call with a timeout lost its result")


@EXECUTOR_SUITE.check
async def a_call_cancelled_before_it_begins_never_runs(spec: ExecutorSpec) -> None:
    async with Gate() as gate, spec.open() as executor:
        held = [executor.submit(wait_at, gate.port, f"held {number}") for number in range(executor.width)]
        await gate.arrivals(len(held))
        withdrawn = executor.submit(wait_at, gate.port, "withdrawn")
        expect(withdrawn.cancel(), "cancel() of a call that had not begun said no")
        expect(withdrawn.cancelled(), "a call that was cancelled before it began does not say so")
        gate.let_through(*gate.arrived)
        await asyncio.gather(*held)
        later = executor.submit(wait_at, gate.port, "later")
        await gate.arrivals(len(held) + 1)
        await _give_time(spec)
        expect("withdrawn" not in gate.arrived, "a call began after it had been cancelled")
        gate.let_through("later")
        await later


@EXECUTOR_SUITE.check
async def a_running_call_is_cancelled(spec: ExecutorSpec) -> None:
    await _expect_cancels(spec, wait_at, is_stopped=not await _shares_memory(spec))


@EXECUTOR_SUITE.check
async def a_running_coroutine_is_cancelled(spec: ExecutorSpec) -> None:
    await _expect_cancels(spec, wait_at_async, is_stopped=True)


@EXECUTOR_SUITE.check
async def cancelling_who_waits_cancels_the_call(spec: ExecutorSpec) -> None:
    async with Gate() as gate, spec.open() as executor:
        future = executor.submit(wait_at, gate.port, "a")
        waiting = asyncio.ensure_future(future)
        await gate.arrivals(1)
        waiting.cancel()
        await asyncio.wait({waiting})
        expect(waiting.cancelled(), "the waiting task was cancelled and went on")
        expect(future.cancelled(), "the waiting task was cancelled, and its call was not")


@EXECUTOR_SUITE.check
async def a_cancelled_call_wakes_all_who_wait(spec: ExecutorSpec) -> None:
    async with Gate() as gate, spec.open() as executor:
        future = executor.submit(wait_at, gate.port, "a")
        called: list[object] = []
        future.add_done_callback(called.append)
        waiting = asyncio.create_task(asyncio.to_thread(concurrent.futures.wait, [future]))
        await gate.arrivals(1)
        future.cancel()
        await waiting
        expect(called == [future], f"the done callback was called {len(called)} times")


# --- values that do not pickle ---------------------------------------------------------------------------------------


@EXECUTOR_SUITE.check
async def an_argument_that_does_not_pickle_is_named(spec: ExecutorSpec) -> None:
    await _require_separate_memory(spec)
    async with spec.open() as executor:
        _expect_unloadable(await _error_of(executor.submit(told, 1, threading.Lock())), "argument 2")
        _expect_unloadable(await _error_of(executor.submit(told, 1, guard=threading.Lock())), "'guard'")
        await _expect_goes_on(executor, "an argument that does not pickle")


@EXECUTOR_SUITE.check
async def an_argument_that_does_not_unpickle_is_named(spec: ExecutorSpec) -> None:
    await _require_separate_memory(spec)
    async with spec.open() as executor:
        _expect_unloadable(await _error_of(executor.submit(told, Unreadable())), "argument")
        await _expect_goes_on(executor, "an argument that does not unpickle")


@EXECUTOR_SUITE.check
async def a_result_that_does_not_pickle_is_named(spec: ExecutorSpec) -> None:
    await _require_separate_memory(spec)
    async with spec.open() as executor:
        _expect_unloadable(await _error_of(executor.submit(threading.Lock)), "result")
        _expect_unloadable(await _error_of(executor.submit(Unreadable)), "result")
        await _expect_goes_on(executor, "a result that does not pickle")


@EXECUTOR_SUITE.check
async def an_exception_that_does_not_pickle_is_named(spec: ExecutorSpec) -> None:
    await _require_separate_memory(spec)
    async with spec.open() as executor:
        for make in (raise_with_a_lock, raise_unreadable):
            caught = await _error_of(executor.submit(make))
            _expect_unloadable(caught, "exception")
            expect("what went wrong" in str(caught), f"what the exception said was lost: {caught}")
        await _expect_goes_on(executor, "an exception that does not pickle")


# --- deaths ------------------------------------------------------------------------------------------------------------


@EXECUTOR_SUITE.check
async def a_worker_that_exits_is_named_by_its_code(spec: ExecutorSpec) -> None:
    await _require_separate_memory(spec)
    async with spec.open() as executor:
        for fn in (exit_now, exit_async):
            caught = await _error_of(executor.submit(fn, 7))
            expect(isinstance(caught, InfrastructureLost), f"a worker that died gave {caught!r}")
            code = getattr(caught, "exit_code", None)
            expect(code == 7, f"the worker ended with exit code 7, and {code} was told")
        await _expect_goes_on(executor, "a worker's death")


@EXECUTOR_SUITE.check
async def a_worker_that_is_killed_is_named_by_the_signal(spec: ExecutorSpec) -> None:
    await _require_separate_memory(spec)
    async with spec.open() as executor:
        for number in (signal.SIGKILL, signal.SIGSEGV):
            caught = await _error_of(executor.submit(kill_own_process, int(number)))
            expect(isinstance(caught, InfrastructureLost), f"a worker that was killed gave {caught!r}")
            told = getattr(caught, "signal", None)
            expect(told == number, f"the worker was killed by {number!r}, and {told} was told")
        await _expect_goes_on(executor, "a worker that was killed")


@EXECUTOR_SUITE.check
async def a_death_hits_only_its_call(spec: ExecutorSpec) -> None:
    await _require_separate_memory(spec)
    async with Gate() as gate, spec.open() as executor:
        if executor.width < 2:
            raise DoesNotApply("one call at a time has no neighbour")
        neighbour = executor.submit(wait_at, gate.port, "neighbour")
        await gate.arrivals(1)
        deaths = [executor.submit(exit_now, 7) for _ in range(3)]
        behind = executor.submit(itself, "behind")
        for death in deaths:
            expect(isinstance(await _error_of(death), InfrastructureLost), "a worker's death was not told")
        expect(await behind == "behind", "a call that waited was hit by the death of another")
        gate.let_through("neighbour")
        expect(await neighbour == "neighbour", "a call was hit by the death of another's worker")


# --- the end -----------------------------------------------------------------------------------------------------------


@EXECUTOR_SUITE.check
async def closing_ends_every_call(spec: ExecutorSpec) -> None:
    async with Gate() as gate:
        async with spec.open() as executor:
            running = [executor.submit(wait_at, gate.port, f"running {number}") for number in range(executor.width)]
            await gate.arrivals(len(running))
            waiting = [executor.submit(wait_at_async, gate.port, f"waiting {number}") for number in range(3)]
        for future in running + waiting:
            expect(future.done(), "a call was left without an end when the executor closed")
        expect(all(future.cancelled() for future in waiting), "a call that had not begun was not withdrawn")
        expect(len(gate.arrived) == len(running), "closing let calls begin that were waiting")


@EXECUTOR_SUITE.check
async def closing_leaves_nothing_behind(spec: ExecutorSpec) -> None:
    threads = set(threading.enumerate())
    async with Gate() as gate, spec.open() as executor:
        calls = [executor.submit(wait_at, gate.port, f"call {number}") for number in range(executor.width)]
        await gate.arrivals(len(calls))
        gate.let_through(*gate.arrived)
        await asyncio.gather(*calls)
        await executor.submit(told_async, _timeout=NEVER)
        processes = {await executor.submit(os.getpid), await executor.submit(pid_async)} - {os.getpid()}
        held = executor.submit(wait_at_async, gate.port, "held")
        await gate.arrivals(len(calls) + 1)
    expect(held.done(), "a coroutine was left running")
    left = [thread.name for thread in set(threading.enumerate()) - threads]
    expect(not left, f"threads were left behind: {', '.join(left)}")
    alive = [pid for pid in processes if _is_alive(pid)]
    expect(not alive, f"processes were left behind: {alive}")


@EXECUTOR_SUITE.check
async def a_closed_executor_refuses_calls(spec: ExecutorSpec) -> None:
    async with spec.open() as executor:
        pass
    try:
        executor.submit(told)
    except MisusedCall:
        return
    expect(False, "a closed executor took a call")


# --- what several checks expect ------------------------------------------------------------------------------------


async def _expect_together(spec: ExecutorSpec, kind: Callable[[int], Callable[..., Any]]) -> None:
    """As many calls as the executor is wide are in the air at once."""
    async with Gate() as gate, spec.open() as executor:
        expect(executor.width >= 1, f"the width is {executor.width}")
        futures = [executor.submit(kind(n), gate.port, f"call {n}") for n in range(executor.width)]
        await gate.arrivals(len(futures))
        gate.let_through(*gate.arrived)
        await asyncio.gather(*futures)


async def _expect_never_more(spec: ExecutorSpec, kind: Callable[[int], Callable[..., Any]]) -> None:
    """With the executor full, no other call begins."""
    async with Gate() as gate, spec.open() as executor:
        count = executor.width + 12
        futures = [executor.submit(kind(n), gate.port, f"call {n}") for n in range(count)]
        await gate.arrivals(executor.width)
        await _give_time(spec)
        expect(
            len(gate.arrived) == executor.width,
            f"{len(gate.arrived)} calls ran at a time, and the width is {executor.width}",
        )
        for number in range(count):
            await gate.arrivals(number + 1)
            gate.let_through(gate.arrived[number])
        await asyncio.gather(*futures)


async def _give_time(spec: ExecutorSpec) -> None:
    """Let as much time pass as a call that should not begin would have needed, and more: that of a twin's calls."""
    async with Gate() as gate, spec.open() as twin:
        for number in range(12):
            future = twin.submit(wait_at_async if number % 2 else wait_at, gate.port, f"call {number}")
            await gate.arrivals(number + 1)
            gate.let_through(gate.arrived[number])
            await future


async def _expect_times_out(spec: ExecutorSpec, fn: Callable[..., Any], *, is_stopped: bool) -> None:
    async with Gate() as gate, spec.open() as executor:
        for number in range(executor.width + 1):  # enough to fill the executor, if they kept their places
            name = f"call {number}"
            caught = await _error_of(executor.submit(fn, gate.port, name, _timeout=SOON))
            expect(isinstance(caught, TaskTimedOut), f"a call that ran too long ended with {caught!r}")
        if is_stopped:
            for name in gate.arrived:  # on a busy machine one may have timed out on its way to the gate
                await gate.departure(name)
        await _expect_goes_on(executor, "calls that timed out")


async def _expect_cancels(spec: ExecutorSpec, fn: Callable[..., Any], *, is_stopped: bool) -> None:
    async with Gate() as gate, spec.open() as executor:
        for number in range(executor.width + 1):
            name = f"call {number}"
            future = executor.submit(fn, gate.port, name)
            await gate.arrivals(number + 1)
            expect(future.running(), "a call that runs does not say so")
            expect(future.cancel(), "cancel() of a running call said no")
            expect(isinstance(await _error_of(future), asyncio.CancelledError), "a cancelled call ended otherwise")
            expect(future.cancelled(), "a call that was cancelled while it ran does not say so")
            if is_stopped:
                await gate.departure(name)
        await _expect_goes_on(executor, "calls that were cancelled")


async def _expect_goes_on(executor: OpenExecutor, after: str) -> None:
    futures = [executor.submit(itself, number) for number in range(executor.width + 1)]
    results = [await future for future in futures]
    expect(results == list(range(executor.width + 1)), f"the executor did not go on after {after}")


def _expect_unloadable(caught: BaseException, name: str) -> None:
    expect(isinstance(caught, UnloadableOutcome), f"UnloadableOutcome was due, and {caught!r} came")
    expect(name in str(caught), f"the error does not name {name}: {caught}")


async def _require_separate_memory(spec: ExecutorSpec) -> None:
    if await _shares_memory(spec):
        raise DoesNotApply("calls run in the caller's process")


async def _shares_memory(spec: ExecutorSpec) -> bool:
    async with spec.open() as executor:
        return executor.shares_memory


async def _error_of(future: ExecutorFuture[Any]) -> BaseException:
    try:
        value = await future
    except BaseException as error:  # noqa: BLE001 — any of them may be what is expected
        return error
    expect(False, f"an error was due, and the call gave {value!r}")
    raise AssertionError


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
