"""Attacks on a run's surroundings: its server, its clock, its process, and what a program has around an embedded run."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import playhead
from playhead import LocalExecutor, flow, task
from playhead.core.names import Epoch, RunId, Seq
from playhead.core.state import RunStatus
from playhead.embedded import call_embedded, run_embedded
from playhead.errors import FlowRunCancelled, FlowRunFailed, MisusedCall, PlayheadError, UpstreamFailed
from playhead.flows.flow import Flow
from playhead.home import Home
from playhead.hosting import HomeLock
from playhead.journal.format import Record
from playhead.ports.server import Beat, HeartbeatRequest, Reported, ReportRequest, Started
from playhead.runner import pump
from playhead.runner.binding import find_futures
from playhead.runner.outcome import Outcome
from playhead.runner.reporter import MAX_BATCH_BYTES, Reporter
from playhead.settings import Settings
from tests.runner.bench import open_bench
from tests.runner.faulty import MortalStorage

pytestmark = pytest.mark.timeout(40)

RUN = RunId("ab" * 16)


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
def boom() -> int:
    raise LookupError("what failed first")


def run(subject: Flow[..., Any], **parameters: Any) -> tuple[Outcome, Any]:
    with open_bench() as bench:
        run_id, outcome = bench.run(subject, **parameters)
        return outcome, bench.view(run_id)


def home_at(path: Path) -> Home:
    return Home.open(Settings.load(env={"PLAYHEAD_HOME": str(path)}), env={})


# --- the server ------------------------------------------------------------------------------------------------------------------


class Answers:
    """A server of which a test says how it answers."""

    def __init__(self) -> None:
        self.reports: list[ReportRequest] = []
        self.beats = 0

    async def report(self, run: str, request: ReportRequest) -> Reported:
        del run
        self.reports.append(request)
        return Reported(position=1, state=RunStatus.RUNNING, cancelling=False)

    async def heartbeat(self, run: str, request: HeartbeatRequest) -> Beat:
        del run, request
        self.beats += 1
        return Beat(lease_seconds=30.0, cancelling=False)


class Heard:
    """What a reporter says."""

    def __init__(self, api: Any) -> None:
        self.leases: list[bool] = []
        self.over: list[PlayheadError] = []
        self.lost, self.ended = asyncio.Event(), asyncio.Event()
        self.reporter = Reporter(
            api, RUN, Epoch(1), "aabbccdd",
            on_cancel=lambda: None, on_lease=self._lease, on_over=self._over,
        )  # fmt: skip

    def _lease(self, holds: bool) -> None:
        self.leases.append(holds)
        self.lost.set()

    def _over(self, error: PlayheadError) -> None:
        self.over.append(error)
        self.ended.set()

    def granted(self, lease_seconds: float) -> None:
        started = Started(lease_seconds=lease_seconds, cancelling=False, reported=(0,), scheduled_for=0, flow="f")
        self.reporter.granted(started, self.reporter._monotonic())  # pyright: ignore[reportPrivateUsage]  # its own clock


async def test_reports_stay_below_what_a_server_reads() -> None:
    api = Answers()
    heard = Heard(api)
    heard.granted(30.0)
    after = [f"{'k' * 500}~{number}" for number in range(2_000)]
    for number in range(40):
        submitted = Record("task.submitted", 1, {"key": f"t~{number}", "after": after})
        heard.reporter.note(Epoch(1), Seq(number), [submitted])
    heard.reporter.close()
    await heard.reporter.run()
    assert sum(len(request.events) for request in api.reports) == 40
    assert max(len(request.model_dump_json()) for request in api.reports) <= MAX_BATCH_BYTES


async def test_the_lease_ends_when_it_ends_also_while_a_heartbeat_hangs() -> None:
    class Hangs(Answers):
        waiting = False

        async def heartbeat(self, run: str, request: HeartbeatRequest) -> Beat:
            self.waiting = True
            try:
                await asyncio.Event().wait()
                raise AssertionError
            finally:
                self.waiting = False

    api = Hangs()
    heard = Heard(api)
    heard.granted(0.06)
    running = asyncio.create_task(heard.reporter.run())
    await heard.lost.wait()
    assert heard.leases == [False]
    assert api.waiting, "the heartbeat was not given up yet"
    heard.reporter.close()
    await running


@pytest.mark.parametrize("which", ["report", "heartbeat"])
async def test_an_error_that_nobody_foresaw_ends_the_runners_time_and_not_its_reporting(which: str) -> None:
    class Breaks(Answers):
        pass

    async def breaks(*_: object) -> Any:
        raise ZeroDivisionError("nobody foresaw it")

    setattr(Breaks, which, breaks)
    heard = Heard(Breaks())
    heard.granted(0.03)
    running = asyncio.create_task(heard.reporter.run())
    heard.reporter.note(Epoch(1), Seq(0), [Record("task.started", 1, {"key": "t"})])
    await heard.ended.wait()
    heard.reporter.close()
    await running
    assert "nobody foresaw it" in heard.over[0].message


# --- failures, far from where they began ---------------------------------------------------------------------------------------


def test_a_long_chain_behind_a_failure_names_what_failed_first_and_stays_small() -> None:
    @flow(executor=LocalExecutor())
    def subject() -> int:
        last = boom.submit()
        for _ in range(150):
            last = add.submit(last)
        return last.result()

    with open_bench() as bench:
        run_id, outcome = bench.run(subject)
        blobs = [path for path in bench.storage.list(f"runs/{run_id}") if "/blobs/" in path]
    assert isinstance(outcome.error, UpstreamFailed)
    assert isinstance(outcome.error.__cause__, LookupError)
    assert outcome.error.__cause__.__cause__ is None
    assert not blobs, "a failure that grows with the chain is kept in an object of its own"


# --- time ------------------------------------------------------------------------------------------------------------------------


def test_a_timeout_that_its_block_took_no_notice_of_leaves_no_cancel_behind() -> None:
    @flow
    async def subject() -> tuple[int, str]:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with playhead.timeout(timedelta(milliseconds=10)):
                try:
                    await playhead.sleep(timedelta(seconds=30))
                except asyncio.CancelledError:
                    raise ValueError("of its own") from None
        except ValueError:
            pass
        left = task.cancelling()
        try:
            async with playhead.timeout(timedelta(seconds=30)), playhead.timeout(timedelta(milliseconds=10)):
                await playhead.sleep(timedelta(seconds=30))
        except TimeoutError:
            return left, "inner"
        return left, "none"

    outcome, _ = run(subject)
    assert outcome.value == (0, "inner"), outcome.error


def test_a_flow_that_polls_a_future_is_told_to_await_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "MAX_BUSY_SECONDS", 0.05)

    @flow
    async def subject() -> None:
        future = add.submit(1)
        while not future.done():
            await asyncio.sleep(0)

    outcome, _ = run(subject)
    assert isinstance(outcome.error, MisusedCall)
    assert "await" in str(outcome.error)


def test_a_stuck_thread_of_to_thread_does_not_keep_a_run_from_ending() -> None:
    stuck = threading.Event()

    @flow
    async def subject() -> None:
        waiting = asyncio.create_task(asyncio.to_thread(stuck.wait, 30))
        await playhead.sleep(timedelta(milliseconds=1))
        waiting.cancel()
        raise ValueError("ends all the same")

    try:
        outcome, _ = run(subject)
        assert isinstance(outcome.error, ValueError)
        assert not stuck.is_set()
    finally:
        stuck.set()


def test_a_resumed_flow_that_waits_for_a_thread_of_its_own_has_not_diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()

    @flow
    async def subject() -> int:
        with ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, held.wait, 20)
        return await add.submit(await add.submit(1))

    looked = pump.Inbox.before_sleep

    def seen(inbox: pump.Inbox, waker: Any) -> bool:
        held.set()  # the pump has looked at the resting flow, and has not refused it
        return looked(inbox, waker)

    with open_bench() as bench:
        run_id = bench.ask(subject)
        grant = bench.grant(run_id)
        held.set()
        with pytest.raises(PlayheadError):
            bench.execution(dataclasses.replace(grant, storage=MortalStorage(grant.storage, 3)))(subject, {})
        bench.lose(run_id, grant.epoch)
        held.clear()
        monkeypatch.setattr(pump.Inbox, "before_sleep", seen)
        outcome = bench.execution(bench.grant(run_id))(subject, {})
    assert outcome.value == 3, outcome.error


# --- arguments -------------------------------------------------------------------------------------------------------------------


@dataclass
class Node:
    name: str
    parent: Node | None = None
    children: list[Node] = field(default_factory=list["Node"])


def _tree(depth: int, parent: Node | None = None) -> Node:
    node = Node(f"{depth}", parent)
    if depth:
        node.children = [_tree(depth - 1, node) for _ in range(4)]
    return node


def test_looking_for_futures_in_what_refers_to_itself_ends() -> None:
    assert find_futures(_tree(5)) == []


def test_futures_in_sets_are_told_in_the_order_of_their_keys_and_in_dicts_of_any_kind() -> None:
    @task
    def total(numbers: set[int]) -> int:
        return sum(numbers)

    @task
    def named_total(numbers: dict[str, int]) -> int:
        return sum(numbers.values())

    @flow
    def subject() -> tuple[int, int]:
        numbers = [add.submit(number) for number in range(9)]
        named: defaultdict[str, Any] = defaultdict(int, {"a": numbers[0]})
        with pytest.raises(MisusedCall, match="key of a dict"):
            named_total.submit({numbers[0]: 1})
        return total.submit(set(numbers)).result(), named_total.submit(named).result()

    outcome, view = run(subject)
    assert outcome.value == (sum(range(10)), 1), outcome.error
    upstream = next(each.upstream for each in view.tasks if each.key == "total")
    assert list(upstream) == sorted(upstream)


# --- the program around it -------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_handler() -> Generator[list[str]]:
    """A program's own handler on the root, at the level that logging has by itself; what it sees."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    seen: list[str] = []
    own = logging.Handler()
    own.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]  # a handler in one line
    root.handlers[:] = [own]
    root.setLevel(logging.WARNING)
    yield seen
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_run_leaves_logging_and_stdout_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], own_handler: list[str]
) -> None:
    root, out = logging.getLogger(), sys.stdout
    handlers = list(root.handlers)

    @flow(log_prints=True)
    def subject() -> str:
        logging.getLogger("theirs").info("not for the program's handlers")
        logging.getLogger("theirs").warning("for all")
        print("\udcff is in a file's name", end="")
        return playhead.current_run().id

    home = home_at(tmp_path)
    run_id = run_embedded(subject, {}, home=home)
    assert own_handler == ["for all"]
    assert (root.handlers, root.level, sys.stdout) == (handlers, logging.WARNING, out)
    paths = [path for path in home.storage.list(f"runs/{run_id}") if path.endswith("/log")]
    text = b"".join(home.storage.read(path) for path in paths).decode()
    assert "not for the program" in text
    assert "is in a file's name" in text
    assert capfd.readouterr().out == ""


def test_flows_in_several_threads_of_one_program_do_not_disturb_each_other(tmp_path: Path) -> None:
    @flow(log_prints=True)
    def subject(number: int) -> tuple[str, int]:
        print(f"number {number}")
        return playhead.current_run().id, add(number)

    def run_it(number: int, home: Home) -> tuple[str, int]:
        ended: tuple[str, int] = run_embedded(subject, {"number": number}, home=home)
        return ended

    homes = [home_at(tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(run_it, range(3), homes))
    assert [value for _, value in ends] == [1, 2, 3]
    for number, (run_id, _) in enumerate(ends):
        paths = [path for path in homes[0].storage.list(f"runs/{run_id}") if path.endswith("/log")]
        text = b"".join(homes[0].storage.read(path) for path in paths).decode()
        assert [other for other in range(3) if f"number {other}" in text] == [number]


async def test_cancelling_whoever_awaits_a_flow_cancels_the_run(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    begun, ended = threading.Event(), threading.Event()

    @task
    async def waits() -> None:
        begun.set()
        await asyncio.sleep(30)

    @flow
    async def subject() -> None:
        try:
            await waits()
        finally:
            ended.set()

    awaiting = asyncio.create_task(call_embedded(subject, {}, home=home))
    await asyncio.to_thread(begun.wait, 20)
    awaiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await awaiting
    assert ended.is_set(), "the run has ended when the awaiting has"
    gc.collect()


def test_ctrl_c_in_a_flow_that_waits_cancels_its_run(tmp_path: Path) -> None:
    import signal

    @task
    async def waits() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)

    @flow
    def subject() -> None:
        waits.submit().result()

    with pytest.raises(FlowRunCancelled):
        run_embedded(subject, {}, home=home_at(tmp_path))


def test_a_flow_called_inside_a_task_is_a_run_of_its_own(tmp_path: Path) -> None:
    home = home_at(tmp_path)

    @flow
    def inner() -> tuple[str, int]:
        return playhead.current_run().id, add.submit(1).result()

    @task
    def outer_task() -> tuple[str, int]:
        told: tuple[str, int] = run_embedded(inner, {}, home=home_at(tmp_path))
        return told

    @flow
    def outer() -> tuple[str, tuple[str, int]]:
        return playhead.current_run().id, outer_task()

    own, (inside, value) = run_embedded(outer, {}, home=home)
    assert own != inside
    assert value == 2


def test_an_error_of_the_flow_reaches_the_program_whatever_it_is(tmp_path: Path) -> None:
    @flow
    async def subject() -> None:
        raise StopAsyncIteration

    async def program() -> None:
        with pytest.raises(FlowRunFailed):
            await call_embedded(subject, {}, home=home_at(tmp_path))

    asyncio.run(program())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_that_outlives_its_parent_does_not_keep_the_home_locked(tmp_path: Path) -> None:
    first, second = HomeLock(tmp_path / "lock"), HomeLock(tmp_path / "lock")
    assert first.try_take()
    (begun, begin), (ended, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin, b"x")
        os.read(ended, 1)
        os._exit(0)
    try:
        os.read(begun, 1)
        first.release()
        assert second.try_take()
    finally:
        second.release()
        os.write(end, b"x")
        os.waitpid(child, 0)
        for fd in (begun, begin, ended, end):
            os.close(fd)
