"""What somebody does who wants a run to lose, repeat, hang or misreport: each of these once did."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

import playhead
from playhead import DaskExecutor, ProcessExecutor, ThreadExecutor, flow, task
from playhead.core.decide import KEY_SCHEME
from playhead.core.names import Epoch, RunId
from playhead.core.state import RunStatus
from playhead.errors import MisusedCall, StorageUnavailable, UnloadableOutcome, UsageError
from playhead.flows.flow import Flow
from playhead.journal.format import Record
from playhead.journal.place import JournalPlace
from playhead.journal.reader import read_journal
from playhead.journal.writer import JournalWriter
from playhead.ports.server import StartRequest
from playhead.runner.boottime import boot_time
from playhead.runner.execution import Execution
from playhead.runner.outcome import Outcome
from playhead.storage.memory import MemoryStorage
from tests.runner.bench import Bench, open_bench

pytestmark = pytest.mark.timeout(30)

LARGE = 100_000  # bytes: more than a record takes in, so that the result is an object of its own


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
def boom(message: str = "boom") -> int:
    raise LookupError(message)


def run(subject: Flow[..., Any], **parameters: Any) -> tuple[Outcome, Bench, Any]:
    with open_bench() as bench:
        run_id, outcome = bench.run(subject, **parameters)
        return outcome, bench, bench.view(run_id)


# --- what is written must be readable, and nothing may come behind the end ------------------------------------------------------


def test_records_with_many_upstream_keys_are_written_in_batches_that_read_back() -> None:
    storage, place = MemoryStorage(), JournalPlace(RunId("ab" * 16), Epoch(1), "aabbccdd")
    writer = JournalWriter(storage, place, b"k" * 32, on_durable=lambda _, __: None, on_end=lambda _: None)
    after = [f"{'k' * 500}~{number}" for number in range(10_000)]
    records = [Record("task.submitted", 1, {"key": f"t~{number}", "after": after}) for number in range(16)]
    writer.commit_and_wait(*records)
    writer.close()
    assert len(read_journal(storage, place, b"k" * 32).records) == len(records)


def test_a_task_that_ends_behind_its_flows_failure_is_cancelled_and_stays_so() -> None:
    storage = Slow()

    @task
    def large() -> bytes:
        return b"x" * LARGE

    @flow(executor=ThreadExecutor(workers=2))
    def subject() -> None:
        large.submit()
        assert storage.writing.wait(10)
        raise ValueError("the flow ends while the result is being written")

    with open_bench(storage) as bench:
        run_id, outcome = bench.run(subject)
        storage.let_go.set()
        assert storage.written.wait(10)
        view, types = bench.view(run_id), bench.types(run_id)
    assert isinstance(outcome.error, ValueError)
    assert (view.state, [each.state.value for each in view.tasks]) == (RunStatus.FAILED, ["cancelled"])
    assert types[-1] == "run.failed"


class Slow(MemoryStorage):
    """Holds the creation of a large result until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.let_go, self.written = threading.Event(), threading.Event(), threading.Event()

    def create_if_absent(self, path: str, data: bytes) -> None:
        held = "/blobs/large" in path
        if held:
            self.writing.set()
            assert self.let_go.wait(10)
        super().create_if_absent(path, data)
        if held:
            self.written.set()


def test_a_journal_that_was_concluded_takes_nothing_more() -> None:
    storage, place = MemoryStorage(), JournalPlace(RunId("ab" * 16), Epoch(1), "aabbccdd")
    writer = JournalWriter(storage, place, b"k" * 32, on_durable=lambda _, __: None, on_end=lambda _: None)
    writer.append(Record("task.started", 1, {"key": "t"}))
    writer.conclude(Record("run.failed", 1, {}))
    writer.append(Record("task.succeeded", 1, {"key": "t"}))
    writer.commit(Record("task.succeeded", 1, {"key": "t~2"}))
    writer.close()
    writer.commit(Record("task.succeeded", 1, {"key": "t~3"}))
    assert [record.type for record in read_journal(storage, place, b"k" * 32).records] == ["task.started", "run.failed"]


def test_what_a_flow_leaves_behind_asks_for_nothing_more() -> None:
    @flow
    async def subject() -> str:
        async def goes_on() -> None:
            for number in range(1_000_000):
                await add.submit(number)

        left = asyncio.create_task(goes_on())
        await add.submit(1)
        del left
        return "done"

    outcome, _, view = run(subject)
    assert outcome.value == "done", outcome.error
    assert {each.state.value for each in view.tasks} == {"succeeded"}


def test_a_task_that_cannot_be_sent_to_a_process_fails_and_the_run_says_so() -> None:
    lock = threading.Lock()

    @task(retries=1)
    def holds_a_lock() -> bool:
        return lock.locked()

    @flow(executor=ProcessExecutor(workers=1))
    def subject() -> bool:
        return holds_a_lock()

    outcome, _, view = run(subject)
    assert outcome.status is RunStatus.FAILED
    assert "lock" in str(outcome.error)
    assert (view.tasks[0].state.value, view.tasks[0].attempt) == ("failed", 2)


# --- whatever goes wrong inside, somebody is told --------------------------------------------------------------------------------


class Annotated(Exception):
    """An exception whose notes are none."""


def _notes(made: Any) -> Callable[[], None]:
    def fails() -> None:
        error = Annotated("told")
        error.__notes__ = made
        raise error

    return fails


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("says nothing")


@pytest.mark.parametrize("notes", [5, [Mute()]], ids=["no list", "mute"])
@pytest.mark.parametrize("executor", [ThreadExecutor(workers=1), ProcessExecutor(workers=1)], ids=lambda e: e.kind)
def test_an_exception_with_impossible_notes_is_a_failure_like_others(executor: Any, notes: Any) -> None:
    subject = Flow(_calls(task(name="odd")(_notes(notes))), name="odd_flow", executor=executor)
    outcome, _, _ = run(subject)
    assert outcome.status is RunStatus.FAILED
    assert "told" in str(outcome.error)


def _calls(each: Any) -> Callable[[], Any]:
    return lambda: each()


class Untellable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("has no text")


def test_an_exception_without_a_text_still_fails_its_run_by_name() -> None:
    @task
    def untellable() -> None:
        raise Untellable

    @flow
    def subject() -> None:
        untellable()

    outcome, _, _ = run(subject)
    with pytest.raises(playhead.FlowRunFailed, match="Untellable"):
        outcome.unwrap(RunId("0" * 32))


@pytest.mark.parametrize("delay", [timedelta.max, timedelta(days=3_000_000)])
def test_a_delay_beyond_all_dates_rests_and_does_not_hang_or_break(delay: timedelta) -> None:
    @task(retries=1, retry_delay=delay)
    def rests() -> None:
        raise ValueError("tried again at the end of time")

    @flow
    async def subject() -> str:
        resting = rests.submit()
        try:
            async with playhead.timeout(timedelta(milliseconds=100)):
                await resting
        except TimeoutError:
            return await _cancelled_by_the_end(resting)
        return "not reached"

    async def _cancelled_by_the_end(resting: Any) -> str:
        raise ArithmeticError(f"rests: {resting.done()}")

    outcome, _, view = run(subject)
    assert isinstance(outcome.error, ArithmeticError), outcome.error
    assert view.tasks[0].state.value == "cancelled"


def test_cancelling_a_future_does_not_leave_those_who_await_it_hanging() -> None:
    @task
    async def slow() -> None:
        await asyncio.sleep(0.05)

    @flow
    async def subject() -> str:
        future = slow.submit()

        async def waits() -> str:
            try:
                await future
            except asyncio.CancelledError:
                return "told"
            return "value"

        waiting = asyncio.create_task(waits())
        await playhead.sleep(timedelta(0))
        future.cancel()
        return await waiting

    outcome, _, _ = run(subject)
    assert outcome.value == "told", outcome.error


def test_an_executor_that_cannot_be_opened_fails_the_run_and_says_what_to_install() -> None:
    @flow(executor=DaskExecutor())
    def subject() -> None:
        add(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DaskExecutor, "open", _not_installed)
        outcome, _, view = run(subject)
    assert isinstance(outcome.error, UsageError)
    assert "pip install" in str(outcome.error)
    assert view.state is RunStatus.FAILED


def _not_installed(_: object) -> Any:
    raise UsageError("no executor of kind 'dask' is installed", hint="pip install 'playhead[dask]'")


@flow
def nothing() -> None:
    """Asks for no task."""


def test_storage_that_is_away_while_the_flow_is_loaded_is_no_failure_of_the_flow() -> None:
    with open_bench() as bench:
        run_id = bench.ask(nothing)
        grant = bench.grant(run_id)
        request = StartRequest(
            epoch=1, grant=grant.grant, storage=bench.storage.id, python="3.11", key_scheme=KEY_SCHEME
        )
        started = bench.link.call(bench.api.start(run_id, request))

        def load() -> Any:
            raise StorageUnavailable("the network file system is away")

        with pytest.raises(StorageUnavailable):
            Execution(grant, bench.api, bench.link, started, boot_time()).execute(load, ())
        assert bench.view(run_id).state is RunStatus.RUNNING


# --- places ----------------------------------------------------------------------------------------------------------------------


def test_a_key_given_by_name_cannot_be_that_of_a_maps_element() -> None:
    with pytest.raises(UsageError, match=r"add\.0"):
        add.with_key("add.0")


def test_a_future_of_another_run_is_refused_before_anything_is_recorded() -> None:
    kept: list[Any] = []

    @flow
    def leaves() -> None:
        kept.append(add.submit(1))

    @flow
    def takes() -> str:
        with pytest.raises(MisusedCall):
            add.submit(kept[0])
        with pytest.raises(MisusedCall):
            add.map([1, 2], kept[0])
        return "goes on"

    with open_bench() as bench:
        bench.run(leaves)
        run_id, outcome = bench.run(takes)
        assert outcome.value == "goes on", outcome.error
        assert bench.view(run_id).tasks == ()


def test_a_map_that_is_too_wide_is_refused_with_its_limit() -> None:
    @flow
    def subject() -> None:
        add.map(range(1_000_001))

    outcome, _, _ = run(subject)
    assert isinstance(outcome.error, MisusedCall)
    assert "1000000" in str(outcome.error)


def test_maps_of_nothing_and_of_one_are_maps() -> None:
    @flow
    def subject() -> tuple[list[int], list[int], int]:
        nothing = add.map([])
        again = add.map(nothing)
        one = add.map([1])
        counted = count.submit(nothing, wait_for=again)
        return again.result(), one.result(), counted.result()

    @task
    def count(values: list[int]) -> int:
        return len(values)

    outcome, _, _ = run(subject)
    assert outcome.value == ([], [2], 0), outcome.error


def test_a_long_key_with_a_large_result_has_a_file(tmp_path: Any) -> None:
    from playhead.storage.folder import FolderStorage

    @task
    def large() -> bytes:
        return b"x" * LARGE

    @flow
    def subject() -> int:
        with playhead.scope("a" * 64), playhead.scope("b" * 64), playhead.scope("c" * 64), playhead.scope("d" * 64):
            return len(large())

    with open_bench(FolderStorage(tmp_path)) as bench:
        _, outcome = bench.run(subject)
    assert outcome.value == LARGE, outcome.error


# --- threads of the flow's own ---------------------------------------------------------------------------------------------------


def test_a_flow_that_waits_for_its_own_threads_does_not_wait_for_ever() -> None:
    @flow
    def subject() -> list[int]:
        def work(number: int, inside: contextvars.Context) -> int:
            return inside.run(_in_scope, number)

        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(work, range(3), [contextvars.copy_context() for _ in range(3)]))

    def _in_scope(number: int) -> int:
        with playhead.scope(f"thread-{number}"):
            playhead.sleep_blocking(timedelta(milliseconds=1))
            return add(number)

    outcome, _, _ = run(subject)
    assert outcome.value == [1, 2, 3], outcome.error


def test_a_result_that_does_not_read_back_in_a_dependent_is_the_dependents_failure() -> None:
    @flow
    def subject() -> int:
        return add.submit(one_way.submit()).result()

    outcome, _, _ = run(subject)
    assert isinstance(outcome.error, UnloadableOutcome)


class OneWay:
    def __reduce__(self) -> Any:
        return (_refuse, ())


def _refuse() -> None:
    raise ValueError("one way only")


@task
def one_way() -> OneWay:
    return OneWay()
