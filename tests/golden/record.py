"""Writes a golden log: `python -m tests.golden.record VERSION`, once for each release, before it is tagged.

The run has a map, a retry, a failure that was handled, facts, a timer, and a runner that died in the middle.
"""

from __future__ import annotations

import dataclasses
import sys
from datetime import timedelta
from pathlib import Path

from playhead import ThreadExecutor, current_run, flow, now, sleep_blocking, task
from playhead.core.replay import replay
from playhead.core.views import run_view
from playhead.errors import PlayheadError
from playhead.wire import recorded_to_wire
from tests.runner.bench import open_bench
from tests.runner.faulty import MortalStorage

HERE = Path(__file__).parent


@task
def double(x: int) -> int:
    return 2 * x


@task(retries=1)
def second_time() -> int:
    if current_run().attempt == 1:
        raise ValueError("the first time")
    return 2


@task
def fails() -> int:
    raise LookupError("always")


@flow(executor=ThreadExecutor(workers=2))
def golden() -> int:
    now()
    first = second_time()
    sleep_blocking(timedelta(milliseconds=1))
    doubled = double.map(range(3))
    try:
        fails()
    except LookupError:
        first += 1
    return sum(doubled.result()) + first


def record(version: str) -> None:
    with open_bench() as bench:
        run = bench.ask(golden)
        grant = bench.grant(run)
        try:
            bench.execution(dataclasses.replace(grant, storage=MortalStorage(grant.storage, 6)))(golden, {})
        except PlayheadError:
            bench.lose(run, grant.epoch)
        bench.execution(bench.grant(run))(golden, {})
        history = bench.history(run)
    state = replay(history)
    assert state is not None
    lines = b"".join(recorded_to_wire(event).rstrip() + b"\n" for event in history)
    (HERE / f"{version}.log.jsonl").write_bytes(lines)
    (HERE / f"{version}.show.json").write_text(run_view(state).model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    record(sys.argv[1])
