"""One story: the journal's records are the log's events, and every executor tells the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from playhead import LocalExecutor, ProcessExecutor, ThreadExecutor, current_run, flow, now, task
from playhead.core.replay import replay
from playhead.core.state import RunStatus
from playhead.core.views import run_view
from playhead.flows.flow import Flow
from playhead.journal.place import JournalPlace
from playhead.journal.reader import read_journal
from playhead.ports.store import Recorded
from tests.runner.bench import open_bench


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
    stories = [story(executor) for executor in (LocalExecutor(), ThreadExecutor(workers=4), ProcessExecutor(workers=2))]
    assert stories[0] == stories[1] == stories[2]


def story(executor: Any) -> list[tuple[Any, ...]]:
    with open_bench() as bench:
        run, outcome = bench.run(Flow(mixed.fn, name="mixed", executor=executor))
        assert outcome.status is RunStatus.SUCCEEDED, outcome.error
        return told(bench.history(run))


def told(history: Sequence[Recorded]) -> list[tuple[Any, ...]]:
    """What happened, without times, digests and the order in which parallel tasks were done."""
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
    return sorted(
        (event.type, tuple(sorted((name, str(value)) for name, value in event.data.items() if name not in hidden)))
        for event in history
    )
