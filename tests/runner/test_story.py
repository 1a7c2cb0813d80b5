"""One story: the journal's records are the log's events, every executor tells the same, and what a step costs is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from playhead import LocalExecutor, ProcessExecutor, ThreadExecutor, current_run, flow, now, task
from playhead.core.replay import replay
from playhead.core.state import RunStatus
from playhead.core.views import run_view
from playhead.flows.flow import Flow
from playhead.journal.place import JournalPlace
from playhead.journal.reader import read_journal
from playhead.ports.server import HeartbeatRequest, ReportRequest
from playhead.ports.storage import AppendFile
from playhead.ports.store import Recorded
from playhead.storage.memory import MemoryStorage
from tests.runner.bench import Bench, open_bench


@task
def double(x: int) -> int:
    return 2 * x


@task(retries=1)
def second_time() -> int:
    if current_run().attempt == 1:
        raise ValueError("the first time")
    return 2


@task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@flow
def mixed(width: int = 5) -> int:
    now()
    doubled = double.map(range(width))
    return total.submit(doubled).result() + second_time()


@flow
def fan_out(width: int) -> int:
    return sum(double.map(range(width)).result())


@flow
def chain(length: int) -> int:
    number: Any = 1
    for _ in range(length):
        number = double.submit(number)
    return len(str(number.result()))


@flow
def waited_chain(length: int) -> int:
    number = 1
    for _ in range(length):
        number = double(number)
    return len(str(number))


def test_the_journals_records_are_the_logs_events_one_for_one() -> None:
    with open_bench() as bench:
        run = bench.ask(mixed)
        grant = bench.grant(run)
        outcome = bench.execution(grant)(mixed, {})
        assert outcome.status is RunStatus.SUCCEEDED
        reported = [event for event in bench.history(run) if event.epoch is not None]
        journal = read_journal(bench.storage, JournalPlace(run, grant.epoch, grant.grant), grant.key.secret)
    assert [event.seq for event in reported] == list(range(len(journal.records)))
    for event, record in zip(reported, journal.records, strict=True):
        assert (event.type, event.schema, dict(event.data)) == (record.type, record.schema, dict(record.data))


def test_folding_the_log_and_folding_log_and_journal_give_the_same_bytes() -> None:
    with open_bench() as bench:
        run = bench.ask(mixed)
        grant = bench.grant(run)
        bench.execution(grant)(mixed, {})
        history = bench.history(run)
        journal = read_journal(bench.storage, JournalPlace(run, grant.epoch, grant.grant), grant.key.secret)
    rebuilt: list[Recorded] = []
    for event in history:
        if event.seq is None:
            rebuilt.append(event)
            continue
        record = journal.records[event.seq]
        rebuilt.append(structs.replace(event, type=record.type, schema=record.schema, data=record.data))
    assert _bytes(history) == _bytes(rebuilt)


def _bytes(history: Sequence[Recorded]) -> str:
    state = replay(history)
    assert state is not None
    return run_view(state).model_dump_json()


def test_every_executor_tells_the_same_story() -> None:
    stories = [
        _story(executor) for executor in (LocalExecutor(), ThreadExecutor(workers=4), ProcessExecutor(workers=2))
    ]
    assert stories[0] == stories[1] == stories[2]


def _story(executor: Any) -> list[tuple[Any, ...]]:
    """What happened, without times, digests and the order in which parallel tasks were done."""
    with open_bench() as bench:
        run, outcome = bench.run(Flow(mixed.fn, name="mixed", executor=executor))
        assert outcome.status is RunStatus.SUCCEEDED, outcome.error
        history = bench.history(run)
    hidden = {
        "at",
        "mac",
        "retry_at",
        "run",
        "seal",
        "grant",
        "claim",
        "storage",
        "key_id",
        "scheduled_for",
        "executor",
    }
    told = [
        (event.type, tuple(sorted((name, str(value)) for name, value in event.data.items() if name not in hidden)))
        for event in history
    ]
    return sorted(told)


class CountingStorage(MemoryStorage):
    """Counts what would be a flush of a disk."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0
        self.objects = 0

    def create_if_absent(self, path: str, data: bytes) -> None:
        self.objects += 1
        super().create_if_absent(path, data)

    def open_append(self, path: str) -> Any:
        return _CountingFile(self, super().open_append(path))


class _CountingFile:
    def __init__(self, storage: CountingStorage, inner: AppendFile) -> None:
        self._storage = storage
        self._inner = inner

    def append(self, data: bytes) -> None:
        self._storage.flushes += 1
        self._inner.append(data)

    def close(self) -> None:
        self._inner.close()


class CountingApi:
    """Counts the requests of a runner."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.reports = 0
        self.events = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def report(self, run: str, request: ReportRequest) -> Any:
        self.reports += 1
        self.events += len(request.events)
        return await self._inner.report(run, request)

    async def heartbeat(self, run: str, request: HeartbeatRequest) -> Any:
        return await self._inner.heartbeat(run, request)


def _costs(bench: Bench, storage: CountingStorage, subject: Flow[..., Any], **parameters: Any) -> tuple[int, int, int]:
    """Flushes, requests and events of one run."""
    run = bench.ask(subject)
    api: Any = CountingApi(bench.api)
    before = storage.flushes
    outcome = bench.execution(bench.grant(run), api)(subject, parameters)
    assert outcome.status is RunStatus.SUCCEEDED, outcome.error
    return storage.flushes - before, api.reports, api.events


@pytest.mark.parametrize("subject", [chain, waited_chain], ids=lambda subject: subject.name)
def test_a_step_of_a_chain_costs_one_flush_and_less_than_one_request(subject: Flow[..., Any]) -> None:
    storage = CountingStorage()
    with open_bench(storage) as bench:
        flushes, reports, events = _costs(bench, storage, subject, length=60)
    # One for what was adopted, one for the run's end; the upkeep may flush what nobody waits for a few times a second.
    assert 60 <= flushes <= 60 + 2 + 20
    assert events == 3 * 60 + 2, "submitted, started, succeeded; adopted and the run's end"
    assert reports <= flushes


def test_a_fan_out_costs_few_flushes_and_requests_and_two_events_a_task() -> None:
    storage = CountingStorage()
    with open_bench(storage) as bench:
        flushes, reports, events = _costs(bench, storage, fan_out, width=500)
    assert events == 2 * 500 + 3, "started and succeeded; the map, adopted and the run's end"
    assert flushes <= 500 + 30, "what waits behind a flush shares the next"
    assert reports <= 120, "a request carries what has gathered"
    assert storage.objects == 0, "a small result is in its record, and no object of its own"
